"""Photographs from all around with known cameras: matched features start the field where flow follows nothing."""

import functools
from dataclasses import replace

import numpy as np
import torch
from semaflow.fields.gaussians.config import preset
from semaflow.fields.gaussians.start import start_field
from semaflow.fields.gaussians.trainer import Trainer
from semaflow.fields.metrics import psnr
from semaflow.scenes import Camera, Frame, Scene, simulate
from semaflow.scenes.motion.jumps import jumping
from semaflow.scenes.motion.masks import motion_masks
from semaflow.scenes.motion.matched import matched_features
from semaflow.scenes.motion.points import initial_points
from semaflow.scenes.simulate.film import film

from tests.reference.worlds import built


@functools.cache
def photographs(count: int = 12, step: float = 11.0) -> Scene:
    """A world at one moment from ``count`` places ``step`` degrees apart, in an order that jumps between them."""
    world = built("balls")
    cameras = []
    for place in (7 * index % count for index in range(count)):
        angle = np.radians(-150 + step * place)
        eye = np.add(world.center, [3.4 * np.cos(angle), 3.4 * np.sin(angle), 0.9 + 0.15 * (place % 3)])
        cameras.append(Camera.look_at(eye, world.center, 240, 160, 55.0))
    shots = film(world, cameras, [0.4] * count, flow=False)
    frames = [
        Frame(shot.name, shot.camera, index / (count - 1), image=shot.image, depth=shot.depth)
        for index, shot in enumerate(shots)
    ]
    return Scene("photographs", frames, train=list(range(count)))


def test_features_of_photographs_lie_on_the_true_surfaces():
    scene = photographs()
    errors = []
    for frame, seen in zip(scene.frames, matched_features(scene), strict=True):
        x, y = seen.pixels.long().unbind(-1)
        errors.append((1 / seen.inverse_depth / frame.depth[y, x] - 1).abs())
    errors = torch.cat(errors)
    assert len(errors) > 2500
    assert errors.median() < 0.004 and errors.quantile(0.95) < 0.03


def test_photographs_start_from_points_all_over_their_world():
    scene = replace(photographs(), notes=[])
    points = initial_points(scene, 3000)
    assert "matched" in scene.notes[-1] and 2000 < len(points) <= 3100
    near = 0
    for frame in scene.frames:
        pixels, depth = frame.camera.project(points.positions)
        x, y = pixels.floor().long().unbind(-1)
        inside = (depth > 0.1) & (x >= 0) & (y >= 0) & (x < 240) & (y < 160)
        true = frame.depth[y[inside], x[inside]]
        free = depth[inside] < 0.9 * true  # in the air between the camera and what it sees
        near += free.float().mean() / len(scene.frames)
    assert near < 0.06


def test_photographs_are_told_from_video_and_nothing_in_them_moves():
    scene, video = photographs(), simulate("balls", frames=6, width=160, height=90, test=0)
    assert jumping(scene) and not jumping(video)
    assert not motion_masks(scene).any()
    config = preset("fast").replaced(initial_points=500)
    assert start_field(replace(scene, notes=[]), config).light.shape[1] == 0


def test_photographs_without_texture_yield_no_points_and_say_so():
    scene = photographs()
    plain = [frame.with_layers(image=torch.full((160, 240, 3), 0.5)) for frame in scene.frames]
    # a plain picture is like any other: nothing tells that it jumps, unless some noise does
    generator = torch.Generator().manual_seed(0)
    noisy = [f.with_layers(image=f.image + 0.2 * torch.rand(160, 240, 3, generator=generator)) for f in plain]
    empty = replace(scene, frames=noisy, notes=[])
    assert len(initial_points(empty, 1000)) == 0 and "none" in empty.notes[-1]


def test_pictures_from_one_place_tell_no_depth():
    scene = photographs()
    frames = [frame.with_camera(scene.cameras[0]) for frame in scene.frames]
    assert all(len(seen.pixels) == 0 for seen in matched_features(replace(scene, frames=frames)))


def test_a_field_of_photographs_shows_views_held_out():
    """From points found by flow, which follows nothing here, the same training ends at 16.3 dB."""
    held_out = (2, 7)
    train = [index for index in range(12) if index not in held_out]
    scene = replace(photographs(), train=train, test=list(held_out), notes=[])
    config = preset("tiny").replaced(iterations=200, initial_points=3000, densify_until=150, position_until=200)
    torch.manual_seed(0)
    trainer = Trainer(start_field(scene, config), scene, config)
    while not trainer.finished:
        trainer.step()
    with torch.no_grad():
        shown = [psnr(trainer.field.render(f.camera, f.time).color, f.image) for f in scene.split("test")]
    assert sum(shown) / len(shown) > 17.7
