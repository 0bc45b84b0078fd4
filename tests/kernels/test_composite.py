"""Weights and sums along rays: by hand, against plain torch in float64, and the laws that compositing obeys."""

import math

import pytest
import torch
import warp as wp
from semaflow.kernels import composite
from semaflow.kernels.composite.accumulate_cpu import accumulate_cpu, accumulate_cpu_adjoint
from semaflow.kernels.composite.accumulate_cuda import accumulate_cuda, accumulate_cuda_adjoint
from semaflow.kernels.composite.rays import Rays, find_rays
from semaflow.kernels.composite.weights_cpu import weights_cpu, weights_cpu_adjoint
from semaflow.kernels.composite.weights_cuda import weights_cuda, weights_cuda_adjoint

from tests.reference import composite as oracle
from tests.reference.composite import random_samples
from tests.reference.gaussians import DEVICES
from tests.reference.gradients import assert_gradients_close, finite_differences

TOLERANCE = {torch.float32: 3e-6, torch.float64: 1e-13}


def leaf(x, like=None):
    return (x if like is None else x.to(like)).detach().clone().requires_grad_(True)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def assert_close(actual, expected, dtype):
    scale = float(expected.detach().abs().max()) if expected.numel() else 0.0
    torch.testing.assert_close(actual.detach().cpu().double(), expected.detach(), rtol=0, atol=TOLERANCE[dtype] * scale)


def grouped(samples, how, device="cpu"):
    if how == "packed_info":
        return {"packed_info": samples.packed_info.to(device)}
    return {"ray_indices": samples.ray_indices.to(device), "n_rays": len(samples.counts)}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("how", ["packed_info", "ray_indices"])
def test_two_rays_by_hand(how, device):
    """Ray 0: opacities 1/2, 1/2. Ray 1: 1/5, 1 and, behind what nothing passes, 7/10."""
    alphas = torch.tensor([0.5, 0.5, 0.2, 1.0, 0.7], device=device, requires_grad=True)
    values = torch.tensor([[1.0], [2.0], [3.0], [5.0], [7.0]], device=device, requires_grad=True)
    indices = torch.tensor([0, 0, 1, 1, 1], device=device)
    groups = {"packed_info": torch.tensor([[0, 2], [2, 3]], device=device)} if how == "packed_info" else {
        "ray_indices": indices, "n_rays": 2}  # fmt: skip
    weights, trans = composite.render_weight_from_alpha(alphas, **groups)
    torch.testing.assert_close(trans.cpu(), torch.tensor([1.0, 0.5, 1.0, 0.8, 0.0]))
    torch.testing.assert_close(weights.cpu(), torch.tensor([0.5, 0.25, 0.2, 0.8, 0.0]))
    sums = composite.accumulate_along_rays(weights, values, indices, 2)
    torch.testing.assert_close(sums.cpu(), torch.tensor([[1.0], [4.6]]))
    sums.sum().backward()
    # d/d(a0, a1) of 1 a0 + 2 (1-a0) a1; of 3 a0 + (1-a0)(5 a1 + 7 (1-a1) a2) at a1 = 1.
    by_hand = [1 - 2 * 0.5, 2 * 0.5, 3 - 5, 0.8 * (5 - 7 * 0.7), 0.0]
    torch.testing.assert_close(alphas.grad.cpu(), torch.tensor(by_hand))
    torch.testing.assert_close(values.grad.cpu(), weights.detach().cpu()[:, None])


def test_the_same_by_density():
    lengths = torch.tensor([0.5, 2.0, 1.0, 0.1, 3.0])
    alphas = torch.tensor([0.5, 0.5, 0.2, 1 - 1e-6, 0.7])
    starts = torch.tensor([0.0, 0.5, 4.0, 5.0, 6.0])
    sigmas = -torch.log1p(-alphas.double()).float() / lengths
    weights, trans, found = composite.render_weight_from_density(
        starts, starts + lengths, sigmas, ray_indices=torch.tensor([0, 0, 1, 1, 1]), n_rays=2
    )
    torch.testing.assert_close(found, alphas, rtol=1e-5, atol=0)
    torch.testing.assert_close(trans, torch.tensor([1.0, 0.5, 1.0, 0.8, 0.8e-6]), rtol=1e-5, atol=2e-7)
    torch.testing.assert_close(weights, trans * alphas, rtol=1e-5, atol=1e-7)


