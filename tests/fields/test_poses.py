"""Corrections of camera poses."""

import torch
from semaflow.fields.gaussians.poses import corrected, followed, refined
from semaflow.fields.motion.rotations import from_rotation_vector, to_matrix
from semaflow.scenes import Camera


def motion(angle):
    """A turn by ``angle`` about a tilted axis with a shift, [4, 4]."""
    out = torch.eye(4)
    out[:3, :3] = to_matrix(from_rotation_vector(angle * torch.tensor([0.0, 0.6, 0.8])))
    out[:3, 3] = angle * torch.tensor([1.0, 2.0, 3.0])
    return out


def test_a_correction_moves_the_camera_in_its_own_frame():
    camera = Camera.look_at((0, -3, 1), (0, 0, 0), 32, 24)
    delta = torch.tensor([0.0, 0, 0, 0.1, 0, 0])
    assert torch.allclose(refined(camera, torch.zeros(6)).viewmat, camera.viewmat)
    local = (corrected(camera.viewmat, delta) @ torch.tensor([0.0, 0, 0, 1]))[:3]
    assert torch.allclose(local, (camera.viewmat @ torch.tensor([0.0, 0, 0, 1]))[:3] + torch.tensor([0.1, 0, 0]))


def test_a_camera_held_out_follows_the_drift_of_those_around_it():
    """The trained cameras turned, the more the later; one held out goes as far as those before and after it."""
    before = [Camera.look_at((k - 1.0, -3, 1), (0, 0, 0), 32, 24) for k in range(4)]
    times = [0.0, 0.2, 0.6, 0.8]
    after = [Camera(c.K, c.viewmat @ motion(0.1 * t), 32, 24) for c, t in zip(before, times, strict=True)]
    held = Camera.look_at((0.4, -2.9, 1.1), (0, 0, 0), 32, 24)
    for time, angle in {0.4: 0.04, 0.0: 0.0, 0.9: 0.08}.items():
        moved = followed(before, after, times, held, time)
        assert torch.allclose(moved.viewmat, held.viewmat @ motion(angle), atol=1e-4)
        assert torch.equal(moved.K, held.K)
