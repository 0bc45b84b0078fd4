"""What is found of a moving world does not depend on the unit of length that its cameras come in."""

from dataclasses import replace

import pytest
from semaflow.scenes import simulate
from semaflow.scenes.motion.tracks import motion_scaffold


@pytest.mark.parametrize("factor", [0.1, 12.0])
def test_lifted_tracks_grow_with_the_world(factor):
    scene = simulate("walker", width=128, height=72, frames=8, samples=1)
    grown = replace(scene, frames=[frame.with_camera(enlarged(frame.camera, factor)) for frame in scene.frames])
    small, large = motion_scaffold(scene), motion_scaffold(grown)
    assert len(small.positions) == len(large.positions) > 20
    off = (large.positions / factor - small.positions).norm(dim=-1)
    assert off.median() < 0.001


def enlarged(camera, factor):
    viewmat = camera.viewmat.clone()
    viewmat[:3, 3] *= factor
    return replace(camera, viewmat=viewmat)
