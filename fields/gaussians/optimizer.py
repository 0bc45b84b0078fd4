"""Adam over the field, with the learning rates and schedules of 3DGS and DGD (digest 3.5)."""

from __future__ import annotations

import math

import torch

from .config import FitConfig
from .field import LEARNED, GaussianField


def build(field: GaussianField, config: FitConfig, poses: torch.nn.Parameter) -> torch.optim.Adam:
    """One Adam with a named group per parameter kind; rates that follow a schedule are set by :func:`schedule`."""
    rates = {
        "means": 0.0, "log_scales": config.scale_rate, "quats": config.rotation_rate,
        "opacity_logits": config.opacity_rate, "sh_dc": config.color_rate, "sh_rest": config.color_rate / 20,
        "features": config.feature_rate, "classes": 0.0, "light": config.light_rate,  # classes are lifted, not trained
    }
    groups = [{"name": name, "params": [getattr(field, name)], "lr": rates[name]} for name in LEARNED]
    for name, parameter in field.motion.named_parameters():
        kind = "nodes" if name == "positions" else "motion"
        if groups[-1]["name"] != kind:
            groups.append({"name": kind, "params": [], "lr": 0.0})
        groups[-1]["params"].append(parameter)
    groups.append({"name": "poses", "params": [poses], "lr": config.pose_rate})
    return torch.optim.Adam(groups, eps=1e-15, fused=True)


@torch.no_grad()
def step(optimizer: torch.optim.Adam, motion: torch.nn.Module) -> None:
    """One step, which each node of a scaffold takes as many times as its mobility says."""
    nodes = [motion.positions, motion.rotations] if hasattr(motion, "mobility") else []
    before = [values.clone() for values in nodes]
    optimizer.step()
    for values, old in zip(nodes, before, strict=True):
        values.copy_(torch.lerp(old, values, motion.mobility[:, None, None]))


def decayed(start: float, end: float, progress: float) -> float:
    """Exponential interpolation from ``start`` to ``end`` for ``progress`` clamped to 0..1."""
    progress = min(max(progress, 0.0), 1.0)
    return math.exp((1 - progress) * math.log(start) + progress * math.log(end))


def schedule(optimizer: torch.optim.Adam, config: FitConfig, iteration: int, scale: float) -> None:
    """Set the learning rates of ``iteration``; ``scale`` multiplies those of positions."""
    for group in optimizer.param_groups:
        if group["name"] == "means":
            progress = iteration / config.position_until
            group["lr"] = scale * decayed(config.position_rate, config.position_rate_end, progress)
        elif group["name"] == "motion":
            progress = iteration / config.iterations
            group["lr"] = decayed(config.motion_rate, config.motion_rate_end, progress)
        elif group["name"] == "nodes":
            progress = iteration / config.iterations
            group["lr"] = scale * decayed(config.node_rate, config.node_rate_end, progress)
        elif group["name"] == "poses" and config.pose_rate:
            group["lr"] = decayed(config.pose_rate, config.pose_rate / 100, iteration / config.iterations)


def replace(optimizer: torch.optim.Adam, name: str, parameter: torch.nn.Parameter, old: torch.nn.Parameter,
            rows: torch.Tensor | None = None, fresh: int = 0) -> None:
    """Put ``parameter`` in the place of ``old`` in group ``name``.

    Its moments are those of ``old``'s ``rows``, followed by zeros for ``fresh`` new rows; without ``rows`` all zero.
    """
    (group,) = (g for g in optimizer.param_groups if g["name"] == name)
    group["params"] = [parameter]
    state = optimizer.state.pop(old, None)
    if not state:
        return
    for key in ("exp_avg", "exp_avg_sq"):
        if rows is None:
            state[key] = torch.zeros_like(parameter)
        else:
            kept = state[key][rows]
            state[key] = torch.cat([kept, kept.new_zeros(fresh, *kept.shape[1:])])
    optimizer.state[parameter] = state
