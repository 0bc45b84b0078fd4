"""The small encoder: which frames and pixels a map cell sees, and that it learns."""

import pytest
import torch
from semaflow.fields.flow.encoder import SmallEncoder
from semaflow.scenes import BadInput


def encoder(seed=0, **options):
    torch.manual_seed(seed)
    return SmallEncoder(**options)


def clip(frames=5, height=40, width=64, seed=1):
    return torch.rand(frames, 3, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("height", "width"), [(40, 64), (135, 240), (37, 51), (3, 90), (1, 1)])
def test_maps_have_about_a_quarter_of_any_resolution(height, width):
    maps, vector = encoder(channels=7, latent=5)(clip(2, height, width))
    assert maps.shape[:2] == (2, 7) and vector.shape == (5,)
    for cells, side in zip(maps.shape[2:], (height, width), strict=True):
        assert cells >= 2 and abs(cells - side / 4) <= 2
    assert bool(torch.isfinite(maps).all()) and bool(torch.isfinite(vector).all())


def test_a_single_frame_is_a_clip():
    maps, vector = encoder()(clip(1))
    assert maps.shape == (1, 32, 10, 16) and vector.shape == (64,)


def test_a_frame_is_encoded_alike_whichever_others_are_asked_for():
    small, video = encoder(), clip()
    everything, vector = small(video)
    some, same = small(video, [3, 0, 3])
    assert torch.allclose(some, everything[[3, 0, 3]], atol=1e-5)
    assert torch.equal(vector, same)
    again, _ = small(video, [3, 0, 3])
    assert torch.equal(some, again)


def test_only_the_frames_asked_for_and_their_neighbours_are_read():
    small, video = encoder(), clip(6)
    video[5] = torch.nan
    maps, _ = small(video, [1, 3])
    assert bool(torch.isfinite(maps).all())
    assert bool(small(video, [4])[0].isnan().any())


def test_a_map_depends_on_its_neighbours_and_their_order():
    small, video = encoder(), clip(3)
    forward, backward = small(video, [1])[0], small(video.flip(0), [1])[0]
    assert (forward - backward).abs().max() > 1e-2
    far = clip(5)
    changed = far.clone()
    changed[4] = 1 - changed[4]
    assert torch.equal(small(far, [2])[0], small(changed, [2])[0])


@pytest.mark.parametrize(("height", "width"), [(64, 96), (61, 99)])
def test_a_cell_sees_its_own_rectangle(height, width):
    """The middle of what a gradient of one cell reaches is the middle of the cell."""
    small = encoder()
    for row, column in ((8, 12), (9, 13)):
        video = clip(1, height, width).requires_grad_()
        maps, _ = small(video)
        maps[0, :, row, column].square().sum().backward()
        weight = video.grad.abs().sum((0, 1)).double()
        # Normalising by the whole frame's mean reaches every pixel a little; the window stands out.
        weight = (weight - 3 * weight.median()).clamp_min(0)
        middle = [
            (weight.sum(1 - axis) * (torch.arange(weight.shape[axis]) + 0.5)).sum() / weight.sum() for axis in (0, 1)
        ]
        assert middle[0] == pytest.approx((row + 0.5) * height / maps.shape[2], abs=2.5)
        assert middle[1] == pytest.approx((column + 0.5) * width / maps.shape[3], abs=2.5)


def test_every_weight_learns():
    small = encoder()
    maps, vector = small(clip(), [2])
    (maps.square().sum() + vector.square().sum()).backward()
    for name, weight in small.named_parameters():
        assert weight.grad is not None and weight.grad.abs().max() > 0, name


def test_it_learns_to_tell_what_moves_from_what_stands():
    """Two equal squares, one drifting: a linear head on the maps finds the one that moves."""
    torch.manual_seed(0)
    small = encoder(channels=8, latent=4)
    video = torch.full((4, 3, 40, 64), 0.3)
    truth = torch.zeros(4, 10, 16)
    for time in range(4):
        top = 8 * time
        video[time, :, 16:24, 8:16] = video[time, :, top : top + 8, 40:48] = 0.9
        truth[time, top // 4 : top // 4 + 2, 10:12] = 1
    head = torch.nn.Conv2d(8, 1, 1)
    learner = torch.optim.Adam([*small.parameters(), *head.parameters()], 1e-2)
    weight = torch.tensor(20.0)
    for _ in range(50):
        scores = head(small(video)[0])[:, 0]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(scores, truth, pos_weight=weight)
        learner.zero_grad()
        loss.backward()
        learner.step()

    def overlap(maps):
        found, true = head(maps)[:, 0] > 0, truth > 0
        return ((found & true).sum() / (found | true).sum()).item()

    assert overlap(small(video)[0]) > 0.8
    alone = torch.cat([small(video[time : time + 1])[0] for time in range(4)])
    assert overlap(alone) < 0.6  # no frame by itself says which of the two it is


@pytest.mark.parametrize(
    ("frames", "complaint"), [([5], "positions in a clip of 5"), ([-1], "positions"), ([], "positions")]
)
def test_frames_outside_the_clip_are_refused(frames, complaint):
    with pytest.raises(BadInput, match=complaint):
        encoder()(clip(), frames)


def test_other_shapes_are_refused():
    for wrong in (torch.rand(3, 40, 64), torch.rand(2, 40, 64, 3), torch.zeros(2, 3, 8, 8, dtype=torch.uint8)):
        with pytest.raises(BadInput, match=r"clip: expected floats \[T, 3, H, W\]"):
            encoder()(wrong)
