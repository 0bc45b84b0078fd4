"""Rigid bodies from 2D tracks: their shape, their path, and the distance that the camera's unsteadiness tells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from semaflow.scenes.motion.belonging import as_points, merged, regrouped
from semaflow.scenes.motion.bending import bent
from semaflow.scenes.motion.bundle import Body, Views, adjust
from semaflow.scenes.motion.carrying import carried
from semaflow.scenes.motion.limbs import coherence, hanging
from semaflow.scenes.motion.rigid import RigidBody, rigid_body
from semaflow.scenes.motion.sightings import Sightings
from semaflow.scenes.motion.templates import rematched

FRAMES, WIDTH, HEIGHT = 40, 240, 135
K = np.array([[220.0, 0, WIDTH / 2], [0, 220.0, HEIGHT / 2], [0, 0, 1]])


def walk(bob: float = 0.02):
    """World to camera matrices of somebody who walks 2 units to the right and bobs 7 times."""
    time = np.linspace(0, 1, FRAMES)
    eyes = np.stack([2 * time - 1, bob * np.sin(2 * np.pi * 7 * time), 0.3 * time], -1)
    matrices = np.tile(np.eye(4), (FRAMES, 1, 1))
    matrices[:, :3, :3] = Rotation.from_euler("y", 10 - 20 * time[:, None], degrees=True).as_matrix().reshape(-1, 3, 3)
    matrices[:, :3, 3] = -np.einsum("fij,fj->fi", matrices[:, :3, :3], eyes)
    return matrices, eyes


def path(start, end, turn, jolt: float = 0.0):
    """Poses of something that goes from ``start`` to ``end``, turns, and hops once half-way."""
    time = np.linspace(0, 1, FRAMES)
    places = np.asarray(start) + (time**2 * (3 - 2 * time))[:, None] * (np.asarray(end) - np.asarray(start))
    places[:, 1] -= jolt * np.abs(np.sin(2 * np.pi * time))
    rotations = Rotation.from_rotvec(time[:, None] * np.asarray(turn)).as_matrix()
    return rotations, places


def seen(points, rotations, places, matrices, noise=0.0, seed=0):
    """Pixels [N, T, 2] of body points [N, 3]."""
    world = np.einsum("fij,nj->nfi", rotations, points) + places
    local = np.einsum("fij,nfj->nfi", matrices[:, :3, :3], world) + matrices[:, :3, 3]
    image = local / local[..., 2:] @ K.T
    return image[..., :2] + noise * np.random.default_rng(seed).normal(size=(*local.shape[:2], 2)), world


def projected(world, matrices):
    """Pixels [N, T, 2] of world points [N, T, 3]."""
    local = np.einsum("fij,nfj->nfi", matrices[:, :3, :3], world) + matrices[:, :3, 3]
    return (local / local[..., 2:] @ K.T)[..., :2]


def ball(count, radius=0.4, seed=1):
    points = np.random.default_rng(seed).normal(size=(count, 3))
    return radius * points / np.linalg.norm(points, axis=1, keepdims=True)


def solved(bob, factor, jolt=0.0, noise=0.2, frames=np.arange(FRAMES)):
    """A body begun ``factor`` times too far away and too large, adjusted: distance and shape against the truth."""
    matrices, eyes = (values[frames] for values in walk(bob))
    points, count = ball(40), len(frames)
    poses = path((-0.4, 0.1, 3.6), (0.5, 0.1, 4.2), (0.3, 1.5, 0.2), jolt)
    rotations, places = (values[frames] for values in poses)
    pixels, _ = seen(points, rotations, places, matrices, noise)
    frame, point = np.indices((count, len(points))).reshape(2, -1)
    views = Views(eyes, matrices[:, :3, :3], np.tile(K, (count, 1, 1)), frames, frame, point, pixels[point, frame])
    generator = np.random.default_rng(3)
    wrong = points + 0.03 * generator.normal(size=points.shape)
    turned = Rotation.from_rotvec(0.03 * generator.normal(size=(count, 3))).as_matrix() @ rotations
    found = adjust(Body(factor * wrong, turned, factor * (places - eyes)), views)
    distance = np.linalg.norm(found.body.offsets, axis=1) / found.body.unit
    size = found.body.points / found.body.unit
    gaps = np.linalg.norm(size[:, None] - size[None], axis=-1) - np.linalg.norm(points[:, None] - points[None], axis=-1)
    return found, np.median(distance / np.linalg.norm(places - eyes, axis=1)), np.sqrt(np.square(gaps).mean())


@pytest.mark.parametrize("factor", [0.6, 1.0, 1.6])
def test_an_unsteady_camera_tells_the_distance(factor):
    found, distance, gap = solved(0.02, factor)
    assert distance == pytest.approx(1, abs=0.02)
    assert gap < 0.02  # of a ball 0.8 across
    assert np.median(found.errors) < 0.3 and found.deviation < 0.03


def test_frames_held_out_are_no_steps_of_the_camera():
    _, distance, _ = solved(0.02, 1.3, frames=np.delete(np.arange(FRAMES), np.arange(5, FRAMES, 5)))
    assert distance == pytest.approx(1, abs=0.02)


def test_a_hop_does_not_spoil_the_distance():
    _, distance, _ = solved(0.02, 1.3, jolt=0.3)
    assert distance == pytest.approx(1, abs=0.04)


def test_a_steady_camera_says_that_it_cannot_tell():
    steady, _, _ = solved(0.0, 1.0)
    shaky, _, _ = solved(0.02, 1.0)
    assert steady.deviation > 5 * shaky.deviation


def two_bodies(noise=0.1):
    matrices, _ = walk()
    first = path((-0.7, 0.1, 3.6), (-0.3, 0.1, 4.0), (0.3, 1.2, 0.2))
    second = path((0.6, 0.1, 3.8), (0.4, 0.2, 3.4), (-0.8, 0.2, 0.5))
    pixels, places = zip(
        *(seen(ball(30, seed=k), *pose, matrices, noise, k) for k, pose in enumerate((first, second))), strict=True
    )
    return matrices, np.concatenate(pixels), np.concatenate(places), (first, second)


def sightings(pixels, matrices):
    return Sightings(pixels, np.ones(pixels.shape[:2], bool), matrices, np.tile(K, (FRAMES, 1, 1)), np.arange(FRAMES))


def as_body(members, pose, points):
    return RigidBody(np.asarray(members), np.arange(FRAMES), points, *pose, error=0.1, deviation=0.01)


def test_tracks_find_the_body_whose_motion_explains_them():
    matrices, pixels, _, poses = two_bodies()
    views = sightings(pixels, matrices)
    halves = [as_body(np.arange(15) + 30 * k, poses[k], ball(30, seed=k)[:15]) for k in (0, 1)]
    groups = sorted(sorted(body.members.tolist()) for body in regrouped(halves, views))
    assert groups == [list(range(30)), list(range(30, 60))]
    points, errors = as_points(halves[0], views)
    assert np.median(np.linalg.norm(points[:30] - ball(30, seed=0), axis=1)) < 0.02
    assert errors[:30].max() < 0.5 < errors[30:].min()


def test_what_another_body_explains_far_better_is_its_own():
    """Two bodies that move nearly alike, one much larger: each keeps its points though one would do for all."""
    matrices, _ = walk()
    shared = path((-0.5, 0.1, 3.6), (0.2, 0.1, 4.0), (0.3, 1.2, 0.2))
    beside = (shared[0], shared[1] + 0.012 * np.sin(np.linspace(0, 6, FRAMES))[:, None])
    poses, sizes = (shared, beside), (40, 12)
    pixels = np.concatenate([seen(ball(sizes[k], seed=k), *poses[k], matrices, 0.05, k)[0] for k in (0, 1)])
    views = sightings(pixels, matrices)
    bodies = [as_body(range(40), poses[0], ball(40, seed=0)), as_body(range(40, 52), poses[1], ball(12, seed=1))]
    assert (as_points(bodies[0], views)[1] < 1.0).all()
    found = sorted(sorted(body.members.tolist()) for body in regrouped(bodies, views))
    assert found == [list(range(40)), list(range(40, 52))]


def test_what_is_scattered_among_others_is_no_body_but_their_limbs():
    matrices, _ = walk()
    pose = path((-0.5, 0.1, 3.6), (0.2, 0.1, 4.0), (0.3, 0.4, 0.2))
    points = ball(60, seed=2)
    views = sightings(seen(points, *pose, matrices)[0], matrices)
    every = np.arange(60)
    large, scattered = (as_body(members, pose, points[members]) for members in (every[every % 4 > 0], every[::4]))
    assert coherence(large, every, views) > 0.6 > coherence(scattered, every, views)
    ((body, loose),) = hanging([], [scattered, large], views, 0.1)
    assert sorted(body.members) == sorted(large.members) and sorted(loose) == sorted(scattered.members)
    side = points[:, 0] > 0.1
    halves = [as_body(every[part], pose, points[part]) for part in (side, ~side)]
    assert [len(loose) for _, loose in hanging([], halves, views, 0.1)] == [0, 0]
    assert hanging([], [], views, 0.1) == []


def test_a_swinging_limb_keeps_near_its_body():
    """An arm on a body that goes by: seen where it swings, and hidden in the middle of the video."""
    matrices, _ = walk()
    rotations, places = path((-0.5, 0.1, 3.6), (0.3, 0.1, 4.0), (0.0, 0.6, 0.0))
    body = as_body(range(30), (rotations, places), ball(30, seed=0))
    arm = np.stack([np.zeros(4), np.linspace(0.4, 0.7, 4), np.zeros(4)], -1)
    swing = Rotation.from_euler("z", 20 * np.sin(np.linspace(0, 6, FRAMES))[:, None], degrees=True).as_matrix()
    local = np.einsum("fij,kj->kfi", swing.reshape(-1, 3, 3), arm)
    truth = np.einsum("fij,kfj->kfi", rotations, local) + places
    pixels = np.concatenate([seen(ball(30, seed=0), rotations, places, matrices)[0], projected(truth, matrices)])
    views = sightings(pixels, matrices)
    views.visible[30:, 18:22] = False
    found = bent(body, np.arange(30, 34), views, body.points)
    error = np.linalg.norm(found - truth, axis=-1)
    assert np.median(error) < 0.08 and error.max() < 0.2  # as points of the body it would be 0.4
    assert bent(body, np.arange(0), views, body.points).shape == (0, FRAMES, 3)


def test_what_swings_fast_is_not_put_too_near():
    """Eight points of a leg that swings at a fifth of the camera's speed, each seen for a third of the video."""
    matrices, eyes = walk()
    time = np.linspace(0, 1, FRAMES)
    rotations, places = np.tile(np.eye(3), (FRAMES, 1, 1)), np.tile([0, 0, 3.0], (FRAMES, 1))
    body = as_body(range(30), (rotations, places), ball(30, seed=0))
    local = np.zeros((8, FRAMES, 3))
    local[..., 1] = np.linspace(0.3, 0.6, 8)[:, None]
    local[..., 0] = 0.1 * np.sin(2 * np.pi * 1.5 * time)
    truth = local + places
    pixels = np.concatenate([seen(ball(30, seed=0), rotations, places, matrices)[0], projected(truth, matrices)])
    views = sightings(pixels, matrices)
    begin = np.linspace(0, FRAMES - 14, 8).astype(int)[:, None]
    views.visible[30:] = (np.arange(FRAMES) >= begin) & (np.arange(FRAMES) < begin + 14)
    found = bent(body, np.arange(30, 38), views, body.points)
    share = np.linalg.norm(found - eyes, axis=-1) / np.linalg.norm(truth - eyes, axis=-1)
    assert abs(share[views.visible[30:]].mean() - 1) < 0.01  # by least squares alone 3% too near


