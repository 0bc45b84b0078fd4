"""What a flow field keeps of one video: its cameras and times, the box it happens in, and its feature maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...kernels.gather import sample_trajectories
from ...scenes import Camera


class Clip(nn.Module):
    """One video of a flow field.

    Attributes (buffers):
        times [T], viewmats [T, 4, 4], Ks [T, 3, 3] of the training frames; size (width, height) in pixels.
        maps [T, h, w, C]: image features of each frame, over the whole image. latent [G]: of the whole clip.
        center [3], radius []: of the box that most of it happens in. near, far []: depths between which a ray is asked.
        places [G, G, G] bool: cells of that space that labelled pictures show, as of :func:`.shown.shown_places`.
        space, spacetime: the planes of this clip, where the encoding is planes; else None.
    """

    def __init__(self, times: Tensor, viewmats: Tensor, Ks: Tensor, size: Tensor, maps: Tensor, latent: Tensor,
                 center: Tensor, radius: Tensor, near: Tensor, far: Tensor, seen: Tensor | None = None,
                 places: Tensor | None = None):
        super().__init__()
        seen = torch.ones(len(times), dtype=torch.bool) if seen is None else seen
        places = torch.ones(1, 1, 1, dtype=torch.bool) if places is None else places
        for name, value in {
            "times": times, "viewmats": viewmats, "Ks": Ks, "size": size, "maps": maps, "latent": latent,
            "center": center, "radius": radius, "near": near, "far": far, "seen": seen, "places": places,
        }.items():
            self.register_buffer(name, value.detach().clone())
        self.space: nn.Module | None = None
        self.spacetime: nn.Module | None = None

    @property
    def width(self) -> int:
        return int(self.size[0])

    @property
    def height(self) -> int:
        return int(self.size[1])

    @property
    def step(self) -> float:
        """Mean time between two frames."""
        return float(self.times[-1] - self.times[0]) / max(1, len(self.times) - 1)

    def camera(self, index: int) -> Camera:
        """Of a training frame."""
        return Camera(self.Ks[index], self.viewmats[index], self.width, self.height)

    def inner(self, points: Tensor) -> Tensor:
        """World points [..., 3] in -1..1: the box takes half of it, and all beyond is contracted into the rest
        (mip-NeRF 360, eq. 10, with the largest coordinate as norm)."""
        q = (points - self.center) / self.radius
        reach = q.abs().amax(-1, keepdim=True).clamp_min(1.0)
        return 0.5 * q * (2 - 1 / reach) / reach

    def outer(self, inner: Tensor) -> Tensor:
        """World points [..., 3] of places in -1..1: undoes :meth:`inner`."""
        most = inner.abs().amax(-1, keepdim=True)
        reach = 0.5 / (1 - most.clamp(0.5, 1 - 1e-6))
        q = torch.where(most <= 0.5, 2 * inner, inner / most.clamp_min(1e-6) * reach)
        return self.center + self.radius * q

    def shows(self, points: Tensor) -> Tensor:
        """Whether a labelled picture shows the places [P, 3], [P] bool."""
        size = self.places.shape[0]
        x, y, z = ((self.inner(points) + 1) / 2 * size).long().clamp(0, size - 1).unbind(-1)
        return self.places[x, y, z]

    def frame(self, time: float) -> int:
        """The frame nearest in time, among those whose features may be seen."""
        away = (self.times - time).abs()
        return int(torch.where(self.seen, away, torch.inf).argmin())

    def watching(self, points: Tensor, time: float) -> Tensor:
        """The frame nearest in time that has each of the places [P, 3] in view, [P] int64, among those whose features
        may be seen; of places that none has, the nearest of all."""
        found = torch.full((len(points),), self.frame(time), device=points.device)
        left = torch.arange(len(points), device=points.device)
        away = torch.where(self.seen, (self.times - time).abs(), torch.inf)
        for frame in away.argsort()[: int(self.seen.sum())].tolist():
            if not len(left):
                break
            pixels, z = self.camera(frame).project(points[left])
            inside = (z > 0) & (pixels >= 0).all(-1) & (pixels < self.size).all(-1)
            found[left[inside]] = frame
            left = left[~inside]
        return found

    def around(self, index: int, offset: int) -> int | None:
        """The frame ``offset`` from ``index``; None beyond the ends or where it may not be seen."""
        other = index + offset
        return other if 0 <= other < len(self.times) and bool(self.seen[other]) else None

    def read(self, positions: Tensor, frames: list[int], maps: Tensor | None = None) -> Tensor:
        """Features [P, K, C] of ``positions`` [P, K, 3], each where it projects in its own of the ``frames`` [K].

        ``maps`` [K, h, w, C] stand for the clip's own."""
        maps = self.maps[frames] if maps is None else maps
        shown, *_ = sample_trajectories(
            maps.permute(0, 3, 1, 2), positions, self.viewmats[frames], self.Ks[frames], self.width, self.height
        )
        return shown
