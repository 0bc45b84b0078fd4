"""What the simulator says about a video: every layer agrees with every other and with the laws."""

import dataclasses
import functools
import math

import numpy as np
import pytest
import torch
from semaflow.scenes import BadInput, Camera, simulate
from semaflow.scenes.simulate import world
from semaflow.scenes.simulate.cameras import Walk, held_out_times
from semaflow.scenes.simulate.film import decoded

from tests.reference.worlds import built

WORLDS = ("balls", "walker", "flag", "twins")
SIZE = {"width": 96, "height": 54}


@pytest.fixture(scope="module")
def scenes():
    return functools.cache(lambda name: simulate(built(name), frames=24, test=6, **SIZE))


@pytest.fixture(scope="module")
def balls(scenes):
    return scenes("balls")


def pixels(frame):
    height, width = frame.camera.height, frame.camera.width
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    return torch.stack([x, y], -1)


def read(picture, places):
    """Values of a picture [H, W, C] at pixels [..., 2], bilinear."""
    height, width = picture.shape[:2]
    grid = places / torch.tensor([width, height]) * 2 - 1
    layer = picture.permute(2, 0, 1)[None].float()
    found = torch.nn.functional.grid_sample(layer, grid.reshape(1, -1, 1, 2), align_corners=False)
    return found[0, :, :, 0].T.reshape(*places.shape[:-1], -1)


# --- the video -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WORLDS)
def test_a_scene_has_its_frames_times_and_names(scenes, name):
    scene = scenes(name)
    assert [frame.name for frame in scene.frames] == [f"{index:04d}" for index in range(30)]
    assert scene.times == pytest.approx([index / 23 for index in range(24)])
    assert (scene.points, scene.up, scene.frame_rate) == (None, (0.0, 0.0, 1.0), 24.0)
    frame = scene.frames[5]
    assert frame.image.shape == (54, 96, 3)
    assert frame.image.dtype == torch.float32
    assert 0 <= frame.image.min() < 0.2 < 0.7 < frame.image.max() <= 1
    for layer, names in (("label", scene.label_names), ("part", scene.part_names)):
        ids = getattr(frame, layer)
        assert ids.dtype == torch.int64
        assert ids.min() >= -1
        assert ids.max() < max(1, len(names))
    assert not scene.frames[0].has("flow_backward")
    assert not scene.frames[23].has("flow_forward")
    assert not scene.frames[24].has("flow_forward")


@pytest.mark.parametrize("name", WORLDS)
def test_moving_things_stay_in_view(scenes, name):
    made = built(name)
    moving = [made.instances.index(body.name) for body in made.bodies if body.moves]
    seen = dict.fromkeys(moving, 0)
    for frame in scenes(name).split("train")[::4]:
        assert 0.04 < frame.mask.float().mean() < 0.4
        border = torch.cat([frame.mask[0], frame.mask[:, 0], frame.mask[:, -1]])
        assert not border.any()
        assert torch.equal(frame.mask, torch.isin(frame.instance, torch.tensor(moving)))
        for instance in moving:
            seen[instance] += (frame.instance == instance).sum().item()
    assert min(seen.values()) > 6 * 40


def test_parts_belong_to_the_walker(scenes):
    scene = scenes("walker")
    frame = scene.frames[12]
    walker = frame.label == scene.label_names.index("walker")
    assert torch.equal(walker, frame.part >= 0)
    shown = {scene.part_names[part] for part in frame.part[walker].unique().tolist()}
    assert {"head", "torso"} <= shown
    assert len(shown) >= 6


def test_the_training_camera_walks_and_the_test_cameras_stand_beside_its_path():
    walk = Walk((0.0, 0.0, 0.75), 3.6)
    angles, steps = [], []
    for time in np.linspace(0, 1, 48):
        camera = walk.camera(time, **SIZE)
        angles.append(math.atan2(camera.center[1], camera.center[0]))
        aim, depth = camera.project(torch.tensor([[0.0, 0.0, 0.75]]))
        assert (aim[0] - torch.tensor([48.0, 27.0])).norm() < 4
        assert 3 < depth.item() < 4.5
        steps.append(camera.center)
    angles = np.unwrap(angles)
    assert 90 < math.degrees(angles[-1] - angles[0]) < 110
    jumps = (torch.stack(steps[1:]) - torch.stack(steps[:-1])).norm(dim=-1)
    assert jumps.max() < 0.2

    times = held_out_times(16, 48)
    on_frames = [abs(time * 47 - round(time * 47)) < 1e-9 for time in times]
    assert sum(on_frames) == 8
    for index, time in enumerate(times):
        camera, novel = walk.camera(time, **SIZE), walk.novel(index, time, **SIZE)
        here, there = (math.atan2(c.center[1], c.center[0]) for c in (camera, novel))
        off = abs(math.remainder(there - here, math.tau))
        assert 6 < math.degrees(off) < 14  # 8 to 12 but for the hand's shake
        assert 0.05 < abs(novel.center[2] - camera.center[2]) < 0.5  # 0.1 to 0.25 but for the steps and the shake


