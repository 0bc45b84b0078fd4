"""A rough mask shown to a teacher that makes masks."""

from dataclasses import replace

import pytest
import torch
from semaflow.fields import metrics
from semaflow.scenes import BadInput
from semaflow.tasks.masks import inside_point, object_mask, read_mask
from semaflow.tasks.refine import refined, seen_feature
from semaflow.tasks.reselect import reselected
from semaflow.tasks.select import select
from semaflow.tasks.selection import Selection
from semaflow.tasks.track import track

from tests.tasks.doubles import RED, BallsField, BallsRun


class Outliner:
    """Answers with the discs it knows that hold the click; keeps what it was asked."""

    name, can_mask = "outliner", True

    def __init__(self, *discs):
        self.discs, self.boxes = discs, []

    def masks(self, image, clicks, labels=None, box=None):
        self.boxes.append(box)
        (x, y) = clicks[0]
        return torch.stack([disc for disc in self.discs if disc[int(y), int(x)]]), torch.ones(len(self.discs))


def disc(x, y, radius):
    rows, columns = torch.meshgrid(torch.arange(48), torch.arange(64), indexing="ij")
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


IMAGE = torch.zeros(48, 64, 3)


def test_a_rough_mask_becomes_the_teachers():
    truth, rough = disc(30, 20, 9), disc(31, 21, 8)
    rough[40:42, 2:4] = True  # a stray part does not stretch the box
    teacher = Outliner(truth)
    mask, taken = refined(teacher, IMAGE, rough)
    assert taken and torch.equal(mask, truth)
    assert teacher.boxes == [[23.0, 13.0, 40.0, 30.0]]


def test_an_answer_about_something_else_is_not_believed():
    rough = disc(30, 20, 4)
    mask, taken = refined(Outliner(disc(30, 20, 15)), IMAGE, rough)
    assert not taken and torch.equal(mask, rough)


def test_of_several_answers_the_one_like_the_rough_mask_is_taken():
    answers = [disc(30, 20, radius) for radius in (3, 8, 14)]
    for rough, answer in ((disc(30, 20, 4), answers[0]), (disc(31, 20, 7), answers[1]), (disc(29, 19, 15), answers[2])):
        mask, taken = refined(Outliner(*answers), IMAGE, rough)
        assert taken and torch.equal(mask, answer)


def test_an_empty_mask_stays_empty():
    teacher = Outliner()
    mask, taken = refined(teacher, IMAGE, torch.zeros(48, 64, dtype=torch.bool))
    assert not taken and not mask.any()
    assert teacher.boxes == []


def test_track_refines_where_asked(tmp_path):
    run = BallsRun(tmp_path, BallsField(), can_mask=True)
    some = (run.field.body == RED) & (torch.arange(run.field.count) % 5 > 0)  # a mask with holes
    chosen = Selection.of("red", some.float(), 0.5, None, "most of it")
    sizes = []
    for refine in (False, True):
        track(run, chosen, refine=refine)
        frame = run.scene.frames[0]
        mask = read_mask(tmp_path / "tracks" / "red" / "masks" / "00000.png", frame.camera)
        truth = frame.instance == RED
        sizes.append(float((mask & truth).sum() / (mask | truth).sum()))
    assert sizes[1] > sizes[0] and sizes[1] > 0.9


def test_what_is_followed_is_what_the_sharpened_masks_show(tmp_path):
    run = BallsRun(tmp_path, BallsField(), can_mask=True)
    red, pick = run.field.body == RED, torch.arange(run.field.count) % 20
    wrong = (red & (pick > 4)) | (~red & (pick == 0))  # a part is missing, and strays all over the world
    select(run, "red", click=inside_point(run.scene.frames[0].instance == RED)[0])
    pixels = run.object("red").pixels
    chosen = replace(Selection.of("red", wrong.float(), 0.5, None, "badly"), frame="0000", pixels=pixels)
    followed = track(run, chosen, refine=True)
    found = run.object("red")
    agreement = [((chosen & red).sum() / (chosen | red).sum()).item() for chosen in (wrong, found.selected)]
    assert agreement[0] < 0.65 and agreement[1] > 0.85
    assert red[followed.gaussians].float().mean() > 0.95
    assert found.frame == "0000" and "followed through 5 frames" in found.how
    again = track(run, found, refine=True)
    assert torch.equal(again.gaussians, followed.gaussians)


def test_a_selection_that_agrees_better_stays(tmp_path):
    run = BallsRun(tmp_path, BallsField())
    frames = run.scene.split("train")
    red = Selection.of("red", (run.field.body == RED).float(), 0.5, None, "by its body")
    rough = [object_mask(run.field.at(frame.time), red.selected, frame.camera) for frame in frames]
    for masks in ([mask > 0.5 for mask in rough], [torch.zeros(48, 64, dtype=torch.bool)] * len(frames)):
        assert reselected(run.field, frames, red, rough, masks) is red


def test_a_teacher_without_masks_is_bad_input(tmp_path):
    run = BallsRun(tmp_path, BallsField())
    chosen = Selection.of("red", (run.field.body == RED).float(), 0.5, None, "by its body")
    with pytest.raises(BadInput, match="makes no masks"):
        track(run, chosen, refine=True)


def test_the_pixels_that_a_click_means_are_the_masks_of_their_frame(tmp_path):
    run = BallsRun(tmp_path, BallsField(), can_mask=True)
    frame = run.scene.split("train")[3]
    red = frame.instance == RED
    select(run, "red", click=inside_point(red)[0], frame=3)
    chosen = run.object("red")
    assert chosen.frame == frame.name and metrics.jaccard(chosen.pixels, red) > 0.9
    track(run, chosen, refine=True)
    written = read_mask(tmp_path / "tracks" / "red" / "masks" / "00003.png", frame.camera)
    assert torch.equal(written, chosen.pixels)


def test_what_pixels_show_is_the_mean_of_the_teachers_map_there(tmp_path):
    run = BallsRun(tmp_path, BallsField(), can_mask=True)
    seen = seen_feature(run, 3, run.scene.split("train")[3].instance == RED)
    assert torch.allclose(seen, run.field.table[RED], atol=1e-5)
