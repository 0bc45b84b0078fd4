"""Rays against a triangle mesh: the nearest hit, or whether anything is in the way.

The rays of one call are split over threads; each writes its own outputs, so the split changes no bit.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
import warp as wp
from torch import Tensor

wp.config.quiet = True
wp.init()

NO_LIMIT = 1.0e30  # reaches past anything in float32 without being infinite
CHUNKS_PER_THREAD = 4  # rays cost unequally; several chunks per thread even that out


@dataclass
class Hits:
    """Nearest hits of N rays.

    Attributes:
        face: index of the triangle hit, int64 [N], -1 for none.
        distance: ray parameter of the hit in lengths of the ray's direction, float32 [N], 0 for none.
        barycentric: weights of the triangle's three corners, float32 [N, 3], 0 for none.
    """

    face: Tensor
    distance: Tensor
    barycentric: Tensor

    def interpolate(self, corners: Tensor) -> Tensor:
        """Values at the hits from values [F, 3, C] at the corners of the triangles: [N, C], 0 where none."""
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
        # Warp keeps no reference to the memory of torch: these two must live as long as the mesh.
        self._vertices = vertices.detach().float().contiguous()
        self._faces = faces.to(vertices.device, torch.int32).reshape(-1).contiguous()
        self._mesh = wp.Mesh(
            wp.from_torch(self._vertices, dtype=wp.vec3), wp.from_torch(self._faces, dtype=wp.int32)
        )

    def cast(self, origins: Tensor, directions: Tensor, far: float = NO_LIMIT) -> Hits:
        """The nearest triangle along each ray, both sides counting.

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
        outputs = [
            wp.from_torch(hits.face, dtype=wp.int32),
            wp.from_torch(hits.distance, dtype=wp.float32),
            wp.from_torch(hits.barycentric, dtype=wp.vec3),
        ]
        self._launch(_nearest, origins, directions, far, outputs)
        hits.face = hits.face.long()
        return hits

    def occluded(self, origins: Tensor, directions: Tensor, far: float = NO_LIMIT) -> Tensor:
        """Whether anything lies on each ray at a parameter between 0 and ``far``, bool [N]."""
        origins, directions = self._rays(origins, directions)
        blocked = origins.new_empty(len(origins), dtype=torch.uint8)
        self._launch(_any, origins, directions, far, [wp.from_torch(blocked, dtype=wp.uint8)])
        return blocked.bool()

    def _rays(self, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        if origins.shape != directions.shape or origins.ndim != 2 or origins.shape[1] != 3:
            raise ValueError(
                f"TriangleMesh: expected origins and directions [N, 3], "
                f"got {list(origins.shape)} and {list(directions.shape)}"
            )
        device = self._vertices.device
        return tuple(
            ray.detach().to(device, torch.float32).contiguous() for ray in (origins, directions)
        )

    def _launch(
        self, kernel, origins: Tensor, directions: Tensor, far: float, outputs: list
    ) -> None:
        inputs = [
            self._mesh.id,
            wp.from_torch(origins, dtype=wp.vec3),
            wp.from_torch(directions, dtype=wp.vec3),
            far,
        ]
        _launch_split(kernel, len(origins), inputs, outputs, self._mesh.device)


def _launch_split(kernel, count: int, inputs: list, outputs: list, device) -> None:
    """Launch ``kernel`` over ``count`` rays: at once on a GPU, in chunks over threads on the CPU."""
    threads = 1 if device.is_cuda else torch.get_num_threads()
    if threads == 1 or count < 4096:
        wp.launch(kernel, count, inputs=[*inputs, 0, *outputs], device=device, record_tape=False)
        return
    size = -(-count // (threads * CHUNKS_PER_THREAD))
    commands = [
        wp.launch(
            kernel,
            min(size, count - first),
            inputs=[*inputs, first, *outputs],
            device=device,
            record_cmd=True,
        )
        for first in range(0, count, size)
    ]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda command: command.launch(), commands))


@wp.kernel(module="raycast", enable_backward=False)
def _nearest(
    mesh: wp.uint64,
    origins: wp.array(dtype=wp.vec3),  # [N]
    directions: wp.array(dtype=wp.vec3),  # [N]
    far: float,
    first: int,
    face: wp.array(dtype=wp.int32),  # [N] out
    distance: wp.array(dtype=wp.float32),  # [N] out
    barycentric: wp.array(dtype=wp.vec3),  # [N] out
):
    ray = first + wp.tid()
    query = wp.mesh_query_ray(mesh, origins[ray], directions[ray], far)
    if query.result:
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
    first: int,
    blocked: wp.array(dtype=wp.uint8),  # [N] out
):
    ray = first + wp.tid()
    if wp.mesh_query_ray_anyhit(mesh, origins[ray], directions[ray], far):
        blocked[ray] = wp.uint8(1)
    else:
        blocked[ray] = wp.uint8(0)
