"""A small world that needs no training: a red ball rolls past a blue one over a floor."""

from __future__ import annotations

import math
from types import SimpleNamespace

import torch
from semaflow.fields.gaussians.state import GaussianState
from semaflow.scenes import BadInput, Camera, Frame, Scene, Tracks
from semaflow.tasks.masks import object_masks
from semaflow.tasks.run import Run

RADIUS = 0.4
FLOOR, RED, BLUE = 0, 1, 2
COLORS = torch.tensor([[0.55, 0.5, 0.45], [0.85, 0.2, 0.15], [0.15, 0.3, 0.85]])
WIDTH, HEIGHT, FRAMES = 64, 48, 5


def sphere(count: int) -> torch.Tensor:
    """Points spread evenly over the unit sphere, [count, 3]."""
    i = torch.arange(count) + 0.5
    z = 1 - 2 * i / count
    angle = math.pi * (1 + 5**0.5) * i
    r = (1 - z * z).sqrt()
    return torch.stack([r * angle.cos(), r * angle.sin(), z], -1)


class BallsField:
    """Looks like a GaussianField: ``body`` [N] says what each Gaussian belongs to."""

    kind = primitives = "gaussians"
    names, slots = (), 0

    def __init__(self, semantic: bool = True, noise: float = 0.05):
        ball = sphere(160) * RADIUS
        x, y = torch.meshgrid(torch.linspace(-2, 2, 21), torch.linspace(-2, 2, 21), indexing="ij")
        floor = torch.stack([x, y, torch.full_like(x, -RADIUS)], -1).reshape(-1, 3)
        blue = ball + torch.tensor([0.0, 0.9, 0.0])
        self.rest = torch.cat([floor, ball, blue])
        self.body = torch.tensor([FLOOR] * len(floor) + [RED] * len(ball) + [BLUE] * len(blue))
        generator = torch.Generator().manual_seed(0)
        table = torch.linalg.qr(torch.randn(8, 8, generator=generator))[0][:3]
        self.table = table
        spread = noise * torch.randn(len(self.rest), 8, generator=generator)
        self.features = table[self.body] + spread if semantic else None
        self.label_names = ["floor", "red ball", "blue ball"]

    @property
    def count(self) -> int:
        return len(self.rest)

    @staticmethod
    def offset(time: float) -> torch.Tensor:
        return torch.tensor([1.4 * (time - 0.5), 0.0, 0.0])

    def at(self, time: float) -> GaussianState:
        moved = torch.where((self.body == RED)[:, None], self.rest + self.offset(time), self.rest)
        size = torch.where(self.body == FLOOR, 0.11, 0.045)
        return GaussianState(
            means=moved,
            quats=torch.tensor([1.0, 0, 0, 0]).repeat(self.count, 1),
            scales=size[:, None].repeat(1, 3),
            opacities=torch.full((self.count,), 0.95),
            sh=((COLORS[self.body] - 0.5) / 0.28209479)[:, None],
            features=self.features,
            time=time,
            background=torch.zeros(3),
            classes=torch.nn.functional.one_hot(self.body, 3).float(),
        )

    def render(self, camera, time, channels=("color",), values=None):
        return self.at(time).render(camera, channels, values)

    def positions(self, times) -> torch.Tensor:
        return torch.stack([self.at(float(t)).means for t in times], 1)

    def trajectories(self, points, time, times) -> torch.Tensor:
        start = self.at(time).means
        rides = self.body[torch.cdist(points, start).argmin(1)] == RED
        steps = torch.stack([self.offset(float(t)) - self.offset(time) for t in times])
        return points[:, None] + rides[:, None, None] * steps

    def semantics(self):
        return self.features

    def decode(self, codes):
        return codes