# --- depth, flow, tracks -------------------------------------------------------------------------


def test_flow_of_still_pixels_follows_from_depth_and_cameras(balls):
    for index, other in ((3, 4), (4, 3)):
        frame, after = balls.frames[index], balls.frames[other]
        flow = frame.flow_forward if other > index else frame.flow_backward
        still = ~frame.mask & (frame.depth > 0)
        points = frame.camera.unproject(pixels(frame), frame.depth)
        there, _ = after.camera.project(points)
        torch.testing.assert_close((there - pixels(frame))[still], flow[still], atol=5e-3, rtol=0)
        assert still.float().mean() > 0.6


def test_flow_of_a_rolling_ball_follows_from_its_pose(balls):
    body = built("balls").body("red ball")
    frame, after = balls.frames[9], balls.frames[10]
    ball = frame.instance == built("balls").instances.index("red ball")
    points = frame.camera.unproject(pixels(frame), frame.depth)[ball].double().numpy()
    (turn, center), (turned, moved) = body.motion.pose(frame.time), body.motion.pose(after.time)
    carried = (points - center) @ turn @ turned.T + moved
    there, _ = after.camera.project(torch.from_numpy(carried).float())
    flow = frame.flow_forward[ball]
    torch.testing.assert_close(there - pixels(frame)[ball], flow, atol=5e-3, rtol=0)
    assert flow.norm(dim=-1).max() > 0.5


def test_flow_of_what_is_infinitely_far_away_is_that_of_turning():
    empty = built("balls")
    for body in empty.bodies:
        if body.name != "column":
            empty = empty.without(body.name)
    walk = Walk((0.0, 0.0, 0.75), 3.6)
    cameras = [walk.camera(time, **SIZE) for time in (0.4, 0.42)]
    frame = empty.film(cameras, [0.4, 0.42])[0]
    sky = frame.label < 0
    assert sky.float().mean() > 0.8
    assert frame.depth[sky].abs().sum() == 0
    first, second = (camera.viewmat[:3, :3] for camera in cameras)
    K = cameras[0].K
    homography = K @ second @ first.T @ torch.linalg.inv(K)
    there = torch.cat([pixels(frame), torch.ones(54, 96, 1)], -1) @ homography.T
    expected = there[..., :2] / there[..., 2:] - pixels(frame)
    torch.testing.assert_close(frame.flow_forward[sky], expected[sky], atol=5e-3, rtol=0)


@pytest.mark.parametrize("name", WORLDS)
def test_flow_carries_colours_from_frame_to_frame(scenes, name):
    scene = scenes(name)
    here, after = scene.frames[11], scene.frames[12]
    there = pixels(here) + here.flow_forward
    # Seen in both frames: backward flow leads back.
    returned = read(after.flow_backward, there) + here.flow_forward
    inside = ((there > 1) & (there < torch.tensor([95.0, 53.0]))).all(-1)
    both = inside & (returned.norm(dim=-1) < 0.3)
    assert both.float().mean() > 0.7
    error = (read(after.image, there) - here.image).abs().mean(-1)
    unmoved = (after.image - here.image).abs().mean(-1)
    assert error[both].mean() < 0.03
    assert error[both].mean() < 0.4 * unmoved[both].mean()
    moving = both & here.mask
    assert error[moving].mean() < 0.04


@pytest.mark.parametrize("name", ["balls", "walker", "flag"])
def test_tracks_agree_with_flow_depth_and_instances(scenes, name):
    scene = scenes(name)
    tracks = scene.tracks
    bodies = built(name).bodies
    for instance, body in enumerate(bodies):
        if body.moves:
            assert (tracks.instance == instance).sum() >= 200
    still = ~torch.isin(
        tracks.instance, torch.tensor([i for i, body in enumerate(bodies) if body.moves])
    )
    assert still.sum() >= 100
    assert (tracks.positions[still] - tracks.positions[still][:, :1]).abs().max() < 1e-5
    assert tracks.visible[still].any(1).all()

    for index in (2, 13):
        frame, after = scene.frames[index], scene.frames[index + 1]
        places, depth = frame.camera.project(tracks.positions[:, index])
        later, _ = after.camera.project(tracks.positions[:, index + 1])
        column, row = places.long().unbind(-1)
        inside = (column >= 0) & (column < 96) & (row >= 0) & (row < 54) & (depth > 0)
        column, row = column.clamp(0, 95), row.clamp(0, 53)
        # Away from outlines, where the pixels around belong to the same thing.
        around = torch.stack(
            [
                frame.instance[(row + dy).clamp(0, 53), (column + dx).clamp(0, 95)]
                == tracks.instance
                for dy in (-1, 0, 1)
                for dx in (-1, 0, 1)
            ]
        ).all(0)
        visible = tracks.visible[:, index]
        assert not (visible & ~inside).any()
        assert visible.sum() > 100
        surface = read(frame.depth[..., None], places)[:, 0]
        inner = visible & around
        assert inner.sum() > 60
        near = (surface - depth)[inner].abs()
        assert near.median() < 0.01
        # What is hidden lies behind what is seen.
        hidden = inside & ~visible & around
        assert (depth - surface)[hidden].min() > -0.1
        flow = read(frame.flow_forward, places)[inner]
        difference = (flow - (later - places)[inner]).norm(dim=-1)
        assert difference.median() < 0.05
        assert difference.quantile(0.9) < 0.3
    assert torch.equal(tracks.times, torch.tensor(scene.times))


