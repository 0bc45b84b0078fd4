"""Features of places on planes: values, gradients, and what holds of any planes and places."""

import functools
import shutil

import pytest
import torch
import warp as wp
from semaflow.kernels import bridge
from semaflow.kernels.planes import functions, lookup, native, sample_planes

from tests.reference import planes as oracle
from tests.reference.cuda_block import BlockKernel
from tests.reference.gaussians import DEVICES
from tests.reference.gradients import assert_gradients_close, finite_differences

NAN, INF = float("nan"), float("inf")


def world(
    seed=0, count=300, dims=4, channels=(8,), sizes=(7,), moments=5, reach=1.2, device="cpu", dtype=torch.float64
):
    """``(places, space, time)``, some places outside of the planes; all values such that float32 holds them exactly."""
    g = torch.Generator().manual_seed(seed)

    def made(tensor):
        return tensor.float().to(device, dtype)

    def randn(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    places = reach * (2 * torch.rand(count, dims, generator=g, dtype=torch.float64) - 1)
    levels = list(zip(sizes, channels, strict=True))
    space = [made(randn(3, n, n, c)) for n, c in levels]
    time = [made(randn(3, moments, n, c)) for n, c in levels] if dims == 4 else []
    return made(places), space, time


def gradients(function, places, space, time, incoming=None):
    """The features, and gradients of ``[places, *space, *time]`` for a random gradient of the features."""
    leaves = [x.detach().clone().requires_grad_(True) for x in (places, *space, *time)]
    features = function(leaves[0], leaves[1 : len(space) + 1], leaves[len(space) + 1 :])
    if incoming is None:
        g = torch.Generator().manual_seed(9)
        incoming = torch.randn(features.shape, generator=g, dtype=torch.float64)
    features.backward(incoming.to(features))
    return features.detach(), [x.grad for x in leaves]


def test_by_hand():
    """Planes of 2 x 2 cells, whose middles lie at -0.5 and 0.5. The place is half way between the middles of axis 0, a
    quarter from the first of axis 1, and beyond the last of axis 2."""
    xy = torch.tensor([[2.0, 4.0], [6.0, 8.0]])  # rows along y, columns along x
    xz = torch.tensor([[9.0, 9.0], [1.0, 3.0]])
    yz = torch.tensor([[9.0, 9.0], [4.0, 8.0]])
    space = torch.stack([xy, xz, yz])[..., None].requires_grad_(True)
    places = torch.tensor([[0.0, -0.25, 0.75]], requires_grad=True)
    features = sample_planes(places, [space])
    # In xy 3 above and 7 below, a quarter of the way; half of 1 and 3; a quarter from 4 to 8.
    assert features.tolist() == [[4.0 * 2.0 * 5.0]]
    features.sum().backward()
    assert space.grad[0, ..., 0].tolist() == [[3.75, 3.75], [1.25, 1.25]]  # 2 x 5 times 3/8, 3/8, 1/8, 1/8
    assert space.grad[1, ..., 0].tolist() == [[0.0, 0.0], [10.0, 10.0]]  # 4 x 5 times a half
    assert space.grad[2, ..., 0].tolist() == [[0.0, 0.0], [6.0, 2.0]]  # 4 x 2 times 3/4 and 1/4
    # A cell is one wide: x adds 2 in xy and 2 in xz, y adds 4 in xy and 4 in yz, z nothing.
    assert places.grad.tolist() == [[2.0 * 2 * 5 + 4 * 2.0 * 5, 4.0 * 2 * 5 + 4 * 2 * 4.0, 0.0]]


CASES = {
    "space": {"dims": 3},
    "space and time": {},
    "several levels": {"sizes": (16, 8, 4), "channels": (8, 8, 8)},
    "levels of any size and channels": {"sizes": (5, 30, 1), "channels": (3, 17, 8), "moments": 9},
    "one channel": {"channels": (1,)},
    "many channels": {"channels": (512,), "count": 20},
    "many channels, still": {"channels": (512,), "count": 20, "dims": 3},
    "channels that fill no vector": {"channels": (35,)},
    "one cell": {"sizes": (1,), "moments": 1},
    "one moment": {"moments": 1},
    "one place": {"count": 1, "reach": 0.5},
    "more places than a thread takes": {"count": 1000},
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 3e-5)])
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_the_reference(case, dtype, tolerance, device):
    expected, truth = gradients(oracle.sample_planes, *world(**CASES[case]))
    features, grads = gradients(sample_planes, *world(**CASES[case], device=device, dtype=dtype))
    assert features.dtype == dtype
    assert float((features.cpu() - expected).abs().max()) <= tolerance * float(expected.abs().max())
    for i, (a, b) in enumerate(zip(grads, truth, strict=True)):
        assert_gradients_close(a, b, tolerance, f"gradient {i}")


