"""Training: a held-out floor a broken field would miss, exact resumption, lifting."""

import functools
from dataclasses import replace

import pytest
import torch
from semaflow.fields.gaussians.config import preset
from semaflow.fields.gaussians.semantics import lift, render_features
from semaflow.fields.gaussians.start import start_field
from semaflow.fields.gaussians.trainer import Trainer
from semaflow.fields.losses import area_average
from semaflow.fields.metrics import psnr
from semaflow.kernels.splat import CELL
from semaflow.scenes import simulate
from semaflow.scenes.motion.masks import motion_masks


@functools.cache
def world():
    return simulate("balls", frames=16, width=96, height=54, test=4)


def trainer(**changes):
    torch.manual_seed(0)
    config = preset("tiny").replaced(initial_points=1500, max_gaussians=2500, **changes)
    scene = world()
    maps = [frame.features for frame in scene.split("train")]
    return Trainer(start_field(scene, config), scene, config, maps, moving=motion_masks(scene))


def held_out(field):
    with torch.no_grad():
        return sum(psnr(field.render(f.camera, f.time).color, f.image) for f in world().split("test")) / 4


def test_training_learns_novel_views():
    fitted = trainer(iterations=250, densify_from=60, densify_until=200, densify_every=40)
    before = held_out(fitted.field)
    while not fitted.finished:
        fitted.step()
    after = held_out(fitted.field)
    assert after > 17.0, f"{before:.2f} -> {after:.2f} dB"
    assert after > before + 3


@pytest.mark.parametrize("motion", ["scaffold", "network", "nodes"])
def test_a_resumed_run_is_the_same_run(tmp_path, motion):
    settings = {
        "motion": motion, "iterations": 24, "densify_from": 8, "densify_until": 20, "densify_every": 8,
        "network_depth": 2, "network_width": 16, "pose_rate": 1e-3,
    }
    straight = trainer(**settings)
    while not straight.finished:
        straight.step()
    first = trainer(**settings)
    for _ in range(11):
        first.step()
    first.save_checkpoint(tmp_path / "checkpoint.safetensors")
    second = trainer(**settings)
    second.load_checkpoint(tmp_path / "checkpoint.safetensors")
    assert second.iteration == 11
    while not second.finished:
        second.step()
    for (name, mine), (_, its) in zip(
        straight.field.state_dict().items(), second.field.state_dict().items(), strict=True
    ):
        assert torch.equal(mine, its), name
    assert torch.equal(straight.poses, second.poses)


def test_lifting_gives_back_features_that_were_rendered():
    fitted = trainer(iterations=80, semantics="none")
    while not fitted.finished:
        fitted.step()
    field, scene = fitted.field, world()
    truth = torch.nn.functional.normalize(
        torch.stack([field.means[:, 0], field.means[:, 1].abs(), torch.ones(field.count)], -1).detach(), dim=-1
    )
    maps = [render_features(field, truth, f.camera, f.time, 4, 7).detach() for f in scene.split("train")]
    seen = lift(field, scene.cameras, scene.times, maps, sweeps=0)
    swept = lift(field, scene.cameras, scene.times, maps, sweeps=6)

    def error(codes):
        views = [render_features(field, codes, f.camera, f.time, 4, 7) for f in scene.split("test")]
        wanted = [render_features(field, truth, f.camera, f.time, 4, 7) for f in scene.split("test")]
        return sum((a - b).abs().mean() for a, b in zip(views, wanted, strict=True)).item() / len(views)

    assert error(swept) < 0.5 * error(seen)
    assert error(swept) < 0.05


def test_maps_finer_than_cells_of_the_frames_are_averaged():
    field, camera = trainer(iterations=1).field, world().cameras[0]
    height, width = camera.height // CELL, camera.width // CELL
    fine = [torch.rand(3 * height, 3 * width, 2, generator=torch.Generator().manual_seed(k)) for k in range(16)]
    coarse = [area_average(values, height, width) for values in fine]
    for sweeps in (0, 3):
        codes = [lift(field, world().cameras, world().times, maps, sweeps) for maps in (fine, coarse)]
        assert float(codes[0].abs().max()) > 0.1
        torch.testing.assert_close(*codes, rtol=0, atol=1e-6)


def test_constant_maps_lift_to_the_constant():
    fitted = trainer(iterations=1)
    maps = [torch.tensor([0.3, -0.7]).expand(4, 7, 2)] * 16
    codes = lift(fitted.field, world().cameras, world().times, maps, sweeps=0)
    reached = codes.abs().sum(-1) > 0
    assert reached.float().mean() > 0.5
    assert torch.allclose(codes[reached], torch.tensor([0.3, -0.7]), atol=1e-4)


def test_distillation_starts_from_lifted_features_and_reaches_geometry():
    fitted = trainer(iterations=12, semantics="distill", feature_from=5)
    for _ in range(5):
        fitted.step()
    assert fitted.field.features.shape[1] == 0
    terms = fitted.step()
    assert fitted.field.features.shape[1] == 32
    assert terms["features"] > 0
    fitted.optimizer.zero_grad()
    frame, grid = world().frames[3], fitted.maps[3]
    rendered = render_features(fitted.field, fitted.field.features, frame.camera, frame.time, *grid.shape[:2])
    (rendered - grid).abs().mean().backward()
    assert fitted.field.means.grad.abs().max() > 0
    assert fitted.field.opacity_logits.grad.abs().max() > 0


def test_a_camera_that_only_turns_trains_as_well():
    """Its cameras have no extent: rates and thresholds go by the distance of what it films."""
    scene = world()
    where = scene.cameras[0].center
    spread = torch.stack([camera.center for camera in scene.cameras]).std(0).norm()
    config = preset("tiny").replaced(initial_points=1500, max_gaussians=2500, motion="still", iterations=120)
    field = start_field(scene, config)
    turning = replace(scene, frames=[turned(frame, where) for frame in scene.frames], points=None)
    assert turning.extent < 0.01 < spread
    fitted = Trainer(field, turning, config)
    distance = (field.means - where).norm(dim=-1).median()
    assert 0.4 * distance < fitted.extent < 0.6 * distance
    start = field.means.detach().clone()
    large = int((field.scales.amax(-1) > 0.1 * turning.extent).sum())
    while not fitted.finished:
        fitted.step()
    assert large > 1000 and fitted.field.count > 1000
    assert (fitted.field.means[:1000].detach() - start[:1000]).norm(dim=-1).median() > 1e-3 * distance


def test_what_moves_is_held_to_the_motion_masks():
    errors = []
    for weight in (0.0, 0.2):
        fitted = trainer(iterations=120, densify_from=500, moving=weight)
        while not fitted.finished:
            fitted.step()
        with torch.no_grad():
            states = [fitted.field.at(time) for time in fitted.scene.times]
            errors.append(sum(float(fitted._moving_error(t, state)) for t, state in enumerate(states)) / len(states))
    assert errors[1] < 0.8 * errors[0]


def turned(frame, where):
    """The frame's camera put at ``where``."""
    viewmat = frame.camera.viewmat.clone()
    viewmat[:3, 3] = -viewmat[:3, :3] @ where
    return frame.with_camera(replace(frame.camera, viewmat=viewmat))
