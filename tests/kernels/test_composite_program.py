"""A program written for nerfacc runs on kernels.composite."""

import inspect

import pytest
import torch
from semaflow.kernels import composite

# Names and defaults of nerfacc 0.5.3, in order; ... where there is no default.
PREFIX = {"packed_info": None, "ray_indices": None, "n_rays": None}
LENGTHS = {"t_starts": ..., "t_ends": ..., "sigmas": ...}
LIMITS = {"early_stop_eps": 1e-4, "alpha_thre": 0.0}
SIGNATURES = {
    "inclusive_sum": {"inputs": ..., "packed_info": None},
    "exclusive_sum": {"inputs": ..., "packed_info": None},
    "inclusive_prod": {"inputs": ..., "packed_info": None},
    "exclusive_prod": {"inputs": ..., "packed_info": None},
    "pack_info": {"ray_indices": ..., "n_rays": None},
    "render_weight_from_alpha": {"alphas": ...} | PREFIX | {"prefix_trans": None},
    "render_weight_from_density": LENGTHS | PREFIX | {"prefix_trans": None},
    "render_transmittance_from_alpha": {"alphas": ...} | PREFIX | {"prefix_trans": None},
    "render_transmittance_from_density": LENGTHS | PREFIX | {"prefix_trans": None},
    "render_visibility_from_alpha": {"alphas": ...} | PREFIX | LIMITS | {"prefix_trans": None},
    "render_visibility_from_density": LENGTHS | PREFIX | LIMITS | {"prefix_trans": None},
    "accumulate_along_rays": {"weights": ..., "values": None, "ray_indices": None, "n_rays": None},
    "accumulate_along_rays_": {"weights": ..., "values": None, "ray_indices": None, "outputs": None},
    "rendering": {
        "t_starts": ..., "t_ends": ..., "ray_indices": None, "n_rays": None, "rgb_sigma_fn": None,
        "rgb_alpha_fn": None, "render_bkgd": None,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name):
    parameters = inspect.signature(getattr(composite, name)).parameters.values()
    found = {p.name: ... if p.default is p.empty else p.default for p in parameters}
    assert list(found.items()) == list(SIGNATURES[name].items())


def marched(rays: int, step: float):
    """Samples of parallel rays through the unit square that an occupancy grid left over: some rays have none."""
    g = torch.Generator().manual_seed(0)
    starts = torch.arange(0, 1 - step / 2, step).expand(rays, -1)
    kept = torch.rand(starts.shape, generator=g) < 0.7
    kept[::7] = False
    indices = torch.arange(rays)[:, None].expand_as(starts)[kept]
    return starts[kept], starts[kept] + step, indices


@pytest.mark.parametrize("kind", ["density", "opacity"])
def test_a_field_is_learned(kind):
    """The training step of a radiance field, with what regularisers read from the extras."""
    rays = 64
    t_starts, t_ends, ray_indices = marched(rays, 0.05)
    raw = torch.zeros(len(t_starts), 4, requires_grad=True)
    truth = torch.rand(len(t_starts), 4, generator=torch.Generator().manual_seed(1))
    background = torch.tensor([0.2, 0.5, 0.9])

    def rendered(shown, opaque):
        def field(t_starts, t_ends, ray_indices):
            assert t_starts.shape == t_ends.shape == ray_indices.shape
            return shown, opaque

        key = "rgb_sigma_fn" if kind == "density" else "rgb_alpha_fn"
        return composite.rendering(t_starts, t_ends, ray_indices, rays, render_bkgd=background, **{key: field})

    def opaque(x):
        return 40 * x if kind == "density" else x

    with torch.no_grad():
        target, target_opacity, target_depth, _ = rendered(truth[:, :3], opaque(truth[:, 3]))
    assert target.shape == (rays, 3) and target_opacity.shape == target_depth.shape == (rays, 1)
    torch.testing.assert_close(target[::7], background.expand(10, 3))
    assert float(target_depth[::7].abs().max()) == 0 and 0 < float(target_depth[1]) < 1
    optimizer = torch.optim.Adam([raw], lr=0.1)
    for _ in range(150):
        colors, opacities, depths, extras = rendered(raw[:, :3].sigmoid(), opaque(raw[:, 3].sigmoid()))
        loss = torch.nn.functional.smooth_l1_loss(colors, target) + ((opacities - target_opacity) ** 2).mean()
        loss = loss + ((depths - target_depth) ** 2).mean() + 1e-6 * extras["weights"].pow(2).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float((colors - target).detach().abs().mean()) < 0.01
    assert float((depths - target_depth).detach().abs().mean()) < 0.01
    expected = {"weights", "trans", "alphas", "rgbs"} | ({"sigmas"} if kind == "density" else set())
    assert set(extras) == expected
    assert all(len(x) == len(t_starts) for x in extras.values())


def test_rendering_is_its_parts():
    """The one-call rendering, batched, against weights and sums taken one by one; gradients in all inputs."""
    g = torch.Generator().manual_seed(2)
    starts = torch.rand(5, 30, generator=g, dtype=torch.float64)
    inputs = [starts, starts + 0.1, *(torch.rand(5, 30, *s, generator=g, dtype=torch.float64) for s in ((), (17,)))]
    incoming = [torch.randn(5, d, generator=g, dtype=torch.float64) for d in (17, 1, 1)]
    incoming += [torch.randn(5, 30, generator=g, dtype=torch.float64) for _ in range(3)]

    def at_once(t_starts, t_ends, opaque, values, density):
        fields = {"rgb_sigma_fn" if density else "rgb_alpha_fn": lambda *_: (values, opaque)}
        *per_ray, extras = composite.rendering(t_starts, t_ends, **fields)
        return *per_ray, extras["weights"], extras["trans"], extras["alphas"]

    def step_by_step(t_starts, t_ends, opaque, values, density):
        alphas = 1 - torch.exp(-opaque * (t_ends - t_starts)) if density else opaque
        trans = torch.cat([torch.ones_like(alphas[:, :1]), torch.cumprod(1 - alphas, 1)[:, :-1]], 1)
        weights = trans * alphas
        opacities = weights.sum(1, keepdim=True)
        depths = (weights * (t_starts + t_ends) / 2).sum(1, keepdim=True) / opacities
        return (weights[..., None] * values).sum(1), opacities, depths, weights, trans, alphas

    for density in (True, False):
        found = []
        for function in (at_once, step_by_step):
            leaves = [x.clone().requires_grad_() for x in inputs]
            outputs = function(*leaves, density)
            torch.autograd.backward(outputs, incoming)
            found.append([*outputs, *(x.grad for x in leaves)])
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(a, b)


def test_no_samples_at_all():
    none = torch.zeros(0)
    background = torch.tensor([1.0, 0.5, 0.0, 0.25])
    colors, opacities, depths, extras = composite.rendering(
        none, none, torch.zeros(0, dtype=torch.int64), 3, rgb_sigma_fn=None, rgb_alpha_fn=print, render_bkgd=background
    )
    assert torch.equal(colors, background.expand(3, 4))
    assert torch.equal(opacities, torch.zeros(3, 1)) and torch.equal(depths, torch.zeros(3, 1))
    assert extras["weights"].shape == (0,)
