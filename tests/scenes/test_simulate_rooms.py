"""Furnished rooms: whole, well filled, alike in their classes and different in everything else."""

import functools
import itertools

import numpy as np
import pytest
import torch
import trimesh
from scipy.optimize import linprog
from scipy.spatial import ConvexHull
from semaflow.kernels.raycast import TriangleMesh
from semaflow.scenes import simulate
from semaflow.scenes.simulate import world
from semaflow.scenes.simulate.rooms import CLASSES

from tests.reference.worlds import built

SEEDS = (0, 1, 2, 3)
SMALL = {"frames": 6, "test": 3, "width": 64, "height": 48, "samples": 1}
ON_WALLS = ("door", "window", "picture")


def room(seed):
    return built("rooms", seed)


def solids(body):
    """Half-spaces (normals [P, 3], offsets [P]) of each convex piece that a body is made of, and their corners."""
    mesh = trimesh.Trimesh(body.vertices(0.0), body.shape.faces, process=False)
    found = []
    for piece in mesh.split(only_watertight=False):
        hull = ConvexHull(piece.vertices)
        planes = np.unique(hull.equations.round(9), axis=0)
        found.append((planes[:, :3], -planes[:, 3], piece.vertices))
    return found


def shared(first, second):
    """Radius of the largest ball inside both of two convex pieces; at most 0 where they only touch."""
    (normals, offsets, corners), (others, far, more) = first, second
    if (np.minimum(corners.max(0), more.max(0)) - np.maximum(corners.min(0), more.min(0)) < 1e-6).any():
        return 0.0
    planes = np.column_stack([np.vstack([normals, others]), np.ones(len(normals) + len(others))])
    found = linprog([0, 0, 0, -1], planes, np.append(offsets, far), bounds=[(None, None)] * 3 + [(0, 9)])
    return -found.fun if found.status == 0 else 0.0


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_in_a_room_reaches_into_anything_else(seed):
    bodies = room(seed).bodies
    boxes = [(v.min(0), v.max(0)) for v in (body.vertices(0.0) for body in bodies)]
    pieces = functools.cache(lambda index: solids(bodies[index]))
    for one, two in itertools.combinations(range(len(bodies)), 2):
        (lower, upper), (other, above) = boxes[one], boxes[two]
        if (np.minimum(upper, above) - np.maximum(lower, other) > 1e-6).all():
            depth = max(shared(a, b) for a in pieces(one) for b in pieces(two))
            assert depth < 1e-5, f"{bodies[one].name} reaches {depth:.3f} into {bodies[two].name}"


@pytest.mark.parametrize("seed", SEEDS)
def test_things_stand_or_hang_on_what_carries_them(seed):
    made = room(seed)
    size = made.body("floor").vertices(0.0)
    half = np.abs(size[:, :2]).max(0) - 0.1
    ceiling = made.body("ceiling").vertices(0.0)[:, 2].min()
    vertices, faces, owner = made.vertices(0.0).float(), made.surface.faces, made.surface.body
    for index, body in enumerate(made.bodies):
        points = body.vertices(0.0)
        if body.label in ("wall", "floor", "ceiling"):
            continue
        assert (np.abs(points[:, :2]) <= half + 1e-6).all()
        if body.label in ON_WALLS:
            assert np.abs(half - np.abs(points[:, :2]).max(0)).min() < 1e-6
            continue
        if abs(points[:, 2].max() - ceiling) < 1e-6:
            continue
        feet = points[points[:, 2] < points[:, 2].min() + 1e-4]
        # Rays start well inside the feet's outline, so that an edge of what carries them is no matter.
        start = 0.9 * feet + 0.1 * feet.mean(0) + [0, 0, 1e-3]
        start = torch.from_numpy(start).float()
        others = TriangleMesh(vertices, faces[owner != index])
        hits = others.cast(start, torch.tensor([0.0, 0.0, -1.0]).expand_as(start))
        carried = (hits.face >= 0) & ((hits.distance - 1e-3).abs() < 1e-4)
        assert carried.float().mean() > 0.99, f"{body.name} stands on nothing"


