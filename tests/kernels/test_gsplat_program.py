"""A training program as a user of gsplat writes it: only the import is ours."""

import pytest
import torch
from semaflow.kernels.splat import rasterization

from tests.reference.gaussians import DEVICES

WIDTH, HEIGHT, DEGREE = 48, 32, 1


def cameras(count, device):
    """Cameras on an arc around the origin."""
    viewmats = torch.eye(4, device=device).repeat(count, 1, 1)
    for i, angle in enumerate(torch.linspace(-0.5, 0.5, count)):
        c, s = torch.cos(angle), torch.sin(angle)
        viewmats[i, :3, :3] = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]])
        viewmats[i, 2, 3] = 4.0
    K = torch.tensor([[40.0, 0, WIDTH / 2], [0, 40.0, HEIGHT / 2], [0, 0, 1]], device=device)
    return viewmats, K.repeat(count, 1, 1)


def initial_splats(count, seed, device):
    g = torch.Generator().manual_seed(seed)
    sh = torch.zeros(count, (DEGREE + 1) ** 2, 3)
    sh[:, 0] = torch.rand(count, 3, generator=g) - 0.5
    params = {
        "means": (torch.rand(count, 3, generator=g) - 0.5) * 2,
        "scales": torch.full((count, 3), 0.12).log(),
        "quats": torch.rand(count, 4, generator=g),
        "opacities": torch.logit(torch.full((count,), 0.4)),
        "sh0": sh[:, :1],
        "shN": sh[:, 1:],
    }
    return torch.nn.ParameterDict({k: torch.nn.Parameter(v.to(device)) for k, v in params.items()})


def rasterize_splats(splats, viewmats, Ks, **options):
    return rasterization(
        means=splats["means"],
        quats=splats["quats"],
        scales=torch.exp(splats["scales"]),
        opacities=torch.sigmoid(splats["opacities"]),
        colors=torch.cat([splats["sh0"], splats["shN"]], 1),
        viewmats=viewmats,
        Ks=Ks,
        width=WIDTH,
        height=HEIGHT,
        sh_degree=DEGREE,
        **options,
    )


def update_state(state, info, packed, absgrad):
    """Accumulate screen-space gradients per Gaussian, as a densification strategy does."""
    means2d = info["means2d"]
    grads = (means2d.absgrad if absgrad else means2d.grad).clone()
    grads[..., 0] *= info["width"] / 2.0 * info["n_cameras"]
    grads[..., 1] *= info["height"] / 2.0 * info["n_cameras"]
    if packed:
        ids = info["gaussian_ids"]
        radii = info["radii"].max(dim=-1).values
    else:
        visible = (info["radii"] > 0.0).all(dim=-1)
        ids = torch.where(visible)[1]
        grads = grads[visible]
        radii = info["radii"][visible].max(dim=-1).values
    state["grad2d"].index_add_(0, ids, grads.norm(dim=-1))
    state["count"].index_add_(0, ids, torch.ones_like(ids, dtype=torch.float32))
    state["radii"][ids] = torch.maximum(
        state["radii"][ids], radii / float(max(info["width"], info["height"]))
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("absgrad", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_training_and_densification_statistics(packed, absgrad, device):
    """Forty steps of Adam bring the splats closer to images of others, in every packing, and the
    statistics that densification reads are the same packed or not."""
    viewmats, Ks = cameras(3, device)
    with torch.no_grad():
        truth = rasterize_splats(initial_splats(60, 1, device), viewmats, Ks)[0]
    splats = initial_splats(50, 2, device)
    optimizers = [
        torch.optim.Adam([{"params": splats[name], "lr": lr, "name": name}], eps=1e-15)
        for name, lr in (
            ("means", 5e-3),
            ("scales", 1e-2),
            ("quats", 5e-3),
            ("opacities", 5e-2),
            ("sh0", 2e-2),
            ("shN", 2e-3),
        )
    ]
    count = len(splats["means"])
    state = {name: torch.zeros(count, device=device) for name in ("grad2d", "count", "radii")}
    losses, first = [], None
    for step in range(40):
        picked = slice(step % 2, step % 2 + 2)
        renders, alphas, info = rasterize_splats(
            splats,
            viewmats[picked],
            Ks[picked],
            packed=packed,
            absgrad=absgrad,
            render_mode="RGB+ED",
            backgrounds=torch.zeros(2, 3, device=device),
        )
        colors, depths = renders[..., 0:3], renders[..., 3:4]
        info["means2d"].retain_grad()
        loss = (
            torch.nn.functional.l1_loss(colors, truth[picked])
            + 0 * depths.mean()
            + 0 * alphas.mean()
        )
        loss.backward()
        update_state(state, info, packed, absgrad)
        first = first or {name: value.clone() for name, value in state.items()}
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    assert (state["count"] > 0).any()
    assert float(state["grad2d"].max()) > 0
    assert float(state["radii"].max()) > 0

    # One step of the other packing from the same start has the same statistics.
    splats = initial_splats(50, 2, device)
    other = {name: torch.zeros(count, device=device) for name in state}
    renders, alphas, info = rasterize_splats(
        splats,
        viewmats[:2],
        Ks[:2],
        packed=not packed,
        absgrad=absgrad,
        render_mode="RGB+ED",
        backgrounds=torch.zeros(2, 3, device=device),
    )
    info["means2d"].retain_grad()
    torch.nn.functional.l1_loss(renders[..., :3], truth[:2]).backward()
    update_state(other, info, not packed, absgrad)
    for name, value in first.items():
        torch.testing.assert_close(value, other[name], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("device", DEVICES)
def test_signature_and_metadata(device):
    """Positional order, shapes and metadata keys are gsplat's; the default is packed, without
    background."""
    splats = initial_splats(30, 3, device)
    viewmats, Ks = cameras(2, device)
    colors, alphas, meta = rasterization(
        splats["means"],
        splats["quats"],
        splats["scales"].exp(),
        splats["opacities"].sigmoid(),
        torch.rand(30, 5, device=device),
        viewmats,
        Ks,
        WIDTH,
        HEIGHT,
    )
    assert colors.shape == (2, HEIGHT, WIDTH, 5)
    assert alphas.shape == (2, HEIGHT, WIDTH, 1)
    assert colors.dtype == alphas.dtype == torch.float32
    visible = len(meta["gaussian_ids"])
    assert meta["means2d"].shape == (visible, 2)
    assert meta["conics"].shape == (visible, 3)
    for name in ("depths", "opacities", "camera_ids", "gaussian_ids"):
        assert meta[name].shape == (visible,)
    assert meta["radii"].shape == (visible, 2)
    assert meta["radii"].dtype == torch.int32
    assert (meta["width"], meta["height"], meta["n_cameras"]) == (WIDTH, HEIGHT, 2)
