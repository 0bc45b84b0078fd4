"""Laws of motion that the bodies of the simulated worlds keep."""

import math

import numpy as np
import pytest
from semaflow.scenes.simulate import motions
from semaflow.scenes.simulate.walker import PARTS

from tests.reference.worlds import built

TIMES = np.linspace(0, 1, 25)
STEP = 1e-5

ROLLING = {
    "line": (motions.rolling((-1, 0.2), (0.5, 1.0), radius=0.4, spin=0.3), 0.4),
    "circle": (motions.rolling_circle((0.5, 0), 0.6, 0.4, 2.0, radius=0.3), 0.3),
    "circle, the other way": (motions.rolling_circle((0.5, 0), 0.6, 0.4, -2.0, radius=0.3), 0.3),
}


def velocities(pose, time):
    """Velocity [3] of the centre and angular velocity [3], by central differences."""
    (before, start), (after, end) = pose(time - STEP), pose(time + STEP)
    turn = (after - before) / (2 * STEP) @ pose(time)[0].T
    return (end - start) / (2 * STEP), np.array([turn[2, 1], turn[0, 2], turn[1, 0]])


@pytest.mark.parametrize("name", ROLLING)
def test_rolling_balls_do_not_slip(name):
    pose, radius = ROLLING[name]
    for time in TIMES:
        velocity, angular = velocities(pose, time)
        contact = velocity + np.cross(angular, [0, 0, -radius])
        assert np.linalg.norm(velocity) > 0.3
        assert np.abs(contact).max() < 1e-6
        assert abs(angular[2]) < 1e-6  # and do not spin on the spot
        assert pose(time)[1][2] == radius


@pytest.mark.parametrize("pose", [*(pose for pose, _ in ROLLING.values())])
def test_poses_are_rotations(pose):
    for time in TIMES:
        rotation = pose(time)[0]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) > 0


def test_a_bouncing_ball_touches_the_floor_and_reaches_its_height():
    pose = motions.bouncing((0, 0), (1, 0), 0.3, 0.5, bounces=2, axis=(1, 0, 0), turn=1.0)
    heights = np.array([pose(time)[1][2] for time in np.linspace(0, 1, 201)]) - 0.3
    assert heights.min() == pytest.approx(0, abs=1e-9)
    assert heights.max() == pytest.approx(0.5)
    assert [heights[index] for index in (0, 100, 200)] == pytest.approx([0, 0, 0], abs=1e-9)


def test_balls_never_touch_one_another_or_the_floor():
    balls = [body for body in built("balls").bodies if body.moves]
    for time in TIMES:
        posed = [body.vertices(time) for body in balls]
        centers = [points.mean(0) for points in posed]
        radii = [body.shape.vertices.max() for body in balls]
        for index, (center, radius) in enumerate(zip(centers, radii, strict=True)):
            assert posed[index][:, 2].min() > -1e-6
            for other in range(index):
                gap = np.linalg.norm(center - centers[other]) - radius - radii[other]
                assert gap > 0.02


@pytest.fixture(scope="module")
def figure():
    return built("walker").body("walker")


def part(body, vertices, name):
    faces = body.shape.faces[body.shape.part == list(PARTS).index(name)]
    return vertices[np.unique(faces)]


def test_the_walker_stays_in_one_piece(figure):
    def gap(vertices, one, other):
        one, other = part(figure, vertices, one), part(figure, vertices, other)
        return np.linalg.norm(one[:, None] - other, axis=-1).min()

    for time in TIMES[::4]:
        vertices = figure.vertices(time)
        assert gap(vertices, "head", "torso") < 0.03
        for side in ("left", "right"):
            assert gap(vertices, f"{side} arm", "torso") < 0.05
            assert gap(vertices, f"{side} hand", f"{side} arm") < 0.03
            assert gap(vertices, f"{side} leg", "torso") < 0.03
            assert gap(vertices, f"{side} foot", f"{side} leg") < 0.03


def test_the_walker_walks(figure):
    soles = np.array([figure.vertices(time)[:, 2].min() for time in TIMES])
    assert np.abs(soles).max() < 0.04  # never floats, never sinks in

    def reach(time, name):
        """How far a part is before the torso."""
        vertices = figure.vertices(time)
        ahead = figure.vertices(1.0).mean(0) - figure.vertices(0.0).mean(0)
        ahead /= np.linalg.norm(ahead)
        return (
            part(figure, vertices, name).mean(0) - part(figure, vertices, "torso").mean(0)
        ) @ ahead

    travel = figure.vertices(1.0).mean(0) - figure.vertices(0.0).mean(0)
    assert 0.8 < np.linalg.norm(travel[:2]) < 1.2
    left = np.array([reach(time, "left foot") for time in TIMES])
    right = np.array([reach(time, "right foot") for time in TIMES])
    arm = np.array([reach(time, "right hand") for time in TIMES])
    assert np.corrcoef(left, right)[0, 1] < -0.7  # feet alternate
    assert np.corrcoef(left, arm)[0, 1] > 0.7  # arms swing against the legs


def test_limbs_are_rigid(figure):
    start, later = (part(figure, figure.vertices(time), "left hand") for time in (0.1, 0.7))
    lengths = [np.linalg.norm(points[1:] - points[:-1], axis=-1) for points in (start, later)]
    np.testing.assert_allclose(*lengths, atol=1e-12)
    assert np.linalg.norm(start.mean(0) - later.mean(0)) > 0.3


def test_the_flag_hangs_on_its_pole_and_hardly_stretches():
    flag = built("flag")
    cloth, pole = flag.body("flag"), flag.body("pole")
    edges = np.unique(np.sort(cloth.shape.faces[:, :2], axis=1), axis=0)
    rest = np.linalg.norm(np.diff(cloth.shape.vertices[edges], axis=1)[:, 0], axis=-1)
    hoist = cloth.shape.vertices[:, 0] == 0
    axis = pole.shape.vertices[:, :2].mean(0)
    moved = 0.0
    for time in TIMES:
        posed = cloth.vertices(time)
        assert np.linalg.norm(posed[hoist, :2] - axis, axis=-1).max() < 0.02
        length = np.linalg.norm(np.diff(posed[edges], axis=1)[:, 0], axis=-1)
        assert np.abs(length / rest - 1).max() < 0.12
        assert abs((length / rest).mean() - 1) < 0.02
        moved = max(moved, np.linalg.norm(posed - cloth.vertices(0.0), axis=-1).max())
    assert moved > 0.2


@pytest.mark.parametrize("name", ["balls", "walker", "flag", "twins"])
def test_motions_are_smooth_and_moderate(name):
    """Nothing jumps between two of 48 frames, and nothing turns round within one."""
    for body in built(name).bodies:
        if not body.moves:
            continue
        frame = 1 / 47
        for time in np.linspace(frame, 1 - frame, 12):
            before, now, after = (body.vertices(time + step * frame) for step in (-1, 0, 1))
            assert np.linalg.norm(after - now, axis=-1).max() < 0.12
            assert np.linalg.norm(after - 2 * now + before, axis=-1).max() < 0.03


def test_eased_goes_from_0_to_1():
    values = [motions.eased(time) for time in TIMES]
    assert values[0] == 0
    assert values[-1] == pytest.approx(1)
    assert np.diff(values).min() > 0
    assert np.diff(values).max() < 1.25 / 24 + 1e-9


def test_rotation_by_hand():
    np.testing.assert_allclose(
        motions.rotation([0, 0, 2], math.pi / 2) @ [1, 0, 0], [0, 1, 0], atol=1e-12
    )