def test_thin_samples_keep_their_digits():
    """``1 - exp(-s)`` computed as it reads has no digit right at s = 1e-8 in float32."""
    thickness = torch.logspace(-9, 1, 200)
    alphas = composite.render_transmittance_from_density(torch.zeros(200), torch.ones(200), thickness)[1]
    torch.testing.assert_close(alphas.double(), -torch.expm1(-thickness.double()), rtol=3e-7, atol=0)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("how", ["packed_info", "ray_indices"])
def test_weights_match_the_reference(how, dtype, device):
    samples = random_samples(1)
    truth = {name: leaf(getattr(samples, name)) for name in ("alphas", "t_starts", "t_ends", "sigmas")}
    ours = {name: leaf(x, torch.empty(0, dtype=dtype, device=device)) for name, x in truth.items()}
    groups = grouped(samples, how, device)
    g_weights, g_trans, g_alphas = randn(3, len(samples.alphas), seed=2)

    T = oracle.transmittances(truth["alphas"], samples.counts)
    w = T * truth["alphas"]
    weights, trans = composite.render_weight_from_alpha(ours["alphas"], **groups)
    assert_close(weights, w, dtype)
    assert_close(trans, T, dtype)
    assert torch.equal(composite.render_transmittance_from_alpha(ours["alphas"], **groups), trans)
    torch.autograd.backward((w, T), (g_weights, g_trans))
    torch.autograd.backward((weights, trans), [x.to(weights) for x in (g_weights, g_trans)])
    assert_gradients_close(ours["alphas"].grad, truth["alphas"].grad, TOLERANCE[dtype], "alphas")

    alphas = 1 - torch.exp(-truth["sigmas"] * (truth["t_ends"] - truth["t_starts"]))
    T = oracle.transmittances(alphas, samples.counts)
    inputs = [ours[name] for name in ("t_starts", "t_ends", "sigmas")]
    found = composite.render_weight_from_density(*inputs, **groups)
    for actual, expected in zip(found, (T * alphas, T, alphas), strict=True):
        assert_close(actual, expected, dtype)
    for part, both in zip(composite.render_transmittance_from_density(*inputs, **groups), found[1:], strict=True):
        assert torch.equal(part, both)
    incoming = (g_weights, g_trans, g_alphas)
    torch.autograd.backward((T * alphas, T, alphas), incoming)
    torch.autograd.backward(found, [x.to(weights) for x in incoming])
    for name in ("t_starts", "t_ends", "sigmas"):
        assert_gradients_close(ours[name].grad, truth[name].grad, TOLERANCE[dtype], name)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [1, 3, 5, 7, 8, 13, 32, 45, 512])
def test_sums_match_the_reference(channels, dtype, device):
    samples = random_samples(3)
    weights, values = leaf(samples.alphas), leaf(randn(len(samples.alphas), channels))
    ours = [leaf(x, torch.empty(0, dtype=dtype, device=device)) for x in (weights, values)]
    expected = oracle.accumulate(weights, values, samples.counts)
    sums = composite.accumulate_along_rays(*ours, samples.ray_indices.to(device), len(samples.counts))
    assert_close(sums, expected, dtype)
    g = randn(*expected.shape, seed=4)
    expected.backward(g)
    sums.backward(g.to(sums))
    for actual, truth, name in zip(ours, (weights, values), ("weights", "values"), strict=True):
        assert_gradients_close(actual.grad, truth.grad, TOLERANCE[dtype], name)


