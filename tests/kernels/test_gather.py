"""Features of maps where points project: values, gradients, and what holds of any maps and points."""

import pytest
import torch
import warp as wp
from semaflow.kernels import gather
from semaflow.kernels.gather import functions, lookup, maps_adjoint, projection

from tests.reference import gather as oracle
from tests.reference.gaussians import DEVICES
from tests.reference.gradients import assert_gradients_close, finite_differences

WIDTH, HEIGHT = 90, 70
NAN, INF = float("nan"), float("inf")
NAMES = ("maps", "points", "viewmats", "Ks")


def rotation(generator: torch.Generator, angle: float) -> torch.Tensor:
    skew = torch.zeros(3, 3, dtype=torch.float64)
    skew[(0, 0, 1), (1, 2, 2)] = angle * torch.randn(3, generator=generator, dtype=torch.float64)
    return torch.matrix_exp(skew - skew.T)


def world(seed=0, count=40, views=3, channels=(5,), sizes=((7, 9),), moving=False, device="cpu", dtype=torch.float64):
    """``(levels, points, viewmats, Ks)``, most points in view, all values such that float32 holds them exactly."""
    g = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    levels = [random(views, c, *size) for c, size in zip(channels, sizes, strict=True)]
    points = random(count, views, 3) if moving else random(count, 3)
    points[..., 2] += 3.0
    viewmats = torch.eye(4, dtype=torch.float64).repeat(views, 1, 1)
    for view in viewmats:
        view[:3, :3] = rotation(g, 0.1)
        view[:3, 3] = 0.1 * random(3)
    Ks = torch.tensor([[40.0, 1.0, 45.0], [0.0, 42.0, 35.0], [0.0, 0.0, 1.0]], dtype=torch.float64).repeat(views, 1, 1)
    Ks[:, :2] += 0.1 * random(views, 2, 3)
    return [x.float().to(device, dtype) for x in levels], *(x.float().to(device, dtype) for x in (points, viewmats, Ks))


def ours(levels, points, viewmats, Ks, width=WIDTH, height=HEIGHT, **options):
    call = gather.sample_trajectories if points.ndim == 3 else gather.sample_views
    return call(levels, points, viewmats, Ks, width, height, **options)


def gradients(function, levels, points, viewmats, Ks, weights=None, **options):
    """Outputs, and gradients of ``[*levels, points, viewmats, Ks]`` for random gradients of the outputs."""
    leaves = [x.detach().clone().requires_grad_(True) for x in (*levels, points, viewmats, Ks)]
    found = function(leaves[:-3], *leaves[-3:], **options)
    if weights is None:
        g = torch.Generator().manual_seed(9)
        weights = [torch.randn(x.shape, generator=g, dtype=torch.float64) for x in found[:3]]
    torch.autograd.backward(found[:3], [w.to(x) for w, x in zip(weights, found[:3], strict=True)])
    return [x.detach() for x in found], [x.grad for x in leaves]


def test_by_hand():
    """An image of 4 x 4 pixels under a map of 2 x 2 cells, whose centres lie at pixels 1 and 3; focal length 2, so a
    point at x = z / 2 lies 1 pixel right of the principal point (1, 2)."""
    maps = torch.tensor([[[[1.0, 5.0], [3.0, 11.0]]]], requires_grad=True)
    points = torch.tensor([[1.0, 0.0, 2.0], [0.0, -1.0, 4.0], [0.0, 0.0, -1.0]], requires_grad=True)
    K = torch.tensor([[[2.0, 0.0, 1.0], [0.0, 2.0, 2.0], [0.0, 0.0, 1.0]]])
    features, pixels, depth, valid = gather.sample_views(maps, points, torch.eye(4)[None], K, 4, 4)
    # Half way between all four; a quarter of a cell below the centre of the first; behind the camera.
    assert features[:, 0, 0].tolist() == [5.0, 1.5, 0.0]
    assert pixels[:, 0].tolist() == [[2.0, 2.0], [1.0, 1.5], [0.0, 0.0]]
    assert depth[:, 0].tolist() == [2.0, 4.0, -1.0]
    assert valid[:, 0].tolist() == [True, True, False]
    features[0].sum().backward()
    assert maps.grad.flatten().tolist() == [0.25] * 4
    # A pixel to the right adds (4 + 8) / 2 / 2 = 3, one down (2 + 6) / 2 / 2 = 2; x moves the pixel by 2 / z = 1, and z
    # by -2 x / z^2 = -0.5.
    assert points.grad[0].tolist() == [3.0, 2.0, -1.5]
    assert points.grad[1:].abs().max() == 0


