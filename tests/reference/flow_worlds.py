"""Flow fields made by hand: a ball that moves, a cube that rests, and a wall behind them, as two videos show them."""

import torch
from semaflow.fields.flow.dynamic import DynamicNetwork, Radiance
from semaflow.fields.flow.field import FlowField
from semaflow.scenes import Camera

from . import flow_clips

NAMES = ["wall", "cube", "ball"]
WALL, CUBE, BALL = range(3)
WIDTH, HEIGHT = 72, 48
RADIUS, HALF = 0.4, 0.25  # of the ball; of the cube
CUBE_AT = torch.tensor([0.9, 0.0, -0.5])
WALL_Y = 1.2
DENSE = 300.0
COLORS = {  # by clip: wall, cube, ball
    0: torch.tensor([[0.5, 0.5, 0.4], [0.2, 0.7, 0.3], [0.8, 0.3, 0.2]]),
    1: torch.tensor([[0.2, 0.3, 0.7], [0.7, 0.7, 0.2], [0.6, 0.2, 0.6]]),
}


def ball_at(time: float, clip: int = 0) -> torch.Tensor:
    """Where the ball is: it moves to the right in the first video, upwards in the second."""
    far = torch.tensor([1.2 * (time - 0.5), 0.0, 0.0]) if clip == 0 else torch.tensor([0.0, 0.0, 1.0 * (time - 0.5)])
    return torch.tensor([-0.3, 0.0, 0.3]) + far


def camera(width: int = WIDTH, height: int = HEIGHT) -> Camera:
    return Camera.look_at((0, -3.5, 0.2), (0, 0, 0), width, height)


class Network(DynamicNetwork):
    """Reads x, y, z, time, clip from its code; beyond the ball it shows the wall, which is not for it to show."""

    def code(self, embedded, latent):
        return embedded

    def velocity(self, code):
        speed = torch.tensor([[1.2, 0.0, 0.0], [0.0, 0.0, 1.0]]).to(code)[code[:, 4].long()]
        return torch.where(_in_ball(code)[:, None], speed, 0.0)

    def radiate(self, code, features=None, noise=0.0):
        inside = _in_ball(code)
        density = torch.where(inside, DENSE, 0.0) + torch.where(code[:, 1] > WALL_Y, DENSE, 0.0)
        colors = _colors(code[:, 4], torch.where(inside, BALL, WALL))
        return code, Radiance(colors, density, inside.to(code))

    def classify(self, flow_code, h):
        return 4.0 * torch.nn.functional.one_hot(torch.where(_in_ball(h), BALL, WALL), len(NAMES)).to(h)


class HandMade(FlowField):
    """See the module. Densities are per half size of the scene, which is 1.5."""

    def code(self, clip, points, time):
        moment = torch.as_tensor(time, dtype=points.dtype).expand(len(points), 1)
        number = next(k for k, other in enumerate(self.clips) if other is clip)
        return torch.cat([points, moment, torch.full_like(moment, number)], -1)

    def velocity(self, clip, points, time):
        return self.dynamic.velocity(self.code(clip, points, float(time)))

    def static_radiance(self, clip, points, directions, frame, noise=0.0):
        cube = ((points - CUBE_AT).abs() < HALF).all(-1)
        number = next(k for k, other in enumerate(self.clips) if other is clip)
        classes = torch.where(cube, CUBE, WALL)
        density = torch.where(cube | (points[:, 1] > WALL_Y), DENSE, 0.0)
        colors = _colors(torch.full_like(points[:, 0], number), classes)
        return Radiance(colors, density, None, 4.0 * torch.nn.functional.one_hot(classes, len(NAMES)).to(points))

    def densities(self, clip, points, time, depths, lengths):
        alpha = torch.ones_like(depths)
        return alpha / alpha.shape[1]


def field(samples: int = 96, **changes) -> HandMade:
    """Of the videos ``first`` and ``second``."""
    config = flow_clips.field(samples=samples, proposals=0, spacing="linear", **changes).config
    made = HandMade(config, {"first": flow_clips.clip(), "second": flow_clips.clip()}, NAMES)
    made.dynamic.__class__ = Network
    return made


def _in_ball(code):
    centers = torch.stack([ball_at(0.0, clip) for clip in (0, 1)])[code[:, 4].long()].to(code)
    speeds = torch.tensor([[1.2, 0.0, 0.0], [0.0, 0.0, 1.0]]).to(code)[code[:, 4].long()]
    return (code[:, :3] - centers - speeds * code[:, 3:4]).norm(dim=-1) < RADIUS


def _colors(clips, classes):
    return torch.stack([COLORS[0], COLORS[1]]).to(clips)[clips.long(), classes]
