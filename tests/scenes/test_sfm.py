"""Cameras from video: a turning camera is found back; a scene without parallax gets one and says so."""

from dataclasses import replace

import numpy as np
import torch
from semaflow.scenes import Camera, Frame, Scene
from semaflow.scenes.motion.flow import Flows
from semaflow.scenes.motion.points import initial_points
from semaflow.scenes.sfm import cameras as estimation
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


def panned(steps=6, width=96, height=64):
    """A textured wall at infinity seen by a camera that turns, 3 pixels a frame."""
    generator = torch.Generator().manual_seed(0)
    wall = torch.rand(1, 3, 16, 40, generator=generator)
    wall = torch.nn.functional.interpolate(wall, (height, 160), mode="bicubic").clamp(0, 1)[0].permute(1, 2, 0)
    camera = Camera(torch.tensor([[80.0, 0, 48], [0, 80, 32], [0, 0, 1]]), torch.eye(4), width, height)
    frames = [
        Frame(f"{t:02d}", camera, t / (steps - 1), image=wall[:, 3 * t : 3 * t + width].contiguous())
        for t in range(steps)
    ]
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
        inside = (depth > 0) & (pixels > 1).all(-1) & (pixels < torch.tensor([95.0, 63.0])).all(-1)
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
        assert np.abs(kept.between(*pair) - own.between(*pair)).mean() < 0.1
