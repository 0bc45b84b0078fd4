"""Free points carried by the Gaussians around them."""

import torch
from torch import Tensor
from torch.nn.functional import embedding, normalize

from ..arguments import expect
from ..neighbors import nearest

LARGEST = 1e15  # numbers beyond this count as not finite: squares of distances would overflow float32


def carry(points: Tensor, state_a, state_b, neighbors: int = 8) -> Tensor:
    """Points that rest on the Gaussians of one state, moved to where the same Gaussians are in another.

    Each of the nearest Gaussians moves a point rigidly, ``R (x - a) + b`` with its means a and b and its rotation R
    from one state to the other; the point goes to their mean, weighted by distance (linear blend skinning), after one
    round of making those weigh less that move it unlike the others: another body passing by (a step of iteratively
    reweighted least squares). Exact where the Gaussians around a point move rigidly.

    Differentiable, by torch, in points and in means and quaternions of both states, where which Gaussians are nearest
    stays the same; the same bits every time, on any number of threads.

    Args:
        points: [P, 3].
        state_a, state_b: anything with ``means`` [N, 3] and ``quats`` [N, 4] (wxyz, of any length; zero for no
            rotation). Pass those Gaussians only that matter is to rest on.
        neighbors: how many Gaussians move a point.

    Returns:
        [P, 3]. Gaussians that are no finite numbers in both states (or beyond 1e15) move nothing; points stay where no
        Gaussian is left, or where they are no finite numbers themselves.

    Errors:
        ValueError for shapes that do not fit.
    """
    a, b = (state_a.means, state_a.quats), (state_b.means, state_b.quats)
    expect("points", points, (None, 3))
    count = len(a[0])
    for name, (means, quats) in (("state_a", a), ("state_b", b)):
        expect(f"{name}.means", means, (count, 3))
        expect(f"{name}.quats", quats, (count, 4))
    if neighbors < 1:
        raise ValueError(f"neighbors: must be positive, got {neighbors}")
    usable = (torch.cat([*a, *b], 1).abs() <= LARGEST).all(1).nonzero()[:, 0]
    if len(usable) == 0 or len(points) == 0:
        return points.clone()
    (means_a, quats_a), (means_b, quats_b) = ((means[usable], quats[usable]) for means, quats in (a, b))
    ids = nearest(means_a, min(neighbors, len(usable)), queries=points)[1]
    carried = (ids[:, 0] >= 0).nonzero()[:, 0]
    ids = ids[carried]
    ids = torch.where(ids < 0, ids[:, :1], ids)  # where there are too few, the nearest counts again
    offsets = points[carried, None] - embedding(ids, means_a)
    turns = _rotations(quats_b) @ _rotations(quats_a).transpose(1, 2)
    # The gradient of an embedding is the same sum on any number of threads, that of indexing is not.
    turns = embedding(ids, turns.flatten(1)).unflatten(2, (3, 3))
    moved = (turns @ offsets[..., None])[..., 0] + embedding(ids, means_b)
    with torch.no_grad():
        weights = _weights(offsets, moved - points[carried, None])
    return points.index_copy(0, carried, (weights[..., None] * moved).sum(1))


def _weights(offsets: Tensor, steps: Tensor) -> Tensor:
    """How much each neighbour counts [P, K], by how far it is and by how unlike the others' its step is."""
    squares = offsets.square().sum(-1)
    reach = 4 * squares[:, :1]
    tiny = torch.finfo(squares.dtype).tiny
    weights = torch.exp(-0.5 * squares / reach.clamp_min(tiny))
    middle = (weights[..., None] * steps).sum(1) / weights.sum(1, keepdim=True)
    spreads = (steps - middle[:, None]).square().sum(-1)
    typical = spreads.median(1, keepdim=True).values
    weights = weights / (1 + spreads / typical.clamp_min(tiny))
    return weights / weights.sum(1, keepdim=True)


def _rotations(quats: Tensor) -> Tensor:
    """Rotation matrices [N, 3, 3] of quaternions [N, 4]."""
    w, x, y, z = normalize(quats, dim=1).unbind(1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, 1).view(-1, 3, 3)
