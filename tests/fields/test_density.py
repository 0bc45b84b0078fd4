"""Density control keeps arrays, optimizer moments and statistics in step."""

import torch
from semaflow.fields.gaussians import optimizer as adam
from semaflow.fields.gaussians.config import preset
from semaflow.fields.gaussians.density import DensityControl
from semaflow.fields.gaussians.field import LEARNED, GaussianField

CENTERS = torch.tensor([[0.5, 0.5, -3.0], [0.5, 0.5, 9.0]])


def setup(count=10, **changes):
    torch.manual_seed(0)
    field = GaussianField(
        torch.rand(count, 3), torch.full((count, 3), 0.02).log(), torch.ones(count, 4), torch.zeros(count),
        torch.rand(count, 1, 3), torch.zeros(count, 3, 3), torch.rand(count, 4), torch.arange(count),
    )
    config = preset("fast").replaced(**changes)
    optimizer = adam.build(field, config, torch.nn.Parameter(torch.zeros(2, 6)))
    sum(getattr(field, name).sum() for name in LEARNED).backward()
    optimizer.step()
    return field, optimizer, DensityControl(field, optimizer, config, extent=1.0, centers=CENTERS)


def in_step(field, optimizer):
    for group in optimizer.param_groups:
        if group["name"] in LEARNED:
            (parameter,) = group["params"]
            assert parameter is getattr(field, group["name"])
            assert optimizer.state[parameter]["exp_avg"].shape == parameter.shape
    assert len(field.anchors) == field.count
    sum(getattr(field, name).sum() for name in LEARNED).backward()
    optimizer.step()


def test_small_ones_are_cloned_and_large_ones_split():
    field, optimizer, control = setup(densify_gradient=0.5, dense_share=0.05)
    with torch.no_grad():
        field.log_scales[7] = torch.tensor(0.08).log()
    means, scale = field.means.detach().clone(), field.scales[7].clone()
    control.gradient[[3, 7]] = 1.0
    control.views[:] = 1
    control.adapt(400)
    assert field.count == 12
    assert torch.equal(field.means[10], means[3])
    assert field.anchors.tolist()[10:] == [3, 7]
    assert torch.allclose(field.scales[7], scale / 1.6)
    assert torch.allclose(field.scales[11], scale / 1.6)
    assert (field.means[7] - means[7]).norm() > 0
    assert optimizer.state[field.means]["exp_avg"][10:].abs().max() == 0
    in_step(field, optimizer)


def test_the_cap_takes_the_neediest():
    field, optimizer, control = setup(densify_gradient=0.1, max_gaussians=12, dense_share=0.5)
    control.gradient[:] = torch.arange(10.0)
    control.views[:] = 1
    control.adapt(400)
    assert field.count == 12
    assert sorted(field.anchors.tolist()[10:]) == [8, 9]
    in_step(field, optimizer)


def test_transparent_and_huge_ones_are_pruned():
    field, optimizer, control = setup(prune_large_after=1000)
    with torch.no_grad():
        field.opacity_logits[2] = -9.0
        field.log_scales[5] = 0.0
    control.adapt(500)
    assert field.anchors.tolist() == [0, 1, 3, 4, 5, 6, 7, 8, 9]
    control.adapt(1500)
    assert 5 not in field.anchors.tolist()
    in_step(field, optimizer)


def test_opacity_reset():
    field, optimizer, control = setup()
    control.reset_opacities()
    assert torch.allclose(field.opacities.detach(), torch.full((10,), 0.01))
    in_step(field, optimizer)


def test_statistics_are_in_image_units():
    field, _, control = setup(absolute_gradient=True)
    means2d = torch.zeros(1, 10, 2)
    means2d.absgrad = torch.full((1, 10, 2), 0.01)
    radii = torch.ones(1, 10, 2, dtype=torch.int32)
    radii[0, 4] = 0
    control.observe({"means2d": means2d, "radii": radii, "width": 200, "height": 100})
    assert torch.allclose(control.gradient[0], torch.tensor((1.0**2 + 0.5**2) ** 0.5))
    assert control.views.tolist() == [1, 1, 1, 1, 0, 1, 1, 1, 1, 1]


def test_none_is_larger_than_its_share_of_the_distance_to_the_nearest_camera():
    field, optimizer, control = setup(largest_share=0.1)
    with torch.no_grad():
        field.means[:2] = torch.tensor([[0.5, 0.5, -2.0], [0.5, 0.5, 3.0]])  # 1 and 6 from the nearest camera
        field.log_scales[:2] = torch.tensor([[5.0, 0.02, 0.2], [0.5, 5.0, 0.02]]).log()
    others = field.scales[2:].clone()
    control.adapt(400)
    assert torch.allclose(field.scales[:2], torch.tensor([[0.1, 0.02, 0.1], [0.5, 0.6, 0.02]]))
    assert torch.equal(field.scales[2:], others)
    in_step(field, optimizer)
