"""Metrics against values worked out by hand."""

import math

import pytest
import torch
from semaflow.fields import metrics


def disk(radius: float, size: int = 64, center=(32, 32)) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return (x - center[0]) ** 2 + (y - center[1]) ** 2 <= radius**2


def test_psnr_of_a_constant_offset():
    image = torch.full((4, 5, 3), 0.5)
    assert metrics.psnr(image + 0.1, image) == pytest.approx(20.0, abs=1e-4)
    assert metrics.psnr(image, image) == 100.0


def test_psnr_of_some_pixels_alone():
    image = torch.full((4, 5, 3), 0.5)
    truth, where = image.clone(), torch.zeros(4, 5, dtype=torch.bool)
    truth[1, 2], truth[3, 3], where[1, 2] = 0.6, 0.0, True
    assert metrics.psnr(image, truth, where) == pytest.approx(20.0, abs=1e-4)
    assert metrics.psnr(image, truth, where) > metrics.psnr(image, truth)


def test_confusion_by_hand():
    truth = torch.tensor([[0, 0, 1, 1], [2, 2, -1, -1]])
    predicted = torch.tensor([[0, 1, 1, 1], [0, 2, 0, 1]])
    matrix = metrics.confusion(truth, predicted, 4)
    assert matrix[:3, :3].tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 1]]
    assert metrics.accuracy(matrix) == pytest.approx(4 / 6)
    iou = metrics.class_iou(matrix)
    assert iou[:3].tolist() == pytest.approx([1 / 3, 2 / 3, 1 / 2])
    assert math.isnan(iou[3].item())
    assert metrics.mean_iou(matrix) == pytest.approx((1 / 3 + 2 / 3 + 1 / 2) / 3)


def test_confusion_of_nothing_is_perfect():
    empty = metrics.confusion(torch.full((3, 3), -1), torch.zeros(3, 3, dtype=torch.long), 2)
    assert metrics.accuracy(empty) == metrics.mean_iou(empty) == 1.0


def test_jaccard_and_empty_masks():
    left, both = torch.zeros(4, 4, dtype=torch.bool), torch.ones(4, 4, dtype=torch.bool)
    left[:, :2] = True
    empty = torch.zeros_like(left)
    assert metrics.jaccard(left, both) == 0.5
    assert metrics.jaccard(empty, empty) == 1.0
    assert metrics.jaccard(left, empty) == 0.0


def test_boundary_f_forgives_the_tolerance_and_no_more():
    truth = disk(15)
    assert metrics.boundary_f(truth, truth) == 1.0
    assert metrics.boundary_f(disk(16), truth) == 1.0  # 0.008 of 90 pixels, rounded up
    assert metrics.boundary_f(disk(20), truth) == 0.0
    shifted = metrics.boundary_f(disk(15, center=(36, 32)), truth)
    assert 0.05 < shifted < 0.6  # only the stretches along the shift still match


def test_boundary_f_of_empty_masks():
    empty, full = torch.zeros(8, 8, dtype=torch.bool), torch.ones(8, 8, dtype=torch.bool)
    assert metrics.boundary_f(empty, empty) == 1.0
    assert metrics.boundary_f(full, empty) == 1.0  # the image border is no contour
    assert metrics.boundary_f(disk(2, 8, (4, 4)), empty) == 0.0


@pytest.mark.parametrize("flat", [False, True])
def test_diameter_is_the_largest_distance(flat):
    points = torch.rand(200, 3, generator=torch.Generator().manual_seed(3))
    if flat:
        points[:, 2] = 1.0
    assert metrics.diameter(points) == pytest.approx(
        torch.cdist(points, points).max().item(), abs=1e-6
    )
    assert metrics.diameter(points[:1]) == 0.0


def test_track_error_by_hand():
    truth = torch.zeros(2, 2, 3)
    predicted = truth.clone()
    predicted[0, 1, 0], predicted[1, 0, 1], predicted[1, 1, 2] = 0.1, 0.16, 0.5
    error = metrics.track_error(predicted, truth, size=torch.tensor([2.0, 2.0]))
    assert error["epe_mean"] == pytest.approx((0 + 0.1 + 0.16 + 0.5) / 4)
    assert error["epe_median"] == pytest.approx(0.1)  # the lower one of an even count
    assert error["median_of_size"] == pytest.approx(0.05)
    assert error["within_5"] == 0.5
    assert error["within_10"] == 0.75


def test_track_error_counts_only_what_it_is_told_to_and_each_point_by_its_own_size():
    truth = torch.zeros(2, 2, 3)
    predicted = truth.clone()
    predicted[0, :, 0], predicted[1, :, 0] = 0.3, 0.3
    sizes = torch.tensor([1.0, 10.0])
    assert metrics.track_error(predicted, truth, sizes)["within_10"] == 0.5
    second = torch.tensor([[False, False], [True, True]])
    only = metrics.track_error(predicted, truth, sizes, second)
    assert only["within_5"] == 1.0
    assert only["median_of_size"] == pytest.approx(0.03)
