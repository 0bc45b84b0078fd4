"""Lens distortion: pictures are straightened when read, so that all that follows is a pinhole."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..camera import Camera
from ..files import BadInput
from ..layers import MASKS, SAMPLED

HALF = np.array(
    [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]]
)  # OpenCV puts the first pixel centre at (0, 0), we at (0.5, 0.5)


@dataclass(frozen=True)
class Lens:
    """Distortion in OpenCV's models.

    Args:
        coefficients: k1 k2 p1 p2 k3 k4 k5 k6 of the rational model, or k1 k2 k3 k4 of the fisheye
            model.
        fisheye: which of the two; the fisheye model is Kannala and Brandt's.
    """

    coefficients: tuple[float, ...]
    fisheye: bool = False

    @classmethod
    def checked(cls, coefficients, source: str, fisheye: bool = False) -> Lens | None:
        """A lens from a user's numbers, None where all are zero; BadInput naming ``source``."""
        try:
            numbers = tuple(float(value) for value in coefficients)
        except (TypeError, ValueError) as error:
            raise BadInput(
                f"{source}: distortion: expected numbers, got {coefficients!r}"
            ) from error
        if not np.isfinite(numbers).all():
            raise BadInput(f"{source}: distortion: holds NaN or infinity")
        # A fisheye lens with zero coefficients is no pinhole: its radius grows with the angle.
        return cls(numbers, fisheye) if fisheye or any(numbers) else None

    def straightened(self, camera: Camera) -> Camera:
        """The pinhole of the same image size that sees only what the distorted image shows."""
        return replace(camera, K=_maps(self, _key(camera))[1])

    def straighten(self, layer: str, value: Tensor, camera: Camera) -> Tensor:
        """What ``camera`` saw through the lens, as the pinhole of :meth:`straightened` sees it."""
        import cv2

        x, y = _maps(self, _key(camera))[0]
        if layer in SAMPLED or layer in MASKS:
            rows = np.rint(y).astype(int).clip(0, camera.height - 1)
            columns = np.rint(x).astype(int).clip(0, camera.width - 1)
            return value[rows, columns]
        return torch.from_numpy(
            cv2.remap(value.numpy(), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        )


def _key(camera: Camera) -> tuple:
    return tuple(camera.K.flatten().tolist()), camera.width, camera.height


@functools.lru_cache(maxsize=4)  # the frames of a video share one camera
def _maps(lens: Lens, key: tuple) -> tuple[tuple[np.ndarray, np.ndarray], Tensor]:
    """Where each straight pixel is found in the distorted image, and the pinhole's K [3, 3]."""
    import cv2

    numbers, width, height = key
    K = np.array(numbers).reshape(3, 3) - HALF
    size, coefficients = (width, height), np.array(lens.coefficients)
    if lens.fisheye:
        pinhole = cv2.fisheye.estimateNewCameraMatrixForUndistortRectify(
            K, coefficients, size, np.eye(3), balance=0.0
        )
        maps = cv2.fisheye.initUndistortRectifyMap(
            K, coefficients, np.eye(3), pinhole, size, cv2.CV_32FC1
        )
    else:
        pinhole, _ = cv2.getOptimalNewCameraMatrix(K, coefficients, size, 0)
        maps = cv2.initUndistortRectifyMap(K, coefficients, None, pinhole, size, cv2.CV_32FC1)
    return maps, torch.tensor(pinhole + HALF, dtype=torch.float32)
