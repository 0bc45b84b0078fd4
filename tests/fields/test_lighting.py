"""Brightness that changes over time: a still floor over which a shadow passes."""

from __future__ import annotations

import pytest
import torch
from semaflow.fields.gaussians.color import SH_C0
from semaflow.fields.gaussians.field import GaussianField
from semaflow.fields.gaussians.lighting import between, lit, unevenness
from semaflow.scenes import BadInput, Camera

from tests.reference.splat import harmonics_basis


def floor(lights: int) -> GaussianField:
    x, y = torch.meshgrid(torch.linspace(-1, 1, 12), torch.linspace(-1, 1, 12), indexing="ij")
    count = x.numel()
    return GaussianField(
        means=torch.stack([x.flatten(), y.flatten(), torch.zeros(count)], -1),
        log_scales=torch.full((count, 3), 0.12).log(), quats=torch.tensor([1.0, 0, 0, 0]).repeat(count, 1),
        opacity_logits=torch.full((count,), 3.0), sh_dc=torch.full((count, 1, 3), 0.4 / SH_C0 * 0.5),
        sh_rest=torch.zeros(count, 3, 3), light=torch.zeros(count, lights),
    )


def test_light_multiplies_the_colour_in_every_direction():
    torch.manual_seed(0)
    sh, light = torch.randn(5, 4, 3) * 0.1, torch.tensor([-1.0, -0.5, 0.0, 0.3, 1.0])
    directions = torch.nn.functional.normalize(torch.randn(5, 3), dim=-1)
    plain = 0.5 + (harmonics_basis(1, directions)[..., None] * sh).sum(1)
    changed = 0.5 + (harmonics_basis(1, directions)[..., None] * lit(sh, light)).sum(1)
    torch.testing.assert_close(changed, plain * (1 + light[:, None]))


def test_light_between_its_times():
    light = torch.tensor([[0.0, 1.0, -1.0]])
    for time, expected in ((0, 0.0), (0.25, 0.5), (0.5, 1.0), (0.75, 0.0), (1, -1.0), (-3, 0.0), (7, -1.0)):
        assert between(light, time).item() == pytest.approx(expected)
    assert between(torch.tensor([[0.7]]), 0.4).item() == pytest.approx(0.7)
    assert unevenness(torch.zeros(3, 4)) == 0 and unevenness(light) > unevenness(light / 2) > 0


def test_a_passing_shadow_is_learned_and_kept_out_of_the_colours(tmp_path):
    """Half of a floor lies in shadow at the end of the video; without light of its own the floor stays grey."""
    camera = Camera.look_at((0.0, 0.0, 3.0), (0.0, 0.0, 0.0), 48, 48, 40.0, up=(0.0, 1.0, 0.0))
    truth = floor(2)
    truth.light.data[truth.means[:, 0] > 0, 1] = -0.6
    targets = {t: truth.render(camera, t).color.detach() for t in (0.0, 0.5, 1.0)}
    errors = {}
    for lights in (0, 2):
        field = floor(lights)
        optimizer = torch.optim.Adam([field.sh_dc, field.light], lr=0.05)
        for step in range(120):
            time = (0.0, 1.0)[step % 2]
            loss = (field.render(camera, time).color - targets[time]).square().mean() + 1e-4 * unevenness(field.light)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        errors[lights] = float((field.render(camera, 0.5).color - targets[0.5]).detach().abs().max())
        last = float((field.render(camera, 1.0).color - targets[1.0]).detach().square().mean())
        assert (last < 1e-4) == (lights == 2)
    assert errors[2] < 0.03
    field.save(tmp_path)
    torch.testing.assert_close(GaussianField.load(tmp_path).light, field.light.data)


def test_light_of_the_wrong_length_is_refused(tmp_path):
    from semaflow.scenes.files import write_tensors

    field = floor(2)
    tensors = {name: value.detach().clone() for name, value in field.state_dict().items()}
    write_tensors(tmp_path / "field.safetensors", tensors | {"light": torch.zeros(3, 2)}, field.header())
    with pytest.raises(BadInput, match="light: expected"):
        GaussianField.load(tmp_path)
    del tensors["light"]
    write_tensors(tmp_path / "field.safetensors", tensors, field.header())
    assert GaussianField.load(tmp_path).light.shape == (144, 0)
