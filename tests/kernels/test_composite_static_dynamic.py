"""The joint rendering of a dynamic and a static field."""

import pytest
import torch
from semaflow.kernels import composite
from semaflow.kernels.composite.blend_cpu import blend_cpu, blend_cpu_adjoint
from semaflow.kernels.composite.blend_cuda import blend_cuda, blend_cuda_adjoint
from semaflow.kernels.composite.rays import Rays

from tests.reference import composite as oracle
from tests.reference.composite import random_samples
from tests.reference.gaussians import DEVICES
from tests.reference.gradients import assert_gradients_close, finite_differences

COUNTS = [0, 1, 6, 0, 23, 1, 12, 0]
NAMES = ("dynamic", "static", "blend", "depths", "deltas", "shown_dynamic", "shown_static")


def fields(seed, channels, density):
    """Inputs of the composite by name, float64, opacities of 0 and 1 among them."""
    g = torch.Generator().manual_seed(seed)
    dynamic, static = (random_samples(seed + k, COUNTS) for k in range(2))
    n = sum(COUNTS)

    def uniform(*shape):
        return torch.rand(n, *shape, generator=g, dtype=torch.float64)

    blend = (2 * uniform() - 0.5).clamp(0, 1)
    opaque = (dynamic.sigmas, static.sigmas) if density else (dynamic.alphas, static.alphas)
    deltas = uniform() if density else None
    values = (*opaque, blend, 1 + uniform(), deltas, uniform(channels) - 0.5, uniform(channels) - 0.5)
    return dict(zip(NAMES, values, strict=True))


def ours(inputs, name="x", **options):
    a, b = inputs["shown_dynamic"], inputs["shown_static"]
    fixed = [inputs[k] for k in ("dynamic", "static", "blend")]
    return composite.composite_static_dynamic(
        *fixed, {name: a}, {name: b}, inputs["depths"], inputs["deltas"], **options
    )


def truth(inputs, **options):
    opaque = [inputs["dynamic"], inputs["static"]]
    if inputs["deltas"] is not None:
        opaque = [1 - torch.exp(-x * inputs["deltas"]) for x in opaque]
    rest = [inputs[k] for k in ("blend", "shown_dynamic", "shown_static", "depths")]
    return oracle.static_dynamic(*opaque, *rest, COUNTS, **options)


def pairs(result, expected):
    """What is rendered, beside what is expected, by name."""
    *layers, dynamicness, weights = expected
    for kind, actual, layer in zip(("full", "dynamic", "static"), result[:3], layers, strict=True):
        yield f"{kind} values", actual.values["x"], layer.values
        yield f"{kind} opacities", actual.opacities[:, 0], layer.opacities
        yield f"{kind} depths", actual.depths[:, 0], layer.depths
    yield "dynamicness", result.dynamicness[:, 0], dynamicness
    for name, actual, w in zip(result.weights._fields, result.weights, weights, strict=True):
        yield name, actual, w


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("density", [False, True])
@pytest.mark.parametrize("limits", [(0.0, 0.0), (0.05, 0.1)])
@pytest.mark.parametrize("channels", [3, 35])
def test_matches_the_reference(channels, limits, density, dtype, device):
    """Every output, and the gradients of all of them in every input."""
    inputs = fields(30 + channels, channels, density)
    exact = {k: None if x is None else x.clone().requires_grad_() for k, x in inputs.items()}
    leaves = {k: None if x is None else x.to(device, dtype).requires_grad_() for k, x in inputs.items()}
    info = torch.tensor(COUNTS)
    info = torch.stack([info.cumsum(0) - info, info], 1).to(device)
    result = ours(leaves, packed_info=info, early_stop_eps=limits[0], alpha_thre=limits[1])
    expected = truth(exact, stop=limits[0], least=limits[1])
    tolerance = 3e-6 if dtype == torch.float32 else 1e-12
    g = torch.Generator().manual_seed(1)
    sums = [0.0, 0.0]
    for name, actual, right in pairs(result, expected):
        error = (actual.detach().cpu().double() - right.detach()).abs().max()
        assert float(error) <= tolerance * float(right.detach().abs().max()), name
        incoming = torch.randn(right.shape, generator=g, dtype=torch.float64)
        sums = [sums[0] + (actual * incoming.to(actual)).sum(), sums[1] + (right * incoming).sum()]
    for total in sums:
        total.backward()
    for name, x in leaves.items():
        if x is not None:
            assert_gradients_close(x.grad, exact[name].grad, tolerance, name)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("density", [False, True])
