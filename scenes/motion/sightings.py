"""2D tracks with the cameras that saw them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..camera import Camera
from .follow import Tracks2D


@dataclass
class Sightings:
    """N tracks in T frames, in some frame of reference: the world, or a thing that moves in it.

    Attributes:
        pixels: [N, T, 2]; what is not ``visible`` does not matter.
        visible: [N, T] bool.
        viewmats: from the frame of reference to the cameras [T, 4, 4].
        Ks: [T, 3, 3].
        times: [T] of the frames, in usual steps from one to the next.
    """

    pixels: np.ndarray
    visible: np.ndarray
    viewmats: np.ndarray
    Ks: np.ndarray
    times: np.ndarray

    @classmethod
    def of(cls, tracks: Tracks2D, cameras: list[Camera], times: list[float]) -> Sightings:
        """A copy of ``tracks`` as ``cameras`` (T of them) see them in the world at ``times``."""
        viewmats = np.stack([camera.viewmat.double().numpy() for camera in cameras])
        Ks = np.stack([camera.K.double().numpy() for camera in cameras])
        steps = np.asarray(times) / np.median(np.diff(times))
        return cls(tracks.pixels.astype(float), tracks.visible.copy(), viewmats, Ks, steps)

    @cached_property
    def eyes(self) -> np.ndarray:
        """Camera centres [T, 3]."""
        return -np.einsum("tji,tj->ti", self.viewmats[:, :3, :3], self.viewmats[:, :3, 3])

    def rays(self) -> np.ndarray:
        """Directions of unit z-depth [N, T, 3] towards what was seen; those of what was not do not matter."""
        spots = np.concatenate([np.nan_to_num(self.pixels), np.ones_like(self.pixels[..., :1])], -1)
        local = np.einsum("tij,ntj->nti", np.linalg.inv(self.Ks), spots)
        return np.einsum("tji,ntj->nti", self.viewmats[:, :3, :3], local)

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels [K, T, 2] and z-depth [K, T] of ``points`` [K, 3] that rest in this frame of reference."""
        local = np.einsum("tij,kj->kti", self.viewmats[:, :3, :3], points) + self.viewmats[:, :3, 3]
        image = np.einsum("tij,ktj->kti", self.Ks, local / np.maximum(local[..., 2:], 1e-3))
        return image[..., :2], local[..., 2]

    def only(self, tracks: np.ndarray) -> Sightings:
        """A copy of the ``tracks`` [K] alone."""
        return Sightings(self.pixels[tracks], self.visible[tracks], self.viewmats, self.Ks, self.times)

    def during(self, frames: np.ndarray) -> Sightings:
        """The ``frames`` [F] alone."""
        pixels, visible = self.pixels[:, frames], self.visible[:, frames]
        return Sightings(pixels, visible, self.viewmats[frames], self.Ks[frames], self.times[frames])

    def riding(self, frames: np.ndarray, rotations: np.ndarray, places: np.ndarray) -> Sightings:
        """The same seen by somebody who rides on a thing that has the poses ``rotations`` [F, 3, 3] and ``places``
        [F, 3] in ``frames`` [F]: the cameras move about it. In other frames nothing is visible."""
        viewmats, known = np.tile(np.eye(4), (len(self.viewmats), 1, 1)), np.zeros(len(self.viewmats), bool)
        poses = np.tile(np.eye(4), (len(frames), 1, 1))
        poses[:, :3, :3], poses[:, :3, 3] = rotations, places
        viewmats[frames], known[frames] = self.viewmats[frames] @ poses, True
        return Sightings(self.pixels, self.visible & known, viewmats, self.Ks, self.times)
