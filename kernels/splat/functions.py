"""Projection and compositing as differentiable functions of torch."""

import torch
from torch.autograd.function import once_differentiable

from .. import bridge
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
        s, share = ctx.settings, bridge.share
        needs = ctx.needs_input_grad

        def empty(like):
            return None if like is None else torch.empty_like(like)

        grads = [empty(x) for x in (means, quats, scales, covars, opacities)]
        v_sh = empty(sh) if needs[5] else None
        v_views = v_eyes = None
        if needs[6] or needs[8]:
            total = len(viewmats) * len(means)
            v_views, v_eyes = means.new_empty(total, 4, 4), means.new_empty(total, 3)
        vec2, vec3, vec4 = (bridge.vector(n, means.dtype) for n in (2, 3, 4))
        incoming = [
            None if v is None else v.contiguous() for v in (v_means2d, v_depths, v_conics, v_opacities, v_colors)
        ]
        types = (vec2, None, vec3, None, vec3)
        bridge.launch(
            projection_adjoint(*variant(s, gaussians)),
            len(means),
            [
                *gaussians.arguments(adjoint=True), s.width, s.height, s.eps2d, share(ctx.slots),
                *(share(v, t) for v, t in zip(incoming, types, strict=True)),
                share(grads[0], vec3), share(grads[1], vec4), share(grads[2], vec3),
                share(None if covars is None else grads[3].view(-1)), share(grads[4]),
                share(None if v_sh is None else v_sh.view(-1, 3), vec3),
                share(v_views, bridge.matrix(4, means.dtype)), share(v_eyes, vec3),
            ],
            means,
        )  # fmt: skip
        if v_views is not None:
            v_views = v_views.view(len(viewmats), -1, 4, 4).sum(1)
            v_eyes = v_eyes.view(len(viewmats), -1, 3).sum(1)
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
