"""Filming a world: every pixel by rays, and the truth about what each pixel shows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ...kernels.raycast import Hits
from ..camera import Camera
from ..files import BadInput
from ..scene import Frame
from .teacher import Embeddings

if TYPE_CHECKING:
    from .light import Lamp
    from .worlds import Geometry, World

LIFT = 1e-3  # scene units off the surface that shadow rays start, to clear the triangle they leave


def film(
    world: World,
    cameras: Sequence[Camera],
    times: Sequence[float],
    names: Sequence[str] | None = None,
    samples: int = 2,
    flow: bool = True,
    teacher: Embeddings | None = None,
) -> list[Frame]:
    """Frames of ``world`` by ``cameras`` at normalised ``times``.

    Each layer is computed when it is first asked for.

    Args:
        names: frame names, "0000"... unless given.
        samples: rays per pixel and axis.
        flow: whether the frames follow one another, so that they have flow to the next and from the
            previous one.
        teacher: gives the frames a ``features`` layer.

    Raises:
        BadInput: as many times as cameras are needed, and at least one ray per pixel.
    """
    if len(cameras) != len(times):
        raise BadInput(
            f"{world.name}: expected one time per camera, got {len(times)} for {len(cameras)}"
        )
    if samples < 1:
        raise BadInput(
            f"{world.name}: samples: expected at least 1 ray per pixel and axis, got {samples}"
        )
    names = [f"{index:04d}" for index in range(len(cameras))] if names is None else list(names)
    shots = [
        Shot(world, camera, float(time), samples)
        for camera, time in zip(cameras, times, strict=True)
    ]
    frames = []
    for index, (name, shot) in enumerate(zip(names, shots, strict=True)):
        layers = {
            layer: getattr(shot, layer)
            for layer in ("image", "depth", "label", "instance", "part", "mask")
        }
        if flow and index + 1 < len(shots):
            layers["flow_forward"] = partial(shot.flow, shots[index + 1])
        if flow and index > 0:
            layers["flow_backward"] = partial(shot.flow, shots[index - 1])
        if teacher is not None:
            layers["features"] = partial(_features, shot, teacher, name)
        frames.append(Frame(name, shot.camera, shot.time, **layers))
    return frames


def _features(shot: Shot, teacher: Embeddings, name: str) -> Tensor:
    return teacher.map(shot.ids(shot.world.surface.looks), f"{shot.world.name} {name}")


class Shot:
    """One camera at one time."""

    def __init__(self, world: World, camera: Camera, time: float, samples: int):
        self.world, self.camera, self.time, self.samples = world, camera, time, samples

    @cached_property
    def hits(self) -> Hits:
        """What the rays through the pixel centres meet; distances are z-depths."""
        origin, directions = self.camera.rays()
        directions = directions.reshape(-1, 3)
        return self.world.geometry(self.time).mesh.cast(origin.expand_as(directions), directions)

    def ids(self, per_face: Tensor) -> Tensor:
        """Per-face integers [F] as a picture [H, W], -1 where nothing is hit."""
        hit = self.hits.face >= 0
        return self._picture(torch.where(hit, per_face[self.hits.face.clamp(min=0)], -1))

    def label(self) -> Tensor:
        return self.ids(self.world.surface.label)

    def instance(self) -> Tensor:
        return self.ids(self.world.surface.instance)

    def part(self) -> Tensor:
        return self.ids(self.world.surface.part)

    def mask(self) -> Tensor:
        return self.ids(self.world.surface.moves.long()) == 1

    def depth(self) -> Tensor:
        return self._picture(self.hits.distance)

    def flow(self, other: Shot) -> Tensor:
        """Where the matter at each pixel centre is in the other shot, less the pixel, [H, W, 2].

        Where nothing is hit, the flow of what is infinitely far away.
        """
        corners = self.world.vertices(other.time)[self.world.surface.faces]
        there = self.hits.interpolate(corners)
        far = self.camera.rays()[1].reshape(-1, 3).double() * 1e9
        there = torch.where((self.hits.face >= 0)[:, None], there, far)
        after, _ = _double(other.camera).project(there)
        y, x = torch.meshgrid(
            torch.arange(self.camera.height), torch.arange(self.camera.width), indexing="ij"
        )
        return (self._picture(after) - torch.stack([x, y], -1) - 0.5).float()

    def image(self) -> Tensor:
        """The picture, [H, W, 3] sRGB: the mean light of samples x samples rays per pixel."""
        width, height, samples = self.camera.width, self.camera.height, self.samples
        fine = self.camera.resized(width * samples, height * samples)
        origin, directions = fine.rays()
        directions = directions.reshape(-1, 3)
        geometry = self.world.geometry(self.time)
        hits = geometry.mesh.cast(origin.expand_as(directions), directions)
        light = self._shade(geometry, hits, origin, directions)
        light = light.view(height, samples, width, samples, 3).mean((1, 3))
        return encoded(light)

    def _shade(self, geometry: Geometry, hits: Hits, origin: Tensor, directions: Tensor) -> Tensor:
        """Linear light [N, 3] that rays bring back: Lambert's law under sun, sky and lamps, and glow."""
        surface, sky = self.world.surface, self.world.sky
        light = torch.tensor(sky.color).repeat(len(directions), 1)
        seen = (hits.face >= 0).nonzero()[:, 0]
        hits = Hits(hits.face[seen], hits.distance[seen], hits.barycentric[seen])
        normal = normalize(hits.interpolate(geometry.normals), dim=-1)
        way = directions[seen]
        facing = (normal * way).sum(-1, keepdim=True)
        normal = torch.where(facing > 0, -normal, normal)  # sheets have two sides

        rest = hits.interpolate(surface.rest)
        base, body = surface.base[hits.face], surface.body[hits.face]
        albedo = torch.empty_like(base)
        for index, thing in enumerate(self.world.bodies):
            chosen = (body == index).nonzero()[:, 0]
            if len(chosen):
                albedo[chosen] = decoded(thing.texture.colors(rest[chosen], base[chosen]))

        toward_sun = normalize(torch.tensor(sky.toward_sun), dim=0)
        lambert = (normal @ toward_sun).clamp(min=0)
        lit = (lambert > 0).nonzero()[:, 0]
        place = origin + hits.distance[:, None] * way + LIFT * normal
        shaded = geometry.mesh.occluded(place[lit], toward_sun.expand_as(place[lit]))
        lambert[lit] *= (~shaded).float()
        glow = sky.ambient * (0.75 + 0.25 * normal[:, 2])
        received = (sky.sun * lambert + glow)[:, None]
        for lamp in sky.lamps:
            received = received + _lamplight(lamp, geometry, place, normal)
        light[seen] = albedo * (received + surface.glow[hits.face, None])
        return light

    def _picture(self, values: Tensor) -> Tensor:
        return values.view(self.camera.height, self.camera.width, *values.shape[1:])


def _lamplight(lamp: Lamp, geometry: Geometry, place: Tensor, normal: Tensor) -> Tensor:
    """Linear light [N, 3] that a white surface of unit ``normal`` [N, 3] at ``place`` [N, 3] gets from a lamp."""
    way = torch.tensor(lamp.place) - place
    square = way.square().sum(-1)
    strength = lamp.power * (normal * way).sum(-1).clamp(min=0) / square.sqrt() / (square + lamp.radius**2)
    lit = (strength > 0).nonzero()[:, 0]
    strength[lit] *= (~geometry.mesh.occluded(place[lit], way[lit], far=1.0)).float()
    return strength[:, None] * torch.tensor(lamp.color)


def encoded(light: Tensor) -> Tensor:
    """Linear light to sRGB in 0..1 (IEC 61966-2-1)."""
    light = light.clamp(0, 1)
    return torch.where(
        light <= 0.0031308, 12.92 * light, 1.055 * light.clamp(min=1e-8) ** (1 / 2.4) - 0.055
    )


def decoded(color: Tensor) -> Tensor:
    """sRGB in 0..1 to linear light."""
    return torch.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)


def _double(camera: Camera) -> Camera:
    return Camera(camera.K.double(), camera.viewmat.double(), camera.width, camera.height)