def test_every_room_has_the_same_class_list_and_most_of_its_classes():
    for seed in range(8):
        made = room(seed)
        assert tuple(made.labels) == CLASSES
        held = {body.label for body in made.bodies}
        assert len(held) >= 14
        assert {"wall", "floor", "ceiling", "lamp", "table", "chair", "plant", "ball", "box"} <= held
        assert len({body.name for body in made.bodies}) == len(made.bodies) >= 25
    assert set.union(*({body.label for body in room(seed).bodies} for seed in range(8))) == set(CLASSES)


def test_rooms_of_one_seed_are_the_same_bit_for_bit_and_of_others_are_not():
    one, same, other = (simulate(world("rooms", seed), **SMALL) for seed in (1, 1, 2))
    for a, b in zip(one.frames, same.frames, strict=True):
        assert torch.equal(a.camera.viewmat, b.camera.viewmat)
        for layer in ("image", "depth", "label", "instance"):
            assert torch.equal(getattr(a, layer), getattr(b, layer))
    assert (one.frames[0].image - other.frames[0].image).abs().mean() > 0.05
    spans = {tuple(room(seed).body("floor").vertices(0.0).max(0).round(3)) for seed in range(6)}
    assert len(spans) == 6


def test_a_room_is_filmed_small_unless_asked_otherwise():
    scene = simulate(room(0))
    assert (len(scene.train), len(scene.test)) == (30, 8)
    assert (scene.frames[0].camera.width, scene.frames[0].camera.height) == (160, 120)
    assert scene.times == pytest.approx([index / 29 for index in range(30)])
    asked = simulate(room(0), **SMALL)
    assert (len(asked.train), len(asked.test), asked.frames[0].camera.width) == (6, 3, 64)


@pytest.mark.parametrize("seed", SEEDS)
def test_cameras_walk_clear_of_everything_and_test_cameras_stand_off_the_walk(seed):
    made = room(seed)
    scene = simulate(made, test=8, width=64, height=48)
    centers = torch.stack([frame.camera.center for frame in scene.frames]).double().numpy()
    ways = torch.nn.functional.normalize(torch.randn(400, 3, generator=torch.Generator().manual_seed(0)), dim=-1)
    for center in torch.from_numpy(centers).float():
        assert not made.geometry(0.0).mesh.occluded(center.expand_as(ways), ways, far=0.2).any()
    path = centers[:30]
    assert np.linalg.norm(np.diff(path, axis=0), axis=-1).max() < 0.6
    assert np.linalg.norm(np.diff(path, axis=0), axis=-1).sum() > 3
    # Also off the straight lines between the frames of the walk.
    between = np.concatenate([path[:-1] + share * np.diff(path, axis=0) for share in np.linspace(0, 1, 9)])
    off = np.linalg.norm(centers[30:, None] - between, axis=-1).min(1)
    assert off.min() > 0.08


@pytest.mark.parametrize("seed", SEEDS)
def test_pictures_of_a_room_are_closed_lit_and_varied(seed):
    scene = simulate(room(seed), frames=12, test=2, width=80, height=60)
    seen = set()
    for frame in scene.frames:
        assert (frame.depth > 0.2).all()
        assert (frame.label >= 0).all()
        assert 0.25 < frame.image.mean() < 0.8
        assert frame.image.std() > 0.08
        assert (frame.image > 0.995).all(-1).float().mean() < 0.1
        assert not frame.mask.any()
        assert len(frame.label.unique()) >= 4
        made = room(seed)
        owner = torch.tensor([CLASSES.index(body.label) for body in made.bodies])
        assert torch.equal(owner[frame.instance], frame.label)
        seen |= set(frame.label.unique().tolist())
    assert len(seen) >= 12


def test_test_views_show_what_the_walk_has_seen():
    scene = simulate(room(2), frames=30, test=4, width=64, height=48, samples=1)
    for frame in scene.split("test"):
        origin, way = frame.camera.rays()
        points = origin + way * frame.depth[..., None]
        known = torch.zeros_like(frame.depth, dtype=torch.int64)
        for other in scene.split("train"):
            pixels, depth = other.camera.project(points)
            column, row = pixels.long().unbind(-1)
            inside = (depth > 0) & (pixels >= 0).all(-1) & (column < 64) & (row < 48)
            there = other.depth[row.clamp(0, 47), column.clamp(0, 63)]
            known += (inside & ((there - depth).abs() < 0.1)).long()
        assert (known >= 3).float().mean() > 0.9
