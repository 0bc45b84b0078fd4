"""Reference views of a scene, and which of them tell most about a camera."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...scenes import BadInput, Camera, Frame, Scene
from .extractor import SMALLEST

PROBES = 8  # along each side of a view, and in depth, by which it is found out whether others overlap it
TRIANGULATED = 2000  # points that tell how far away a scene is of which nothing else does
TURN = 0.5  # how far apart opposite viewing directions are, as a share of the cameras' extent


class Views(nn.Module):
    """N pictures of a scene with their cameras; never those that it is tested on.

    Args:
        images: [N, 3, H, W] uint8. viewmats: [N, 4, 4]. Ks: [N, 3, 3]. near, far: z-depths between which matter is.
        times: [N] in 0..1; None: all 0. window: how far apart in time two views may be that show the same things;
            from 1 on, as if nothing moved.
    """

    def __init__(self, images: Tensor, viewmats: Tensor, Ks: Tensor, near, far, times: Tensor | None = None,
                 window=1.0):
        super().__init__()
        self.register_buffer("images", images)
        self.register_buffer("viewmats", viewmats)
        self.register_buffer("Ks", Ks)
        self.register_buffer("near", torch.as_tensor(near, dtype=torch.float32))
        self.register_buffer("far", torch.as_tensor(far, dtype=torch.float32))
        self.register_buffer("times", torch.zeros(len(images)) if times is None else times)
        self.register_buffer("window", torch.as_tensor(window, dtype=torch.float32))

    def __len__(self) -> int:
        return len(self.images)

    def replaced(self, **changes: Tensor) -> Views:
        """A copy with some of what it is made of changed, by the names of :class:`Views`."""
        return Views(**{**dict(self.named_buffers()), **changes})

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the pictures."""
        return self.images.shape[3], self.images.shape[2]

    def pictures(self, chosen: Tensor | slice = slice(None)) -> Tensor:
        """The ``chosen`` pictures, all by default: [V, 3, H, W] in 0..1."""
        return self.images[chosen].to(self.viewmats.dtype) / 255

    def nearest(self, viewmat: Tensor, time: float, count: int, without: int | None = None) -> Tensor:
        """The ``count`` views nearest to a camera in place and direction, nearest first, of those within the window
        about ``time``; where these are fewer, those nearest in time. ``without`` is left out.

        BadInput: there are fewer.
        """
        there = len(self) - (without is not None)
        if there < count:
            raise BadInput(f"reference views: expected at least {count}, got {there}")
        own, theirs = _center(viewmat[None]), _center(self.viewmats)
        extent = (theirs - theirs.mean(0)).norm(dim=-1).amax().clamp_min(1e-6)
        turn = 1 - self.viewmats[:, 2, :3] @ viewmat[2, :3]
        distance = (theirs - own).norm(dim=-1) / extent + TURN * turn
        apart = (self.times - time).abs()
        if without is not None:
            distance[without] = apart[without] = torch.inf
        least = apart.sort().values[count - 1]
        distance[apart > torch.maximum(least, self.window) + 1e-6] = torch.inf
        return distance.argsort(stable=True)[:count]

    def drawn(self, target: int, count: int, pool: float, generator: torch.Generator) -> Tensor:
        """``count`` views at random out of ``pool`` times as many that are nearest to the view ``target``, but it, of
        those within the window about it."""
        near = self._pool(target, count, pool)
        order = torch.randperm(len(near), generator=generator)[:count].to(near.device)
        return near[order.sort().values]

    def _pool(self, target: int, count: int, pool: float) -> Tensor:
        time = self.times[target]
        within = int(((self.times - time).abs() <= self.window + 1e-6).sum()) - 1
        size = max(count, min(within, round(count * pool)))
        return self.nearest(self.viewmats[target], time, size, target)

    def alone(self, count: int, pool: float) -> list[int]:
        """Which views show nothing, between near and far, that is in the picture of any from which :meth:`drawn` draws
        for them."""
        size = self.Ks.new_tensor(self.size)
        places = [torch.linspace(0.02, 0.98, PROBES).to(size) * side for side in size]
        x, y = torch.meshgrid(*places, indexing="ij")
        pixels = torch.stack([x, y, torch.ones_like(x)], -1).view(-1, 3)
        nearness = torch.linspace(0, 1, PROBES).to(size)
        depths = 1 / torch.lerp(1 / self.far, 1 / self.near, nearness)
        found = []
        for target, (viewmat, K) in enumerate(zip(self.viewmats, self.Ks, strict=True)):
            points = (depths[:, None, None] * (pixels @ torch.linalg.inv(K).T)).view(-1, 3)
            near = self._pool(target, count, pool)
            points = (points - viewmat[:3, 3]) @ viewmat[:3, :3]  # in the world
            points = points @ self.viewmats[near, :3, :3].mT + self.viewmats[near, None, :3, 3]
            x, y, depth = (points @ self.Ks[near].mT).unbind(-1)
            inside = (x >= 0) & (x < size[0] * depth) & (y >= 0) & (y < size[1] * depth)
            if not (inside & (depth > 0)).any():
                found.append(target)
        return found


