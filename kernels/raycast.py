"""Rays against a triangle mesh: the nearest hit, or whether anything is in the way."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import warp as wp
from torch import Tensor

from .bridge import launch, share, stream

NO_LIMIT = 1.0e30  # reaches past anything in float32 without being infinite


@dataclass
class Hits:
    """Nearest hits of N rays.

    Attributes:
        face: index of the triangle hit, int64 [N], -1 for none.
        distance: ray parameter of the hit, in lengths of the ray's direction, float32 [N], 0 for
            none.
        barycentric: weights of the triangle's three corners, float32 [N, 3], 0 for none.
    """

    face: Tensor
    distance: Tensor
    barycentric: Tensor

    def interpolate(self, corners: Tensor) -> Tensor:
        """Values [N, C] at the hits, 0 for none, of values [F, 3, C] at the triangles' corners."""
        picked = corners[self.face.clamp(min=0)]
        return (picked * self.barycentric[..., None].to(picked.dtype)).sum(-2)


class TriangleMesh:
    """Triangles to cast rays at, with a bounding volume hierarchy on the device of ``vertices``.

    Args:
        vertices: corner positions, float32 [V, 3].
        faces: corners of each triangle, integer [F, 3].

    Raises:
        ValueError: shapes do not fit or a face names a vertex that is not there.
    """

    def __init__(self, vertices: Tensor, faces: Tensor):
        if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
            raise ValueError(
                f"TriangleMesh: expected vertices [V, 3] and faces [F, 3], "
                f"got {list(vertices.shape)} and {list(faces.shape)}"
            )
        if len(faces) == 0 or faces.min() < 0 or faces.max() >= len(vertices):
            raise ValueError(
                f"TriangleMesh: expected at least one face with corners in 0..{len(vertices) - 1}, "
                f"got {len(faces)} faces"
            )
        self.device = vertices.device
        vertices = vertices.detach().float().contiguous()
        corners = faces.to(self.device, torch.int32).reshape(-1).contiguous()
        with stream(vertices):
            self._mesh = wp.Mesh(
                wp.from_torch(vertices, dtype=wp.vec3), wp.from_torch(corners, dtype=wp.int32)
            )

    def cast(self, origins: Tensor, directions: Tensor, far: float = NO_LIMIT) -> Hits:
        """The nearest triangle along each ray, both sides counting. A ray that is no finite numbers hits nothing.

        Args:
            origins, directions: float [N, 3]; directions need not have unit length.
            far: hits at a ray parameter beyond this do not count.
        """
        origins, directions = self._rays(origins, directions)
        count = len(origins)
        hits = Hits(
            face=origins.new_empty(count, dtype=torch.int32),
            distance=origins.new_empty(count),
            barycentric=origins.new_empty(count, 3),
        )
        outputs = [share(hits.face), share(hits.distance), share(hits.barycentric, wp.vec3)]
        self._launch(_nearest, origins, directions, far, outputs)
        hits.face = hits.face.long()
        return hits

    def occluded(self, origins: Tensor, directions: Tensor, far: float = NO_LIMIT) -> Tensor:
        """Whether anything lies on each ray at a parameter between 0 and ``far``, bool [N]."""
        origins, directions = self._rays(origins, directions)
        blocked = origins.new_empty(len(origins), dtype=torch.uint8)
        self._launch(_any, origins, directions, far, [share(blocked)])
        return blocked.bool()

    def _rays(self, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        if origins.shape != directions.shape or origins.ndim != 2 or origins.shape[1] != 3:
            raise ValueError(
                f"TriangleMesh: expected origins and directions [N, 3], "
                f"got {list(origins.shape)} and {list(directions.shape)}"
            )
        rays = (origins, directions)
        return tuple(ray.detach().to(self.device, torch.float32).contiguous() for ray in rays)

    def _launch(self, kernel, origins: Tensor, directions: Tensor, far: float, outputs: list):
        rays = [share(origins, wp.vec3), share(directions, wp.vec3)]
        launch(kernel, len(origins), [self._mesh.id, *rays, far, *outputs], like=origins)


@wp.func
def _is_finite(x: wp.vec3):
    return wp.isfinite(x[0]) and wp.isfinite(x[1]) and wp.isfinite(x[2])


@wp.kernel(module="raycast", enable_backward=False)
def _nearest(
    mesh: wp.uint64,
    origins: wp.array(dtype=wp.vec3),  # [N]
    directions: wp.array(dtype=wp.vec3),  # [N]
    far: float,
    face: wp.array(dtype=wp.int32),  # [N] out
    distance: wp.array(dtype=wp.float32),  # [N] out
    barycentric: wp.array(dtype=wp.vec3),  # [N] out
    first: int,
):
    ray = first + wp.tid()
    hit = False
    if _is_finite(origins[ray]) and _is_finite(directions[ray]):
        query = wp.mesh_query_ray(mesh, origins[ray], directions[ray], far)
        hit = query.result
    if hit:
        face[ray] = query.face
        distance[ray] = query.t
        barycentric[ray] = wp.vec3(query.u, query.v, 1.0 - query.u - query.v)
    else:
        face[ray] = -1
        distance[ray] = 0.0
        barycentric[ray] = wp.vec3(0.0, 0.0, 0.0)


@wp.kernel(module="raycast", enable_backward=False)
def _any(
    mesh: wp.uint64,
    origins: wp.array(dtype=wp.vec3),  # [N]
    directions: wp.array(dtype=wp.vec3),  # [N]
    far: float,
    blocked: wp.array(dtype=wp.uint8),  # [N] out
    first: int,
):
    ray = first + wp.tid()
    blocked[ray] = wp.uint8(0)
    if _is_finite(origins[ray]) and _is_finite(directions[ray]):
        if wp.mesh_query_ray_anyhit(mesh, origins[ray], directions[ray], far):
            blocked[ray] = wp.uint8(1)
