"""Monocular disparity is brought to a scene's inverse depth by depths known at some pixels."""

import os
from pathlib import Path

import pytest
import torch
from semaflow.scenes import BadInput, load
from semaflow.scenes.disparity import aligned, scale_and_shift

SCALES, SHIFTS = torch.tensor([3e-5, 4e-5, 8e-5]), torch.tensor([-0.02, 0.01, 0.0])


def case(noise=0.0, count=400):
    """Disparity [3, 30, 40] of an estimator, true inverse depth, depth at ``count`` pixels of each frame."""
    g = torch.Generator().manual_seed(0)
    inverse = 0.05 + 0.2 * torch.rand(3, 30, 40, generator=g)
    estimated = inverse + noise * torch.randn(3, 30, 40, generator=g)
    disparity = (estimated - SHIFTS[:, None, None]) / SCALES[:, None, None]
    known = torch.rand(3, 1200, generator=g).argsort(1).argsort(1).view(3, 30, 40) < count
    return disparity, inverse, known / inverse, g


@pytest.mark.parametrize("count", [2, 400])
def test_scale_and_shift_of_each_frame_come_back(count):
    disparity, inverse, depth, _ = case(count=count)
    torch.testing.assert_close(aligned(disparity, depth), inverse, rtol=1e-3, atol=1e-5)
    for index, known in enumerate(depth > 0):
        expected = (SCALES[index].item(), SHIFTS[index].item())
        found = scale_and_shift(disparity[index][known], inverse[index][known])
        assert found == pytest.approx(expected, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.4])
def test_wrong_depths_do_not_pull(share):
    """All wrong in one direction, as those of things that move against the camera are."""
    disparity, inverse, depth, g = case(noise=0.002)
    depth[torch.rand(3, 30, 40, generator=g) < share] *= 4
    off = (aligned(disparity, depth) - inverse).abs().median()
    assert off < 0.0025  # of the noise alone: 0.0013
    known = depth[0] > 0
    x, y = disparity[0][known].double(), 1 / depth[0][known].double()
    plain = torch.linalg.lstsq(torch.stack([x, torch.ones_like(x)], 1), y).solution
    assert off < 0.3 * (plain[0] * disparity[0] + plain[1] - inverse[0]).abs().median()


def test_only_valid_depths_count():
    disparity, inverse, depth, g = case()
    wrong = torch.rand(3, 30, 40, generator=g) < 0.8
    depth[wrong] = torch.rand(int(wrong.sum()), generator=g)
    depth[0, 0, 0] = torch.inf
    torch.testing.assert_close(aligned(disparity, depth, ~wrong), inverse, rtol=1e-3, atol=1e-5)


def test_a_frame_that_tells_no_scale_has_that_of_the_others():
    disparity, _, depth, _ = case()
    disparity[1], depth[1] = 1000.0, 4.0  # a wall, but for one corner of which no depth is known
    disparity[1, 0, 0], depth[1, 0, 0] = 3000.0, 0.0
    found = aligned(disparity, depth)[1]
    torch.testing.assert_close(found[1:], torch.full((29, 40), 0.25))
    assert found[0, 0] == pytest.approx(0.25 + 2000 * SCALES[0].item(), rel=1e-3)


def test_what_is_beyond_the_horizon_is_infinitely_far():
    disparity, _, depth, _ = case()
    disparity[0, 0, 0], depth[0, 0, 0] = 0.0, 0.0  # the shift alone is negative
    assert aligned(disparity, depth)[0, 0, 0] == 0


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda disparity, depth: (disparity, depth * 0), "expected known depths in every frame"),
        (lambda disparity, depth: (torch.full_like(disparity, 7.0), depth), "larger values for what is nearer"),
        (lambda disparity, depth: (-disparity, depth), "larger values for what is nearer"),
    ],
)
def test_depths_that_tell_nothing(change, message):
    disparity, _, depth, _ = case()
    with pytest.raises(BadInput, match=message):
        aligned(*change(disparity, depth))


@pytest.mark.data
@pytest.mark.skipif("SEMAFLOW_DATA" not in os.environ, reason="SEMAFLOW_DATA names no folder of real clips")
def test_a_real_estimate_puts_the_balloon_before_the_wall():
    """The wall is aslant, which the estimate hardly shows; what it is good for is what stands before it."""
    from semaflow.scenes.motion.depth import static_depth, trusted_pixels

    scene = load(Path(os.environ["SEMAFLOW_DATA"]) / "nvidia_balloon1")
    frames, depth, sure = scene.split("train"), static_depth(scene), trusted_pixels(scene)
    fitted, left = sure.clone(), sure.clone()
    fitted[..., 1::2], left[..., ::2] = False, False
    found = aligned(torch.stack([frame.disparity for frame in frames]), depth, fitted)
    off = (found[left] * depth[left] - 1).abs().median()
    flat = (depth[left].median() / depth[left] - 1).abs().median()
    assert off < flat
    for frame, inverse in zip(frames, found, strict=True):
        assert inverse[frame.label == 2].median() > inverse[frame.label == 0].quantile(0.9)
