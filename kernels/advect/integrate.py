"""Trajectories through a velocity that is any function, say a network: in torch, all particles at a time."""

from collections.abc import Callable

import torch
from torch import Tensor

from .settings import Settings
from .tableaus import GROW, METHODS, ORDER, SAFETY, SHRINK, Tableau

Velocity = Callable[[Tensor, Tensor], Tensor]


def integrate(points: Tensor, times: Tensor, velocity: Velocity, settings: Settings) -> Tensor:
    """Positions [N, T, 3] of particles that begin at ``points`` [N, 3], at ``times`` [T].

    Points that are no finite numbers are kept from the function, whose parameters' gradients they would spoil.
    """
    scheme = METHODS[settings.method]
    usable = points.isfinite().all(1, keepdim=True)
    x = points if usable.all() else torch.where(usable, points, 0.0)
    advance = _adaptively if scheme.error else _evenly
    path = torch.stack([x, *advance(x, times, velocity, scheme, settings)], 1)
    if x is points:
        return path
    lost = torch.full_like(path[:, 1:], torch.nan)
    return torch.where(usable[:, None], path, torch.cat([points[:, None], lost], 1))


def _stages(velocity: Velocity, scheme: Tableau, t: Tensor, h: Tensor, x: Tensor, first: Tensor):
    """Where a step of length ``h`` leads, and the velocities of its stages, given the first."""
    k = [first]
    for c, row in zip(scheme.c[1:], scheme.a, strict=True):
        k.append(velocity(t + c * h, _combined(x, h, row, k)))
    return _combined(x, h, scheme.b, k), k


def _combined(x: Tensor, h: Tensor, weights: tuple[float, ...], k: list[Tensor]) -> Tensor:
    """``x + h sum_j weights_j k_j``."""
    for weight, v in zip(weights, k, strict=True):
        if weight:
            x = torch.addcmul(x, v, h * weight)
    return x


def _evenly(x: Tensor, times: Tensor, velocity: Velocity, scheme: Tableau, settings: Settings):
    """Positions after each interval, by equal steps."""
    for begin, end in zip(times, times[1:], strict=False):
        h = (end - begin) / settings.steps
        for n in range(settings.steps):
            t = begin + n * h
            x, _ = _stages(velocity, scheme, t, h, x, velocity(t, x))
        yield x


def _adaptively(x: Tensor, times: Tensor, velocity: Velocity, scheme: Tableau, settings: Settings):
    """Positions after each interval, by steps that are as long as the worst of the particles allows."""
    if len(times) < 2:
        return
    smallest = 16 * torch.finfo(x.dtype).eps  # fraction of an interval
    v = velocity(times[0], x)
    stride = _first_stride(x, v, velocity, times, settings)
    for begin, end in zip(times, times[1:], strict=False):
        span = end - begin
        length, at = abs(float(span.detach())), 0.0
        for _ in range(settings.trials):
            part = min(1.0 - at, max(stride / length, smallest)) if stride < (1 - at) * length else 1.0 - at
            whole = at + part > 1 - smallest
            part = 1 - at if whole else part
            t, h = begin + at * span, part * span
            y, k = _stages(velocity, scheme, t, h, x, v)
            k.append(velocity(t + h, y))
            ratio = _error(h, x, y, k, scheme, settings)
            factor = min(max(SAFETY * ratio ** (-1 / ORDER), SHRINK), GROW) if ratio > 0 else GROW
            if ratio <= 1 or part <= smallest:
                # A step that an output cut short says little of how long the next may be.
                stride = max(part * length * factor, stride if whole and factor >= 1 else 0.0)
                x, v, at = y, k[-1], 1.0 if whole else at + part
                if whole:
                    break
            else:
                stride = part * length * min(factor, 1.0)
        else:
            raise RuntimeError(f"velocity: more than {settings.trials} trial steps from time {float(begin):g} on")
        yield x


@torch.no_grad()
def _size(value: Tensor, x: Tensor, y: Tensor, settings: Settings) -> float:
    """Largest over the particles of the root mean square of ``value / (atol + rtol |x|)``; the infinite do not count."""
    scale = settings.atol + settings.rtol * torch.maximum(x.abs(), y.abs())
    sizes = (value / scale).square().mean(1).sqrt()
    sizes = sizes[sizes.isfinite()]
    return float(sizes.max()) if len(sizes) else 0.0


@torch.no_grad()
def _error(h: Tensor, x: Tensor, y: Tensor, k: list[Tensor], scheme: Tableau, settings: Settings) -> float:
    """Estimated error of a step, relative to what is allowed."""
    return _size(_combined(torch.zeros_like(x), h, scheme.error, k), x, y, settings)


@torch.no_grad()
def _first_stride(x: Tensor, v: Tensor, velocity: Velocity, times: Tensor, settings: Settings) -> float:
    """A length for the first step, by how far the velocity changes in a small one (Hairer et al., II.4)."""
    near, speed = _size(x, x, x, settings), _size(v, x, x, settings)
    small = 0.01 * near / speed if near > 1e-5 and speed > 1e-5 else 1e-6
    h = small if float(times[-1]) > float(times[0]) else -small
    bend = _size(velocity(times[0] + h, x + h * v) - v, x, x, settings) / small
    most = max(speed, bend)
    return min(100 * small, (0.01 / most) ** (1 / ORDER) if most > 1e-15 else max(1e-6, 1e-3 * small))
