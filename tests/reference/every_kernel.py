"""Every kernel once, forward and backward, at sizes that several threads share.

``python -m tests.reference.every_kernel`` prints a line with a checksum of all it computed for each of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from types import SimpleNamespace

import torch
from semaflow.kernels import advect, composite, gather, planes, splat
from semaflow.kernels.neighbors import nearest
from semaflow.kernels.raycast import TriangleMesh
from torch import Tensor

from .gaussians import random_gaussians


def leaves(*tensors: Tensor) -> list[Tensor]:
    return [x.detach().clone().requires_grad_(True) for x in tensors]


def with_gradients(outputs: Iterable[Tensor], inputs: list[Tensor]) -> list[Tensor]:
    """The outputs, and gradients of the sum of their squares."""
    outputs = list(outputs)
    return [*outputs, *torch.autograd.grad(sum(x.square().sum() for x in outputs), inputs, allow_unused=True)]


def scene(channels: int = 3):
    return random_gaussians(65, count=3000, width=67, height=45, channels=channels).to(torch.float32)


def rasterization(channels: int):
    case = scene(channels).leaves()
    image, alpha, _ = case.render(splat.rasterization)
    return with_gradients((image, alpha), [getattr(case, name) for name in case.DIFFERENTIABLE])


def view():
    """Two pictures of one view."""
    case = scene().leaves()
    seen = splat.view(*case.geometry, case.viewmats[0], case.Ks[0], case.width, case.height)
    pictures = seen.render(case.colors), seen.render(case.means)
    inputs = [*case.geometry, case.colors, case.viewmats]
    return [*with_gradients((x for picture in pictures for x in picture), inputs), *seen.contributors(4)]


def samples(channels: int, g: torch.Generator):
    indices = torch.randint(0, 2000, (60_000,), generator=g).sort().values
    alphas, values = torch.rand(60_000, generator=g), torch.rand(60_000, channels, generator=g)
    return indices, *leaves(alphas, values)


def rendering(channels: int, g: torch.Generator):
    indices, alphas, values = samples(channels, g)
    starts = torch.rand(len(alphas), generator=g)
    found = composite.rendering(starts, starts + 0.1, indices, 2000, lambda *_: (values, alphas))[:3]
    return with_gradients(found, [alphas, values])


def static_dynamic(g: torch.Generator):
    indices, alphas, values = samples(5, g)
    static, blend = leaves(torch.rand(len(alphas), generator=g), torch.rand(len(alphas), generator=g))
    found = composite.composite_static_dynamic(
        alphas, static, blend, {"x": values}, {"x": values}, blend, ray_indices=indices, n_rays=2000
    )
    return with_gradients((*(x.values["x"] for x in found[:3]), found.dynamicness), [alphas, static, blend, values])


def scans(g: torch.Generator):
    indices, x, _ = samples(1, g)
    info = composite.pack_info(indices, 2000)
    return with_gradients((composite.exclusive_sum(x, info), composite.inclusive_prod(x, info)), [x])


def sampled(g: torch.Generator):
    inputs = leaves(torch.randn(2, 40, 20, 30, generator=g), torch.randn(5000, 3, generator=g))
    K = torch.tensor([[40.0, 0, 45], [0, 40, 35], [0, 0, 1]]).repeat(2, 1, 1)
    viewmats = torch.eye(4).repeat(2, 1, 1)
    viewmats[:, 2, 3] = 4.0
    inputs += leaves(viewmats, K)
    return with_gradients(gather.sample_views(*inputs, 90, 70)[:3], inputs)


def on_planes(dims: int, g: torch.Generator):
    inputs = leaves(2.2 * torch.rand(5000, dims, generator=g) - 1.1)
    inputs += leaves(*(torch.randn(3, n, n, c, generator=g) for n, c in ((64, 8), (16, 13))))
    inputs += leaves(*(torch.randn(3, 12, *x.shape[2:], generator=g) for x in inputs[1:] if dims == 4))
    return with_gradients((planes.sample_planes(inputs[0], inputs[1:3], inputs[3:]),), inputs)


def trajectories(method: str, g: torch.Generator):
    inputs = leaves(torch.rand(3000, 3, generator=g), torch.linspace(0, 1, 9), torch.randn(4, 4, 4, 4, 3, generator=g))
    path = advect.trajectories(*inputs, method, box=[[0, 0, 0], [1, 1, 1]], rtol=1e-3, atol=1e-3)
    return with_gradients((path,), inputs)


def carry(g: torch.Generator):
    inputs = leaves(*(torch.randn(3000, n, generator=g) for n in (3, 3, 4, 3, 4)))
    states = [SimpleNamespace(means=inputs[i], quats=inputs[i + 1]) for i in (1, 3)]
    return with_gradients((advect.carry(inputs[0], *states),), inputs)


def cast(g: torch.Generator):
    faces = torch.randint(0, 60, (40, 3), generator=g)
    hits = TriangleMesh(torch.randn(60, 3, generator=g), faces).cast(*torch.randn(2, 9000, 3, generator=g))
    return hits.face, hits.distance, hits.barycentric


def kernels() -> dict:
    """What each kernel computes, by name."""
    g = torch.Generator().manual_seed(0)
    case = scene()
    maps = torch.rand(2, case.height, case.width, 20, generator=g)
    return {
        "rasterization, 3 channels": lambda: rasterization(3),
        "rasterization, 40 channels": lambda: rasterization(40),
        "uplift": lambda: splat.uplift(*case.geometry, maps, case.viewmats, case.Ks),
        "contributors": lambda: splat.contributors(*case.geometry, *case.views, k=4),
        "cell_weights": lambda: splat.cell_weights(*case.geometry, *case.views),
        "view": view,
        "rendering, 3 channels": lambda: rendering(3, g),
        "rendering, 20 channels": lambda: rendering(20, g),
        "static and dynamic": lambda: static_dynamic(g),
        "scans": lambda: scans(g),
        "gather": lambda: sampled(g),
        "planes of space": lambda: on_planes(3, g),
        "planes of space and time": lambda: on_planes(4, g),
        "advection, rk4": lambda: trajectories("rk4", g),
        "advection, dopri5": lambda: trajectories("dopri5", g),
        "carry": lambda: carry(g),
        "neighbors": lambda: nearest(torch.randn(5000, 3, generator=g), 4),
        "raycast": lambda: cast(g),
    }


def main() -> None:
    for name, kernel in kernels().items():
        found = hashlib.sha256()
        for tensor in kernel():
            if tensor is not None:
                found.update(tensor.detach().contiguous().numpy().tobytes())
        print(f"{name}: {found.hexdigest()}")


if __name__ == "__main__":
    main()
