"""A small capture to write in any data set's layout: bright dots at known places, known cameras.

A reader has its axes, order and pixel centres right when the dots' true positions, projected by the
cameras that it returns, fall on the dots in the images that it returns.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

DOTS = np.array(
    [[0.0, 0.0, 0.0], [0.8, 0.1, 0.3], [-0.7, 0.2, -0.2], [0.1, 0.7, 0.4], [-0.2, -0.6, 0.5]]
)
OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
SIGMA = 1.5


@dataclass
class Capture:
    """``c2w`` [N, 4, 4] with OpenCV axes, ``K`` [3, 3] in pixels, ``images`` [N, H, W] uint8."""

    c2w: np.ndarray
    K: np.ndarray
    images: list[np.ndarray]

    @property
    def size(self) -> tuple[int, int]:
        return self.images[0].shape[1], self.images[0].shape[0]

    @property
    def w2c(self) -> np.ndarray:
        return np.linalg.inv(self.c2w)

    def opengl(self, index: int) -> list:
        return (self.c2w[index] @ OPENGL).tolist()

    def write_images(
        self, folder: Path, names: list[str] | None = None, suffix=".png"
    ) -> list[str]:
        """Images as grey RGB files; their names without ending."""
        names = names or [f"{index:03d}" for index in range(len(self.images))]
        folder.mkdir(parents=True, exist_ok=True)
        for name, image in zip(names, self.images, strict=True):
            Image.fromarray(np.repeat(image[..., None], 3, -1)).save(folder / f"{name}{suffix}")
        return names


def capture(
    count: int = 6,
    width: int = 96,
    height: int = 72,
    fx=80.0,
    fy=80.0,
    cx=None,
    cy=None,
    distort=None,
) -> Capture:
    """Cameras on an arc around the dots; ``distort`` bends normalised image points [P, 2]."""
    K = np.array([[fx, 0, cx or width / 2], [0, fy, cy or height / 2], [0, 0, 1]])
    poses, images = [], []
    for angle in np.linspace(-0.6, 0.7, count):
        eye = np.array([3 * np.sin(angle), -0.8 + 0.3 * angle, -3 * np.cos(angle)])
        poses.append(_looking(eye))
        images.append(_picture(np.linalg.inv(poses[-1]), K, width, height, distort))
    return Capture(np.stack(poses), K, images)


def _looking(eye: np.ndarray) -> np.ndarray:
    """Camera to world, OpenCV axes, from ``eye`` to the origin, a little rolled; up is -y."""
    forward = -eye / np.linalg.norm(eye)
    right = np.cross([0.1, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3] = np.stack([right, np.cross(forward, right), forward, eye], -1)
    return pose


def _picture(w2c: np.ndarray, K: np.ndarray, width: int, height: int, distort) -> np.ndarray:
    local = DOTS @ w2c[:3, :3].T + w2c[:3, 3]
    points = local[:, :2] / local[:, 2:]
    points = distort(points) if distort else points
    pixels = points @ K[:2, :2].T + K[:2, 2]
    y, x = np.mgrid[:height, :width] + 0.5
    image = sum(np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * SIGMA**2)) for u, v in pixels)
    return (image.clip(0, 1) * 255).round().astype(np.uint8)


def miss(frame, dots=None) -> float:
    """Largest distance in pixels of a dot in the frame's image from its true position projected."""
    dots = torch.tensor(DOTS, dtype=torch.float32) if dots is None else dots
    pixels, depth = frame.camera.project(dots)
    assert (depth > 0).all()
    image = frame.image.mean(-1).double()
    distances = []
    for u, v in pixels.tolist():
        top, left = int(v) - 4, int(u) - 4
        assert top >= 0 and left >= 0, "the dot is projected outside the image"
        window = image[top : top + 9, left : left + 9]
        assert window.sum() > 1, "no dot where one is projected"
        y, x = torch.meshgrid(torch.arange(9), torch.arange(9), indexing="ij")
        found = (
            (window * (x + left + 0.5)).sum() / window.sum(),
            (window * (y + top + 0.5)).sum() / window.sum(),
        )
        distances.append(float(np.hypot(found[0] - u, found[1] - v)))
    return max(distances)


def misses(scene, dots=None) -> float:
    """The largest :func:`miss` of all frames."""
    return max(miss(frame, dots) for frame in scene.frames)


def write_json(path: Path, value) -> Path:
    """``value`` as JSON, NaN allowed: what a careless exporter writes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path