@pytest.mark.parametrize("limits", [(-1e300, -1e300), (0.02, -1e300), (-1e300, 0.1), (0.2, 0.05)])
def test_the_kernels_for_cuda_agree_with_those_for_the_cpu(limits, density, dtype):
    """Of long rays too, which are taken by segments, of ranges with gaps between them, and of several values."""
    counts, channels = [0, 1, 3, 64, 65, 0, 200, 7], (1, 3, 8, 30, 100)
    g = torch.Generator().manual_seed(3)
    n = sum(counts)
    dynamic, static = (random_samples(60 + k, counts) for k in range(2))
    opaque = [x.sigmas / 20 if density else x.alphas**3 for x in (dynamic, static)]
    samples = [*opaque, torch.rand(n, generator=g), dynamic.t_starts, dynamic.t_ends if density else None]
    samples = [None if x is None else x.to(dtype) for x in samples]
    rays = Rays.given(dynamic.packed_info[torch.tensor([1, 3, 4, 6, 7])], n)

    def random(*shape):
        return torch.randn(shape, generator=g, dtype=dtype)

    values = [random(n, c) for c in channels for _ in range(2)]
    incoming = [random(n) for _ in range(4)], random(rays.count, 7)
    incoming = *incoming, [random(rays.count, c) for c in channels for _ in range(3)]
    tolerance = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {}
    for few in (False, True):
        want = [x is not None and not (few and i % 2) for i, x in enumerate([*samples, *values])]
        v_weights = [None if few and i % 2 else v for i, v in enumerate(incoming[0])]
        found = []
        for blend, adjoint in ((blend_cpu, blend_cpu_adjoint), (blend_cuda, blend_cuda_adjoint)):
            weights, sums, layers = blend(rays, samples, values, limits)
            gradients = adjoint(rays, samples, values, weights, limits, v_weights, *incoming[1:], want)
            found.append([*weights, sums, *layers, *gradients[0], *gradients[1]])
        for i, (a, b) in enumerate(zip(*found, strict=True)):
            assert (a is None) == (b is None), i
            if a is not None:
                torch.testing.assert_close(a, b, **tolerance, msg=lambda text, i=i: f"{i}: {text}")


@pytest.mark.parametrize("density", [False, True])
def test_finite_differences(density):
    """Of the full rendering's colour, and of the dynamicness."""
    inputs = fields(40, 2, density)
    indices = torch.arange(len(COUNTS)).repeat_interleave(torch.tensor(COUNTS))

    def function(name, x):
        result = ours(inputs | {name: x}, ray_indices=indices, n_rays=len(COUNTS))
        return (result.full.values["x"] ** 2).sum() + (result.dynamicness * result.full.depths).sum()

    for name in ("dynamic", "static", "blend", "depths"):
        x = inputs[name].clone().requires_grad_()
        function(name, x).backward()
        expected = finite_differences(lambda x, name=name: function(name, x), inputs[name], 1e-6)
        assert_gradients_close(x.grad, expected, 1e-7, name)


def test_one_ray_by_hand():
    """A half-opaque dynamic sample with blend 1/2 over an opaque static one with blend 0."""
    result = composite.composite_static_dynamic(
        dynamic=torch.tensor([0.5, 0.3]), static=torch.tensor([0.0, 1.0]), blend=torch.tensor([0.5, 0.0]),
        values_dynamic={"color": torch.tensor([[1.0], [9.0]])}, values_static={"color": torch.tensor([[9.0], [2.0]])},
        depths=torch.tensor([1.0, 3.0]),
    )  # fmt: skip
    # p = (1/4, 0), q = (0, 1): weights 1/4 and 3/4.
    torch.testing.assert_close(result.weights.joint_dynamic, torch.tensor([0.25, 0.0]))
    torch.testing.assert_close(result.weights.joint_static, torch.tensor([0.0, 0.75]))
    torch.testing.assert_close(result.full.values["color"], torch.tensor([0.25 * 1 + 0.75 * 2]))
    torch.testing.assert_close(result.full.depths, torch.tensor([0.25 * 1 + 0.75 * 3]))
    torch.testing.assert_close(result.full.opacities, torch.tensor([1.0]))
    torch.testing.assert_close(result.dynamicness, torch.tensor([0.25 * 0.5]))
    torch.testing.assert_close(result.dynamic.values["color"], torch.tensor([0.5 * 1 + 0.5 * 0.3 * 9]))
    torch.testing.assert_close(result.static.values["color"], torch.tensor([2.0]))


