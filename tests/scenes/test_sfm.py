"""Cameras from video: a turning camera is found back; a scene without parallax gets one and says so."""

import numpy as np
import torch
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