@pytest.mark.parametrize("channels", [1, 3, 40])
@pytest.mark.parametrize("sets", [1, 2])
def test_the_kernels_for_cuda_agree_with_those_for_the_cpu(sets, channels):
    samples = random_samples(5)
    rays = Rays.given(samples.packed_info, len(samples.alphas))
    weights = [randn(len(samples.alphas), seed=k).contiguous() for k in range(sets)]
    values = randn(len(samples.alphas), channels, seed=9)
    v_sums = [randn(rays.count, channels, seed=k) for k in range(sets)]
    for w, b in zip(weights, accumulate_cuda(rays, values, weights), strict=True):
        torch.testing.assert_close(accumulate_cpu(rays, values, w), b)
    for want in ((True, True), (True, False), (False, True)):
        found = [accumulate_cpu_adjoint(rays, values, *each, want) for each in zip(weights, v_sums, strict=True)]
        v_values, v_weights = accumulate_cuda_adjoint(rays, values, weights, v_sums, want)
        assert (v_values is not None, v_weights[0] is not None) == want
        for (a, v_w), b in zip(found, v_weights, strict=True):
            assert (a is not None, v_w is not None) == want
            torch.testing.assert_close(v_w, b)
        if want[0]:
            torch.testing.assert_close(sum(a for a, _ in found), v_values)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("density", [False, True])
def test_the_kernels_of_weights_for_cuda_agree_with_those_for_the_cpu(density, summed, dtype):
    """Of some long rays too, which are taken by segments, and of ranges with gaps between them."""
    samples = random_samples(5, [0, 1, 3, 4, 64, 65, 0, 200, 7])
    n, info = len(samples.alphas), samples.packed_info[torch.tensor([1, 2, 4, 5, 7, 8])]
    rays = Rays.given(info, n)
    sigmas, starts, ends, alphas = (
        x.to(dtype) for x in (samples.sigmas, samples.t_starts, samples.t_ends, samples.alphas)
    )
    known = [sigmas if density else None, starts, ends]
    incoming = [randn(n, seed=k).to(dtype) for k in range(3)]
    incoming = [*incoming[:2], incoming[2] if density else None, randn(rays.count, 2).to(dtype) if summed else None]
    found = []
    for weights, adjoint in ((weights_cpu, weights_cpu_adjoint), (weights_cuda, weights_cuda_adjoint)):
        of_samples = [torch.zeros(n, dtype=dtype) for _ in range(6)]
        opaque = of_samples[0] if density else alphas
        sums = torch.zeros(rays.count, 2, dtype=dtype) if summed else None
        weights(rays, [*known, opaque, *of_samples[1:3], sums])
        adjoint(rays, [*known, opaque, of_samples[2], *incoming, *of_samples[3:]])
        found.append([*of_samples, *([sums] if summed else [])])
    for a, b in zip(*found, strict=True):
        assert_close(a, b.double(), dtype)


def test_dense_samples_let_nothing_through():
    """Nor do they get gradients, however long they are, as the last of a ray may be."""
    sigmas = torch.tensor([0.0, 1.0, 20.0, 1e10, 1e38], requires_grad=True)
    weights, _, alphas = composite.render_weight_from_density(
        torch.zeros(5), torch.tensor([1, 1, 1e10, 1e10, 1.0]), sigmas
    )
    torch.testing.assert_close(alphas, torch.tensor([0.0, 1 - math.exp(-1), 1.0, 1.0, 1.0]))
    alphas.sum().backward()
    torch.testing.assert_close(sigmas.grad, torch.tensor([1.0, math.exp(-1), 0.0, 0.0, 0.0]))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_finite_differences(alpha):
    """Of a function of weights, transmittances and sums, around opacities of 0, between and 1."""
    alphas = torch.tensor([0.2, alpha, 0.5, alpha, 0.9], dtype=torch.float64)
    values, g = randn(5, 9), randn(5, seed=1)
    info = torch.tensor([[0, 4], [4, 1]])

    def function(x):
        weights, trans = composite.render_weight_from_alpha(x, info)
        sums = composite.accumulate_along_rays(weights, values, torch.tensor([0, 0, 0, 0, 1]), 2)
        return (sums**2).sum() + (trans * g).sum()

    x = leaf(alphas)
    function(x).backward()
    assert_gradients_close(x.grad, finite_differences(function, alphas, 1e-6), 1e-8)