CASES = {
    "views": {},
    "trajectories": {"moving": True},
    "one channel": {"channels": (1,)},
    "many channels": {"channels": (512,), "count": 20},
    "channels that fill no vector": {"channels": (35,)},
    "a pyramid": {"channels": (3, 8, 17), "sizes": ((14, 18), (7, 9), (2, 3))},
    "a pyramid along trajectories": {"channels": (4, 1), "sizes": ((5, 30), (1, 1)), "moving": True},
    "one view": {"views": 1, "count": 300},
    "one column": {"sizes": ((9, 1),)},
    "one point": {"count": 1},
}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 3e-5)])
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients_are_those_of_the_reference(case, dtype, tolerance, device):
    scene = world(**CASES[case])
    expected, truth = gradients(oracle.sample, *scene, width=WIDTH, height=HEIGHT)
    levels, *rest = ([x.to(device, dtype) for x in scene[0]], *(x.to(device, dtype) for x in scene[1:]))
    found, grads = gradients(ours, levels, *rest)
    assert torch.equal(found[3].cpu(), expected[3])
    assert found[3].any()
    for name, a, b in zip(("features", "pixels", "depth"), found, expected, strict=False):
        assert a.dtype == dtype
        assert float((a.cpu() - b).abs().max()) <= tolerance * max(1.0, float(b.abs().max())), name
    for i, (a, b) in enumerate(zip(grads, truth, strict=True)):
        assert_gradients_close(a, b, tolerance, f"gradient {i}")


@pytest.mark.parametrize("moving", [False, True])
@pytest.mark.parametrize("which", range(4))
def test_finite_differences(which, moving):
    levels, *rest = world(3, count=6, views=2, channels=(2, 3), sizes=((7, 9), (3, 4)), moving=moving)
    inputs = [levels[0], *rest]
    weights = [torch.randn_like(x) for x in ours(levels, *rest)[:3]]

    def loss(x):
        changed = [*inputs[:which], x, *inputs[which + 1 :]]
        found = ours([changed[0], levels[1]], *changed[1:])
        return sum((w * f).sum() for w, f in zip(weights, found, strict=False))

    numeric = finite_differences(loss, inputs[which], 1e-6)
    _, grads = gradients(ours, levels, *rest, weights=weights)
    if which >= 2:  # the last rows are taken as known
        assert numeric[:, -1].abs().max() == 0
    assert_gradients_close(grads[0] if which == 0 else grads[which + 1], numeric, 1e-6, NAMES[which])