def _center(viewmats: Tensor) -> Tensor:
    return -(viewmats[:, :3, :3].transpose(1, 2) @ viewmats[:, :3, 3:])[..., 0]


def views_of(scene: Scene, least: int = 1, window: float = 1.0) -> Views:
    """The training frames of ``scene`` as reference views; ``window`` as of :class:`Views`.

    BadInput: fewer than ``least``, pictures of different sizes or too small, or nothing that tells how far away the
    scene is.
    """
    frames = scene.split("train")
    if len(frames) < least:
        raise BadInput(f"{scene.name}: reference views: expected at least {least}, got {len(frames)}")
    size = frames[0].camera.width, frames[0].camera.height
    if min(size) < SMALLEST:
        raise BadInput(f"{scene.name}: pictures: expected at least {SMALLEST} pixels along a side, got {min(size)}")
    for frame in frames:
        if (frame.camera.width, frame.camera.height) != size:
            raise BadInput(
                f"{scene.name}: {frame.name}: expected {size[0]}x{size[1]} pixels as in {frames[0].name}, "
                f"got {frame.camera.width}x{frame.camera.height}"
            )
    images = torch.stack([(255 * frame.image).round().to(torch.uint8) for frame in frames]).permute(0, 3, 1, 2)
    viewmats = torch.stack([frame.camera.viewmat for frame in frames])
    Ks = torch.stack([frame.camera.K for frame in frames])
    times = torch.tensor([frame.time for frame in frames])
    return Views(images.contiguous(), viewmats, Ks, *bounds(scene, frames), times, window)


def bounds(scene: Scene, frames: list[Frame]) -> tuple[float, float]:
    """Z-depths between which the matter is that training frames show: of their depths, else of the scene's points, else
    of points triangulated from the pictures.

    BadInput: the scene has neither, and there is nothing to triangulate.
    """
    from ...scenes.motion.points import initial_points

    points = scene.points
    if points is None and not any(frame.has("depth") for frame in frames):
        points = initial_points(scene, TRIANGULATED)
    found = []
    for frame in frames:
        if frame.has("depth"):
            depth = frame.depth
            found.append(depth[depth > 0].flatten())
        elif points is not None:
            pixels, depth = frame.camera.project(points.positions.float())
            size = pixels.new_tensor([frame.camera.width, frame.camera.height])
            found.append(depth[(depth > 0) & ((pixels >= 0) & (pixels < size)).all(-1)])
    depths = torch.cat(found) if found else torch.zeros(0)
    if not len(depths):
        raise BadInput(
            f"{scene.name}: depth: expected depths of frames or points, to know how far away the scene is; "
            "nothing could be triangulated"
        )
    ordered = depths.double().sort().values
    low, high = ordered[int(0.001 * (len(ordered) - 1))], ordered[int(0.999 * (len(ordered) - 1))]
    return 0.9 * float(low), 1.1 * float(high)


def relative(viewmats: Tensor, camera: Camera) -> Tensor:
    """World-to-camera matrices [V, 4, 4] of views for points in the frame of ``camera``."""
    rotation, shift = camera.viewmat[:3, :3].to(viewmats), camera.viewmat[:3, 3].to(viewmats)
    made = viewmats.clone()
    made[:, :3, :3] = viewmats[:, :3, :3] @ rotation.T
    made[:, :3, 3] = viewmats[:, :3, 3] - made[:, :3, :3] @ shift
    return made