def test_batched_is_packed_with_equal_lengths():
    alphas, values = leaf(torch.rand(2, 3, 40)), leaf(torch.rand(2, 3, 40, 11))
    weights, trans = composite.render_weight_from_alpha(alphas)
    sums = composite.accumulate_along_rays(weights, values)
    assert weights.shape == trans.shape == (2, 3, 40) and sums.shape == (2, 3, 11)
    indices = torch.arange(6).repeat_interleave(40)
    flat_weights, _ = composite.render_weight_from_alpha(alphas.flatten(), ray_indices=indices, n_rays=6)
    flat = composite.accumulate_along_rays(flat_weights, values.flatten(0, 2), indices, 6)
    assert torch.equal(weights.flatten(), flat_weights) and torch.equal(sums.flatten(0, 1), flat)
    assert composite.accumulate_along_rays(weights[0, 0], values[0, 0]).shape == (11,)


def test_weights_and_what_passes_make_one():
    samples = random_samples(6)
    weights, trans = composite.render_weight_from_alpha(samples.alphas, samples.packed_info)
    opacity = composite.accumulate_along_rays(weights, None, samples.ray_indices, len(samples.counts))
    assert opacity.shape == (len(samples.counts), 1)
    passed = torch.stack([torch.prod(1 - ray) for ray in samples.alphas.split(samples.counts)])
    torch.testing.assert_close(opacity[:, 0] + passed, torch.ones_like(passed))
    shown = trans[samples.packed_info[:, 0][torch.tensor(samples.counts) > 0]]
    assert torch.equal(shown, torch.ones_like(shown)), "nothing stands before the first sample of a ray"


def test_back_to_front_is_front_to_back():
    alphas, colors = torch.rand(50, dtype=torch.float64), randn(50, 3)
    over = torch.zeros(3, dtype=torch.float64)
    for alpha, color in zip(alphas.flip(0), colors.flip(0), strict=True):
        over = alpha * color + (1 - alpha) * over
    weights, _ = composite.render_weight_from_alpha(alphas)
    torch.testing.assert_close(composite.accumulate_along_rays(weights, colors), over)


def test_a_ray_cut_in_two_continues_with_prefix_trans():
    alphas = leaf(torch.rand(30, dtype=torch.float64))
    weights, trans = composite.render_weight_from_alpha(alphas)
    passed = (trans[11] * (1 - alphas[11])).expand(18)
    rest, rest_trans = composite.render_weight_from_alpha(alphas[12:], prefix_trans=passed)
    torch.testing.assert_close(rest, weights[12:])
    torch.testing.assert_close(rest_trans, trans[12:])
    g = randn(18)
    expected = torch.autograd.grad(weights[12:], alphas, g, retain_graph=True)[0]
    torch.testing.assert_close(torch.autograd.grad(rest, alphas, g)[0], expected)


@pytest.mark.parametrize("channels", [3, 20])
def test_order_of_samples_does_not_matter_to_sums(channels):
    weights, values = leaf(torch.rand(200)), leaf(torch.rand(200, channels))
    indices = torch.randint(0, 9, (200,), generator=torch.Generator().manual_seed(0))
    sums = composite.accumulate_along_rays(weights, values, indices, 10)
    expected = torch.zeros(10, channels).index_add(0, indices, weights[:, None] * values)
    torch.testing.assert_close(sums, expected)
    g = torch.randn(10, channels)
    for a, b in zip(*(torch.autograd.grad(x, (weights, values), g) for x in (sums, expected)), strict=True):
        torch.testing.assert_close(a, b)
    total = torch.ones(10, channels)
    composite.accumulate_along_rays_(weights.detach(), values.detach(), indices, total)
    torch.testing.assert_close(total, 1 + expected.detach())