# --- light ---------------------------------------------------------------------------------------


def test_anti_aliasing_is_the_mean_of_finer_pixels_in_light(balls):
    camera = balls.frames[0].camera
    fine = built("balls").film(camera.resized(288, 162), [0.0], samples=1)[0]
    smooth = built("balls").film(camera, [0.0], samples=3)[0]
    parts = decoded(fine.image).view(54, 3, 96, 3, 3)
    exposed = parts.amax((1, 3)) < 1
    assert exposed.float().mean() > 0.95
    difference = (decoded(smooth.image) - parts.mean((1, 3))).abs()
    assert difference[exposed].max() < 1e-4


def test_a_ball_throws_its_shadow_away_from_the_sun():
    lifted = built("balls").moved("red ball", (0.0, 0.0, 0.7))
    center = lifted.body("red ball").vertices(0.0).mean(0)
    sun = np.array(lifted.sky.toward_sun)
    spot = center - sun * (center[2] / sun[2])
    above = Camera.look_at([*spot[:2], 3.0], [*spot[:2], 0.0], 32, 32, 12, up=(0.0, 1.0, 0.0))
    shaded = lifted.film(above, [0.0])[0]
    lit = lifted.without("red ball").film(above, [0.0])[0]
    middle = shaded.image[12:20, 12:20], lit.image[12:20, 12:20]
    assert (shaded.label[12:20, 12:20] == lifted.labels.index("floor")).all()
    assert (middle[0] < 0.8 * middle[1]).all()
    assert (middle[0] > 0.4 * middle[1]).all()  # the sky still lights it


# --- repeatability -------------------------------------------------------------------------------


def test_a_seed_gives_the_same_video_every_time():
    def film(twins):
        scene = simulate(twins, frames=4, test=1, width=40, height=24)
        return scene.frames[2], scene.tracks

    (one, tracks), (two, again) = film(built("twins")), film("twins")
    other, _ = film(world("twins", seed=1))
    for layer in ("image", "depth", "label", "features", "flow_forward"):
        assert torch.equal(getattr(one, layer), getattr(two, layer))
    assert torch.equal(tracks.positions, again.positions)
    assert torch.equal(one.camera.viewmat, two.camera.viewmat)
    assert (one.image - other.image).abs().mean() > 0.03


def test_order_of_looking_does_not_matter():
    one, two = (simulate(built("twins"), frames=3, test=0, width=40, height=24) for _ in range(2))
    backward = [frame.image for frame in reversed(one.frames)]
    depth = [frame.depth for frame in two.frames]
    forward = [frame.image for frame in two.frames]
    assert all(torch.equal(a, b) for a, b in zip(forward, reversed(backward), strict=True))
    assert torch.equal(depth[1], one.frames[1].depth)


def test_stepping_is_filming_later():
    still = built("twins")
    stepped = dataclasses.replace(still)
    camera = Walk(still.center, still.distance).camera(0.5, 40, 24)
    for _ in range(4):
        stepped.step(0.125)
    (later,), (same,) = stepped.film(camera), still.film(camera, [0.5])
    assert later.time == 0.5
    assert torch.equal(later.image, same.image)
    assert not torch.equal(later.image, still.film(camera)[0].image)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "bills"}, "balls, walker, flag, twins"),
        ({"name": "balls", "without": "pink ball"}, "no body 'pink ball'"),
        ({"name": "twins", "teacher": "strict"}, "patch or dense"),
        ({"name": "twins", "feature_dim": 0}, "dim >= 1"),
        ({"name": "twins", "frames": 1}, "frames >= 2"),
        ({"name": "twins", "samples": 0}, "samples"),
    ],
)
def test_mistakes_get_one_clear_line(arguments, message):
    with pytest.raises(BadInput, match=message) as caught:
        simulate(**arguments)
    assert "\n" not in str(caught.value)
