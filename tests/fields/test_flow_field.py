"""The parts of a flow field on a tiny clip: coordinates, sampling, trajectories, branches, clips side by side."""

import pytest
import torch
from semaflow.fields import sampling
from semaflow.fields.flow.config import ABLATIONS, BASELINES, PRESETS, preset
from semaflow.fields.flow.field import FlowField
from semaflow.fields.flow.paths import follow
from semaflow.fields.flow.render import Rays, trace
from semaflow.fields.flow.start import start_field
from semaflow.fields.flow.trainer import FlowTrainer
from semaflow.scenes import BadInput, Camera
from semaflow.scenes.files import read_tensors, write_tensors

from tests.reference import flow_clips


def rays(count: int = 7) -> Rays:
    camera = Camera.look_at((0, -3, 0.3), (0, 0, 0), 12, 8)
    center, directions = camera.rays()
    directions = directions.reshape(-1, 3)[:: 96 // count][:count]
    return Rays(center.expand_as(directions), directions)


def test_the_whole_world_lies_within_one():
    clip = flow_clips.clip()
    near = torch.tensor([[0.3, -0.6, 1.4]])
    assert torch.allclose(clip.inner(near), near / 3)
    far = torch.tensor([[1e4, 5.0, -2.0]])
    assert 0.99 < clip.inner(far).abs().max() < 1
    edge = torch.tensor([[1.5, 0.0, 0.0], [1.5001, 0.0, 0.0]])
    assert clip.inner(edge).diff(dim=0).abs().max() < 1e-4


@pytest.mark.parametrize("spacing", sampling.SPACINGS)
def test_samples_go_from_near_to_far(spacing):
    u = torch.linspace(0, 1, 9)
    z = sampling.depth_at(u, 0.5, 8.0, spacing)
    ends = {
        "linear": (4.25, 8.0), "log": (2.0, 8.0), "inverse": (1 / (0.5 * (2 + 0.125)), 8.0),
        "ndc": (1 / (0.5 * (2 + 0.04)), 25.0),
    }  # fmt: skip
    assert (z.diff() > 0).all() and z[0] == pytest.approx(0.5)
    assert (z[4].item(), z[8].item()) == pytest.approx(ends[spacing], rel=1e-5)


def test_samples_gather_where_the_weight_is():
    borders = sampling.even(2, 10, None, torch.zeros(1))
    weights = torch.full((2, 10), 1e-4)
    weights[0, 7] = 1.0
    again = sampling.again(borders, weights, 20, None)
    assert (again.diff(dim=1) >= 0).all() and again.min() == 0 and again.max() == 1
    assert ((again[0] > 0.6) & (again[0] < 0.9)).float().mean() > 0.8
    assert again[1].diff().max() < 0.1  # nothing stands out: about even


def test_points_follow_a_constant_velocity_forward_and_back():
    clip, config = flow_clips.clip(), preset("fast").replaced(flow_points=5, flow_stride=2, method="euler")
    points, wind = torch.randn(6, 3), torch.tensor([0.4, 0.0, -0.2])
    paths = follow(points, 0.5, clip, lambda t, x: wind.expand_as(x), config)
    assert paths.frames == [0, 1, 2, 3, 4] and paths.frames[paths.own] == 2
    for k, frame in enumerate(paths.frames):
        expected = points + wind * (clip.times[frame] - 0.5)
        assert torch.allclose(paths.positions[:, k], expected, atol=1e-6)
    assert [paths.frames[k] for k in paths.tokens] == [2, 0, 4, 2, 2]  # 2 - 4 and 2 + 4 are beyond the ends


def test_beyond_the_clips_ends_the_own_frame_stands_in():
    clip, config = flow_clips.clip(), preset("fast").replaced(flow_points=3, flow_stride=1)
    paths = follow(torch.randn(2, 3), 0.0, clip, lambda t, x: torch.zeros_like(x), config)
    assert paths.before is None and paths.frames[paths.after] == 1
    assert [paths.frames[k] for k in paths.tokens] == [0, 0, 1]


def test_between_frames_features_are_read_at_frames():
    clip, config = flow_clips.clip(), preset("fast").replaced(flow_points=3, flow_stride=1)
    wind = torch.tensor([1.0, 0.0, 0.0])
    paths = follow(torch.zeros(1, 3), 0.3, clip, lambda t, x: wind.expand_as(x), config)
    assert paths.frames == [0, 1, 2]
    assert torch.allclose(paths.positions[0, :, 0], clip.times[:3] - 0.3, atol=1e-6)


def test_where_nothing_moves_the_static_branch_is_all_that_is_seen():
    field = flow_clips.field()
    torch.nn.init.constant_(field.dynamic.blending.bias, -50.0)
    traced = trace(field, field.clip, rays(), 0.5)
    full, static = traced.layers.full.values, traced.layers.static.values
    for name in ("color", "logits"):
        assert torch.allclose(full[name], static[name], atol=1e-5)
    assert torch.allclose(traced.layers.full.opacities, torch.ones(7, 1), atol=1e-5)


def test_frames_that_may_not_be_seen_are_never_read():
    field = flow_clips.field(flow_points=5, static_features=True, dynamic_features=True, flow_share=1.0)
    clip = field.clip
    clip.seen[3:] = False
    clip.maps[3:] = float("nan")
    for time in (0.0, 0.5, 0.8, 1.0):
        traced = trace(field, clip, rays(), time)
        assert traced.layers.full.values["logits"].isfinite().all()
        assert traced.layers.full.values["color"].isfinite().all()


def test_each_stage_trains_its_own_branch():
    field = flow_clips.field(static_iterations=1, dynamic_iterations=2)
    trainer = FlowTrainer(field, field.config, [flow_clips.targets()])

    def values(module):
        return torch.cat([p.detach().flatten().clone() for p in module.parameters()])

    static, dynamic = values(field.static), values(field.dynamic)
    assert set(trainer.step()) >= {"static_color", "static_semantics", "static_depth"}
    assert (values(field.static) != static).any() and (values(field.dynamic) == dynamic).all()
    static = values(field.static)
    assert "color_full" in trainer.step()
    assert (values(field.static) == static).all() and (values(field.dynamic) != dynamic).any()


def test_a_loss_of_weight_zero_is_off():
    changes = {"flow": 0.0, "cycle": 0.0, "semantics_dynamic": 0.0, "roughness": 0.0}
    field = flow_clips.field(static_iterations=0, **changes)
    terms = FlowTrainer(field, field.config, [flow_clips.targets()]).step()
    assert not set(changes) & set(terms) and "color_full" in terms


def test_clips_of_different_lengths_share_the_networks():
    clips = {"long": flow_clips.clip(6), "short": flow_clips.clip(3, seed=1)}
    config = preset("fast").replaced(**{**flow_clips.SMALL, "static_iterations": 0})
    field = start_field(clips, ["a", "b", "c"], config)
    found = [flow_clips.targets(6), flow_clips.targets(3)]
    trainer = FlowTrainer(field, config, found)
    for _ in range(3):
        assert trainer.step()["loss"] > 0
    camera = Camera.look_at((0, -3, 0.3), (0, 0, 0), 12, 8)
    first, second = (field.of(name).render(camera, 1.0).color for name in clips)
    assert not torch.equal(first, second)
    with pytest.raises(BadInput, match="long, short"):
        field.of("other")


@pytest.mark.parametrize("changes", [*BASELINES.values(), *ABLATIONS.values()], ids=[*BASELINES, *ABLATIONS])
def test_every_baseline_and_ablation_trains_and_renders(changes):
    field = flow_clips.field(static_iterations=1, dynamic_iterations=1, **changes)
    trainer = FlowTrainer(field, field.config, [flow_clips.targets()])
    while not trainer.finished:
        assert trainer.step()["loss"] > 0
    camera = Camera.look_at((0, -3, 0.3), (0, 0, 0), 12, 8)
    shown = field.render(camera, 0.5, ("color", "depth", "logits"))
    assert shown.color.isfinite().all() and shown.logits.shape == (8, 12, 3)


def test_a_learned_encoder_is_kept_as_maps():
    field = flow_clips.field(encoder="learned", static_iterations=0, dynamic_iterations=2)
    field.pictures = [torch.rand(5, 3, 16, 24)]
    trainer = FlowTrainer(field, field.config, [flow_clips.targets()])
    before = field.encoder.over_time4.weight.detach().clone()
    trainer.step()
    assert (field.encoder.over_time4.weight != before).any()
    field.keep_maps()
    assert field.maps([0]) is None and field.clip.maps.shape == (5, 4, 6, 4)


def test_trajectories_go_both_ways_and_what_is_static_stays():
    field = flow_clips.field()
    points, times = torch.randn(20, 3) * 0.5, torch.tensor([1.0, 0.5, 0.0, 0.5])
    torch.nn.init.constant_(field.dynamic.blending.bias, 50.0)
    paths = field.trajectories(points, 0.5, times)
    assert torch.equal(paths[:, 1], points) and torch.equal(paths[:, 3], points)
    assert (paths[:, 0] - points).abs().max() > 1e-3
    back = torch.cat([field.trajectories(paths[k : k + 1, 0], 1.0, torch.tensor([0.5])) for k in range(20)])
    assert (back[:, 0] - points).norm(dim=-1).median() < 0.05 * (paths[:, 0] - points).norm(dim=-1).median()
    torch.nn.init.constant_(field.dynamic.blending.bias, -50.0)
    assert torch.equal(field.trajectories(points, 0.5, times), points[:, None].expand(-1, 4, -1))


def test_a_time_outside_the_clip_is_refused():
    with pytest.raises(BadInput, match="time: expected 0 to 1"):
        flow_clips.field().at(1.2)


@pytest.mark.parametrize(("change", "said"), [
    (lambda t, h: h.update(kind="gaussians"), "kind: expected flow"),
    (lambda t, h: h.update(format="9"), "format"),
    (lambda t, h: h.pop("config"), "config: missing"),
    (lambda t, h: t.pop("clips.0.times"), "clips.0.times: missing"),
    (lambda t, h: t.pop("static.first.weight"), "static.first.weight"),
    (lambda t, h: h.update(clips="[3"), "header"),
])  # fmt: skip
def test_a_damaged_field_is_one_line(tmp_path, change, said):
    flow_clips.field().save(tmp_path)
    tensors, header = read_tensors(tmp_path / "field.safetensors")
    change(tensors, header)
    write_tensors(tmp_path / "field.safetensors", tensors, header)
    with pytest.raises(BadInput, match=said) as error:
        FlowField.load(tmp_path)
    assert "field.safetensors" in str(error.value) and "\n" not in str(error.value)


def test_presets_differ_by_size():
    assert PRESETS["tiny"].iterations < PRESETS["fast"].iterations < PRESETS["paper"].iterations == 140_002
    with pytest.raises(BadInput, match="tiny, fast, paper"):
        preset("huge")