def test_linear_in_values():
    samples = random_samples(9)
    weights = samples.alphas.float()
    values = [randn(len(weights), 7, seed=k).float() for k in range(2)]

    def sums(shown):
        return composite.accumulate_along_rays(weights, shown, samples.ray_indices, len(samples.counts))

    mixed = sums(2.0 * values[0] - 0.5 * values[1])
    torch.testing.assert_close(mixed, 2.0 * sums(values[0]) - 0.5 * sums(values[1]), rtol=1e-5, atol=1e-5)


def test_visibility():
    alphas = torch.tensor([0.4, 0.8, 0.1, 0.8, 0.1, 0.0, 0.9])
    groups = {"ray_indices": torch.tensor([0, 0, 0, 1, 1, 2, 2]), "n_rays": 3}
    # Transmittances 1, 0.6, 0.12; 1, 0.2; 1, 1.
    visible = composite.render_visibility_from_alpha(alphas, **groups)
    assert visible.dtype == torch.bool and visible.all()
    visible = composite.render_visibility_from_alpha(alphas, **groups, early_stop_eps=0.3)
    assert visible.tolist() == [True, True, False, True, False, True, True]
    visible = composite.render_visibility_from_alpha(alphas, **groups, early_stop_eps=0.3, alpha_thre=0.4)
    assert visible.tolist() == [True, True, False, True, False, False, True]
    sigmas = -torch.log1p(-alphas) / 2
    ends = torch.full((7,), 2.0)
    same = composite.render_visibility_from_density(
        torch.zeros(7), ends, sigmas, **groups, early_stop_eps=0.3, alpha_thre=0.39
    )
    assert torch.equal(same, visible)
    behind = composite.render_visibility_from_alpha(alphas, **groups, prefix_trans=torch.full((7,), 1e-5))
    assert not behind.any()


def test_nothing_to_render():
    none = torch.zeros(0)
    indices = torch.zeros(0, dtype=torch.int64)
    weights, trans = composite.render_weight_from_alpha(none, ray_indices=indices, n_rays=4)
    assert weights.shape == trans.shape == (0,)
    assert torch.equal(composite.accumulate_along_rays(none, torch.zeros(0, 3), indices, 4), torch.zeros(4, 3))
    assert composite.accumulate_along_rays(none, torch.zeros(0, 3), indices, 0).shape == (0, 3)
    assert composite.render_weight_from_alpha(torch.zeros(5, 0))[0].shape == (5, 0)
    assert torch.equal(composite.accumulate_along_rays(torch.zeros(5, 0), torch.zeros(5, 0, 2)), torch.zeros(5, 2))
    assert composite.accumulate_along_rays(torch.ones(5, 2), torch.zeros(5, 2, 0)).shape == (5, 0)
    values = torch.zeros(0, 9, requires_grad=True)
    composite.accumulate_along_rays(none, values, indices, 4).sum().backward()
    assert values.grad.shape == (0, 9)


def test_pack_info():
    indices = torch.tensor([0, 0, 2, 2, 2, 5])
    expected = [[0, 2], [2, 0], [2, 3], [5, 0], [5, 0], [5, 1]]
    assert composite.pack_info(indices).tolist() == expected
    assert composite.pack_info(indices, 8).tolist() == [*expected, [6, 0], [6, 0]]
    assert composite.pack_info(indices.int(), 6).dtype == torch.int64
    assert composite.pack_info(indices[:0], 2).tolist() == [[0, 0], [0, 0]]
    assert composite.pack_info(indices[:0]).shape == (0, 2)


