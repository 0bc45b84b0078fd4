"""Projection and compositing as differentiable functions of torch."""

import torch
from torch import Tensor

from .. import bridge
from .frame import Frame, Gaussians, Settings, kernels, project
from .tiles_cpu import MAX_CHANNELS, compositing, compositing_adjoint, reduction


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
    def backward(ctx, v_means2d, v_depths, v_conics, v_opacities, v_colors, _):
        means, quats, scales, covars, opacities, sh, viewmats, Ks, eyes = ctx.saved_tensors
        gaussians = Gaussians(means, quats, scales, covars, opacities, None, sh, viewmats, Ks, eyes)
        s, share = ctx.settings, bridge.share
        need = dict(zip(("means", "quats", "scales", "covars", "opacities", "sh", "viewmats"), ctx.needs_input_grad))

        def empty(like):
            return None if like is None else torch.empty_like(like)

        grads = [empty(x) for x in (means, quats, scales, covars, opacities)]
        v_sh = empty(sh) if need["sh"] else None
        v_views = v_eyes = None
        if need["viewmats"] or ctx.needs_input_grad[8]:
            total = len(viewmats) * len(means)
            v_views, v_eyes = means.new_empty(total, 4, 4), means.new_empty(total, 3)
        vec2, vec3, vec4 = (bridge.vector(n, means.dtype) for n in (2, 3, 4))
        incoming = [None if v is None else v.contiguous() for v in (v_means2d, v_depths, v_conics, v_opacities, v_colors)]
        types = (vec2, None, vec3, None, vec3)
        bridge.launch(
            kernels(s, gaussians)[1],
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
    """Images of splats: ``(image [C, H, W, D], alpha [C, H, W])`` for at most eight channels."""

    @staticmethod
    def forward(ctx, means2d, conics, opacities, colors, backgrounds, frame: Frame, absgrad: bool):
        s, share = frame.settings, bridge.share
        channels = colors.shape[-1]
        shape = (frame.cameras, s.height, s.width)
        image, alphas, transmittance = colors.new_empty(*shape, channels), colors.new_empty(shape), colors.new_empty(shape)
        bridge.launch_tasks(
            compositing(bridge.REAL[colors.dtype], channels),
            frame.tasks,
            [
                s.width, s.height, share(frame.starts), share(frame.list), share(frame.record.view(-1)),
                share(frame.place.view(-1)), share(colors.view(-1)),
                share(None if backgrounds is None else backgrounds.view(-1)),
                share(image.view(-1)), share(alphas.view(-1)), share(transmittance.view(-1)),
            ],
        )  # fmt: skip
        ctx.save_for_backward(means2d, conics, opacities, colors, image, transmittance)
        ctx.frame, ctx.absgrad = frame, absgrad
        ctx.set_materialize_grads(False)
        return image, alphas

    @staticmethod
    def backward(ctx, v_image, v_alphas):
        means2d, conics, opacities, colors, image, transmittance = ctx.saved_tensors
        frame, s, share = ctx.frame, ctx.frame.settings, bridge.share
        real = bridge.REAL[colors.dtype]
        channels = colors.shape[-1]
        v_image = torch.zeros_like(image) if v_image is None else v_image.contiguous()
        v_alphas = None if v_alphas is None else v_alphas.contiguous().view(-1)
        width = 6 + 2 * ctx.absgrad + channels
        rows = colors.new_empty(len(frame.list) * width)
        bridge.launch_tasks(
            compositing_adjoint(real, channels, ctx.absgrad),
            frame.tasks,
            [
                s.width, s.height, share(frame.starts), share(frame.list), share(frame.record.view(-1)),
                share(frame.place.view(-1)), share(colors.view(-1)), share(image.view(-1)),
                share(transmittance.view(-1)), share(v_image.view(-1)), share(v_alphas), share(rows),
            ],
        )  # fmt: skip
        sum_geometry, sum_colors = reduction(real)
        v_means2d, v_conics = torch.empty_like(means2d), torch.empty_like(conics)
        v_opacities, v_colors = torch.empty_like(opacities), torch.empty_like(colors)
        absolute = torch.empty_like(means2d) if ctx.absgrad else None
        bridge.launch(
            sum_geometry,
            len(opacities.view(-1)),
            [
                share(rows), width, share(frame.rank.view(-1)), share(conics.view(-1)), share(opacities.view(-1)),
                share(v_means2d.view(-1)), share(None if absolute is None else absolute.view(-1)),
                share(v_conics.view(-1)), share(v_opacities.view(-1)),
            ],
            colors,
        )  # fmt: skip
        count = v_colors.numel() // channels
        bridge.launch(
            sum_colors,
            count,
            [
                share(rows), width, width - channels, channels, share(frame.rank.view(-1)), share(frame.slots),
                s.colors_of, count, share(v_colors.view(-1)), channels, 0, 0,
            ],
            colors,
        )  # fmt: skip
        v_backgrounds = None
        if ctx.needs_input_grad[4]:
            v_backgrounds = (transmittance[..., None] * v_image).sum((1, 2))
        if absolute is not None:
            means2d.absgrad = absolute
        return v_means2d, v_conics, v_opacities, v_colors, v_backgrounds, None, None


def composite(means2d, conics, opacities, colors, backgrounds, frame: Frame, absgrad: bool) -> tuple[Tensor, Tensor]:
    """Images [C, H, W, D] of splats with colours of any number of channels, and their alphas [C, H, W]."""
    channels = colors.shape[-1]
    images = []
    for first in range(0, channels, MAX_CHANNELS):
        part = slice(first, min(first + MAX_CHANNELS, channels))
        behind = None if backgrounds is None else backgrounds[:, part].contiguous()
        image, alphas = Composite.apply(
            means2d, conics, opacities, colors[..., part].contiguous(), behind, frame, absgrad
        )
        images.append(image)
    return (images[0] if len(images) == 1 else torch.cat(images, -1)), alphas
