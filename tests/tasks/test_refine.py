"""A rough mask shown to a teacher that makes masks."""

import pytest
import torch
from semaflow.scenes import BadInput
from semaflow.tasks.masks import read_mask
from semaflow.tasks.refine import Refiner, refined, seen_feature
from semaflow.tasks.selection import Selection
from semaflow.tasks.track import track

from tests.tasks.doubles import RED, BallsField, BallsRun


class Outliner:
    """Answers with the discs it knows that the box holds; keeps what it was asked."""

    name, can_mask = "outliner", True

    def __init__(self, *discs):
        self.discs, self.boxes = discs, []

    def mask(self, image, clicks, labels=None, box=None):
        self.boxes.append(box)
        (x, y) = clicks[0]
        return next((disc for disc in self.discs if disc[int(y), int(x)]), torch.zeros(image.shape[:2]).bool())


def disc(x, y, radius):
    rows, columns = torch.meshgrid(torch.arange(48), torch.arange(64), indexing="ij")
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


IMAGE = torch.zeros(48, 64, 3)


def test_a_rough_mask_becomes_the_teachers():
    truth, rough = disc(30, 20, 9), disc(31, 21, 8)
    rough[40:42, 2:4] = True  # a stray part does not stretch the box
    teacher = Outliner(truth)
    assert torch.equal(refined(teacher, IMAGE, rough), truth)
    assert teacher.boxes == [[23.0, 13.0, 40.0, 30.0]]


def test_an_answer_about_something_else_is_not_believed():
    rough = disc(30, 20, 4)
    assert torch.equal(refined(Outliner(disc(30, 20, 15)), IMAGE, rough), rough)


def test_an_empty_mask_stays_empty():
    teacher = Outliner()
    assert not refined(teacher, IMAGE, torch.zeros(48, 64, dtype=torch.bool)).any()
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


def test_a_teacher_without_masks_is_bad_input(tmp_path):
    run = BallsRun(tmp_path, BallsField())
    chosen = Selection.of("red", (run.field.body == RED).float(), 0.5, None, "by its body")
    with pytest.raises(BadInput, match="makes no masks"):
        track(run, chosen, refine=True)


def test_where_the_field_lost_the_thing_the_pictures_show_it(tmp_path):
    run = BallsRun(tmp_path, BallsField(), can_mask=True)
    frame = run.scene.split("train")[3]
    red, floor = frame.instance == RED, torch.zeros_like(frame.instance, dtype=torch.bool)
    floor[40:46, 4:20] = True
    refiner = Refiner(run, seen_feature(run, 3, red))
    for lost in (floor, torch.zeros_like(floor)):
        found = refiner(3, frame, lost)
        assert (found & red).sum() > 0.8 * (found | red).sum()
    assert torch.equal(Refiner(run, None)(3, frame, torch.zeros_like(floor)), torch.zeros_like(floor))
