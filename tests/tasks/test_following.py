"""Masks followed through time: discs of one look that move over a patterned ground, and a field that errs."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from semaflow.fields import metrics
from semaflow.scenes import BadInput, Camera, Frame, Scene
from semaflow.tasks.appearance import Appearance
from semaflow.tasks.following import Follower
from semaflow.tasks.selection import Selection

WIDTH, HEIGHT, FRAMES, RADIUS = 96, 64, 9, 9
DISC = torch.tensor([0.9, 0.3, 0.2])
STEPS = [4.0 * (index - FRAMES // 2) for index in range(FRAMES)]


def disc(x, y):
    rows, columns = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    return (columns - x).square() + (rows - y).square() <= RADIUS**2


def pattern(seed):
    """Blotches that optical flow can hold on to, [H, W, 1] around 0."""
    noise = torch.rand(1, 1, HEIGHT // 3, WIDTH // 3, generator=torch.Generator().manual_seed(seed)) - 0.5
    return torch.nn.functional.interpolate(noise, (HEIGHT, WIDTH), mode="bicubic")[0, 0, :, :, None]


class Outliner:
    """Maps of colours, and masks of what has the clicked pixel's colour: in the box, and everywhere."""

    name, can_mask, cached, dim = "outliner", True, False, 3

    def __init__(self):
        self.shown = []

    def of_frame(self, frame, neighbour=None):
        return torch.nn.functional.avg_pool2d(frame.image.permute(2, 0, 1), 2).permute(1, 2, 0)

    def masks(self, image, clicks, labels=None, box=None):
        self.shown.append(image)
        (x, y) = clicks[0]
        alike = (image - image[int(y), int(x)]).abs().amax(-1) < 0.25
        left, top, right, bottom = (int(edge) for edge in box)
        within = torch.zeros_like(alike)
        within[max(0, top - 3) : bottom + 3, max(0, left - 3) : right + 3] = True
        return torch.stack([alike, alike & within]), torch.ones(2)


def film(*paths):
    """A run of a video in which a disc goes along each path, the first in front; and the first's true masks."""
    frames, truths = [], []
    ground, texture = pattern(0), pattern(1)
    for index in range(FRAMES):
        image = 0.4 + 0.4 * ground.expand(HEIGHT, WIDTH, 3).clone()
        taken = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
        for path in paths:
            x, y = path[index]
            mask = disc(x, y) & ~taken
            moved = texture.roll((round(y), round(x)), (0, 1))
            image[mask] = (DISC + 0.2 * moved)[mask]
            truths.append(mask)
            taken |= mask
        camera = Camera.look_at((0, -2, 0), (0, 0, 0), WIDTH, HEIGHT)
        frames.append(Frame(f"{index:03d}", camera, index / (FRAMES - 1), image=image.clamp(0, 1)))
    teacher = Outliner()
    scene = Scene("discs", frames, train=list(range(FRAMES)))
    run = SimpleNamespace(scene=scene, folder=Path("unused"), teacher=lambda: teacher)
    return run, [truths[index :: len(paths)] for index in range(len(paths))]


def pointed(frame, mask):
    """A selection made by the pixels ``mask`` of frame number ``frame``; None: in another way."""
    selection = Selection.of("disc", torch.ones(1), 0.0, None, "somehow")
    if frame is not None:
        selection.frame, selection.pixels = f"{frame:03d}", mask
    return selection


def overlaps(found, truth):
    return [metrics.jaccard(mask, true) for mask, true in zip(found, truth, strict=True)]


@pytest.mark.parametrize("frame", [0, 4, 8, None])
def test_frames_in_which_the_field_errs_are_repaired(frame):
    run, (truth,) = film([(48 + step, 32) for step in STEPS])
    rough = [mask.float() for mask in truth]
    for wrong in (2, 3, 6):
        rough[wrong] = disc(10, 50).float()
    rough[5] = torch.zeros(HEIGHT, WIDTH)
    rough[7] = (truth[7] & (torch.arange(WIDTH) % 3 > 0)).float()  # in pieces
    found = Follower(run)(pointed(frame, None if frame is None else truth[frame]), rough)
    assert min(overlaps(found, truth)) > 0.9