class BallsTeacher:
    """Knows the balls by word and by click."""

    name, cached = "balls", False

    def __init__(self, field: BallsField, can_mask: bool = False):
        self.field, self.can_mask, self.dim = field, can_mask, 8

    def of_frame(self, frame, neighbour=None):
        return frame.features

    def text(self, prompts):
        words = {"floor": FLOOR, "red": RED, "blue": BLUE}
        rows = []
        for prompt in prompts:
            known = [self.field.table[body] for word, body in words.items() if word in prompt]
            rows.append(known[0] if known else torch.full((8,), 8**-0.5))
        return torch.stack(rows)

    def mask(self, image, clicks, labels=None, box=None, grain=None):
        # As a mask decoder would: everything of the clicked pixel's colour.
        (x, y) = clicks[0]
        near = (image - image[int(y), int(x)]).abs().amax(-1) < 0.15
        if not near.any():
            raise BadInput("mask: empty")
        return near

    def masks(self, image, clicks, labels=None, box=None):
        return self.mask(image, clicks)[None], torch.ones(1)


def balls_scene(field: BallsField, test: int = 2) -> Scene:
    """The world filmed by a camera that walks by; truth by the field's own rendering."""
    cameras = [
        Camera.look_at((0.5 * u - 0.25, -3.0, 1.2), (0, 0.3, 0), WIDTH, HEIGHT, fov=50)
        for u in torch.linspace(0, 1, FRAMES).tolist()
    ]
    times = torch.linspace(0, 1, FRAMES)
    views = [(camera, time.item()) for camera, time in zip(cameras, times, strict=True)]
    views += [
        (Camera.look_at((0.8, -2.8, 1.5), (0, 0.3, 0), WIDTH, HEIGHT, fov=50), 0.3 + 0.4 * i)
        for i in range(test)
    ]
    frames = []
    for index, (camera, time) in enumerate(views):
        state = field.at(time)
        one_hot = torch.nn.functional.one_hot(field.body, 3).float()
        masks = object_masks(state, one_hot, camera)
        instance = torch.where(masks.sum(-1) > 0.5, masks.argmax(-1), -1)
        table = torch.cat([field.table, torch.zeros(1, 8)])
        features = table[instance]
        layers = {
            "image": state.render(camera).color.clamp(0, 1),
            "instance": instance,
            "label": instance.clone(),
            "mask": instance >= RED,
            "features": features,
        }
        frames.append(Frame(f"{index:04d}", camera, time, **layers))
    balls = field.body >= RED
    tracked = balls.nonzero()[::4, 0]
    positions = field.positions(times)[tracked]
    body = field.body[tracked]
    visible = torch.ones(positions.shape[:2], dtype=torch.bool)
    return Scene(
        "balls",
        frames,
        train=list(range(FRAMES)),
        test=list(range(FRAMES, FRAMES + test)),
        tracks=Tracks(positions, visible, times, body, body, torch.full_like(body, -1)),
        label_names=list(field.label_names),
    )


class BallsRun(Run):
    """An open run folder that holds the field and scene in memory."""

    def __init__(self, folder, field: BallsField, can_mask: bool = False):
        super().__init__(folder, {"method": field.kind})
        self.__dict__["field"] = field
        self.__dict__["scenes"] = [balls_scene(field)]
        self._teacher = BallsTeacher(field, can_mask)

    def teacher(self):
        return self._teacher


class BallsFlow:
    """The world of a ``BallsField`` as a field that has only what every field has: no Gaussians, no features.

    ``since``: before this time the class of the red ball is not known.
    """

    kind, names, slots = "flow", (), 0

    def __init__(self, since: float = 0.0):
        self.balls, self.since = BallsField(), since
        self.label_names = self.balls.label_names

    def at(self, time):
        state = self.balls.at(time)
        if time < self.since:
            state.classes[self.balls.body == RED] = 0
        return SimpleNamespace(render=lambda camera, channels=("color",), values=None: state.render(camera, channels))

    def render(self, camera, time, channels=("color",), values=None):
        assert values is None
        return self.at(time).render(camera, channels)

    def trajectories(self, points, time, times):
        return self.balls.trajectories(points, time, times)

    def semantics(self):
        return None


def flow_run(folder, since: float = 0.0) -> BallsRun:
    """A run whose field is a ``BallsFlow``."""
    run = BallsRun(folder, BallsField())
    run.__dict__["field"], run.config["method"] = BallsFlow(since), "flow"
    return run
