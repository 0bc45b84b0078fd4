"""Cameras: OpenCV axes, pixel centres, projection and back, what is refused."""

import math

import pytest
import torch
from semaflow.scenes import BadInput, Camera


def camera(width=64, height=48):
    return Camera.look_at((1.0, -4.0, 2.0), (0.2, 0.1, 0.3), width, height, fov=60)


def test_by_hand():
    """At the origin, looking along z: x goes right, y goes down."""
    K = torch.tensor([[100.0, 0, 32], [0, 50, 24], [0, 0, 1]])
    pixels, depth = Camera(K, torch.eye(4), 64, 48).project(
        torch.tensor([[0.0, 0, 2], [0.4, 0, 2], [0, 0.4, 2], [0, 0, -1]])
    )
    assert pixels[:3].tolist() == [[32, 24], [52, 24], [32, 34]]
    assert depth.tolist() == [2, 2, 2, -1]


def test_look_at():
    seen = camera()
    pixels, depth = seen.project(torch.tensor([[0.2, 0.1, 0.3]]))
    assert torch.allclose(pixels, torch.tensor([[32.0, 24.0]]), atol=1e-3)
    assert depth.item() == pytest.approx(math.dist((1, -4, 2), (0.2, 0.1, 0.3)), rel=1e-5)
    assert torch.allclose(seen.center, torch.tensor([1.0, -4.0, 2.0]), atol=1e-5)
    toward = torch.tensor([0.2 - 1, 0.1 + 4, 0.3 - 2])
    assert torch.allclose(seen.forward, toward / toward.norm(), atol=1e-5)
    above, _ = seen.project(torch.tensor([[0.2, 0.1, 0.8]]))
    assert above[0, 1] < 24 and above[0, 0] == pytest.approx(32, abs=1e-3)  # z is up
    edge = seen.unproject(torch.tensor([[0.0, 24.0]]), torch.ones(1))[0] - seen.center
    angle = torch.arccos((edge / edge.norm()) @ seen.forward).rad2deg()
    assert angle.item() == pytest.approx(30, abs=1e-3)


def test_unprojection_undoes_projection():
    points = torch.rand(50, 3, generator=torch.Generator().manual_seed(0))
    pixels, depth = camera().project(points)
    assert torch.allclose(camera().unproject(pixels, depth), points, atol=1e-4)


def test_rays_go_through_pixel_centres():
    seen = camera()
    origin, directions = seen.rays()
    assert directions.shape == (48, 64, 3)
    pixels, depth = seen.project(origin + 3.0 * directions)
    y, x = torch.meshgrid(torch.arange(48) + 0.5, torch.arange(64) + 0.5, indexing="ij")
    assert torch.allclose(pixels, torch.stack([x, y], -1), atol=1e-2)
    assert torch.allclose(depth, torch.full_like(depth, 3.0), atol=1e-4)


def test_resized_cameras_see_the_same():
    points = torch.rand(20, 3, generator=torch.Generator().manual_seed(1))
    large, _ = camera().project(points)
    small, _ = camera().resized(16, 24).project(points)
    assert torch.allclose(small, large * torch.tensor([16 / 64, 24 / 48]), atol=1e-4)


K = [[50.0, 0, 32], [0, 50, 24], [0, 0, 1]]
EYE = torch.eye(4)
SCALED = torch.diag(torch.tensor([2.0, 2, 2, 1]))
MIRRORED = torch.diag(torch.tensor([-1.0, 1, 1, 1]))
SHEARED = torch.eye(4) + torch.tensor([[0, 0.1, 0, 0]] + [[0] * 4] * 3)
BOTTOM = torch.eye(4) + torch.tensor([[0.0] * 4] * 3 + [[0, 0, 0.1, 0]])


@pytest.mark.parametrize(
    "K, viewmat, size, message",
    [
        (K, EYE * float("nan"), (64, 48), "NaN"),
        ([[float("inf"), 0, 0], [0, 1, 0], [0, 0, 1]], EYE, (64, 48), "infinity"),
        (K, SCALED, (64, 48), "not a rigid"),
        (K, MIRRORED, (64, 48), "not a rigid"),
        (K, SHEARED, (64, 48), "not a rigid"),
        (K, BOTTOM, (64, 48), "not a rigid"),
        (K, torch.zeros(4, 4), (64, 48), "not a rigid"),
        ([[-50.0, 0, 0], [0, 50, 0], [0, 0, 1]], EYE, (64, 48), "focal lengths must be positive"),
        (K, torch.eye(3), (64, 48), "expected K 3x3 and viewmat 4x4"),
        (K, EYE, (0, 48), "image size"),
    ],
)
def test_unusable_numbers_are_refused(K, viewmat, size, message):
    with pytest.raises(BadInput, match=f"cams.json: frame 3: .*{message}"):
        Camera.checked(K, viewmat, *size, "cams.json: frame 3")


def test_usable_numbers_are_kept():
    made = Camera.checked(K, camera().viewmat.tolist(), 64, 48, "cams.json")
    assert torch.equal(made.viewmat, camera().viewmat) and made.K.dtype == torch.float32
