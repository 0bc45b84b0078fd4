"""Nearest neighbours against all pairwise distances."""

import pytest
import torch
from semaflow.kernels.neighbors import nearest

from tests.reference.gaussians import DEVICES


def everything(points, queries):
    """Exact distances [M, N] in float64."""
    return torch.cdist(
        queries.double().cpu(), points.double().cpu(), compute_mode="donot_use_mm_for_euclid_dist"
    )


def cloud(kind, count=400):
    g = torch.Generator().manual_seed(7)
    points = torch.randn(count, 3, generator=g)
    if kind == "clusters":  # dense heaps far apart: no single cell size fits
        points = points * 0.01 + 50 * torch.randint(0, 4, (count, 1), generator=g)
    elif kind == "plane":
        points[:, 2] = 0.0
    elif kind == "outlier":
        points[0] = 1e4
    elif kind == "far from the origin":
        points = points + torch.tensor([1e3, -1e3, 1e3])
    return points


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", ["ball", "clusters", "plane", "outlier", "far from the origin"])
@pytest.mark.parametrize("k", [1, 3, 8])
def test_among_themselves(k, kind, device):
    """Each point's k nearest others, nearest first, itself left out."""
    points = cloud(kind).to(device)
    distances, indices = nearest(points, k)
    assert distances.shape == indices.shape == (400, k)
    assert indices.dtype == torch.int64
    truth = everything(points, points)
    truth.fill_diagonal_(float("inf"))
    torch.testing.assert_close(
        distances.cpu().double(), truth.topk(k, largest=False).values, rtol=1e-4, atol=1e-6
    )
    torch.testing.assert_close(
        truth.gather(1, indices.cpu()), distances.cpu().double(), rtol=1e-4, atol=1e-6
    )
    assert (indices.sort(1).values.diff(dim=1) > 0).all(), "a neighbour is listed twice"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("k", [1, 4])
def test_of_other_queries(k, device):
    """Queries inside the cloud, far outside it, and on top of its points (distance zero counts)."""
    points = cloud("ball")
    queries = torch.cat(
        [cloud("ball", 50) * 1.5, torch.tensor([[30.0, 0, 0], [0, -100, 20]]), points[:5]]
    )
    distances, indices = nearest(points.to(device), k, queries=queries.to(device))
    truth = everything(points, queries)
    torch.testing.assert_close(
        distances.cpu().double(), truth.topk(k, largest=False).values, rtol=1e-4, atol=1e-6
    )
    torch.testing.assert_close(
        truth.gather(1, indices.cpu()), distances.cpu().double(), rtol=1e-4, atol=1e-6
    )
    assert indices[-5:, 0].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("device", DEVICES)
def test_coinciding_points(device):
    """A point's twin is its neighbour at distance zero; the point itself is not."""
    points = torch.tensor([[0.0, 0, 0], [0, 0, 0], [1, 0, 0], [1, 0, 0]], device=device)
    distances, indices = nearest(points, 1)
    assert indices[:, 0].tolist() == [1, 0, 3, 2]
    assert float(distances.abs().max()) == 0
    distances, indices = nearest(torch.zeros(50, 3, device=device), 3)
    assert float(distances.abs().max()) == 0
    assert (indices != torch.arange(50, device=device)[:, None]).all()


@pytest.mark.parametrize("device", DEVICES)
def test_two_points_and_none(device):
    distances, indices = nearest(torch.tensor([[0.0, 0, 0], [3, 4, 0]], device=device), 1)
    assert distances.flatten().tolist() == pytest.approx([5.0, 5.0])
    assert indices.flatten().tolist() == [1, 0]
    points = torch.rand(10, 3, device=device)
    distances, indices = nearest(points, 2, queries=points[:0])
    assert distances.shape == indices.shape == (0, 2)


@pytest.mark.parametrize("device", DEVICES)
def test_fewer_points_than_asked_for(device):
    """What is missing is at infinity and has no index."""
    points = torch.tensor([[0.0, 0, 0], [1, 0, 0], [3, 0, 0]], device=device)
    distances, indices = nearest(points, 4)
    inf = float("inf")
    assert distances.tolist() == [[1, 3, inf, inf], [1, 2, inf, inf], [2, 3, inf, inf]]
    assert indices.tolist() == [[1, 2, -1, -1], [0, 2, -1, -1], [1, 0, -1, -1]]
    assert nearest(points[:1], 2)[1].tolist() == [[-1, -1]]
    assert nearest(points[:0], 2)[1].shape == (0, 2)


@pytest.mark.parametrize("device", DEVICES)
def test_points_that_are_no_numbers(device):
    """They are nobody's neighbours, have none, and leave the others' as they are."""
    points = cloud("ball", 100).to(device)
    expected, _ = nearest(points[10:], 3)
    points[:5], points[5:10] = float("nan"), float("inf")
    distances, indices = nearest(points, 3)
    assert torch.equal(distances[10:], expected)
    assert (indices[:10] == -1).all()
    assert (indices[10:] >= 10).all()


@pytest.mark.parametrize("device", DEVICES)
def test_order_and_place_of_points_do_not_matter(device):
    """Shuffled, and carried along by a rigid motion that float32 holds exactly: quarter turns and whole steps."""
    points, order = cloud("ball").to(device), torch.randperm(400, generator=torch.Generator().manual_seed(0)).to(device)
    distances, indices = nearest(points, 3)
    again, numbers = nearest(points[order], 3)
    assert torch.equal(again, distances[order])
    assert torch.equal(order[numbers], indices[order])
    turned = torch.stack([-points[:, 1], points[:, 0], points[:, 2]], 1)
    torch.testing.assert_close(nearest(turned, 3)[0], distances, rtol=1e-6, atol=0)
    assert torch.equal(nearest(turned, 3)[1], indices)
