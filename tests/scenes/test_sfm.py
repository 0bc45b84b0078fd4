"""Cameras from video: a turning camera is found back; a scene without parallax gets one and says so."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from semaflow.scenes import Camera, Frame, Scene, simulate
from semaflow.scenes.motion.flow import Flows
from semaflow.scenes.motion.points import initial_points
from semaflow.scenes.sfm import cameras as estimation
from semaflow.scenes.sfm.agreement import explained
from semaflow.scenes.sfm.followed import followed_points
from semaflow.scenes.sfm.mapping import map_frames
from semaflow.scenes.sfm.rotation import turning_viewmats


def test_a_turning_camera_is_found_from_its_flow():
    width, height, steps = 96, 64, 5
    K = np.array([[80.0, 0, 48], [0, 80, 32], [0, 0, 1]])
    angle = np.radians(1.5)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    y, x = np.mgrid[:height, :width] + 0.5
    pixels = np.stack([x, y, np.ones_like(x)], -1)
    moved = pixels @ (K @ turn @ np.linalg.inv(K)).T
    flow = np.tile((moved[..., :2] / moved[..., 2:] - pixels[..., :2])[None], (steps, 1, 1, 1)).astype(np.float32)
    still = np.ones((steps + 1, height, width), bool)
    still[:, 20:40, 30:60] = False
    flow[:, 20:40, 30:60] += 5.0
    viewmats, error = turning_viewmats(flow, still, K)
    assert error < 0.01
    assert np.allclose(viewmats[-1, :3, :3], np.linalg.matrix_power(turn, steps), atol=1e-4)


def test_without_still_pixels_the_camera_rests():
    flow = torch.randn(3, 32, 48, 2, generator=torch.Generator().manual_seed(0)).numpy()
    viewmats, error = turning_viewmats(flow, np.zeros((4, 32, 48), bool), np.eye(3))
    assert np.array_equal(viewmats, np.tile(np.eye(4), (4, 1, 1)))
    assert np.isnan(error)


def panned(steps=6, width=192, height=128, fov=40.0, degrees=1.0):
    """A textured world at infinity seen by a camera that turns to the right."""
    import cv2

    rng = np.random.default_rng(0)
    wall = cv2.resize(rng.random((32, 80, 3), np.float32), (800, 320), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    focal = 0.5 * width / np.tan(np.radians(fov / 2))
    K = np.array([[focal, 0, width / 2 - 0.5], [0, focal, height / 2 - 0.5], [0, 0, 1]])
    of_wall = np.array([[focal, 0, 200], [0, focal, 160], [0, 0, 1]])
    frames = []
    for t in range(steps):
        angle = np.radians(degrees * t)
        turn = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
        image = cv2.warpPerspective(wall, K @ turn @ np.linalg.inv(of_wall), (width, height))
        camera = Camera(torch.from_numpy(K).float(), torch.eye(4), width, height)
        frames.append(Frame(f"{t:02d}", camera, t / (steps - 1), image=torch.from_numpy(image).clamp(0, 1)))
    train = [t for t in range(steps) if t != 2]
    return Scene("wall", frames, train=train, test=[2], posed=False)


def test_without_parallax_the_world_is_a_sphere_around_the_camera(monkeypatch):
    monkeypatch.setattr(estimation, "map_frames", lambda *_, **__: "structure from motion found no model")
    scene = panned()
    posed = estimation.estimate_cameras(scene)
    assert "turns in place" in posed.notes[-1] and posed.estimated and len(posed.test) == 1
    assert torch.allclose(posed.points.positions.norm(dim=-1), torch.tensor(estimation.DEPTH), atol=1e-3)
    # every training frame sees points everywhere, in the colours it shows
    for frame in posed.split("train"):
        pixels, depth = frame.camera.project(posed.points.positions)
        inside = (depth > 0) & (pixels > 1).all(-1) & (pixels < torch.tensor([191.0, 127.0])).all(-1)
        assert inside.sum() > 300
        x, y = pixels[inside].long().unbind(-1)
        assert (frame.image[y, x] - posed.points.colors[inside]).abs().mean() < 0.05
    started = initial_points(replace(posed), 400)
    assert 300 < len(started) <= 440
    assert (started.positions.norm(dim=-1) - estimation.DEPTH).abs().median() < 0.05


def test_flows_are_computed_once(monkeypatch):
    monkeypatch.setattr(estimation, "map_frames", lambda *_, **__: "structure from motion found no model")
    posed = estimation.estimate_cameras(panned())
    kept = Flows.of(posed)
    own = Flows([frame.image for frame in posed.split("train")])
    assert len(kept) == 5 and (0, 1) in kept._kept
    for pair in ((0, 1), (2, 1), (1, 2)):  # the last two go over the frame that is held out
        assert np.median(np.abs(kept.between(*pair) - own.between(*pair))) < 0.1


def path(centers, frames=None):
    """A model whose cameras look along z from ``centers`` [F, 3] at points 4 units away."""
    viewmats = np.tile(np.eye(4), (len(centers), 1, 1))
    viewmats[:, :3, 3] = -centers
    points = np.array([[x, y, 4.0] for x in (-1, 0, 1) for y in (-1, 0, 1)])
    frames = np.arange(len(centers)) if frames is None else frames
    return estimation.Model(frames, np.eye(3), viewmats, points, np.zeros((9, 3)), 0.3, 2)


def test_frames_to_which_the_camera_would_jump_are_left_out():
    centers = np.zeros((20, 3))
    centers[:, 0] = 0.01 * np.arange(20)
    assert len(estimation.without_jumps(path(centers)).frames) == 20
    centers[7] += 3.0  # one frame put elsewhere
    assert estimation.without_jumps(path(centers)).frames.tolist() == [t for t in range(20) if t != 7]
    centers[14:] += 100.0  # and a part of the video in a world of its own
    assert estimation.without_jumps(path(centers)).frames.tolist() == [t for t in range(14) if t != 7]
    walking = np.zeros((20, 3))
    walking[:, 0] = 0.4 * np.arange(20)  # a tenth of the depth a frame
    assert len(estimation.without_jumps(path(walking, 3 * np.arange(20))).frames) == 20


def test_a_model_that_falls_apart_is_not_used(monkeypatch):
    centers = np.zeros((6, 3))
    centers[3:] = 50.0
    broken = path(centers)
    broken.points, broken.colors = np.tile(broken.points, (10, 1)), np.zeros((90, 3))
    monkeypatch.setattr(estimation, "map_frames", lambda *_, **__: broken)
    posed = estimation.estimate_cameras(panned())
    assert "registered 3 of 6 frames" in posed.notes[-1] and "turns in place" in posed.notes[-1]


@pytest.mark.parametrize("fov", [30.0, 60.0])
def test_the_field_of_view_of_a_pan_is_found(monkeypatch, fov):
    monkeypatch.setattr(estimation, "map_frames", lambda *_, **__: "structure from motion found no model")
    posed = estimation.estimate_cameras(panned(fov=fov))
    found = 2 * np.degrees(np.arctan(96 / posed.cameras[0].K[0, 0].item()))
    assert abs(found - fov) < 9
    relative = posed.cameras[4].viewmat[:3, :3] @ posed.cameras[0].viewmat[:3, :3].T
    turned = np.degrees(np.arccos((relative.trace().item() - 1) / 2))
    assert abs(turned - 5) < 0.7


@functools.cache
def filmed():
    """The first half of a simulated video whose cameras are forgotten, the true ones, and what moves."""
    scene = simulate("balls", frames=40, width=240, height=135, test=0)
    frames, anything = scene.frames[:20], Camera.look_at((0, -3, 1), (0, 0, 0), 240, 135)
    unknown = replace(
        scene, frames=[frame.with_camera(anything) for frame in frames], train=list(range(20)), points=None,
        tracks=None, posed=False,
    )
    return unknown, scene.cameras[:20], np.stack([frame.mask.numpy() for frame in frames])


def gaps(found, truth):
    """Distances [F] of the camera centres after the similarity that brings them nearest to the true ones, in shares of
    the length of the path (Umeyama 1991)."""
    a, b = (np.stack([camera.center.double().numpy() for camera in cameras]) for cameras in (found, truth))
    x, y = a - a.mean(0), b - b.mean(0)
    U, S, Vt = np.linalg.svd(y.T @ x)
    flip = np.diag([1, 1, np.sign(np.linalg.det(U @ Vt))])
    moved = np.trace(np.diag(S) @ flip) / np.square(x).sum() * x @ (U @ flip @ Vt).T
    return np.linalg.norm(moved - y, axis=1) / np.linalg.norm(np.diff(b, axis=0), axis=1).sum()


@pytest.mark.slow
def test_the_cameras_of_a_video_in_which_things_move_are_found():
    scene, truth, _ = filmed()
    posed = estimation.estimate_cameras(scene)
    assert posed.posed and posed.estimated and len(posed.frames) == 20
    assert "registered 20 of 20 frames" in posed.notes[-1] and "of the optical flow agrees" in posed.notes[-1]
    assert np.median(gaps(posed.cameras, truth)) < 0.01
    # half a path of 20 frames tells the focal length to some 6%
    assert posed.cameras[0].K[0, 0].item() == pytest.approx(truth[0].K[0, 0].item(), rel=0.1)
    assert len(posed.points) > 300


def test_followed_points_alone_map_a_video():
    scene, truth, moving = filmed()
    images = [(frame.image * 255).round().byte().numpy() for frame in scene.frames]
    model = map_frames(images, list(moving), tracks=followed_points(Flows.of(scene), moving))
    assert model.frames.tolist() == list(range(20)) and model.error < 1
    found = [Camera(truth[0].K, torch.from_numpy(viewmat).float(), 240, 135) for viewmat in model.viewmats]
    assert np.median(gaps(found, truth)) < 0.01


def test_a_seed_gives_the_same_cameras_on_any_number_of_threads(monkeypatch):
    scene, _, moving = filmed()
    images = [(frame.image * 255).round().byte().numpy() for frame in scene.frames]
    tracks = followed_points(Flows.of(scene), moving)
    found = []
    for threads, seed in (("1", 1), ("2", 1), ("1", 2)):
        monkeypatch.setenv("SEMAFLOW_THREADS", threads)
        found.append(map_frames(images, list(moving), tracks=tracks, seed=seed).viewmats)
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


@pytest.mark.parametrize(
    ("agreed", "turning"),
    [((0.97,), 0.99), ((0.6, 0.9), 0.0), ((0.6, 0.5, 0.88), 0.99), ((0.6, 0.5, 0.7, 0.4), 0.6), ((0.3, 0, 0, 0), 0.6)],
)
def test_models_are_drawn_until_flow_agrees_and_the_best_is_taken(monkeypatch, agreed, turning):
    drawn = []

    def drawing(*_, tracks, seed, **__):
        assert (tracks is None) == (not drawn)
        model = path(np.zeros((6, 3)))
        model.points, model.colors = np.tile(model.points, (10, 1)), np.zeros((90, 3))
        focal = 200.0 + len(drawn)
        model.K = np.array([[focal, 0, 96], [0, focal, 64], [0, 0, 1]])
        drawn.append((seed, tracks is None))
        return model

    monkeypatch.setattr(estimation, "map_frames", drawing)
    monkeypatch.setattr(estimation, "explained", lambda _, K, *__: dict(enumerate(agreed)).get(K[0, 0] - 200, turning))
    posed = estimation.estimate_cameras(panned())
    assert len(drawn) == len(set(drawn)) == len(agreed)
    if turning > max(agreed) and max(agreed) < 0.85:
        assert "only 30% of the optical flow agrees" in posed.notes[-1] and "turns in place" in posed.notes[-1]
        return
    assert posed.cameras[0].K[0, 0].item() == 200 + agreed.index(max(agreed))
    by = "matched features" if agreed[0] == max(agreed) else "points followed by flow"
    assert f"by {by}" in posed.notes[-1] and ("only" in posed.notes[-1]) == (max(agreed) < 0.85)


def test_where_not_even_followed_points_map_nothing_is_drawn_again(monkeypatch):
    drawn = []
    monkeypatch.setattr(estimation, "map_frames", lambda *_, tracks, **__: drawn.append(tracks) or "nothing")
    posed = estimation.estimate_cameras(panned())
    assert len(drawn) == 2 and drawn[0] is None and drawn[1] is not None and "nothing" in posed.notes[-1]


def test_flow_agrees_with_the_true_cameras_and_not_with_wrong_ones():
    scene, truth, moving = filmed()
    flows = Flows.of(scene)
    viewmats, K = np.stack([camera.viewmat.double().numpy() for camera in truth]), truth[0].K.double().numpy()
    right = explained(viewmats, K, flows, moving)
    turning, shaken = viewmats.copy(), viewmats.copy()
    turning[:, :3, 3] = viewmats[0, :3, 3]
    shaken[:, :3, 3] += 0.1 * np.random.default_rng(0).normal(size=(20, 3))
    assert right > 0.85
    assert explained(turning, K, flows, moving) < 0.7 * right
    assert explained(shaken, K, flows, moving) < 0.7 * right
    assert explained(viewmats, K, flows, np.ones_like(moving)) == 0  # nothing left to ask


def test_points_are_followed_all_over_but_for_what_moves():
    scene, _, _ = filmed()
    moving = np.zeros((20, 135, 240), bool)
    moving[:, :, :120] = True
    tracks = followed_points(Flows.of(scene), moving)
    spots = tracks.pixels[tracks.visible]
    assert spots[:, 0].min() > 120 and spots[:, 0].max() > 230
    assert tracks.visible.sum(0).min() > 60  # of 12 x 13 cells ten pixels wide


def test_a_view_no_camera_has_is_told_from_little_parallax(monkeypatch):
    wide = path(np.zeros((6, 3)))
    wide.points, wide.colors = np.tile(wide.points, (10, 1)), np.zeros((90, 3))
    wide.K[:2, 2], wide.K[0, 0] = (96, 64), 30.0
    monkeypatch.setattr(estimation, "map_frames", lambda *_, **__: wide)
    posed = estimation.estimate_cameras(panned())
    assert "a field of view of 145 degrees" in posed.notes[-1] and "turns in place" in posed.notes[-1]
