"""Ray casting against hits by hand and a brute-force float64 search (Moeller and Trumbore 1997)."""

import pytest
import torch
from semaflow.kernels.raycast import TriangleMesh

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def brute_force(vertices, faces, origins, directions):
    """Ray parameter [N, F] of every crossing (inf: none), corner weights [N, F, 3], and how far
    each ray is from the edge of each triangle, in corner weight."""
    a, b, c = vertices.double()[faces].unbind(1)
    origins, directions = origins.double()[:, None], directions.double()[:, None]
    across = torch.linalg.cross(directions, (c - a)[None])
    determinant = ((b - a) * across).sum(-1)
    start = origins - a
    v = (start * across).sum(-1) / determinant
    turned = torch.linalg.cross(start, (b - a).expand_as(start))
    w = (directions * turned).sum(-1) / determinant
    t = ((c - a) * turned).sum(-1) / determinant
    weights = torch.stack([1 - v - w, v, w], -1)
    inside = (weights.amin(-1) >= 0) & (t >= 0)
    return torch.where(inside, t, torch.inf), weights, weights.amin(-1).abs()


def random_rays(count, generator, device="cpu"):
    origins = torch.randn(count, 3, generator=generator) * 2
    directions = torch.randn(count, 3, generator=generator) * 0.7 - origins
    return origins.to(device), directions.to(device)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("seed", range(3))
def test_nearest_hit_is_that_of_an_exhaustive_search(seed, device):
    generator = torch.Generator().manual_seed(seed)
    vertices = torch.randn(120, 3, generator=generator)
    faces = torch.stack([torch.randperm(120, generator=generator)[:3] for _ in range(200)])
    origins, directions = random_rays(400, generator)

    mesh = TriangleMesh(vertices.to(device), faces.to(device))
    hits = mesh.cast(origins.to(device), directions.to(device))
    blocked = mesh.occluded(origins.to(device), directions.to(device)).cpu()

    t, weights, margin = brute_force(vertices, faces, origins, directions)
    clear = margin.amin(-1) > 1e-4  # a ray this close to an edge may go either way in float32
    nearest, face = t.min(-1)
    found = nearest.isfinite()
    assert clear.float().mean() > 0.7
    assert 0.3 < found.float().mean() < 1
    assert torch.equal(hits.face.cpu()[clear] >= 0, found[clear])
    assert torch.equal(blocked[clear], found[clear])
    clear &= found
    assert torch.equal(hits.face.cpu()[clear], face[clear])
    torch.testing.assert_close(
        hits.distance.cpu()[clear].double(), nearest[clear], rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(
        hits.barycentric.cpu()[clear].double(),
        weights[torch.arange(400), face][clear],
        rtol=0,
        atol=1e-3,
    )


@pytest.fixture
def triangle():
    vertices = torch.tensor([[0.0, 0.0, 2.0], [4.0, 0.0, 2.0], [0.0, 4.0, 2.0]])
    return TriangleMesh(vertices, torch.tensor([[0, 1, 2]]))


def cast_one(mesh, origin, direction, **options):
    return mesh.cast(torch.tensor([origin]), torch.tensor([direction]), **options)


def test_hit_of_one_triangle_by_hand(triangle):
    # (1, 2, 2) is 1/4 of the way to the second corner and 1/2 of the way to the third.
    hits = cast_one(triangle, [1.0, 2.0, 0.0], [0.0, 0.0, 1.0])
    assert hits.face.tolist() == [0]
    assert hits.distance.item() == pytest.approx(2.0)
    assert hits.barycentric[0].tolist() == pytest.approx([0.25, 0.25, 0.5])
    values = torch.tensor([[[0.0, 8.0], [4.0, 8.0], [8.0, 8.0]]])
    assert hits.interpolate(values)[0].tolist() == pytest.approx([5.0, 8.0])


def test_distance_is_in_lengths_of_the_direction(triangle):
    assert cast_one(triangle, [1.0, 1.0, 0.0], [0.0, 0.0, 4.0]).distance.item() == pytest.approx(
        0.5
    )


def test_both_sides_count(triangle):
    assert cast_one(triangle, [1.0, 1.0, 5.0], [0.0, 0.0, -1.0]).distance.item() == pytest.approx(3)


@pytest.mark.parametrize(
    ("origin", "direction", "far"),
    [
        ([3.0, 3.0, 0.0], [0.0, 0.0, 1.0], 1e30),  # beside it
        ([1.0, 1.0, 3.0], [0.0, 0.0, 1.0], 1e30),  # behind the ray
        ([1.0, 1.0, 0.0], [1.0, 0.0, 0.0], 1e30),  # parallel to it
        ([1.0, 1.0, 0.0], [0.0, 0.0, 1.0], 1.9),  # too far
    ],
)
def test_misses(triangle, origin, direction, far):
    hits = cast_one(triangle, origin, direction, far=far)
    assert hits.face.tolist() == [-1]
    assert hits.distance.item() == 0
    assert hits.barycentric.abs().sum() == 0
    assert hits.interpolate(torch.ones(1, 3, 2)).abs().sum() == 0
    blocked = triangle.occluded(torch.tensor([origin]), torch.tensor([direction]), far=far)
    assert not blocked.any()


def test_no_rays(triangle):
    assert len(triangle.cast(torch.zeros(0, 3), torch.zeros(0, 3)).face) == 0


@pytest.mark.parametrize(
    ("vertices", "faces"),
    [
        (torch.zeros(3, 2), torch.tensor([[0, 1, 2]])),
        (torch.zeros(3, 3), torch.tensor([[0, 1, 3]])),
        (torch.zeros(3, 3), torch.zeros(0, 3, dtype=torch.int64)),
    ],
)
def test_meshes_that_make_no_sense_are_refused(vertices, faces):
    with pytest.raises(ValueError, match="TriangleMesh: expected"):
        TriangleMesh(vertices, faces)


def test_rays_must_come_in_pairs(triangle):
    with pytest.raises(ValueError, match="origins and directions"):
        triangle.cast(torch.zeros(2, 3), torch.zeros(3, 3))


def test_moving_mesh_and_rays_together_changes_nothing():
    """And neither does the order of rays."""
    generator = torch.Generator().manual_seed(4)
    vertices = torch.randn(60, 3, generator=generator)
    faces = torch.stack([torch.randperm(60, generator=generator)[:3] for _ in range(80)])
    origins, directions = random_rays(300, generator)
    skew = torch.tensor([[0.0, 0.3, -0.8], [-0.3, 0.0, 0.5], [0.8, -0.5, 0.0]])
    turn, shift = torch.linalg.matrix_exp(skew).T, torch.tensor([1.0, -2.0, 0.5])
    hits = TriangleMesh(vertices, faces).cast(origins, directions)
    moved = TriangleMesh(vertices @ turn + shift, faces).cast(origins @ turn + shift, directions @ turn)
    alike = hits.face == moved.face
    assert alike.float().mean() > 0.99, "but for rays that touch an edge"
    assert (hits.face >= 0).any()
    torch.testing.assert_close(moved.distance[alike], hits.distance[alike], rtol=1e-4, atol=1e-5)
    order = torch.randperm(300, generator=generator)
    again = TriangleMesh(vertices, faces).cast(origins[order], directions[order])
    assert torch.equal(again.face, hits.face[order]) and torch.equal(again.distance, hits.distance[order])