def test_what_is_hidden_is_carried_by_what_is_beside_it():
    """Of a row of points that go up together, each is hidden for a while; others far away rest."""
    height = np.sin(np.linspace(0, 3, 20))
    places = np.zeros((10, 20, 3))
    places[:, :, 0] = np.arange(10)[:, None] * 0.1
    places[:8, :, 1] = height
    seen = np.ones((10, 20), bool)
    seen[3, 5:] = seen[4, :12] = seen[5, 6:14] = False
    places[8:, :, 0] += 5
    found = carried(np.where(seen[..., None], places, np.nan), seen, np.arange(20.0), np.zeros((0, 3)), 0.2)
    assert np.abs(found - places).max() < 0.12  # left where they were seen they would be up to 0.9 off
    assert np.array_equal(found[8:], places[8:])


def test_parts_of_one_body_are_merged_and_bodies_are_not():
    matrices, pixels, places, poses = two_bodies()
    views = sightings(pixels, matrices)
    parts = [
        rigid_body(np.arange(first, first + 15), [places], views) for first in (0, 15, 30, 45)
    ]
    whole = merged(parts, places, 1000.0, views)
    assert sorted(sorted(body.members.tolist()) for body in whole) == [list(range(30)), list(range(30, 60))]


def test_no_body_of_three_points_or_two_frames():
    matrices, pixels, places, _ = two_bodies()
    views = sightings(pixels, matrices)
    assert rigid_body(np.arange(3), [places], views) is None
    views.visible[:, 2:] = False
    assert rigid_body(np.arange(30), [places], views) is None
    assert regrouped([], views) == []


