"""The benchmark of real clips: what it says of cameras, and how it scores masks."""

from dataclasses import replace

import pytest
import torch
from semaflow.tasks.masks import write_mask

from benchmarks.clips import cameras, drawn, jaccard
from tests.tasks.doubles import BallsField, balls_scene


@pytest.mark.parametrize(
    ("note", "said"),
    [
        ("cameras: structure from motion registered 26 of 26 frames, 1204 points, 0.27 px", "26/26"),
        ("cameras: no model; using a camera that turns in place (0.28 px), with a field of view of 55", "turning"),
        ("cameras: no model; using a camera at rest, with a field of view of 55 degrees", "at rest"),
    ],
)
def test_cameras_in_a_word(note, said):
    scene = balls_scene(BallsField())
    assert cameras(scene) == "given"
    assert cameras(replace(scene, estimated=True, notes=["first", note])) == said


def test_masks_are_scored_where_the_object_is_seen(tmp_path):
    frames = balls_scene(BallsField()).split("train")[:3]
    frames[2] = frames[2].with_layers(mask=torch.zeros_like(frames[2].mask))
    write_mask(tmp_path / "0.png", frames[0].mask)
    write_mask(tmp_path / "1.png", torch.zeros_like(frames[1].mask))
    write_mask(tmp_path / "2.png", torch.ones_like(frames[2].mask))
    masks = [drawn(tmp_path / f"{i}.png", frame) for i, frame in enumerate(frames)]
    assert jaccard(masks, frames) == pytest.approx(0.5)
