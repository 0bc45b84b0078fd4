"""Nearest neighbours of points in space."""

import torch
import warp as wp
from torch import Tensor

from . import bridge
from .once import once

FARTHEST = 1e18  # squares of larger distances overflow


@once
def _search(k: int):
    distances_of = wp.types.vector(k, wp.float32)
    indices_of = wp.types.vector(k, wp.int32)

    @wp.kernel(module=f"semaflow_neighbors_{k}", enable_backward=False)
    def search(
        grid: wp.uint64,
        points: wp.array(dtype=wp.vec3),
        numbers: wp.array(dtype=wp.int32),
        queries: wp.array(dtype=wp.vec3),
        todo: wp.array(dtype=wp.int64),
        radius: float,
        own: int,
        distances: wp.array(dtype=distances_of),
        indices: wp.array(dtype=indices_of),
        first: int,
    ):
        q = int(todo[wp.tid() + first])
        best = distances_of()
        who = indices_of()
        for i in range(k):
            best[i] = wp.inf
            who[i] = -1
        x = queries[q]
        for candidate in wp.hash_grid_query(grid, x, radius):
            d = wp.length_sq(points[candidate] - x)
            p = candidate
            if numbers.shape[0] > 0:
                p = numbers[candidate]
            # Of equal distances the smaller index comes first, whatever order the grid gives.
            closer = d < best[k - 1] or (d == best[k - 1] and p < who[k - 1])
            if closer and d <= radius * radius and not (own != 0 and p == q):
                at = int(k - 1)
                while at > 0 and (d < best[at - 1] or (d == best[at - 1] and p < who[at - 1])):
                    best[at] = best[at - 1]
                    who[at] = who[at - 1]
                    at -= 1
                best[at] = d
                who[at] = p
        for i in range(k):
            best[i] = wp.sqrt(best[i])
        distances[q] = best
        indices[q] = who

    return search


def nearest(points: Tensor, k: int, queries: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The ``k`` nearest of ``points`` to each query, nearest first; exact.

    Args:
        points: [N, 3].
        queries: [M, 3]; None for the points themselves, each of which is then not its own neighbour.

    Returns:
        Distances [M, k] in the points' units, and indices into ``points`` [M, k], int64; of equal distances the smaller
        index comes first. Where there are fewer than ``k`` neighbours the rest is infinity and -1. Points and queries
        that are no finite numbers have no neighbours and are nobody's, nor do distances beyond 1e18 count.
    """
    if k < 1:
        raise ValueError(f"k: must be positive, got {k}")
    for name, value in (("points", points), ("queries", queries)):
        if value is not None and (value.ndim != 2 or value.shape[1] != 3):
            raise ValueError(f"{name}: expected shape [any, 3], got {list(value.shape)}")
    own = queries is None
    points = points.detach().float().contiguous()
    queries = points if own else queries.detach().to(points).contiguous()
    count = len(queries)
    distances = torch.full((count, k), torch.inf, device=points.device)
    indices = torch.full((count, k), -1, dtype=torch.int32, device=points.device)
    known = points.isfinite().all(1).nonzero()[:, 0]
    todo = queries.isfinite().all(1).nonzero()[:, 0]
    enough = min(k, len(known) - own)
    if enough > 0 and len(todo) > 0:
        _fill(points, known, queries, todo, own, enough, distances, indices)
    return distances, indices.long()


def _fill(points, known, queries, todo, own: bool, enough: int, distances, indices) -> None:
    """Search in balls that double until every query in ``todo`` has ``enough`` neighbours."""
    k = distances.shape[1]
    usable = points if len(known) == len(points) else points[known]
    radius = _start_radius(usable, queries[todo], enough + own)
    vec3 = bridge.vector(3, torch.float32)
    grid = wp.HashGrid(128, 128, 128, device=str(points.device))
    shared, kernel = bridge.array(usable, vec3), _search(k)
    identity = None if usable is points else known.int()
    while len(todo) > 0 and radius < FARTHEST:
        with bridge.stream(points):
            grid.build(shared, radius)
        bridge.launch(
            kernel,
            len(todo),
            [
                grid.id, bridge.share(usable, vec3), bridge.share(identity), bridge.share(queries, vec3),
                bridge.share(todo), radius, int(own), bridge.share(distances, bridge.vector(k, torch.float32)),
                bridge.share(indices, bridge.vector_of_ints(k)),
            ],
            points,
            grain=256,
        )  # fmt: skip
        todo = todo[indices[todo, enough - 1] < 0]
        radius *= 2


def _start_radius(points: Tensor, queries: Tensor, k: int) -> float:
    """A ball that holds ``k`` points where they are densest; a larger one would hold far too many there."""
    most = min(256, max(16, 20_000_000 // len(points)))
    sample = queries[:: max(len(queries) // most, 1)]
    distance = torch.cdist(sample, points, compute_mode="donot_use_mm_for_euclid_dist")
    reach = distance.kthvalue(min(k, len(points)), dim=1).values
    reach = reach[reach > 0]
    if len(reach) == 0:
        return 1e-6 * max(float(points.abs().max()), 1.0)
    return float(reach.quantile(0.05))