def test_blend_of_one_shows_the_dynamic_field_and_of_zero_the_static():
    inputs = fields(50, 9, True)
    inputs = {k: x.view(1, -1, *x.shape[1:]) for k, x in inputs.items()}
    for blend, kind in ((1.0, "dynamic"), (0.0, "static")):
        result = ours(inputs | {"blend": torch.full_like(inputs["blend"], blend)})
        alone = getattr(result, kind)
        torch.testing.assert_close(result.full.values["x"], alone.values["x"])
        torch.testing.assert_close(result.full.depths, alone.depths)
        torch.testing.assert_close(result.dynamicness, blend * alone.opacities)


def test_a_field_alone_is_the_plain_rendering():
    inputs = {k: x[:40].view(2, 20, *x.shape[1:]) for k, x in fields(51, 5, True).items()}
    result = ours(inputs)
    zeros = torch.zeros_like(inputs["deltas"])
    weights, _, _ = composite.render_weight_from_density(zeros, inputs["deltas"], inputs["dynamic"])
    torch.testing.assert_close(result.weights.dynamic, weights)
    shown = composite.accumulate_along_rays(weights, inputs["shown_dynamic"])
    torch.testing.assert_close(result.dynamic.values["x"], shown)


def test_a_sample_left_out_has_no_gradient_and_hides_its_value():
    dynamic = torch.tensor([0.001, 0.9, 0.99, 0.5], requires_grad=True)
    shown = torch.tensor([[1.0], [2.0], [3.0], [float("nan")]], requires_grad=True)
    result = composite.composite_static_dynamic(
        dynamic, torch.zeros(4), torch.ones(4), {"x": shown}, {"x": torch.zeros(4, 1)}, torch.ones(4),
        early_stop_eps=0.01, alpha_thre=0.01,
    )  # fmt: skip
    torch.testing.assert_close(result.full.values["x"], torch.tensor([0.9 * 2 + 0.1 * 0.99 * 3]))
    result.full.values["x"].sum().backward()
    assert dynamic.grad[[0, 3]].tolist() == [0, 0] and (dynamic.grad[1:3] != 0).all()
    assert shown.grad[[0, 3]].flatten().tolist() == [0, 0]


def test_several_kinds_of_values_and_few_gradients():
    inputs = fields(52, 3, False)
    inputs = {k: x if x is None else x.float() for k, x in inputs.items()}
    n = sum(COUNTS)
    logits = torch.rand(n, 31, requires_grad=True)
    info = torch.tensor(COUNTS)
    info = torch.stack([info.cumsum(0) - info, info], 1)
    result = composite.composite_static_dynamic(
        *(inputs[k] for k in ("dynamic", "static", "blend")),
        {"rgb": inputs["shown_dynamic"], "logits": logits}, {"rgb": inputs["shown_static"], "logits": logits},
        inputs["depths"], packed_info=info,
    )  # fmt: skip
    alone = ours(inputs, packed_info=info)
    assert torch.equal(result.full.values["rgb"], alone.full.values["x"])
    assert result.static.values["logits"].shape == (len(COUNTS), 31)
    result.static.values["logits"].sum().backward()
    torch.testing.assert_close(logits.grad, result.weights.static[:, None].expand(n, 31))


def test_nothing_to_render():
    none = torch.zeros(0)
    empty = {"x": torch.zeros(0, 4)}
    result = composite.composite_static_dynamic(
        none, none, none, empty, empty, none, ray_indices=torch.zeros(0, dtype=torch.int64), n_rays=2
    )
    assert torch.equal(result.full.values["x"], torch.zeros(2, 4))
    assert torch.equal(result.dynamicness, torch.zeros(2, 1))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"static": torch.zeros(5)}, "static: expected the shape of dynamic"),
        ({"depths": torch.zeros(4, 1)}, "depths: expected the shape of dynamic"),
        ({"values_static": {"y": torch.zeros(4, 3)}}, "values_static: expected names"),
        ({"values_static": {"x": torch.zeros(4, 2)}}, "expected 3 channels, got 2"),
        ({"values_dynamic": {"x": torch.zeros(3, 3)}}, "values_dynamic"),
    ],
)
def test_errors_name_the_argument(changes, says):
    arguments = {
        "dynamic": torch.zeros(4), "static": torch.zeros(4), "blend": torch.zeros(4), "depths": torch.zeros(4),
        "values_dynamic": {"x": torch.zeros(4, 3)}, "values_static": {"x": torch.zeros(4, 3)},
    }  # fmt: skip
    with pytest.raises(ValueError, match=says):
        composite.composite_static_dynamic(**arguments | changes)