def test_agrees_with_grid_sample():
    """What its users know: cells' centres as with ``align_corners=False``, borders that go on."""
    (maps,), points, viewmats, Ks = world(4, count=500)
    features, pixels, _, valid = ours([maps], points, viewmats, Ks)
    grid = 2 * pixels / torch.tensor([WIDTH, HEIGHT]) - 1
    expected = torch.nn.functional.grid_sample(
        maps, grid.permute(1, 0, 2)[:, :, None], align_corners=False, padding_mode="border"
    )[..., 0].permute(2, 0, 1)
    torch.testing.assert_close(features[valid], expected[valid], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("device", DEVICES)
def test_a_map_of_cell_centres_gives_the_pixel(device):
    """Whatever the size of a map, it covers the whole image: a map that holds the pixel of each cell's centre is read
    as the pixel itself, up to half a cell from the border."""
    _, points, viewmats, Ks = world(5, count=400, device=device)
    levels = []
    for rows, columns in ((70, 90), (7, 9), (5, 4)):
        y = (torch.arange(rows, dtype=torch.float64) + 0.5) * HEIGHT / rows
        x = (torch.arange(columns, dtype=torch.float64) + 0.5) * WIDTH / columns
        y, x = torch.meshgrid(y, x, indexing="ij")
        levels.append(torch.stack([x, y]).expand(3, 2, rows, columns).to(device))
    features, pixels, _, valid = ours(levels, points, viewmats, Ks)
    margin = torch.tensor([WIDTH / 4 / 2, HEIGHT / 5 / 2], device=device, dtype=torch.float64)
    size = torch.tensor([WIDTH, HEIGHT], device=device, dtype=torch.float64)
    inner = ((pixels > margin) & (pixels < size - margin)).all(-1)
    assert inner.sum() > 100
    for i in range(3):
        torch.testing.assert_close(features[inner][:, 2 * i : 2 * i + 2], pixels[inner], rtol=1e-12, atol=1e-12)
    outside = pixels[~valid & (pixels != 0).any(-1)]
    assert ((outside < 0) | (outside >= size)).any(-1).all()


def test_the_image_is_by_default_as_large_as_the_first_map():
    levels, points, viewmats, Ks = world(6, channels=(2, 2), sizes=((70, 90), (7, 9)))
    for a, b in zip(gather.sample_views(levels, points, viewmats, Ks), ours(levels, points, viewmats, Ks), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_levels_are_concatenated(dtype, device):
    levels, points, viewmats, Ks = world(7, channels=(3, 8), sizes=((14, 18), (4, 5)), device=device)
    levels = [x.to(dtype) for x in levels]
    together = ours(levels, points, viewmats, Ks)
    apart = [ours(level, points, viewmats, Ks) for level in levels]
    assert torch.equal(together[0], torch.cat([x[0] for x in apart], -1))
    for one in apart:
        for a, b in zip(together[1:], one[1:], strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("device", DEVICES)
def test_a_still_trajectory_is_a_point(device):
    levels, points, viewmats, Ks = world(8, device=device)
    still, grads = gradients(ours, levels, points, viewmats, Ks)
    moved, moved_grads = gradients(ours, levels, points[:, None].repeat(1, 3, 1), viewmats, Ks)
    for a, b in zip(still, moved, strict=True):
        assert torch.equal(a, b)
    moved_grads[1] = moved_grads[1].sum(1)
    for name, a, b in zip(NAMES, moved_grads, grads, strict=True):
        assert_gradients_close(a, b, 1e-12, name)


def test_moving_the_world_and_its_cameras_changes_nothing():
    levels, points, viewmats, Ks = world(9)
    g = torch.Generator().manual_seed(1)
    motion = torch.eye(4, dtype=torch.float64)
    motion[:3, :3], motion[:3, 3] = rotation(g, 1.0), torch.tensor([1.0, -2.0, 0.5])
    moved = points @ motion[:3, :3].T + motion[:3, 3]
    before, after = ours(levels, points, viewmats, Ks), ours(levels, moved, viewmats @ motion.inverse(), Ks)
    assert torch.equal(before[3], after[3])
    for a, b in zip(before[:3], after[:3], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("device", DEVICES)
def test_points_do_not_know_of_each_other(device):
    levels, points, viewmats, Ks = world(10, count=600, device=device, dtype=torch.float32)
    order = torch.randperm(600, generator=torch.Generator().manual_seed(0)).to(device)
    for a, b in zip(ours(levels, points, viewmats, Ks), ours(levels, points[order], viewmats, Ks), strict=True):
        assert torch.equal(a[order], b)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("channels", [1, 6, 130])
def test_gradients_of_maps_are_the_adjoint(channels, device):
    """<sample(m), g> = <m, gradient> for any map m and any g; linear, so m may be another than was differentiated."""
    scene = world(11, count=900, channels=(channels,), sizes=((30, 40),), device=device, dtype=torch.float32)
    (found, *_), (v_maps, *_) = gradients(ours, *scene)
    g = torch.randn(found.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64).to(device)
    other = torch.randn_like(scene[0][0])
    left = (ours(other, *scene[1:])[0].double() * g).sum()
    terms = other.double() * v_maps
    assert float(left) == pytest.approx(float(terms.sum()), abs=1e-5 * float(terms.norm()))


@pytest.mark.parametrize("device", DEVICES)
def test_half_precision_maps_are_read_as_they_lie(device):
    """As the same numbers in float32; the maps' own gradients are rounded."""
    levels, *rest = world(12, channels=(35, 3), sizes=((14, 18), (7, 9)), device=device, dtype=torch.float32)
    half = [x.half() for x in levels]
    found, grads = gradients(ours, half, *rest)
    expected, truth = gradients(ours, [x.float() for x in half], *rest)
    assert found[0].dtype == torch.float32
    torch.testing.assert_close(found[0], expected[0], rtol=1e-5, atol=1e-5)
    for a, b in zip(grads[:2], truth, strict=False):
        assert a.dtype == torch.float16
        torch.testing.assert_close(a.float(), b, rtol=1e-3, atol=1e-4)
    for a, b in zip(grads[2:], truth[2:], strict=True):
        assert_gradients_close(a, b, 1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_maps_with_channels_last_are_not_copied(dtype, monkeypatch):
    (maps,), *rest = world(13, dtype=torch.float32)
    last = maps.to(dtype).to(memory_format=torch.channels_last)
    expected = ours([maps.to(dtype)], *rest)
    read = []
    table = functions._table
    monkeypatch.setattr(functions, "_table", lambda levels: read.extend(x.data_ptr() for x in levels) or table(levels))
    for a, b in zip(ours([last], *rest), expected, strict=True):
        assert torch.equal(a, b)
    assert read == [last.data_ptr()]


@pytest.mark.parametrize("device", DEVICES)
def test_nothing_to_look_at(device):
    levels, points, viewmats, Ks = world(15, device=device)
    for moving in (False, True):
        none = torch.zeros(0, 3, 3, dtype=torch.float64, device=device) if moving else points[:0]
        found, grads = gradients(ours, levels, none, viewmats, Ks)
        assert [list(x.shape) for x in found] == [[0, 3, 5], [0, 3, 2], [0, 3], [0, 3]]
        assert all(float(x.abs().sum()) == 0 for x in grads)
    found = ours([levels[0][:0]], points, viewmats[:0], Ks[:0])
    assert [list(x.shape) for x in found] == [[40, 0, 5], [40, 0, 2], [40, 0], [40, 0]]


@pytest.mark.parametrize("device", DEVICES)
def test_where_the_image_ends(device):
    """The left and upper border belong to the image, the right and lower do not; the near plane is in front."""
    maps = torch.arange(6.0, device=device).view(1, 1, 2, 3)
    K = torch.eye(3, device=device)[None]
    below = torch.nextafter(torch.tensor(3.0), torch.tensor(0.0)).item()
    x = [[0.0, 0.0, 1.0], [below, 1.999, 1.0], [3.0, 0.0, 1.0], [0.0, 2.0, 1.0], [-1e-6, 0.0, 1.0]]
    points = torch.tensor([*x, [0.005, 0.005, 0.01], [0.0, 0.0, 0.00999]], device=device)
    features, _, depth, valid = gather.sample_views(maps, points, torch.eye(4, device=device)[None], K)
    assert valid[:, 0].tolist() == [True, True, False, False, False, True, False]
    assert features[:, 0, 0].tolist() == [0.0, 5.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert torch.equal(depth[:, 0], points[:, 2])


POISON = (NAN, INF, -INF, 1e38, -1e38, 1e-42, 0.0, 1e15)


def fuzz(seeds, device):
    for seed in seeds:
        g = torch.Generator().manual_seed(seed)

        def pick(n, g=g):
            return int(torch.randint(n, (), generator=g))

        levels, points, viewmats, Ks = world(
            seed, count=5 + pick(20), views=1 + pick(3), moving=bool(pick(2)), device=device, dtype=torch.float32
        )
        bad_point, bad_view = pick(len(points)), pick(len(viewmats))
        poisoned = [levels[0], points.clone(), viewmats.clone(), Ks.clone()]
        target = pick(3)
        value = POISON[pick(len(POISON))]
        if target == 0:
            poisoned[1][bad_point].view(-1)[pick(points[0].numel())] = value
        elif target == 1:
            poisoned[2][bad_view, pick(3), pick(4)] = value
        else:
            poisoned[3][bad_view, pick(2), pick(3)] = value
        healthy = torch.ones(len(points), len(viewmats), dtype=torch.bool, device=device)
        healthy[(bad_point, slice(None)) if target == 0 else (slice(None), bad_view)] = False
        weights = [torch.rand(*healthy.shape, n, generator=g) for n in (5, 2)]
        weights.append(torch.rand(healthy.shape, generator=g))
        # What is poisoned is without weight in the first, so that the others' gradients must be those of a clean scene.
        kept = [w * healthy.cpu().view(*healthy.shape, *[1] * (w.ndim - 2)) for w in weights]
        clean, truth = gradients(ours, levels, points, viewmats, Ks, weights=kept)
        dirty, grads = gradients(ours, poisoned[:1], *poisoned[1:], weights=kept)
        where = f"seed {seed}, {NAMES[1 + target]} {value}"
        for a, b in zip(dirty, clean, strict=True):
            assert a.isfinite().all(), where
            assert torch.equal(a[healthy], b[healthy]), where
        for name, a, b in zip(NAMES, grads, truth, strict=True):
            assert_gradients_close(a, b, 1e-5, f"{where}: {name}")
        _, grads = gradients(ours, poisoned[:1], *poisoned[1:], weights=weights)
        assert all(x.isfinite().all() for x in grads), where


@pytest.mark.parametrize("device", DEVICES)
def test_poison_stays_where_it_is(device):
    fuzz(range(300), device)


@pytest.mark.parametrize("device", DEVICES)
def test_a_poisoned_cell_reaches_only_points_beside_it(device):
    (maps,), *rest = world(16, count=300, views=1, sizes=((14, 18),), device=device, dtype=torch.float32)
    expected, truth = gradients(ours, [maps], *rest)
    maps[0, 2, 6, 8] = NAN
    (features, pixels, *_), grads = gradients(ours, [maps], *rest)
    cell = pixels[:, 0] * torch.tensor([18 / WIDTH, 14 / HEIGHT], device=device) - 0.5
    beside = ((cell - torch.tensor([8.0, 6.0], device=device)).abs() <= 1.0 + 1e-4).all(-1)
    assert beside.any()
    assert torch.equal(features[~beside], expected[0][~beside])
    assert torch.equal(features[..., [0, 1, 3, 4]], expected[0][..., [0, 1, 3, 4]])
    assert torch.equal(grads[1][~beside], truth[1][~beside])
    assert torch.equal(grads[0], truth[0])


def test_gradients_from_outside_do_not_come_in():
    """What a loss makes of points that are not seen, a NaN even, is not looked at."""
    levels, points, viewmats, Ks = world(17, dtype=torch.float32)
    seen = ours(levels, points, viewmats, Ks)
    assert not seen[3].all()
    weights = [torch.ones_like(x) for x in seen[:3]]
    _, truth = gradients(ours, levels, points, viewmats, Ks, weights=weights)
    weights[0] = torch.where(seen[3][..., None], weights[0], NAN)
    _, grads = gradients(ours, levels, points, viewmats, Ks, weights=weights)
    for a, b in zip(grads, truth, strict=True):
        assert torch.equal(a, b)


ERRORS = {
    "no levels": (lambda m, p, v, k: ([], p, v, k), "maps: expected at least one level, got none"),
    "maps' shape": (lambda m, p, v, k: (m[0], p, v, k), "maps: expected shape [3, any, any, any], got [5, 7, 9]"),
    "level's views": (lambda m, p, v, k: ([m, m[:2]], p, v, k), "maps[1]: expected shape [3, any, any, any], got"),
    "no cells": (lambda m, p, v, k: (m[..., :0], p, v, k), "maps: expected at least one channel, row and column"),
    "dtype": (lambda m, p, v, k: (m.bfloat16(), p, v, k), "maps: expected float16, float32 or float64, the same"),
    "two dtypes": (lambda m, p, v, k: ([m, m.half()], p, v, k), "maps[1]: expected float16, float32 or float64"),
    "points": (lambda m, p, v, k: (m, p[:, :2], v, k), "points: expected shape [any, 3], got [40, 2]"),
    "viewmats": (lambda m, p, v, k: (m, p, v[:, :3], k), "viewmats: expected shape [any, 4, 4], got [3, 3, 4]"),
    "Ks": (lambda m, p, v, k: (m, p, v, k[:2]), "Ks: expected shape [3, 3, 3], got [2, 3, 3]"),
    "device": (lambda m, p, v, k: (m.to("meta"), p, v, k), "maps: expected on cpu, where the points are, got meta"),
    "size": (lambda m, p, v, k: (m, p, v, k, 0, 4), "width, height: expected positive, got 0 and 4"),
    "half a size": (lambda m, p, v, k: (m, p, v, k, 4), "width, height: expected both or neither, got 4 and None"),
    "near": (lambda m, p, v, k: (m, p, v, k, 9, 7, 0.0), "near_plane: expected positive, got 0.0"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_errors_name_the_argument(case):
    change, message = ERRORS[case]
    (maps,), *rest = world()
    with pytest.raises(ValueError, match="(?s)^" + message.replace("[", r"\[").replace(".", r"\.")) as error:
        gather.sample_views(*change(maps, *rest))
    assert "\n" not in str(error.value)


def test_errors_name_trajectories():
    (maps,), points, *cameras = world()
    with pytest.raises(ValueError, match=r"^trajectories: expected shape \[any, 3, 3\], got \[40, 3\]"):
        gather.sample_trajectories(maps, points, *cameras)


@pytest.mark.parametrize("kernel", ["lookup", "maps", "cameras"])
def test_the_source_compiles_for_cuda(kernel, tmp_path):
    """No device is needed for that."""
    made = {
        "lookup": lambda: lookup.lookup_kernels(wp.float32, torch.float16)[0],
        "maps": lambda: maps_adjoint.atomic(wp.float32),
        "cameras": lambda: projection.projection_adjoint(wp.float32),
    }[kernel]()
    if not wp.get_cuda_supported_archs():
        pytest.skip("this build of Warp has no CUDA compiler")
    written = wp.compile_aot_module(made.module, arch=80, module_dir=tmp_path, use_ptx=True)
    assert made.key in written[0].read_text()
