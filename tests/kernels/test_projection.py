"""Projection of Gaussians into cameras, seen through the metadata that rasterization returns."""

import pytest
import torch
from semaflow.kernels import splat

from tests.reference import splat as oracle
from tests.reference.gaussians import DEVICES, random_gaussians


def close(actual, expected, tolerance):
    """Largest error relative to the size of each expected element (at least 1)."""
    error = (actual.cpu().double() - expected).abs() / expected.abs().clamp_min(1.0)
    assert float(error.max()) <= tolerance


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("camera_model", ["pinhole", "ortho"])
@pytest.mark.parametrize("rasterize_mode", ["classic", "antialiased"])
@pytest.mark.parametrize("seed", range(3))
def test_projection_matches_the_reference(seed, rasterize_mode, camera_model, device):
    """A spread of 1.6 puts a third of the Gaussians outside the image, where the linearisation is
    clamped."""
    scene = random_gaussians(seed, spread=1.6)
    options = {"rasterize_mode": rasterize_mode, "camera_model": camera_model}
    meta = (
        scene.to(torch.float32).to(device).render(splat.rasterization, packed=False, **options)[2]
    )
    view = oracle.project(*scene.geometry[:3], *scene.views, camera_model=camera_model)
    opacities, _ = oracle.visible_opacities(view, scene.opacities, rasterize_mode, 0.0)
    seen = (meta["radii"] > 0).all(-1).cpu()
    assert seen.any(dim=1).all(), "no camera sees anything"
    assert meta["radii"].shape == (2, 80, 2)
    close(meta["means2d"].detach()[seen], view.means2d[seen], 1e-5)
    close(meta["depths"].detach()[seen], view.depths[seen], 1e-5)
    close(meta["conics"].detach()[seen], view.conics[seen], 1e-4)
    close(meta["opacities"].detach().expand_as(opacities)[seen], opacities[seen], 1e-5)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("seed", range(3))
def test_radii_are_tight(seed, device):
    """The box of a Gaussian reaches as far as its alpha stays above 1/255, and not two pixels
    further."""
    scene = random_gaussians(seed)
    meta = scene.to(torch.float32).to(device).render(splat.rasterization, packed=False)[2]
    view = oracle.project(*scene.geometry[:3], *scene.views)
    reach = (2 * torch.log(scene.opacities * 255)).sqrt()[None, :, None]
    extent = reach * view.covars2d.diagonal(dim1=-2, dim2=-1).sqrt()
    radii = meta["radii"].cpu()
    seen = (radii > 0).all(-1)
    assert (radii[seen] >= extent[seen] - 1e-3).all()
    assert (radii[seen] <= extent[seen] + 1 + 1e-3).all()
    touching = (
        (view.means2d + extent > 0)
        & (view.means2d - extent < torch.tensor([scene.width, scene.height]))
    ).all(-1)
    assert not (touching & view.valid & ~seen).any(), (
        "a Gaussian that reaches into the image was dropped"
    )


@pytest.mark.parametrize("device", DEVICES)
def test_near_far_and_radius_clip(device):
    """Depths 1..5 on the axis: near and far planes keep what lies between; the clip drops what is
    small on screen."""
    count = 5
    means = torch.zeros(count, 3, device=device)
    means[:, 2] = torch.arange(1, count + 1)
    quats = torch.tensor([1.0, 0, 0, 0], device=device).repeat(count, 1)
    scales = torch.full((count, 3), 0.5, device=device)
    opacities = torch.full((count,), 0.3, device=device)
    view = torch.eye(4, device=device)[None]
    K = torch.tensor([[[10.0, 0, 8], [0, 10, 8], [0, 0, 1]]], device=device)

    def drawn(**options):
        args = (means, quats, scales, opacities, scales, view, K, 16, 16)
        meta = splat.rasterization(*args, packed=False, **options)[2]
        return (meta["radii"] > 0).all(-1)[0].tolist()

    assert drawn() == [True] * 5
    assert drawn(near_plane=1.5, far_plane=4.5) == [False, True, True, True, False]
    # sqrt(2 ln(255 * 0.3)) = 2.945; standard deviations in pixels sqrt((10 * 0.5 / z)^2 + 0.3)
    # = 5.030, 2.559, 1.754, 1.365, 1.140; their reach 14.8, 7.5, 5.2, 4.0, 3.4.
    assert drawn(radius_clip=6.5) == [True, True, False, False, False]


@pytest.mark.parametrize("device", DEVICES)
def test_packed_lists_the_same_gaussians(device):
    """Packed metadata is the unpacked one at the Gaussians that each camera draws."""
    scene = random_gaussians(4, spread=1.6).to(torch.float32).to(device)
    image, alpha, packed = scene.render(splat.rasterization, packed=True)
    image2, alpha2, full = scene.render(splat.rasterization, packed=False)
    assert torch.equal(image, image2)
    assert torch.equal(alpha, alpha2)
    seen = (full["radii"] > 0).all(-1)
    cameras, gaussians = packed["camera_ids"].long(), packed["gaussian_ids"].long()
    listed = torch.zeros_like(seen)
    listed[cameras, gaussians] = True
    assert torch.equal(listed, seen)
    assert len(gaussians) == int(seen.sum())
    for key in ("radii", "means2d", "depths", "conics", "opacities"):
        assert torch.equal(
            packed[key], full[key].expand(*seen.shape, *full[key].shape[2:])[cameras, gaussians]
        ), key
    for key, value in (("width", 37), ("height", 21), ("n_cameras", 2)):
        assert packed[key] == full[key] == value
