"""Pictures of a scene as those of another one: mirrored, or in another light. Nothing else of it changes."""

from __future__ import annotations

from dataclasses import replace

import torch

from .targets import Targets


def mirrored(own: Targets) -> Targets:
    """The scene seen in a mirror: x turned round in the world and in all cameras."""
    views = own.views
    turn = views.viewmats.new_tensor([-1.0, 1.0, 1.0, 1.0])
    Ks = views.Ks.clone()
    Ks[:, 0, 1] *= -1
    Ks[:, 0, 2] = views.size[0] - Ks[:, 0, 2]
    views = views.replaced(images=views.images.flip(-1), viewmats=turn[:, None] * views.viewmats * turn, Ks=Ks)
    layers = (own.labels, own.instances, own.depths)
    return Targets(own.name, views, *(None if layer is None else layer.flip(-1) for layer in layers))


def relit(own: Targets, spread: float, generator: torch.Generator) -> Targets:
    """The same pictures brighter or darker, warmer or colder, harder or softer: each channel times a factor, and all to
    a power, the same for all pictures.

    ``spread``: standard deviation of the logarithms of factors and power.
    """
    *factors, power = torch.exp(spread * torch.randn(4, generator=generator)).tolist()
    levels = torch.linspace(0, 1, 256)
    table = torch.stack([factor * levels**power for factor in factors])  # what each level of each channel becomes
    table = (255 * table.clamp(0, 1)).round().to(torch.uint8).to(own.views.images.device)
    images = torch.stack([table[k][own.views.images[:, k].int()] for k in range(3)], 1)
    return replace(own, views=own.views.replaced(images=images))
