"""Arguments of the public functions, checked and brought to the form that kernels take."""

import torch
from torch import Tensor

from ..arguments import expect
from .frame import Frame, Settings
from .functions import Project
from .project import renderer


def expect_harmonics(name: str, value: Tensor, degree: int, *shapes: tuple) -> None:
    """Raise unless ``value`` are coefficients of one of ``shapes``, enough for ``degree``."""
    if degree not in (0, 1, 2, 3):
        raise NotImplementedError(f"sh_degree: 0 to 3, got {degree}")
    expect(name, value, *shapes)
    if value.shape[-2] < (degree + 1) ** 2:
        raise ValueError(f"{name}: degree {degree} needs {(degree + 1) ** 2} coefficients, got {value.shape[-2]}")


def projected(
    means: Tensor,
    quats: Tensor | None,
    scales: Tensor | None,
    covars: Tensor | None,
    opacities: Tensor,
    viewmats: Tensor,
    Ks: Tensor,
    settings: Settings,
    sh: Tensor | None = None,
    colors: Tensor | None = None,
) -> tuple[tuple, Frame]:
    """``((means2d, depths, conics, opacities, sh colours), frame)`` of checked arguments; differentiable.

    ``colors`` are only looked at: a Gaussian whose colour is no number is left out.
    """
    count, cameras = means.shape[0], viewmats.shape[0]
    expect("means", means, (None, 3))
    expect("opacities", opacities, (count,))
    expect("viewmats", viewmats, (None, 4, 4))
    expect("Ks", Ks, (cameras, 3, 3))
    if covars is None:
        if quats is None or scales is None:
            raise ValueError("quats, scales: both are needed where covars is not given")
        expect("quats", quats, (count, 4))
        expect("scales", scales, (count, 3))
    else:
        expect("covars", covars, (count, 3, 3))
        rows, columns = (0, 0, 0, 1, 1, 2), (0, 1, 2, 1, 2, 2)
        covars = covars[:, rows, columns]
        quats = scales = None
    for name, value in (("opacities", opacities), ("viewmats", viewmats), ("Ks", Ks)):
        if value.device != means.device:
            raise ValueError(f"{name}: expected on {means.device}, where the means are, got {value.device}")

    dtype = torch.float64 if means.dtype == torch.float64 else torch.float32

    def ready(value: Tensor | None) -> Tensor | None:
        return None if value is None else value.to(dtype).contiguous()

    viewmats = ready(viewmats)
    eyes = None
    if sh is not None:
        with torch.set_grad_enabled(torch.is_grad_enabled() and viewmats.requires_grad):
            eyes = torch.linalg.inv_ex(viewmats)[0][:, :3, 3].contiguous()
    usable = None
    if colors is not None:
        usable = renderer(means).usable(ready(colors.detach()))
    *splats, frame = Project.apply(
        ready(means), ready(quats), ready(scales), ready(covars), ready(opacities), ready(sh), viewmats, ready(Ks),
        eyes, usable, settings,
    )  # fmt: skip
    return tuple(splats), frame
