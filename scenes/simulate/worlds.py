"""A simulated world: bodies that move, stepped in time and filmed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ...kernels.raycast import TriangleMesh
from ..camera import Camera
from ..files import BadInput
from ..scene import Frame
from .bodies import Body, Color
from .cameras import Footage, Path, Walk
from .light import Sky
from .motions import Shifted


@dataclass(frozen=True)
class Geometry:
    """All triangles of a world at one time.

    Attributes:
        normals: unit normals at the triangles' corners, float32 [F, 3, 3].
        mesh: the triangles, ready for rays.
    """

    normals: Tensor
    mesh: TriangleMesh


@dataclass(frozen=True)
class Surface:
    """Whose each triangle is, which time does not change."""

    faces: Tensor  # int64 [F, 3]
    rest: Tensor  # float32 [F, 3, 3] corners at rest
    base: Tensor  # float32 [F, 3] sRGB base colour
    glow: Tensor  # float32 [F] light of its own, in multiples of its colour
    smooth: Tensor  # bool [F]
    body: Tensor  # int64 [F] index into World.bodies
    label: Tensor  # int64 [F]
    instance: Tensor  # int64 [F]
    part: Tensor  # int64 [F], -1 for none
    moves: Tensor  # bool [F]
    looks: Tensor  # int64 [F] index into World.looks


@dataclass
class World:
    """Bodies under a sky.

    Editing returns a new world, whose names and ids stay those of the world it came from.

    Attributes:
        name: what to call it.
        bodies: what is in it.
        center: the point that people film, [3].
        distance: from how far, scene units.
        seed: of everything random in it and in how it is filmed.
        time: now, normalised to 0..1 over the video.
        footage: how much is filmed of it unless one asks for other numbers.
        walk: who films it; unless given, someone who walks an arc about ``center``.
        labels, parts, instances, looks: names by id; the last are pairs (what it looks like, part
            or ""). Labels that are given may name classes that this world has nothing of.
    """

    name: str
    bodies: tuple[Body, ...]
    center: tuple[float, float, float] = (0.0, 0.0, 0.75)
    distance: float = 3.6
    seed: int = 0
    sky: Sky = Sky()
    time: float = 0.0
    footage: Footage = Footage()
    walk: Path | None = None
    labels: list[str] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    instances: list[str] = field(default_factory=list)
    looks: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self):
        self.walk = self.walk or Walk(self.center, self.distance, self.seed)
        if not self.instances:
            self.instances = [body.name for body in self.bodies]
            self.labels = self.labels or _unique(body.label for body in self.bodies)
            self.parts = _unique(part for body in self.bodies for part in body.parts)
            self.looks = _unique(
                (body.looks, part) for body in self.bodies for part in body.parts or ("",)
            )

    def step(self, dt: float) -> None:
        """Let ``dt`` of normalised time pass."""
        self.time += dt

    def body(self, name: str) -> Body:
        """The body of that name; :class:`BadInput` if there is none."""
        for body in self.bodies:
            if body.name == name:
                return body
        names = ", ".join(body.name for body in self.bodies)
        raise BadInput(f"{self.name}: no body {name!r}; there are {names}")

    def without(self, name: str) -> World:
        """The world with a body removed."""
        gone = self.body(name)
        return replace(self, bodies=tuple(body for body in self.bodies if body is not gone))

    def moved(self, name: str, offset: Sequence[float]) -> World:
        """The world with a body, and all its motion, shifted by ``offset`` [3]."""
        body = self.body(name)
        return self._swapped(body, replace(body, motion=Shifted(body.motion, tuple(offset))))

    def recoloured(self, name: str, color: Color) -> World:
        """The world with a body's base colour replaced by ``color`` (sRGB); its pattern stays."""
        body = self.body(name)
        return self._swapped(body, replace(body, colors=(tuple(color),) * len(body.colors)))

    def _swapped(self, old: Body, new: Body) -> World:
        bodies = tuple(new if body is old else body for body in self.bodies)
        return replace(self, bodies=bodies)

    @cached_property
    def surface(self) -> Surface:
        """The triangles of all bodies, in the order of :meth:`vertices`."""
        firsts = np.cumsum([0, *(len(body.shape.vertices) for body in self.bodies)])
        columns: dict[str, list] = {key: [] for key in Surface.__dataclass_fields__}
        for index, body in enumerate(self.bodies):
            shape, count = body.shape, len(body.shape.faces)
            parts = [self.parts.index(part) for part in body.parts] or [-1]
            looks = [self.looks.index((body.looks, part)) for part in body.parts or ("",)]
            columns["faces"].append(shape.faces + firsts[index])
            columns["rest"].append(shape.vertices[shape.faces])
            columns["base"].append(np.array(body.colors)[shape.part])
            columns["glow"].append(np.array(body.glow or (0.0,) * len(body.colors))[shape.part])
            columns["smooth"].append(shape.smooth)
            columns["body"].append(np.full(count, index))
            columns["label"].append(np.full(count, self.labels.index(body.label)))
            columns["instance"].append(np.full(count, self.instances.index(body.name)))
            columns["part"].append(np.array(parts)[shape.part])
            columns["moves"].append(np.full(count, body.moves))
            columns["looks"].append(np.array(looks)[shape.part])
        joined = {key: torch.from_numpy(np.concatenate(parts)) for key, parts in columns.items()}
        for key in ("rest", "base", "glow"):
            joined[key] = joined[key].float()
        return Surface(**joined)

    def vertices(self, time: float) -> Tensor:
        """All vertices at normalised time, float64 [V, 3]."""
        return torch.from_numpy(np.concatenate([body.vertices(time) for body in self.bodies]))

    def geometry(self, time: float) -> Geometry:
        """All triangles at normalised time. The last few times are kept; where nothing moves, all are one."""
        time = time if self.surface.moves.any() else 0.0
        if time not in self._posed:
            while len(self._posed) >= 4:
                self._posed.pop(next(iter(self._posed)), None)
            self._posed[time] = self._pose(time)
        return self._posed[time]

    @cached_property
    def _posed(self) -> dict[float, Geometry]:
        return {}

    def _pose(self, time: float) -> Geometry:
        vertices, surface = self.vertices(time), self.surface
        corners = vertices[surface.faces]
        normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        at_vertex = torch.zeros_like(vertices).index_add_(
            0, surface.faces.reshape(-1), normal.repeat_interleave(3, 0)
        )
        normals = torch.where(
            surface.smooth[:, None, None], at_vertex[surface.faces], normal[:, None]
        )
        normals = torch.nn.functional.normalize(normals.float(), dim=-1, eps=1e-20)
        return Geometry(normals, TriangleMesh(vertices.float(), surface.faces))

    def film(
        self, cameras: Camera | Sequence[Camera], times: Sequence[float] | None = None, **options
    ) -> list[Frame]:
        """Frames, one per camera and time (see :func:`.film.film`); without times, of now."""
        from .film import film

        cameras = [cameras] if isinstance(cameras, Camera) else list(cameras)
        times = [self.time] * len(cameras) if times is None else list(times)
        return film(self, cameras, times, **options)


def _unique(names) -> list:
    return list(dict.fromkeys(names))
