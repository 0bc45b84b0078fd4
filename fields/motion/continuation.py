"""How nodes go on after the last time that anything was seen of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .rotations import conjugate, from_rotation_vector, multiply, to_matrix

WINDOW = 0.25  # of the knots, the last ones, tell how things move
FADES = 1.0  # of the time that is known: how long after it e-fold less of that motion is left


def continued(positions: Tensor, rotations: Tensor, knots: Tensor, neighbors: Tensor, time: float):
    """Node positions [M, 3] and unit quaternions [M, 4] at a ``time`` after the last of the ``knots`` [T].

    What hangs together by ``neighbors`` [M, K] is one thing and goes on as a rigid body: its middle at the speed, and
    all of it turning at the rate that it had on average over the last knots of ``positions`` [M, T, 3] and
    ``rotations`` [M, T, 4]. Both fade, since hardly anything keeps moving as it did.
    """
    things, last = together(neighbors), max(2, round(WINDOW * len(knots)))
    times = knots[-last:] - knots[-last:].mean()
    middle = averaged(positions[:, -last:].detach().flatten(1), things).view(-1, len(times), 3)
    velocity = (times[:, None] * middle).sum(1) / times.square().sum()
    first = torch.nn.functional.normalize(rotations[:, -len(times)].detach(), dim=-1)
    now = torch.nn.functional.normalize(rotations[:, -1], dim=-1)
    turned = multiply(now.detach(), conjugate(first))
    turned = torch.where(turned[:, :1] < 0, -turned, turned)
    turned = torch.nn.functional.normalize(averaged(turned, things), dim=-1)
    spin = rotation_vector(turned) / (times[-1] - times[0])

    fades = FADES * float(knots[-1] - knots[0])
    reach = fades * (1 - math.exp((float(knots[-1]) - float(time)) / fades))
    turn = from_rotation_vector(reach * spin)[things]
    center = middle[things, -1]
    around = (to_matrix(turn) @ (positions[:, -1] - center)[..., None])[..., 0]
    return center + reach * velocity[things] + around, multiply(turn, now)


def together(neighbors: Tensor) -> Tensor:
    """Which connected part of the graph of ``neighbors`` [M, K] each node belongs to, [M]."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count, k = neighbors.shape
    rows, columns = torch.arange(count).repeat_interleave(k).numpy(), neighbors.cpu().flatten().numpy()
    graph = coo_array((torch.ones(count * k).numpy(), (rows, columns)), (count, count))
    _, parts = connected_components(graph, directed=False)
    return torch.from_numpy(parts).long().to(neighbors.device)


def averaged(values: Tensor, groups: Tensor) -> Tensor:
    """Means [G, d] of ``values`` [M, d] over ``groups`` [M]."""
    sums = values.new_zeros(int(groups.max()) + 1, values.shape[1]).index_add_(0, groups, values)
    return sums / torch.bincount(groups)[:, None]


def rotation_vector(q: Tensor) -> Tensor:
    """Axis times angle in radians [..., 3] of unit quaternions [..., 4] with w >= 0."""
    sine = q[..., 1:].norm(dim=-1, keepdim=True)
    return 2 * torch.atan2(sine, q[..., :1]) * q[..., 1:] / sine.clamp_min(1e-12)
