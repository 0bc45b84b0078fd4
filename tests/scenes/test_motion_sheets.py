"""Things that bend without stretching: where their points are, by the distances that they keep."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from semaflow.scenes.motion.follow import Tracks2D
from semaflow.scenes.motion.isometry import Isometry, Usual, _Look, _System, splines
from semaflow.scenes.motion.lifting import _place
from semaflow.scenes.motion.rigid import RigidBody
from semaflow.scenes.motion.sheets import sheet
from semaflow.scenes.motion.sightings import Sightings

FRAMES, COLUMNS, ROWS = 36, 9, 5
K = np.array([[220.0, 0, 120], [0, 220.0, 67], [0, 0, 1]])


def walk():
    """World to camera matrices of somebody who walks round the origin, 3.5 units away, and bobs."""
    time = np.linspace(0, 1, FRAMES)
    turns = Rotation.from_euler("y", 45 - 90 * time[:, None], degrees=True).as_matrix().reshape(-1, 3, 3)
    matrices = np.tile(np.eye(4), (FRAMES, 1, 1))
    matrices[:, :3, :3] = turns
    matrices[:, :3, 3] = np.stack([0 * time, 0.02 * np.sin(2 * np.pi * 6 * time), 3.5 + 0 * time], -1)
    return matrices


def waving(stretch: float = 0.0):
    """Points [N, T, 3] of a cloth 1.2 by 0.6 that hangs on a pole and waves; ``stretch``: by how much it stretches."""
    time, share = np.linspace(0, 1, FRAMES), (np.arange(40) + 0.5) / 40
    along, up = (values.ravel() for values in np.meshgrid(np.linspace(0, 1.2, COLUMNS), np.linspace(-0.3, 0.3, ROWS)))
    arc = along[:, None, None] * share
    angle = 0.8 * np.sqrt(arc / 1.2) * np.cos(2 * np.pi * (arc / 1.1 - 1.3 * time[:, None]))
    grown = 1 + stretch * np.sin(2 * np.pi * (2 * time + 3 * along[:, None]))
    x, z = (along[:, None] * grown * turned(angle).mean(-1) for turned in (np.cos, np.sin))
    return np.stack([x - 0.6, np.repeat(up[:, None], FRAMES, 1), z], -1)


def projected(world, matrices):
    local = np.einsum("fij,nfj->nfi", matrices[:, :3, :3], world) + matrices[:, :3, 3]
    return (local / local[..., 2:] @ K.T)[..., :2], local[..., 2]


def seen(world, noise=0.15):
    """Sightings of points of the world, each hidden for a fifth of the video."""
    matrices, generator = walk(), np.random.default_rng(0)
    pixels = projected(world, matrices)[0] + noise * generator.normal(size=(*world.shape[:2], 2))
    visible = np.ones(world.shape[:2], bool)
    for point, first in enumerate(generator.integers(0, FRAMES, len(world))):
        visible[point, first : first + FRAMES // 5] = False
    return Sightings(pixels, visible, matrices, np.tile(K, (FRAMES, 1, 1)), np.arange(float(FRAMES)))


def bent_the_other_way(world, views):
    """The points where their pictures are, but as far behind the middle of the cloth as they are before it."""
    depth = projected(world, views.viewmats)[1]
    middle = depth.mean(0)
    rays = (world - views.eyes) / depth[..., None]
    return views.eyes + (2 * middle - depth)[..., None] * rays


def pole(points):
    """The body of the points beside the pole, which stand nearly still."""
    members = np.flatnonzero(np.arange(COLUMNS * ROWS) % COLUMNS < 2)
    middle = points[members].mean((0, 1))
    rotations, places = np.tile(np.eye(3), (FRAMES, 1, 1)), np.tile(middle, (FRAMES, 1))
    return RigidBody(members, np.arange(FRAMES), points[members].mean(1) - middle, rotations, places, 0.1, 0.01)


def test_cloth_that_was_taken_to_bend_the_other_way_is_found_as_it_hangs():
    world = waving()
    views = seen(world)
    start = bent_the_other_way(world, views)
    found = sheet(np.arange(len(world)), [pole(world)], np.arange(FRAMES), start, views)
    assert found is not None and len(found.members) == len(world)
    error = np.linalg.norm(found.positions - world[found.members], axis=-1)
    before = np.linalg.norm(start - world, axis=-1)
    assert np.median(before) > 0.15
    assert np.median(error) < 0.03 and np.median(error[~views.visible[found.members]]) < 0.05
    lengths = np.linalg.norm(found.positions[1:] - found.positions[:-1], axis=-1)
    assert np.median(lengths.std(1) / lengths.mean(1)) < 0.02


def test_what_stretches_is_no_sheet():
    world = waving(stretch=0.4)
    views = seen(world)
    assert sheet(np.arange(len(world)), [pole(world)], np.arange(FRAMES), world, views) is None


def test_too_few_points_are_no_sheet():
    world = waving()
    assert sheet(np.arange(6), [pole(world)], np.arange(FRAMES), world[:6], seen(world)) is None


def test_gradient_by_finite_differences():
    world = waving()
    views, generator = seen(world), np.random.default_rng(1)
    links = np.stack([np.arange(len(world) - 1), np.arange(1, len(world))], 1)
    problem = Isometry(views, links, world, Usual())
    paths = np.linalg.pinv(problem.basis) @ world
    paths = paths + 0.01 * generator.normal(size=paths.shape)
    look = _Look.at(problem, paths)
    system = _System(problem, look)
    for _ in range(3):
        way = generator.normal(size=paths.shape)
        rise = [_Look.at(problem, paths + step * way).cost for step in (1e-6, -1e-6)]
        slope = 2 * (system.gradient * way).sum()
        size = np.linalg.norm(system.gradient) * np.linalg.norm(way)
        assert (rise[0] - rise[1]) / 2e-6 == pytest.approx(slope, abs=1e-6 * size)


def test_the_normal_matrix_is_symmetric_and_a_step_goes_down():
    world = waving()
    views, generator = seen(world), np.random.default_rng(2)
    links = np.stack([np.arange(len(world) - 1), np.arange(1, len(world))], 1)
    problem = Isometry(views, links, world, Usual())
    look = _Look.at(problem, np.linalg.pinv(problem.basis) @ bent_the_other_way(world, views))
    system = _System(problem, look)
    a, b = generator.normal(size=(2, *look.paths.shape))
    assert (a * system.product(b)).sum() == pytest.approx((b * system.product(a)).sum(), rel=1e-9)
    assert (a * system.product(a)).sum() > 0
    assert (system.step(1e-3) * system.gradient).sum() < 0


def test_paths_are_smooth_between_frames_that_need_not_be_even():
    times = np.delete(np.arange(30.0), [4, 5, 17])
    basis = splines(times)
    assert np.allclose(basis.sum(1), 1)
    assert np.linalg.matrix_rank(basis) == basis.shape[1] < len(times)
    path = np.stack([times, times**2, times**3], -1)
    assert np.allclose(basis @ np.linalg.pinv(basis) @ path, path)


@pytest.mark.parametrize("stiff", [False, True])
def test_only_a_thing_whose_largest_body_bends_is_taken_for_a_sheet(stiff):
    """A rigid motion explains a cloth in part; told that it explained it well, its points stay where it puts them."""
    world = waving()
    views = seen(world)
    tracks = Tracks2D(views.pixels.copy(), views.visible.copy(), np.zeros(len(world), int))
    members = np.setdiff1d(np.arange(len(world)), pole(world).members)
    middle = world.mean((0, 1))
    still = np.tile(np.eye(3), (FRAMES, 1, 1)), np.tile(middle, (FRAMES, 1))
    rest = world[members].mean(1)
    cloth = RigidBody(members, np.arange(FRAMES), rest - middle, *still, 0.1 if stiff else 0.4, 0.01)
    positions = np.full(world.shape, np.nan)
    things, rigid = _place([np.arange(len(world))], [cloth, pole(world)], tracks, positions, views, 0.3)
    error = np.linalg.norm(positions - world, axis=-1)
    if stiff:
        assert rigid.any() and np.allclose(positions[rigid & (things == 0)].std(1), 0, atol=1e-9)
    else:
        assert (things == 0).all() and not rigid.any() and np.median(error) < 0.03


def test_what_runs_away_from_where_it_was_is_no_sheet():
    """The same sightings would make a sheet anywhere: one that ends far from where its body moved is not believed."""
    world = waving()
    views = seen(world)
    far = world + 1.5 * (np.arange(len(world)) % 2)[:, None, None] * (world - views.eyes)
    assert sheet(np.arange(len(world)), [pole(world)], np.arange(FRAMES), far, views) is None