def test_patches_are_matched_to_one_picture_of_each_point():
    """A textured card turns and comes nearer; its tracks have drifted by up to 1.5 pixels."""
    import cv2

    matrices, _ = walk()
    generator = np.random.default_rng(5)
    texture = cv2.GaussianBlur(generator.uniform(0, 255, (400, 400)).astype(np.float32), (0, 0), 4)
    texture = (texture - texture.mean()) * 12 + 128
    rotations, places = path((-0.3, 0.0, 3.2), (0.2, 0.1, 2.8), (0.0, 0.5, 0.3))
    grid = np.stack(np.meshgrid(np.linspace(-0.35, 0.35, 6), np.linspace(-0.35, 0.35, 6)), -1).reshape(-1, 2)
    points = np.concatenate([grid, np.zeros((36, 1))], 1)
    truth, _ = seen(points, rotations, places, matrices)
    grays, corners = [], np.array([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]])
    for at in seen(corners, rotations, places, matrices)[0].swapaxes(0, 1):
        card = np.array([[0, 0], [400, 0], [400, 400], [0, 400]], np.float32)
        warp = cv2.getPerspectiveTransform(card - 0.5, (at - 0.5).astype(np.float32))
        grays.append(cv2.warpPerspective(texture, warp, (WIDTH, HEIGHT), flags=cv2.INTER_AREA).clip(0, 255))
    drift = 1.5 * np.linspace(-1, 1, FRAMES)[:, None] * np.array([0.8, -0.6])
    body = replace(as_body(range(36), (rotations, places), points), error=0.5)
    masks = np.ones((FRAMES, HEIGHT, WIDTH), bool)
    found, known = rematched(body, grays, masks, sightings(truth + drift, matrices))
    assert known.mean() > 0.9
    # what remains is where in the one picture the point was taken to be
    error = (found - truth)[known] - np.nanmean(found - truth, 1, keepdims=True).repeat(FRAMES, 1)[known]
    assert np.median(np.linalg.norm(error, axis=-1)) < 0.15
    masks[:, :, : WIDTH // 2] = False
    half, _ = rematched(body, grays, masks, sightings(truth + drift, matrices))
    assert np.isnan(half[truth[..., 0] < WIDTH / 2 - 4]).all()


def test_sightings_that_say_nothing_leave_the_guess():
    """All points in one place: nothing turns, nothing has a size; the guess must come back finite."""
    matrices, eyes = walk()
    rotations, places = path((-0.4, 0.1, 3.6), (0.5, 0.1, 4.2), (0, 0, 0))
    points = np.zeros((6, 3))
    pixels, _ = seen(points, rotations, places, matrices)
    frame, point = np.indices((FRAMES, len(points))).reshape(2, -1)
    views = Views(eyes, matrices[:, :3, :3], np.tile(K, (FRAMES, 1, 1)), np.arange(FRAMES), frame, point,
                  pixels[point, frame])
    found = adjust(Body(points + 1e-9, rotations, places - eyes), views)
    assert np.isfinite(found.body.offsets).all() and np.isfinite(found.errors).all()
