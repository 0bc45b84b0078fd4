"""Projection and compositing as differentiable functions of torch."""

import torch
from torch.autograd.function import once_differentiable

from .. import bridge
from ..bridge import flat
from .frame import Frame, Settings
from .project import Gaussians, project, renderer, variant
from .projection_adjoint import projection_adjoint


class Project(torch.autograd.Function):
    """``(means2d, depths, conics, opacities, colors)`` of the splats, and their :class:`Frame`."""

    @staticmethod
    def forward(ctx, means, quats, scales, covars, opacities, sh, viewmats, Ks, eyes, usable, settings: Settings):
        gaussians = Gaussians(means, quats, scales, covars, opacities, usable, sh, viewmats, Ks, eyes)
        frame = project(gaussians, settings)
        ctx.save_for_backward(means, quats, scales, covars, opacities, sh, viewmats, Ks, eyes)
        ctx.settings, ctx.slots = settings, frame.slots
        ctx.set_materialize_grads(False)
        return frame.means2d, frame.depths, frame.conics, frame.opacities, frame.colors, frame

    @staticmethod
    @once_differentiable
    def backward(ctx, v_means2d, v_depths, v_conics, v_opacities, v_colors, _):
        means, quats, scales, covars, opacities, sh, viewmats, Ks, eyes = ctx.saved_tensors
        gaussians = Gaussians(means, quats, scales, covars, opacities, None, sh, viewmats, Ks, eyes)
        s = ctx.settings
        needs = ctx.needs_input_grad

        def empty(like):
            return None if like is None else torch.empty_like(like)

        grads = [empty(x) for x in (means, quats, scales, covars, opacities)]
        v_sh = empty(sh) if needs[5] else None
        v_views = v_eyes = None
        if needs[6] or needs[8]:
            total = len(viewmats) * len(means)
            v_views, v_eyes = means.new_empty(total, 4, 4), means.new_empty(total, 3)
        incoming = [
            None if v is None else v.contiguous() for v in (v_means2d, v_depths, v_conics, v_opacities, v_colors)
        ]
        bridge.launch(
            projection_adjoint(*variant(s, gaussians)),
            len(means),
            [
                *gaussians.arguments(adjoint=True), s.width, s.height, s.eps2d, flat(ctx.slots),
                *(flat(v, width) for v, width in zip(incoming, (2, 1, 3, 1, 3), strict=True)),
                *(flat(v, width) for v, width in zip(grads, (3, 4, 3, 1, 1), strict=True)),
                flat(v_sh, 3), flat(v_views, 16), flat(v_eyes, 3),
            ],
            means,
        )  # fmt: skip
        if v_views is not None:
            v_views = v_views.view(len(viewmats), -1, 4, 4).sum(1)
            v_eyes = None if eyes is None else v_eyes.view(len(viewmats), -1, 3).sum(1)
        return *grads, v_sh, v_views, None, v_eyes, None, None


class Composite(torch.autograd.Function):
    """Images of splats: ``(image [C, H, W, D], alpha [C, H, W])``, any D."""

    @staticmethod
    def forward(ctx, means2d, conics, opacities, colors, backgrounds, frame: Frame, absgrad: bool):
        image, alphas, transmittance = renderer(colors).images(frame, colors, backgrounds)
        ctx.save_for_backward(means2d, conics, opacities, colors, image, transmittance)
        ctx.frame, ctx.absgrad = frame, absgrad
        ctx.set_materialize_grads(False)
        return image, alphas

    @staticmethod
    @once_differentiable
    def backward(ctx, v_image, v_alphas):
        means2d, conics, opacities, colors, image, transmittance = ctx.saved_tensors
        v_image = torch.zeros_like(image) if v_image is None else v_image.contiguous()
        v_alphas = None if v_alphas is None else v_alphas.contiguous()
        (v_means2d, absolute, v_conics, v_opacities), v_colors = renderer(colors).adjoint(
            ctx.frame, conics, opacities, colors, image, transmittance, v_image, v_alphas, ctx.absgrad,
            geometry=any(ctx.needs_input_grad[:3]),
        )  # fmt: skip
        if absolute is not None:
            means2d.absgrad = absolute
        v_backgrounds = None
        if ctx.needs_input_grad[4]:
            v_backgrounds = (transmittance[..., None] * v_image).sum((1, 2))
        return v_means2d, v_conics, v_opacities, v_colors, v_backgrounds, None, None
