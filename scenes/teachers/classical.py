"""A teacher without a network: colour, texture and motion. Weaker than any trained one."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..files import BadInput
from ..scene import Frame
from .base import Teacher, check_image

STRIDE = 4
SEED = 11
PLANE_SHARE = 0.6  # of the pixels on one homography: enough to take it for the camera's motion


class ClassicalTeacher(Teacher):
    """Colour, texture and motion as 64 numbers per cell of 4x4 pixels.

    A cell is described by groups of plain measurements: its CIELAB colour and that of its
    surroundings, oriented Gabor energies at three scales around it, and how fast it moves against
    the background. Each group is mapped to random Fourier features (Rahimi and Recht, 2007), so
    that the cosine of two cells is close to a weighted mean of Gaussian kernels of their distance
    in colour, texture and speed: what a field learns and selects by. Position plays no part.

    Args:
        size: working resolution, pixels of the image's longer side; the image's own if None.
    """

    name, dim = "classical", 64

    def __init__(self, size: int | None = None):
        if size is not None and (not isinstance(size, int) or not 16 <= size <= 8192):
            raise BadInput(f"teacher option size: expected 16..8192 pixels, got {size!r}")
        self.size = size

    def key(self) -> str:
        return f"classical 1 size={self.size}"

    def inputs(self, frame: Frame, neighbour: Frame | None = None) -> list[Tensor]:
        flow = _own_flow(frame)
        if flow is not None:
            return [frame.image, flow]
        return [frame.image] if neighbour is None else [frame.image, neighbour.image]

    def of_frame(self, frame: Frame, neighbour: Frame | None = None) -> Tensor:
        flow = _own_flow(frame)
        if flow is None and neighbour is not None:
            flow = steady_flow(frame, neighbour)
        return self.map(frame.image, flow)

    def map(self, image: Tensor, flow: Tensor | None = None) -> Tensor:
        """Features [H/4, W/4, 64]; ``flow`` [H, W, 2] to a neighbouring frame, in pixels."""
        pixels = check_image(image).cpu().numpy()
        if self.size is not None:
            pixels = _resized(pixels, self.size)
        rows, columns = (max(1, round(side / STRIDE)) for side in pixels.shape[:2])
        lab = _lab(pixels)
        still = np.zeros((*image.shape[:2], 1), np.float32)
        speed = still if flow is None else relative_speed(flow.cpu().numpy())
        groups = []
        for index, (values, bandwidth, weight, dim) in enumerate(_groups(lab, speed)):
            cells = _cells(values, rows, columns) / bandwidth
            groups.append(math.sqrt(weight) * _fourier(cells, dim, SEED + index))
        return torch.cat(groups, -1).to(image.device)


def _groups(lab: np.ndarray, speed: np.ndarray):
    """Measurements [H, W, n], each with a distance that makes a difference, share, and channels."""
    yield _blur(lab, 1.5), 16.0, 0.3, 16
    yield _blur(lab, 8.0), 16.0, 0.2, 12
    yield texture(lab[..., 0]), 2.0, 0.2, 20
    yield _blur(speed, 2.0), 1.0, 0.3, 16


def texture(lightness: np.ndarray) -> np.ndarray:
    """Log energies [H, W, 12] of Gabor filters at 4 orientations and 3 wavelengths.

    ``lightness`` [H, W] in 0..100.
    """
    import cv2

    energies = []
    for wavelength in (4.0, 8.0, 16.0):
        sigma = 0.5 * wavelength
        side = 2 * math.ceil(2 * sigma) + 1
        for turn in range(4):
            response = 0
            for phase in (0.0, math.pi / 2):
                kernel = cv2.getGaborKernel(
                    (side, side), sigma, turn * math.pi / 4, wavelength, 1.0, phase, cv2.CV_32F
                )
                kernel -= kernel.mean()
                kernel /= np.abs(kernel).sum()
                response = (
                    response
                    + cv2.filter2D(lightness, cv2.CV_32F, kernel, borderType=cv2.BORDER_REFLECT_101)
                    ** 2
                )
            energies.append(_blur(response, wavelength))
    return np.log(np.stack(energies, -1) + 0.05)


def relative_speed(flow: np.ndarray) -> np.ndarray:
    """How fast pixels move other than by the camera's motion, [H, W, 1], from ``flow`` [H, W, 2].

    The result is log(1 + speed / 0.002), speed in lengths of the image's longer side per frame; its
    direction is left out, since things keep moving while they turn.
    """
    speed = np.linalg.norm(flow - camera_flow(flow), axis=-1, keepdims=True) / max(flow.shape[:2])
    return np.log1p(speed / 0.002).astype(np.float32)


def camera_flow(flow: np.ndarray) -> np.ndarray:
    """The flow [H, W, 2] of a still world that is nearest to ``flow``.

    By a homography (a turning camera, or a plane) where most pixels follow one; otherwise the scene
    has depth, and epipolar geometry decides, which cannot tell a thing that moves along its lines.
    """
    import cv2

    from ..motion.flow import pixel_grid

    pixels = pixel_grid(*flow.shape[:2])
    step = max(1, round(math.sqrt(flow[..., 0].size / 1500)))
    start = pixels[step // 2 :: step, step // 2 :: step].reshape(-1, 2)
    end = start + flow[step // 2 :: step, step // 2 :: step].reshape(-1, 2)
    if len(start) < 16:
        return np.broadcast_to(np.median(flow.reshape(-1, 2), 0), flow.shape)
    cv2.setRNGSeed(SEED)
    homography, followers = cv2.findHomography(start, end, cv2.RANSAC, 1.0)
    if homography is None or followers.mean() < PLANE_SHARE:
        from ..motion.evidence import two_view_still

        return two_view_still(flow, np.ones(flow.shape[:2], bool)) - pixels
    moved = cv2.perspectiveTransform(pixels.reshape(-1, 1, 2), homography)
    return moved.reshape(flow.shape) - pixels


def _own_flow(frame: Frame) -> Tensor | None:
    """The flow that comes with a frame: to the next one or, in the last frame, to the previous."""
    return frame.flow_forward if frame.has("flow_forward") else frame.flow_backward


def steady_flow(frame: Frame, neighbour: Frame) -> Tensor | None:
    """Flow from ``frame`` to ``neighbour`` if the flow back undoes it at most pixels, else None.

    Frames of a list need not follow one another in a video; views from elsewhere have no flow.
    """
    from ..motion.flow import consistency, dis_flow

    if frame.image.shape != neighbour.image.shape:
        return None
    forward, backward = (
        dis_flow(frame.image, neighbour.image),
        dis_flow(neighbour.image, frame.image),
    )
    return forward if consistency(forward, backward).float().mean() > 0.5 else None


def _fourier(values: Tensor, dim: int, seed: int) -> Tensor:
    """Unit vectors [..., dim] of ``values`` [..., n]; inner products near exp(-|a - b|^2 / 2)."""
    generator = torch.Generator().manual_seed(seed)
    count = values.shape[-1]
    frequencies = torch.randn(dim // 2, count, generator=generator)
    phases = values @ frequencies.T
    return torch.cat([phases.cos(), phases.sin()], -1) / math.sqrt(dim // 2)


def _lab(pixels: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2Lab)


def _blur(values: np.ndarray, sigma: float) -> np.ndarray:
    import cv2

    blurred = cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)
    return blurred.reshape(values.shape)


def _cells(values: np.ndarray, rows: int, columns: int) -> Tensor:
    """Means of ``values`` [H, W, n] over the cells of a grid: [rows, columns, n]."""
    channels = torch.from_numpy(np.ascontiguousarray(values)).permute(2, 0, 1)[None]
    return F.interpolate(channels, (rows, columns), mode="area")[0].permute(1, 2, 0)


def _resized(pixels: np.ndarray, longest: int) -> np.ndarray:
    import cv2

    scale = longest / max(pixels.shape[:2])
    size = tuple(max(STRIDE, round(side * scale)) for side in pixels.shape[1::-1])
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(pixels, size, interpolation=kind).clip(0, 1)