@pytest.mark.parametrize(("dims", "which"), [*((3, i) for i in range(3)), *((4, i) for i in range(5))])
def test_finite_differences(dims, which):
    places, space, time = world(3, count=6, dims=dims, channels=(2, 9), sizes=(4, 3), moments=3)
    inputs = [places, *space, *time]
    weights = torch.randn(6, 11, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def loss(x):
        changed = [*inputs[:which], x, *inputs[which + 1 :]]
        return (weights * sample_planes(changed[0], changed[1:3], changed[3:])).sum()

    _, grads = gradients(sample_planes, places, space, time, weights)
    assert_gradients_close(grads[which], finite_differences(loss, inputs[which], 1e-6), 1e-7, f"input {which}")


def test_agrees_with_grid_sample():
    """What its users know: middles of cells as with ``align_corners=False``, borders that go on, columns first."""
    places, (space,), (time,) = world(4)
    expected = 1.0
    for plane, pair in zip((*space, *time), ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)), strict=True):
        read = torch.nn.functional.grid_sample(
            plane.permute(2, 0, 1)[None], places[None, :, None, pair], align_corners=False, padding_mode="border"
        )
        expected = expected * read[0, :, :, 0].T
    torch.testing.assert_close(sample_planes(places, [space], [time]), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("device", DEVICES)
def test_levels_are_concatenated(device):
    places, space, time = world(5, sizes=(16, 5), channels=(8, 3), device=device)
    together, grads = gradients(sample_planes, places, space, time, torch.ones(300, 11))
    levels = zip(space, time, strict=True)
    apart = [gradients(sample_planes, places, [s], [t], torch.ones(300, s.shape[3])) for s, t in levels]
    assert torch.equal(together, torch.cat([features for features, _ in apart], 1))
    assert_gradients_close(grads[0], apart[0][1][0] + apart[1][1][0], 1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_planes_of_time_at_one_change_no_bit(dtype):
    places, space, time = world(6, dtype=dtype)
    still = sample_planes(places[:, :3], space)
    assert torch.equal(sample_planes(places, space, [torch.ones_like(x) for x in time]), still)


@pytest.mark.parametrize("device", DEVICES)
def test_zeros_are_no_exception(device):
    """Where one plane is zero its own gradient is the product of the others; where two are, all are zero."""
    places, (space,), (time,) = world(7, sizes=(6,), device=device)
    space[1], time[2, :2] = 0.0, 0.0
    expected, truth = gradients(oracle.sample_planes, places.cpu(), [space.cpu()], [time.cpu()])
    features, grads = gradients(sample_planes, places, [space], [time])
    assert features.abs().max() == 0
    assert torch.equal(features.cpu(), expected)
    assert float(grads[1][1].abs().max()) > 0
    assert float(grads[1][[0, 2]].abs().max()) == 0
    for a, b in zip(grads, truth, strict=True):
        assert_gradients_close(a, b, 1e-12)


@pytest.mark.parametrize("device", DEVICES)
def test_outside_the_border_goes_on(device):
    _, space, time = world(8, device=device, dtype=torch.float32)
    inside = torch.tensor([[1.0, -1.0, 0.3, 1.0]], device=device)
    for far in (1.5, 1e30, INF):
        outside = torch.tensor([[far, -far, 0.3, far]], device=device)
        features, grads = gradients(sample_planes, outside, space, time)
        assert torch.equal(features, sample_planes(inside, space, time))
        assert grads[0][0, [0, 1, 3]].tolist() == [0.0, 0.0, 0.0]
        assert float(grads[0][0, 2]) != 0.0


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("axis", range(4))
def test_a_place_that_is_no_number_has_neither_features_nor_gradients(axis, device):
    places, space, time = world(9, device=device, dtype=torch.float32)
    kept = torch.ones(300, dtype=torch.bool, device=device)
    kept[[0, 150, 299]] = False
    incoming = torch.randn(300, 8, generator=torch.Generator().manual_seed(0)).to(device)
    clean, truth = gradients(sample_planes, places, space, time, incoming * kept[:, None])
    places[~kept, axis] = NAN
    incoming[~kept] = NAN
    features, grads = gradients(sample_planes, places, space, time, incoming)
    assert float(features[~kept].abs().max()) == 0.0
    assert torch.equal(features[kept], clean[kept])
    assert float(grads[0][~kept].abs().max()) == 0.0
    assert torch.equal(grads[0][kept], truth[0][kept])
    for a, b in zip(grads[1:], truth[1:], strict=True):
        assert_gradients_close(a, b, 1e-6)


@pytest.mark.parametrize("device", DEVICES)
def test_a_poisoned_cell_reaches_only_places_beside_it(device):
    places, (space,), time = world(10, sizes=(9,), device=device, dtype=torch.float32)
    clean, truth = gradients(sample_planes, places, [space], time)
    space[0, 3, 5] = NAN  # axes 0 and 1
    features, grads = gradients(sample_planes, places, [space], time)
    at = (places[:, :2] + 1) * 4.5 - 0.5
    beside = ((at - torch.tensor([5.0, 3.0], device=device)).abs() < 1.0 + 1e-4).all(1)
    assert beside.any()
    assert not features[beside].isfinite().all()
    assert torch.equal(features[~beside], clean[~beside])
    assert torch.equal(grads[0][~beside], truth[0][~beside])


def test_no_places():
    places, space, time = world(11, count=0)
    features, grads = gradients(sample_planes, places, space, time)
    assert features.shape == (0, 8)
    assert grads[0].shape == (0, 4)
    assert all(float(x.abs().max()) == 0.0 for x in grads[1:])


def test_places_do_not_know_of_each_other():
    places, space, time = world(12, count=1000, dtype=torch.float32)
    order = torch.randperm(1000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(sample_planes(places, space, time)[order], sample_planes(places[order], space, time))


def test_tensors_may_lie_anyhow():
    places, space, time = world(13, dtype=torch.float32)
    elsewhere = [x.movedim(-1, 0).contiguous().movedim(0, -1) for x in (places, *space, *time)]
    found = sample_planes(elsewhere[0], elsewhere[1:2], elsewhere[2:])
    assert torch.equal(found, sample_planes(places, space, time))
    leaf = space[0].half().requires_grad_(True)
    assert torch.equal(sample_planes(places, [leaf], time), sample_planes(places, [leaf.detach().float()], time))
    sample_planes(places, [leaf], time).sum().backward()
    assert leaf.grad.dtype == torch.float16


@pytest.mark.parametrize("dims", [3, 4])
def test_same_bits_in_blocks_of_any_size(dims, monkeypatch):
    """Gradients of planes are summed in the order of the places, also where these come in several blocks."""
    scene = world(14, count=3000, dims=dims, sizes=(5, 3), channels=(8, 3), dtype=torch.float32)
    _, whole = gradients(sample_planes, *scene)
    monkeypatch.setattr(functions, "BLOCK", 1)
    _, parts = gradients(sample_planes, *scene)
    for a, b in zip(whole, parts, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("wanted", ["places", "planes", "time"])
def test_only_wanted_gradients_are_made(wanted, monkeypatch):
    places, space, time = world(15)
    _, truth = gradients(sample_planes, places, space, time, torch.ones(300, 8))
    launched = []
    launch = bridge.launch

    def spy(kernel, count, arguments, like, **options):
        launched.append((kernel.key.split("_dims")[0], arguments))
        launch(kernel, count, arguments, like, **options)

    monkeypatch.setattr(bridge, "launch", spy)
    places.requires_grad_(wanted == "places")
    space[0].requires_grad_(wanted == "planes")
    time[0].requires_grad_(wanted in ("planes", "time"))
    sample_planes(places, space, time).sum().backward()
    spreads = [name for name, _ in launched if "spread" in name]
    assert len(spreads) == (0 if wanted == "places" else 1)
    v_places, rows = launched[1][1][-2:]
    assert (v_places is not None) == (wanted == "places")
    assert (rows is None) == (wanted == "places")
    for leaf, value in zip((places, *space, *time), truth, strict=True):
        assert (leaf.grad is not None) == leaf.requires_grad
        if leaf.requires_grad:
            assert torch.equal(leaf.grad, value)


ERRORS = {
    "places": (lambda p, s, t: (p[:, :2], s, t), "places: expected shape [any, 3] or [any, 4], got [300, 2]"),
    "no levels": (lambda p, s, t: (p, [], []), "space: expected at least one level, got none"),
    "no time": (lambda p, s, t: (p, s, []), "time: expected 1 levels for places [300, 4], got 0"),
    "time too much": (lambda p, s, t: (p[:, :3], s, t), "time: expected 0 levels for places [300, 3], got 1"),
    "space's shape": (lambda p, s, t: (p, [s[0][0]], t), "space[0]: expected shape [3, any, any, any], got [7, 7, 8]"),
    "not square": (lambda p, s, t: (p, [s[0][:, 1:]], t), "space[0]: expected [3, n, n, C] with n and C positive, got"),
    "no channels": (lambda p, s, t: (p, [s[0][..., :0]], t), "space[0]: expected [3, n, n, C] with n and C positive"),
    "time's cells": (lambda p, s, t: (p, s, [t[0][:, :, 1:]]), "time[0]: expected shape [3, any, 7, 8], got [3, 5, 6,"),
    "no moments": (lambda p, s, t: (p, s, [t[0][:, :0]]), "time[0]: expected at least one row, got [3, 0, 7, 8]"),
    "device": (lambda p, s, t: (p, s, [t[0].to("meta")]), "time[0]: expected on cpu, where the places are, got meta"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_name_the_argument(case):
    change, message = ERRORS[case]
    with pytest.raises(ValueError) as error:
        sample_planes(*change(*world()))
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(wp.get_cuda_toolkit_version() is None, reason="this Warp compiles for the CPU only")
@pytest.mark.parametrize("dims", [3, 4])
@pytest.mark.parametrize("real", [wp.float32, wp.float64])
def test_compiles_for_cuda(real, dims, tmp_path):
    """No device is needed for that."""
    for kernel in lookup.lookup_kernels(real, dims, True):
        written = wp.compile_aot_module(kernel.module, arch=80, module_dir=tmp_path, use_ptx=True)
        assert kernel.key in written[0].read_text()


@pytest.mark.parametrize("lanes", [1, 8, 32])
@pytest.mark.parametrize("case", ["space", "space and time", "levels of any size and channels"])
def test_kernels_for_cuda_compute_the_same(case, lanes, monkeypatch):
    """On the CPU: one thread after another, and with the threads of a block that share out the channels of a place."""
    scene = world(16, **{**CASES[case], "count": 256})
    expected, truth = gradients(sample_planes, *scene)
    monkeypatch.setattr(functions, "on_cuda", lambda like: True)
    monkeypatch.setattr(bridge, "threads", lambda: 1)  # they add to memory that they share
    if lanes > 1:
        if shutil.which("g++") is None:
            pytest.skip("no g++ on this machine")
        monkeypatch.setattr(native, "kernel", BlockKernel)
        monkeypatch.setattr(functions, "lookup_kernels", functools.cache(lookup.lookup_kernels.__wrapped__))
        monkeypatch.setattr(functions, "deal", lambda like, count, *_: (count * lanes, [count, 1, lanes]))
        monkeypatch.setattr(bridge, "launch", lambda kernel, count, arguments, like, **_: kernel(count, arguments))
    features, grads = gradients(sample_planes, *scene)
    torch.testing.assert_close(features, expected, rtol=1e-12, atol=1e-12)
    for a, b in zip(grads, truth, strict=True):
        assert_gradients_close(a, b, 1e-12)
