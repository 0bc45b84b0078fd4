"""A trained flow field as the start of another scene's."""

from __future__ import annotations

import copy

import torch

from ...scenes import BadInput
from .clip import Clip
from .config import FlowConfig
from .field import FlowField
from .render import trace_static
from .start import start_field
from .targets import Targets, draw
from .trainer import rays_of

LOOKS = 4  # batches that tell which planes explain a scene best


def adapted(field: FlowField, config: FlowConfig, clips: dict[str, Clip], found: list[Targets]) -> FlowField:
    """A field of ``clips`` whose networks are those of ``field``; their planes begin as those of the clip of ``field``
    that explains each best, in that clip's box, or fresh where none explains it better.

    Raises BadInput: networks of other sizes.
    """
    made = start_field(clips, field.label_names, config)
    own = {name: value for name, value in field.state_dict().items() if not name.startswith("clips.")}
    made.code_mean, made.code_axes = field.code_mean, field.code_axes
    shapes = {name: value.shape for name, value in made.state_dict().items()}
    for name, value in own.items():
        if shapes.get(name) != value.shape:
            wanted = tuple(shapes.get(name, ()))
            raise BadInput(f"{name}: expected {wanted} as the settings say, got {tuple(value.shape)}")
    made.load_state_dict(own, strict=False)
    made = made.to(field.clip.center.device)
    if made.waves:
        return made
    for clip, targets in zip(made.clips, found, strict=True):
        errors = [_error(made, clip, targets)]
        for other in field.clips:
            errors.append(_error(made, _begun(clip, other), targets))
        best = int(torch.tensor(errors).argmin())
        if best:
            _begin(clip, field.clips[best - 1])
    return made


def _begin(clip: Clip, other: Clip) -> None:
    """Give ``clip`` the box and planes of ``other``."""
    clip.center, clip.radius = other.center.clone(), other.radius.clone()
    clip.space.load_state_dict(other.space.state_dict())
    clip.spacetime.load_state_dict(other.spacetime.state_dict())


def _begun(clip: Clip, other: Clip) -> Clip:
    begun = copy.deepcopy(clip)
    _begin(begun, other)
    return begun


@torch.no_grad()
def _error(field: FlowField, clip: Clip, targets: Targets) -> float:
    """Mean squared error of the static branch's colours on pixels at rest."""
    generator, errors = torch.Generator().manual_seed(0), []
    field.moving = False
    for _ in range(LOOKS):
        batch = draw(targets, clip.times, 256, 0, generator)
        traced = trace_static(field, clip, rays_of(clip, batch), batch.time)
        errors.append((traced.layers.static.values["color"] - batch.color).square().mean())
    field.moving = True
    return float(torch.stack(errors).mean())