@pytest.mark.parametrize("frame", [0, 8])
@pytest.mark.parametrize("hidden", [False, True])
def test_a_twin_that_comes_close_is_not_taken_for_it(frame, hidden):
    """Two discs of one look pass, side by side or one behind the other: only while they overlap can it be missed."""
    apart = 0.0 if hidden else 2.2 * RADIUS
    going, coming = [(48 + 0.8 * step, 22) for step in STEPS], [(48 - 0.8 * step, 22 + apart) for step in STEPS]
    run, (truth, other) = film(going, coming)
    if hidden:  # the one behind is followed
        truth, other = other, truth
    rough = [mask.float() for mask in truth]
    for passing in (3, 4, 5):
        rough[passing] = torch.zeros(HEIGHT, WIDTH) if hidden else 0.45 * (truth[passing] | other[passing]).float()
    found = Follower(run)(pointed(frame, truth[frame]), rough)
    scores = overlaps(found, truth)
    assert min(score for index, score in enumerate(scores) if not (hidden and 2 <= index <= 6)) > 0.9


def test_what_leaves_the_picture_has_no_mask_until_it_is_back():
    run, (truth,) = film([(80 + x, 32) for x in (-10, 0, 12, 40, 40, 40, 12, 0, -10)])
    assert [bool(mask.any()) for mask in truth] == [True] * 3 + [False] * 3 + [True] * 3
    found = Follower(run)(pointed(0, truth[0]), [mask.float() for mask in truth])
    assert all(score > 0.8 for score in overlaps(found, truth))


def test_the_pixels_that_were_pointed_at_are_kept_and_each_picture_is_shown_once():
    run, (truth,) = film([(48 + step, 32) for step in STEPS])
    given = truth[2] & (torch.arange(HEIGHT) > 28)[:, None]
    found = Follower(run)(pointed(2, given), [mask.float() for mask in truth])
    assert torch.equal(found[2], given)
    shown = run.teacher().shown
    images = [frame.image for frame in run.scene.frames]
    assert [next(i for i, image in enumerate(images) if image is one) for one in shown] == [3, 4, 5, 6, 7, 8, 1, 0]


def test_nothing_to_follow_stays_nothing():
    run, _ = film([(48, 32)] * FRAMES)
    found = Follower(run)(pointed(None, None), [torch.zeros(HEIGHT, WIDTH)] * FRAMES)
    assert not any(mask.any() for mask in found)


def test_pixels_of_another_video_are_not_used():
    run, (truth,) = film([(48 + step, 32) for step in STEPS])
    rough = [mask.float() for mask in truth]
    for selection in (pointed(40, truth[0]), pointed(0, torch.ones(4, 4, dtype=torch.bool))):
        assert min(overlaps(Follower(run)(selection, rough), truth)) > 0.9


def test_pictures_of_several_sizes_are_followed_by_looks_and_field():
    run, (truth,) = film([(48 + step, 32) for step in STEPS])
    frame, camera = run.scene.frames[4], Camera.look_at((0, -2, 0), (0, 0, 0), WIDTH, HEIGHT - 8)
    run.scene.frames[4] = Frame(frame.name, camera, frame.time, image=frame.image[:-8])
    truth[4] = truth[4][:-8]
    found = Follower(run)(pointed(0, truth[0]), [mask.float() for mask in truth])
    assert min(overlaps(found, truth)) > 0.9


def test_a_teacher_without_masks_is_bad_input():
    run, _ = film([(48, 32)] * FRAMES)
    run.teacher().can_mask = False
    with pytest.raises(BadInput, match="refine: teacher outliner makes no masks"):
        Follower(run)


def test_looks_are_told_apart_by_what_differs_not_by_what_varies():
    """A feature that varies much in both classes hides one that differs little but always."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.zeros(32, 32, dtype=torch.bool)
    mask[4:12, 4:12] = True

    def features():
        loud = 0.3 * torch.randn(32, 32, 1, generator=generator)
        return torch.cat([loud, 0.5 * mask[..., None] + 0.05 * torch.randn(32, 32, 1, generator=generator)], -1)

    looks = Appearance()
    assert not looks(features(), (8, 8)).any()
    looks.add(features(), torch.zeros(32, 32, dtype=torch.bool))
    assert not looks(features(), (8, 8)).any()
    looks.add(features(), mask)
    assert metrics.jaccard(looks(features(), (32, 32)) > 0, mask) > 0.9
    before = looks(new := features(), (32, 32))
    more = looks.copy()
    more.add(features(), ~mask, 5.0)
    assert torch.equal(looks(new, (32, 32)), before)
    assert metrics.jaccard(more(new, (32, 32)) > 0, ~mask) > 0.9
