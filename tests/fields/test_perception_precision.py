"""Networks that compute in fewer bits: what stays float32, that they learn as well, and safe steps in float16."""

import pytest
import torch
from semaflow.fields import metrics
from semaflow.fields.perception import network, precision
from semaflow.fields.perception.field import PerceptionField
from semaflow.fields.perception.targets import targets
from semaflow.fields.perception.trainer import PerceptionTrainer
from semaflow.scenes import BadInput, Camera, simulate

from tests.reference import perception_views as small

HERE = Camera.look_at((0.1, -2.8, 0.5), (0, 0, 0.1), small.WIDTH, small.HEIGHT)
ALL = ("color", "depth", "logits", "instances", "features")
LEARNING = {
    "iterations": 150, "warm_up": 10, "rays": 48, "depth": 1, "width": 16, "level_channels": 8, "head_width": 12,
    "coarse": 10, "importance": 6, "widths": (8, 8, 12, 16),
}  # fmt: skip


def shown(**changes):
    return small.field(instances=2, **changes).eval().look_at(small.views()).render(HERE, 0.0, ALL)


@pytest.fixture(scope="module")
def room():
    return simulate("rooms", frames=8, width=32, height=24, seed=0, samples=1, test=3)


def quality(field, scene) -> tuple[float, float]:
    """Mean PSNR and the share of pixels of the right class of the test views."""
    field.eval()
    found, right = [], []
    for frame in scene.split("test"):
        made = field.render(frame.camera, 0.0, ("color", "logits"))
        found.append(metrics.psnr(made.color.clamp(0, 1), frame.image))
        right.append((made.labels == frame.label)[frame.label >= 0].float().mean().item())
    field.train()
    return sum(found) / len(found), sum(right) / len(right)


def learned(room, precision: str):
    """Quality before and after a short training."""
    field = small.field(precision=precision, **LEARNING)
    field = PerceptionField(field.config, room.label_names)
    trainer = PerceptionTrainer(field, [targets(room)])
    before = quality(field.look_at(trainer.found[0].views), room)
    field.views = None
    while not trainer.finished:
        trainer.step()
    assert {parameter.dtype for parameter in field.parameters()} == {torch.float32}
    return before, quality(field.look_at(trainer.found[0].views), room)


def test_bfloat16_learns_about_as_well(room):
    (start, _), (psnr, right) = learned(room, "float32")
    (_, _), (psnr_of_half, right_of_half) = learned(room, "bfloat16")
    figures = {"start": start, "float32": (psnr, right), "bfloat16": (psnr_of_half, right_of_half)}
    assert psnr_of_half > start + 3 and right_of_half > 0.5, figures
    assert psnr_of_half > psnr - 1.5 and right_of_half > right - 0.1, figures


@pytest.mark.parametrize("rendering", ["density", "attention"])
def test_bfloat16_shows_nearly_the_same_in_float32(rendering):
    whole, half = (shown(rendering=rendering, precision=bits) for bits in ("float32", "bfloat16"))
    for name in (*ALL, "alpha"):
        first, second = getattr(whole, name), getattr(half, name)
        assert second.dtype == torch.float32, name
        spread = first.std() + first.abs().mean()
        assert (first - second).abs().mean() < 0.05 * spread, name
    assert not torch.equal(whole.logits, half.logits) and not torch.equal(whole.color, half.color)


def test_weights_of_views_add_up_in_bfloat16():
    """Colours of one grey are that grey, however coarse the networks' numbers: what is blended is not."""
    field = small.field(precision="bfloat16").eval()
    views = small.views()
    views.images.fill_(77)
    made = field.look_at(views).render(HERE, 0.0, ("color",))
    assert torch.allclose(made.color, made.alpha[..., None] * 77 / 255, atol=1e-5)


def test_an_unknown_precision_is_one_line_and_float16_is_for_cuda():
    with pytest.raises(BadInput, match="'precision': expected one of float32, bfloat16, float16, got 'int8'"):
        small.field(precision="int8")
    with pytest.raises(BadInput, match="'precision': float16 is for CUDA devices alone"):
        PerceptionTrainer(small.field(precision="float16"), [small.targets()])


def test_a_field_learned_in_float16_is_shown_in_float32_on_the_cpu():
    assert torch.equal(shown(precision="float16").logits, shown().logits)


def test_nothing_leaves_the_range_of_float16(monkeypatch):
    """As on CUDA, by the CPU's own float16."""

    def half(precision, device):
        return torch.autocast(device.type, dtype=torch.float16)

    monkeypatch.setattr(network, "lowered", half)
    monkeypatch.setattr(precision, "lowered", half)
    for rendering in ("density", "attention"):
        made = shown(rendering=rendering)
        assert all(getattr(made, name).isfinite().all() for name in ALL)
    trainer = PerceptionTrainer(small.field(instances=2), [small.targets()])
    trainer.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in trainer.field.parameters())


def test_scaled_losses_take_the_same_steps():
    plain, scaled = (PerceptionTrainer(small.field(), [small.targets()]) for _ in range(2))
    scaled.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for _ in range(3):
        plain.step(), scaled.step()
    for (name, a), b in zip(plain.field.named_parameters(), scaled.field.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5), name


def test_a_step_whose_gradients_are_not_finite_is_left_out_and_the_scale_is_kept(tmp_path):
    trainer = PerceptionTrainer(small.field(), [small.targets()])
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    trainer.weights["color"] = 1e6  # beyond the largest float32 with that scale
    before = [parameter.clone() for parameter in trainer.field.parameters()]
    trainer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, trainer.field.parameters(), strict=True))
    assert trainer.scaler.get_scale() == 2.0**126
    trainer.save_checkpoint(tmp_path / "checkpoint.safetensors")
    again = PerceptionTrainer(small.field(seed=3), [small.targets()])
    again.scaler = torch.amp.GradScaler("cpu")
    again.load_checkpoint(tmp_path / "checkpoint.safetensors")
    assert again.scaler.get_scale() == 2.0**126
