"""The kernels that run on CUDA devices, on the CPU. Once one thread after another, each a warp of its own; and those
that share work between threads once more with all threads of a block, which meet as on a device. What they compute is
checked here on every machine; that a device runs them alike, where there is one."""

import functools
import importlib
import shutil

import pytest
import torch
from semaflow.kernels import bridge, splat
from semaflow.kernels.splat import channels_cuda, pixels_cuda, render_cuda

from tests.reference.cuda_block import BlockKernel
from tests.reference.gaussians import random_gaussians

THREADS = ("one thread", "blocks of threads")


def use_cuda_kernels(monkeypatch, threads: str) -> None:
    """Let frames be arranged and rendered by the CUDA kernels; on one core, since they add to shared memory."""
    for name in ("cell_weights", "contributors", "functions", "inputs", "project", "uplift", "view"):
        # Functions of the package hide the modules of the same name.
        module = importlib.import_module(f"semaflow.kernels.splat.{name}")
        monkeypatch.setattr(module, "renderer", lambda like: render_cuda)
    monkeypatch.setattr(bridge, "threads", lambda: 1)
    if threads == "one thread":
        return
    if shutil.which("g++") is None:
        pytest.skip("no g++ on this machine")
    launch = bridge.launch

    def launch_block(kernel, count, arguments, like, **options):
        if isinstance(kernel, BlockKernel):
            kernel(count, arguments)
        else:
            launch(kernel, count, arguments, like, **options)

    monkeypatch.setattr(bridge, "launch", launch_block)
    monkeypatch.setattr(render_cuda, "lanes", lambda like: 32)
    for module, name in ((pixels_cuda, "_compositing"), (channels_cuda, "channel_kernels")):
        monkeypatch.setattr(module, "kernel", BlockKernel)
        # Kernels that are compiled for the other way are left alone.
        monkeypatch.setattr(module, name, functools.cache(getattr(module, name).__wrapped__))
    monkeypatch.setattr(render_cuda, "channel_kernels", channels_cuda.channel_kernels)
    monkeypatch.setattr(render_cuda, "compositing", pixels_cuda.compositing.__wrapped__)


def rendered(scene, **options) -> dict[str, torch.Tensor]:
    """Images and all gradients of ``scene``, for random gradients of the images."""
    scene = scene.leaves()
    image, alpha, meta = scene.render(splat.rasterization, **options)
    meta["means2d"].retain_grad()
    g = torch.Generator().manual_seed(0)
    gradients = [torch.randn(x.shape, generator=g, dtype=x.dtype) for x in (image, alpha)]
    torch.autograd.backward((image, alpha), gradients)
    known = {name: getattr(scene, name).grad for name in scene.DIFFERENTIABLE}
    found = {"image": image, "alpha": alpha, "means2d": meta["means2d"].grad, **known}
    found |= {name: meta[name] for name in ("radii", "gaussian_ids", "tiles_per_gauss", "isect_offsets")}
    if options.get("absgrad"):
        found["absgrad"] = meta["means2d"].absgrad
    return {name: value.detach() for name, value in found.items() if value is not None}


CASES = {
    "plain": ({}, {}),
    "unpacked": ({}, {"packed": False, "absgrad": True}),
    "harmonics": ({"sh_degree": 3}, {"sh_degree": 3, "render_mode": "RGB+ED"}),
    "antialiased": ({"cameras": 1}, {"rasterize_mode": "antialiased", "packed": False}),
    "a chunk of channels and a bit": ({"channels": 37, "count": 40}, {}),
    "several passes over the channels": ({"channels": 70, "count": 20, "cameras": 1}, {"absgrad": True}),
    "more in a tile than is fetched at once": ({"count": 700, "width": 18, "height": 12, "cameras": 1}, {}),
    "one pixel high": ({"width": 50, "height": 1}, {}),
    "nothing to see": ({"count": 1, "spread": 40.0}, {}),
}


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("case", CASES)
def test_same_images_and_gradients_as_the_cpu_kernels(case, threads, monkeypatch):
    setting, options = CASES[case]
    scene = random_gaussians(21, **setting)
    expected = rendered(scene, **options)
    use_cuda_kernels(monkeypatch, threads)
    found = rendered(scene, **options)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        scale = max(1.0, float(value.abs().max())) if value.numel() else 1.0
        torch.testing.assert_close(found[name] / scale, value / scale, rtol=0, atol=1e-10, msg=name)


@pytest.mark.parametrize("threads", THREADS)
def test_same_weights_as_the_cpu_kernels(threads, monkeypatch):
    """Lifted maps, strongest contributors and weights by cell, and what is drawn of a view made once."""
    scene = random_gaussians(22)
    maps = torch.rand(2, scene.height, scene.width, 5, generator=torch.Generator().manual_seed(0)).double()

    def tools():
        lifted = splat.uplift(*scene.geometry, maps, scene.viewmats, scene.Ks)
        cells, gaussians, weights = splat.cell_weights(*scene.geometry, *scene.views)
        dense = weights.new_zeros(int(cells.max()) + 1, len(scene.means)).index_put((cells, gaussians), weights)
        view = splat.view(*scene.geometry, scene.viewmats[0], scene.Ks[0], scene.width, scene.height)
        once = *view.render(scene.colors, scene.backgrounds[0]), *view.uplift(maps[0]), *view.contributors(k=4)
        return *lifted, *splat.contributors(*scene.geometry, *scene.views, k=4), dense, *once

    expected = tools()
    use_cuda_kernels(monkeypatch, threads)
    for found, value in zip(tools(), expected, strict=True):
        torch.testing.assert_close(found, value, rtol=0, atol=1e-10)
