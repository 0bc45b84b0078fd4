"""Shapes to build bodies from: vertices, triangles and the part each triangle belongs to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import trimesh


@dataclass
class Shape:
    """A triangle mesh at rest.

    Attributes:
        vertices: float64 [V, 3], scene units.
        faces: int64 [F, 3], counter-clockwise seen from outside.
        part: index of each face's part in the body's list of parts, int64 [F].
        link: index of the rigid link that each vertex belongs to, int64 [V].
        smooth: whether each face is shaded with interpolated vertex normals, bool [F].
    """

    vertices: np.ndarray
    faces: np.ndarray
    part: np.ndarray
    link: np.ndarray
    smooth: np.ndarray

    @classmethod
    def of(cls, mesh: trimesh.Trimesh, smooth: bool, part: int = 0, link: int = 0) -> Shape:
        """A shape of one part and one link from a trimesh mesh."""
        vertices = np.array(mesh.vertices, dtype=np.float64)
        faces = np.array(mesh.faces, dtype=np.int64)
        return cls(
            vertices,
            faces,
            np.full(len(faces), part),
            np.full(len(vertices), link),
            np.full(len(faces), smooth),
        )

    def moved(self, offset) -> Shape:
        """The shape shifted by ``offset`` [3]."""
        return Shape(
            self.vertices + np.asarray(offset), self.faces, self.part, self.link, self.smooth
        )

    def turned(self, rotation: np.ndarray) -> Shape:
        """The shape turned about the origin by ``rotation`` [3, 3]."""
        return Shape(self.vertices @ rotation.T, self.faces, self.part, self.link, self.smooth)


def joined(shapes: list[Shape]) -> Shape:
    """Several shapes as one."""
    firsts = np.cumsum([0, *(len(shape.vertices) for shape in shapes[:-1])])
    return Shape(
        np.concatenate([shape.vertices for shape in shapes]),
        np.concatenate([shape.faces + first for shape, first in zip(shapes, firsts, strict=True)]),
        np.concatenate([shape.part for shape in shapes]),
        np.concatenate([shape.link for shape in shapes]),
        np.concatenate([shape.smooth for shape in shapes]),
    )


def ball(radius: float, part: int = 0, link: int = 0, detail: int = 4) -> Shape:
    """A sphere about the origin of 20 * 4^detail triangles."""
    return Shape.of(trimesh.creation.icosphere(detail, radius), True, part, link)


def ellipsoid(radii, part: int = 0, link: int = 0, detail: int = 3) -> Shape:
    """An ellipsoid about the origin with half-axes ``radii`` [3]."""
    shape = ball(1.0, part, link, detail)
    shape.vertices = shape.vertices * np.asarray(radii)
    return shape


def rounded_cube(edge: float, power: float = 6.0, part: int = 0, detail: int = 4) -> Shape:
    """A cube with rounded edges about the origin: where the ``power`` norm is ``edge / 2``."""
    shape = ball(1.0, part, 0, detail)
    norm = (np.abs(shape.vertices) ** power).sum(-1, keepdims=True) ** (1 / power)
    shape.vertices = shape.vertices / norm * edge / 2
    return shape


def box(extents, part: int = 0, link: int = 0) -> Shape:
    """A box about the origin with edges ``extents`` [3]."""
    return Shape.of(trimesh.creation.box(extents=extents), False, part, link)


def block(lower, upper, part: int = 0) -> Shape:
    """A box from corner ``lower`` [3] to corner ``upper`` [3]."""
    lower, upper = np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64)
    return box(upper - lower, part).moved((lower + upper) / 2)


def cylinder(radius: float, height: float, part: int = 0) -> Shape:
    """An upright cylinder about the origin."""
    return Shape.of(trimesh.creation.cylinder(radius, height, sections=64), False, part)


def cone(radius: float, height: float, part: int = 0) -> Shape:
    """An upright cone on the plane z = 0."""
    return Shape.of(trimesh.creation.cone(radius, height, sections=64), False, part)


def capsule(start, end, radius: float, part: int = 0, link: int = 0) -> Shape:
    """A cylinder with half spheres at both ends, whose centres are ``start`` and ``end`` [3]."""
    start, end = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
    mesh = trimesh.creation.capsule(np.linalg.norm(end - start), radius, count=[16, 16])
    mesh.apply_translation(-mesh.bounds.mean(0))  # releases of trimesh differ in where they put it
    shape = Shape.of(mesh, True, part, link)
    turn = trimesh.geometry.align_vectors([0.0, 0.0, 1.0], end - start)[:3, :3]
    shape.vertices = shape.vertices @ turn.T + (start + end) / 2
    return shape


def sheet(width: float, height: float, columns: int, rows: int, parts: int = 1) -> Shape:
    """An upright sheet in the plane y = 0, x from 0 to ``width``, z from 0 to ``height``.

    It is divided along x into ``parts`` parts of equal width.
    """
    x, z = np.meshgrid(np.linspace(0, width, columns + 1), np.linspace(0, height, rows + 1))
    vertices = np.stack([x, np.zeros_like(x), z], -1).reshape(-1, 3)
    corner = (np.arange(rows)[:, None] * (columns + 1) + np.arange(columns)).reshape(-1)
    right, above = corner + 1, corner + columns + 1
    faces = np.concatenate(
        [np.stack([corner, right, above + 1], -1), np.stack([corner, above + 1, above], -1)]
    )
    part = np.tile(np.tile(np.arange(columns) * parts // columns, rows), 2)
    return Shape(
        vertices,
        faces,
        part,
        np.zeros(len(vertices), dtype=np.int64),
        np.ones(len(faces), dtype=bool),
    )
