"""Light, texture and sight in simulated worlds, where the right answer is a formula."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from semaflow.scenes import Camera
from semaflow.scenes.simulate import meshes
from semaflow.scenes.simulate.bodies import body
from semaflow.scenes.simulate.cameras import ARC, BEGIN, Walk
from semaflow.scenes.simulate.film import decoded, encoded
from semaflow.scenes.simulate.light import Lamp, Sky
from semaflow.scenes.simulate.textures import SolidTexture
from semaflow.scenes.simulate.tracks import in_sight
from semaflow.scenes.simulate.worlds import World
from torch.nn.functional import normalize

GREY = (0.5, 0.5, 0.5)


def plain(shape):
    return World("plain", (body("thing", shape, [GREY], seed=0, contrast=0.0),))


def shining(world, normal):
    """Light from a grey surface with unit normals [..., 3] that nothing shades."""
    sun = normalize(torch.tensor(world.sky.toward_sun), dim=0)
    lambert = (normal @ sun).clamp(min=0)
    light = world.sky.sun * lambert + world.sky.ambient * (0.75 + 0.25 * normal[..., 2])
    return decoded(torch.tensor(0.5)) * light


def test_a_ball_is_lit_by_lamberts_law():
    world = plain(meshes.ball(1.0))
    camera = Camera.look_at((-4.0, -3.0, 2.0), (0.0, 0.0, 0.0), 64, 64, 35)
    frame = world.film(camera, [0.0], samples=1)[0]
    origin, directions = camera.rays()
    points = origin + directions * frame.depth[..., None]
    on_ball = frame.label == 0
    normal = normalize(points[on_ball], dim=-1)
    sun = normalize(torch.tensor(world.sky.toward_sun), dim=0)
    clear = (normal @ sun).abs() > 0.1  # the flat triangles shade themselves near the terminator
    light = decoded(frame.image[on_ball])[..., 0]
    assert on_ball.sum() > 1000
    torch.testing.assert_close(light[clear], shining(world, normal)[clear], atol=0.005, rtol=0)
    sky = decoded(frame.image[~on_ball])
    torch.testing.assert_close(sky, torch.tensor(world.sky.color).expand_as(sky), atol=1e-4, rtol=0)


def test_a_box_has_flat_faces():
    world = plain(meshes.box([1.0, 1.0, 1.0]))
    camera = Camera.look_at((-4.0, -3.0, 2.0), (0.0, 0.0, 0.0), 48, 48, 25)
    frame = world.film(camera, [0.0], samples=1)[0]
    light = decoded(frame.image)[..., 0][frame.label == 0]
    faces = shining(world, torch.tensor([[-1.0, 0, 0], [0, -1.0, 0], [0, 0, 1.0]]))
    assert (light[:, None] - faces).abs().amin(1).max() < 1e-4
    assert all(((light - face).abs() < 1e-4).sum() > 50 for face in faces)


@pytest.mark.parametrize("flipped", [False, True])
def test_a_sheet_is_lit_on_the_side_that_faces_the_sun(flipped):
    sheet = meshes.sheet(2.0, 2.0, 4, 4).moved([-1.0, 0.0, -1.0])
    if flipped:
        sheet.faces = sheet.faces[:, ::-1].copy()
    world = plain(sheet)
    sunny, shady = torch.tensor([0.0, -1.0, 0.0]), torch.tensor([0.0, 1.0, 0.0])
    for side in (sunny, shady):
        camera = Camera.look_at((side * 5).tolist(), (0.0, 0.0, 0.0), 8, 8, 10)
        light = decoded(world.film(camera, [0.0])[0].image)
        expected = shining(world, side).expand(8, 8, 3)
        torch.testing.assert_close(light, expected, atol=1e-4, rtol=0)


def test_srgb_by_the_standard():
    light = torch.tensor([0.0, 0.002, 0.18, 0.5, 1.0, 3.0])
    assert encoded(light).tolist() == pytest.approx([0, 0.02584, 0.46136, 0.73536, 1, 1], abs=1e-4)
    torch.testing.assert_close(decoded(encoded(light[:5])), light[:5], atol=1e-6, rtol=0)


def test_textures_are_rich_and_band_limited():
    generator = np.random.default_rng(0)
    points = torch.from_numpy(generator.uniform(-0.5, 0.5, (4000, 3)))
    grey = torch.full((4000, 3), 0.5)
    colors = {}
    for name, options in {
        "one": {"seed": 1},
        "same": {"seed": 1},
        "other": {"seed": 2},
        "tiled": {"seed": 1, "tile": 0.2},
        "plain": {"seed": 1, "contrast": 0.0},
    }.items():
        texture = SolidTexture([-0.5] * 3, [0.5] * 3, **options)
        colors[name] = texture.colors(points, grey)
        nudged = texture.colors(points + torch.tensor([texture.cell / 8, 0, 0]), grey)
        change = (nudged - colors[name]).abs()
        assert change.max() < 0.08  # full contrast takes several cells
    assert torch.equal(colors["one"], colors["same"])
    assert (colors["one"] - colors["other"]).abs().mean() > 0.08
    assert (colors["one"] - colors["tiled"]).abs().mean() > 0.02
    assert colors["one"].std() > 0.1
    assert torch.equal(colors["plain"], grey)
    assert ((colors["one"] - grey).abs() < 0.01).float().mean() < 0.15  # relief between blotches
    far = torch.from_numpy(points.numpy() + [0.1, 0, 0])
    texture = SolidTexture([-0.5] * 3, [0.6, 0.5, 0.5], seed=1)
    one, other = (texture.colors(p, grey)[:, 0] - 0.5 for p in (points, far))
    correlation = torch.corrcoef(torch.stack([one, other]))[0, 1]
    assert correlation.abs() < 0.4  # five cells on, little is left of a pattern


def test_what_lies_behind_the_camera_is_not_seen():
    world = plain(meshes.box([1.0, 1.0, 1.0]))
    front = Camera.look_at((0.0, -4.0, 0.0), (0.0, 0.0, 0.0), 32, 32, 40)
    away = Camera.look_at((0.0, -4.0, 0.0), (0.0, -8.0, 0.0), 32, 32, 40)
    near, far = torch.tensor([[0.1, -0.5, 0.1]]), torch.tensor([[0.1, 0.5, 0.1]])
    beside = Camera.look_at((0.0, -4.0, 0.0), (4.0, -2.0, 0.0), 32, 32, 40)
    assert in_sight(world, front, 0.0, near).item()
    assert not in_sight(world, front, 0.0, far).item()
    assert not in_sight(world, away, 0.0, near).item()
    assert not in_sight(world, beside, 0.0, near).item()


def test_test_cameras_stay_between_the_ends_of_the_walk():
    walk = Walk((0.0, 0.0, 0.75), 3.6)
    for index in range(8):
        for time in (0.0, 1.0):
            x, y, _ = walk.novel(index, time, 32, 18).center.tolist()
            past = (np.arctan2(y, x) - BEGIN) % (2 * np.pi)
            assert -1e-6 < past < ARC + 1e-6


def test_a_lamp_shines_by_its_distance_and_angle_and_throws_a_shadow():
    lamp = Lamp((0.3, -0.2, 1.5), power=2.0, color=(1.0, 0.8, 0.5), radius=0.4)
    floor = body("floor", meshes.box([4.0, 4.0, 0.1]).moved([0, 0, -0.05]), [GREY], seed=0, contrast=0.0)
    ball = body("ball", meshes.ball(0.2).moved([0.3, -0.2, 0.6]), [GREY], seed=0, contrast=0.0)
    world = World("lit", (floor, ball), sky=Sky(sun=0.0, ambient=0.1, lamps=(lamp,)))
    camera = Camera.look_at((0.0, -3.0, 2.0), (0.0, 0.0, 0.0), 64, 48, 40)
    frame = world.film(camera, [0.0], samples=1)[0]
    origin, directions = camera.rays()
    points = (origin + directions * frame.depth[..., None])[frame.label == 0]
    way = torch.tensor(lamp.place) - points
    square = way.square().sum(-1)
    shining = lamp.power * way[:, 2] / square.sqrt() / (square + lamp.radius**2)
    light = decoded(frame.image[frame.label == 0]) / decoded(torch.tensor(0.5))
    # How near the way to the lamp comes to the ball's centre says what lies in its shadow.
    center, unit = torch.tensor([0.3, -0.2, 0.6]), normalize(way, dim=-1)
    apart = torch.linalg.cross(center - points, unit).norm(dim=-1)
    clear, dark = apart > 0.21, apart < 0.19
    expected = 0.1 + shining[:, None] * torch.tensor(lamp.color)
    assert clear.sum() > 500
    assert dark.sum() > 50
    torch.testing.assert_close(light[clear], expected[clear], atol=0.005, rtol=0)
    torch.testing.assert_close(light[dark], torch.full_like(light[dark], 0.1), atol=0.005, rtol=0)


def test_parts_that_glow_are_as_bright_in_the_dark():
    shape = meshes.joined([meshes.box([1.0, 1.0, 1.0], 0), meshes.box([1.0, 1.0, 1.0], 1).moved([2.0, 0, 0])])
    colors = [GREY, (0.8, 0.4, 0.2)]
    thing = body("thing", shape, colors, seed=0, parts=("dull", "bright"), contrast=0.0)
    world = World("dark", (replace(thing, glow=(0.0, 0.5)),), sky=Sky(sun=0.0, ambient=0.0, color=(0.0, 0.0, 0.0)))
    frame = world.film(Camera.look_at((1.0, -6.0, 0.0), (1.0, 0.0, 0.0), 64, 32, 40), [0.0], samples=1)[0]
    assert frame.image[frame.part == 0].max() == 0
    bright = decoded(frame.image[frame.part == 1])
    torch.testing.assert_close(bright, (0.5 * decoded(torch.tensor(colors[1]))).expand_as(bright), atol=1e-4, rtol=0)


def test_stripes_are_alike_along_and_differ_across():
    texture = SolidTexture([-0.5] * 3, [0.5] * 3, seed=3, tile=(0.2, 9.0, 9.0), mottle=0.0)
    grid = np.stack(np.meshgrid(np.arange(-0.4, 0.5, 0.2), np.linspace(-0.4, 0.4, 200), indexing="ij"), -1)
    points = torch.from_numpy(np.concatenate([grid, np.zeros((5, 200, 1))], -1).reshape(-1, 3))
    grey = torch.full((1000, 3), 0.5)
    tones = texture.colors(points, grey)[:, 0]
    assert tones.view(5, 200).mean(1).std() > 0.03
    blotched = SolidTexture([-0.5] * 3, [0.5] * 3, seed=3, tile=(0.2, 9.0, 9.0)).colors(points, grey)
    assert (blotched[:, 0] - tones).abs().max() > 0.1