def test_samples_of_no_ray_are_zero():
    alphas = torch.full((10,), 0.5, requires_grad=True)
    weights, trans = composite.render_weight_from_alpha(alphas, torch.tensor([[6, 2], [1, 3]]))
    expected = torch.tensor([0, 0.5, 0.25, 0.125, 0, 0, 0.5, 0.25, 0, 0])
    assert torch.equal(weights, expected) and torch.equal(trans, 2 * expected)
    weights.sum().backward()
    assert torch.equal(alphas.grad != 0, torch.tensor([0, 1, 1, 1, 0, 0, 1, 1, 0, 0]).bool())


@pytest.mark.parametrize("channels", [2, 16])
def test_weight_zero_hides_any_value(channels):
    weights = torch.tensor([0.5, 0.0, 0.25])
    values = torch.ones(3, channels)
    values[1] = math.nan
    sums = composite.accumulate_along_rays(weights, values)
    assert torch.equal(sums, torch.full((channels,), 0.75))


def test_the_source_that_finds_rays_compiles_for_cuda(tmp_path):
    """No device is needed for that."""
    if not wp.get_cuda_supported_archs():
        pytest.skip("this build of Warp has no CUDA compiler")
    made = find_rays()
    written = wp.compile_aot_module(made.module, arch=80, module_dir=tmp_path, use_ptx=True)
    assert made.key in written[0].read_text()


def test_sixteen_million_samples():
    """Few long rays and many short ones; what comes out is known in closed form."""
    n = 2**24
    for rays in (2**6, 2**18):
        count = n // rays
        alphas = torch.full((rays, count), 0.5 / count).requires_grad_()
        weights, _ = composite.render_weight_from_alpha(alphas)
        opacity = composite.accumulate_along_rays(weights)
        expected = -math.expm1(count * math.log1p(-0.5 / count))
        torch.testing.assert_close(opacity, torch.full((rays, 1), expected), rtol=2e-6, atol=0)
        (gradient,) = torch.autograd.grad(opacity.sum(), alphas)
        expected = (1 - expected) / (1 - 0.5 / count)  # what passes all the others
        torch.testing.assert_close(gradient, torch.tensor(expected).expand_as(gradient), rtol=2e-6, atol=0)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda a, i: composite.pack_info(i.flip(0), 3), "ray_indices: expected ascending integers in 0..2"),
        (lambda a, i: composite.pack_info(i, 2), "ray_indices: expected ascending integers in 0..1"),
        (lambda a, i: composite.pack_info(i - 1, 3), "ray_indices: expected ascending"),
        (lambda a, i: composite.pack_info(i.float(), 3), "ray_indices: expected integers"),
        (
            lambda a, i: composite.render_weight_from_alpha(a, ray_indices=i[:4], n_rays=3),
            "ray_indices: expected shape",
        ),
        (lambda a, i: composite.render_weight_from_alpha(a.view(1, 6), ray_indices=i, n_rays=3), "samples: expected"),
        (lambda a, i: composite.render_weight_from_alpha(a, torch.tensor([[3, 4]])), "packed_info: expected ranges"),
        (lambda a, i: composite.render_weight_from_alpha(a, torch.tensor([3, 3])), "packed_info: expected integers"),
        (lambda a, i: composite.render_weight_from_density(a, a[:5], a), "t_ends: expected the shape of sigmas"),
        (lambda a, i: composite.accumulate_along_rays(a, a, i, 3), r"values: expected shape \[6, any\]"),
        (lambda a, i: composite.accumulate_along_rays(a, None, i), "n_rays: needed"),
        (lambda a, i: composite.accumulate_along_rays(a, None, i + 1, 3), "ray_indices: expected ascending"),
        (lambda a, i: composite.rendering(a, a, i, 3), "rgb_sigma_fn, rgb_alpha_fn"),
        (lambda a, i: composite.rendering(a, a, i, 3, lambda *_: (a[:, None], a[:, None])), "sigmas: expected"),
    ],
)
def test_errors_name_the_argument(call, says):
    with pytest.raises(ValueError, match=says):
        call(torch.rand(6), torch.tensor([0, 0, 1, 1, 2, 2]))
