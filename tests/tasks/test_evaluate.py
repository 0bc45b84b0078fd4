"""Evaluation: targets, clicks, scores and tables on a field whose quality is known."""

import copy
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from semaflow.scenes import BadInput
from semaflow.tasks import __main__ as command_line
from semaflow.tasks.baselines import teacher_alone
from semaflow.tasks.evaluate import evaluate
from semaflow.tasks.report import print_table
from semaflow.tasks.run import Run
from semaflow.tasks.scores import (
    image_quality,
    instance_quality,
    label_figures,
    label_score,
    mask_quality,
    track_quality,
)
from semaflow.tasks.selection import Selection
from semaflow.tasks.targets import Target, labelled, targets

from tests.tasks.doubles import BLUE, RED, BallsField, BallsRun, BallsTeacher, balls_scene


def label_quality(field, frames, label_names):
    return label_figures(label_score(field, frames, label_names), label_names)


@pytest.fixture(scope="module")
def field():
    return BallsField()


@pytest.fixture(scope="module")
def scene(field):
    return balls_scene(field)


def test_targets_are_what_moves_by_name(scene):
    found = targets(scene)
    assert [(t.name, t.kind, t.layer, t.ids) for t in found] == [
        ("red ball", "object", "instance", (RED,)),
        ("blue ball", "object", "instance", (BLUE,)),
    ]
    bare = copy.copy(scene)
    bare.frames = [frame.with_layers(instance=None, label=None) for frame in scene.frames]
    assert [t.name for t in targets(bare)] == ["foreground"]
    bare.frames = [frame.with_layers(mask=None) for frame in bare.frames]
    assert targets(bare) == []


def test_parts_are_targets_too(scene):
    parted = copy.copy(scene)
    parted.frames = [
        frame.with_layers(part=torch.where(frame.instance == RED, 0, -1)) for frame in scene.frames
    ]
    parted.part_names = ["red ball"]
    assert [(t.name, t.kind) for t in targets(parted)][2:] == [("red ball (part)", "part")]


def test_click_is_inside_in_the_first_frame_that_shows_enough(scene):
    train = scene.split("train")
    hidden = [train[0].with_layers(instance=torch.zeros_like(train[0].instance)), *train[1:]]
    target = targets(scene)[0]
    frame, (x, y) = target.click(hidden)
    assert frame is train[1]
    assert frame.instance[int(y), int(x)] == RED
    with pytest.raises(BadInput, match="no training frame shows it"):
        Target("ghost", "object", "instance", (7,)).click(train)


def test_a_field_that_is_the_truth_scores_perfectly(field, scene):
    figures = evaluate(field, scene)
    assert figures["psnr"] > 50 and figures["ssim"] > 0.999
    assert figures["masks"]["objects"]["iou"] > 0.95
    assert figures["masks_train"]["objects"]["boundary_f"] > 0.97
    assert figures["masks"]["miou"] > 0.95 and figures["masks"]["accuracy"] > 0.99
    assert figures["tracks"]["median_of_size"] < 1e-3
    assert figures["tracks"]["within_5"] == figures["tracks"]["visible"]["within_10"] == 1.0
    assert figures["tracks"]["objects"]["red ball"]["size"] == pytest.approx(0.8, rel=0.05)
    assert figures["labels"]["miou"] > 0.99 and "labels_train" not in figures
    assert figures["gaussians"] == field.count
    json.dumps(figures, allow_nan=False)


def test_a_field_that_does_not_move_scores_less(field, scene):
    still = copy.copy(field)
    still.offset = lambda time: BallsField.offset(0.0)
    good, bad = evaluate(field, scene, train=False), evaluate(still, scene, train=False)
    assert bad["psnr"] < good["psnr"] - 5
    assert bad["masks"]["targets"]["red ball"]["iou"] < 0.7
    assert good["masks"]["targets"]["red ball"]["iou"] > 0.95
    red = bad["tracks"]["objects"]["red ball"]
    # The ball moves 1.4 along a line at even pace: half the frames are beyond 0.7 of error.
    assert red["epe_median"] == pytest.approx(0.7, abs=0.01)
    assert red["median_of_size"] == pytest.approx(0.7 / red["size"])
    assert red["within_10"] == pytest.approx(1 / 5)


def test_masks_are_scored_only_where_the_target_is_to_be_seen(scene):
    target = targets(scene)[:1]
    frames = [scene.frames[0], scene.frames[1].with_layers(instance=torch.zeros(48, 64).long())]
    scores = mask_quality(frames, target, lambda frame: {"red ball": frame.instance == RED})
    assert scores["targets"]["red ball"] == {"iou": 1.0, "boundary_f": 1.0, "frames": 1}
    missing = mask_quality(frames, target, lambda frame: {})
    assert missing["targets"]["red ball"]["iou"] == 0.0
    assert missing["miou"] < 0.6


def test_labels_of_a_field_that_is_the_truth_are_right(field, scene):
    scores = label_quality(field, scene.frames, scene.label_names)
    assert scores["miou"] > 0.99 and scores["accuracy"] > 0.995 and scores["frames"] == len(scene.frames)
    assert list(scores["iou"]) == ["floor", "red ball", "blue ball"]
    json.dumps(scores, allow_nan=False)


def test_wrong_and_missing_classes_cost_what_they_should(field, scene):
    frame = scene.frames[0].with_layers(label=torch.where(scene.frames[0].label == BLUE, RED, scene.frames[0].label))
    scores = label_quality(field, [frame], scene.label_names)
    red, blue = ((scene.frames[0].label == ball).sum().item() for ball in (RED, BLUE))
    assert list(scores["iou"]) == ["floor", "red ball"]
    assert scores["iou"]["red ball"] == pytest.approx(red / (red + blue), abs=0.03)
    blind = copy.copy(field)
    blind.at = lambda time: replace(field.at(time), classes=torch.zeros(field.count, 3))
    assert label_quality(blind, scene.frames, scene.label_names)["accuracy"] == 0.0
    unlabelled = frame.with_layers(label=None)
    assert label_quality(field, [unlabelled, frame], scene.label_names)["frames"] == 1
    assert label_quality(field, [unlabelled], scene.label_names) == {}


def test_labels_are_scored_by_class_and_image_by_image_too(field, scene):
    frames = [frame.with_layers(label=frame.label.clone()) for frame in scene.frames[:2]]
    truth = frames[0].label
    floor = truth == 0
    truth[(torch.arange(64) < 16) & floor] = RED  # a part of the floor is wrong in one of two images
    scores = label_quality(field, frames, scene.label_names)
    wrong, red = ((torch.arange(64) < 16) & floor).sum().item(), (scene.frames[0].label == RED).sum().item()
    everywhere = red + (frames[1].label == RED).sum().item()
    assert scores["average_accuracy"] == pytest.approx((2 + everywhere / (everywhere + wrong)) / 3, abs=0.02)
    assert scores["per_image"]["average_accuracy"] == pytest.approx((1 + (2 + red / (red + wrong)) / 3) / 2, abs=0.02)
    assert scores["per_image"]["accuracy"] == pytest.approx(scores["accuracy"], abs=0.002)
    assert scores["per_image"]["miou"] > scores["miou"]
    unknown = scene.frames[2].with_layers(label=torch.full((48, 64), -1))
    assert label_quality(field, [*frames, unknown], scene.label_names) == scores
    assert label_quality(field, [unknown], scene.label_names) == {}


def test_single_things_are_scored_by_both_rules(scene):
    def told(of):
        slots = torch.nn.functional.one_hot(of.clamp_min(0), 4) * torch.tensor([5.0, 5.0, 5.0, 20.0])
        return SimpleNamespace(render=lambda *_, **__: SimpleNamespace(instances=slots), slots=4)

    frame = scene.frames[0]
    good = instance_quality(told(frame.instance), [frame])
    assert good["ap"]["0.5"] == good["ap"]["0.95"] == good["coco_ap"]["0.75"] == good["coco_mean"] == 1.0
    missed = instance_quality(told(torch.where(frame.instance == BLUE, 0, frame.instance)), [frame])
    assert missed["ap"]["0.5"] == pytest.approx(2 / 3) and missed["images"] == 1
    split = torch.where((frame.instance == 0) & (torch.arange(64) < 8), 3, frame.instance)
    assert instance_quality(told(split), [frame])["ap"]["0.5"] == 1.0  # what nothing is matched to costs nothing
    assert instance_quality(told(split), [frame])["coco_ap"]["0.5"] < 1.0  # but by COCO's rule, where it is sure
    assert instance_quality(SimpleNamespace(slots=0), [frame]) == {}
    assert instance_quality(told(split), [frame.with_layers(instance=None)]) == {}
    json.dumps(good, allow_nan=False)


def test_labels_of_other_classes_are_refused(field, scene):
    with pytest.raises(BadInput, match=r"the field knows other classes \(floor, .*\) than the scene \(cat, dog\)"):
        label_quality(field, scene.frames, ["cat", "dog"])
    beyond = scene.frames[0].with_layers(label=torch.full((48, 64), 7))
    with pytest.raises(BadInput, match=r"0000: label: expected ids in -1..2, got 7"):
        label_quality(field, [beyond], scene.label_names)


def test_the_runs_own_objects_are_scored_where_they_fit(field, scene):
    half = (field.body == RED) & (field.rest[:, 2] > 0)
    mine = Selection.of("mine", half.float(), 0.5, None, "the upper half")
    figures = evaluate(field, scene, [mine], train=False)
    assert figures["selected"]["red ball"]["how"] == "the upper half"
    assert figures["selected"]["blue ball"]["how"].startswith("click")
    assert 0.3 < figures["masks"]["targets"]["red ball"]["iou"] < 0.85


def test_a_field_without_semantics_has_pictures_and_tracks_only(scene):
    figures = evaluate(BallsField(semantic=False), scene, train=False)
    assert "masks" not in figures and "selected" not in figures
    assert figures["psnr"] > 50 and figures["tracks"]["within_5"] == 1.0


def test_without_held_out_frames_the_training_frames_are_measured(field, scene):
    alone = copy.copy(scene)
    alone.test = []
    figures = evaluate(field, alone, train=False)
    assert figures["held_out"] is False and figures["frames"] == 5
    assert "masks" not in figures and figures["masks_train"]["objects"]["iou"] > 0.95


def test_missing_lpips_weights_are_named(field, scene, monkeypatch):
    monkeypatch.delenv("SEMAFLOW_DATA", raising=False)
    figures = image_quality(field, scene)
    assert "lpips" not in figures and "weights" in figures["lpips_missing"]


def test_tracks_start_where_they_are_first_seen(field, scene):
    late = copy.copy(scene)
    late.tracks = copy.copy(scene.tracks)
    late.tracks.visible = scene.tracks.visible.clone()
    late.tracks.visible[late.tracks.instance == RED, 0] = False
    quality = track_quality(field, late, targets(scene))
    assert quality["objects"]["red ball"]["median_of_size"] < 1e-3


def test_teacher_alone_with_sharp_maps_is_perfect_and_with_coarse_ones_is_not(field, scene):
    teacher = BallsTeacher(field)
    sharp = teacher_alone(scene, teacher)
    assert sharp["masks"]["objects"]["iou"] > 0.99
    coarse = copy.copy(scene)
    coarse.frames = [
        frame.with_layers(
            features=torch.nn.functional.adaptive_avg_pool2d(
                frame.features.permute(2, 0, 1), (6, 8)
            ).permute(1, 2, 0)
        )
        for frame in scene.frames
    ]
    blurred = teacher_alone(coarse, teacher)
    assert blurred["masks"]["objects"]["iou"] < 0.75
    ours = evaluate(field, coarse, train=False)
    assert ours["masks"]["objects"]["iou"] > blurred["masks"]["objects"]["iou"]


def write_labels(folder, scene, names=None, size=(64, 48)):
    folder.mkdir()
    for index, frame in enumerate(scene.split("train")):
        values = (frame.instance == RED).to(torch.uint8).numpy()
        name = f"{index:05d}" if names is None else names[index]
        Image.fromarray(values).resize(size).save(folder / f"{name}.png")


def test_label_pictures_by_name_or_in_order(scene, tmp_path):
    write_labels(tmp_path / "ordered", scene)
    write_labels(tmp_path / "named", scene, [frame.name for frame in scene.split("train")])
    for folder in ("ordered", "named"):
        read = labelled(scene, tmp_path / folder)
        assert [target.ids for target in targets(read)] == [(1,)]
        assert torch.equal(targets(read)[0].truth(read.frames[3]), scene.frames[3].instance == RED)


def test_label_pictures_that_do_not_fit(scene, tmp_path):
    write_labels(tmp_path / "small", scene, size=(10, 10))
    with pytest.raises(BadInput, match="00000.png: mask is 10x10, expected 64x48"):
        labelled(scene, tmp_path / "small")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="found none"):
        labelled(scene, tmp_path / "empty")
    write_labels(tmp_path / "few", scene)
    (tmp_path / "few" / "00000.png").unlink()
    with pytest.raises(BadInput, match="there are 4 for 5 training frames"):
        labelled(scene, tmp_path / "few")
    with pytest.raises(BadInput, match="no such folder"):
        labelled(scene, tmp_path / "missing")


def test_the_verb_prints_a_table_and_keeps_the_fits_figures(field, tmp_path, monkeypatch, capsys):
    run = BallsRun(tmp_path, field)
    (tmp_path / "metrics.json").write_text(json.dumps({"train_seconds": 12.0}))
    (tmp_path / "field.safetensors").write_bytes(b"x" * 1234)
    monkeypatch.setattr(Run, "open", lambda folder: run)
    other = tmp_path / "figures.json"
    code = command_line.main(["eval", str(tmp_path), "--json", str(other), "--baselines"])
    assert code == 0
    printed = capsys.readouterr().out
    for words in ("PSNR", "red ball", "teacher alone", "within 10% of size", "1,234"):
        assert words in printed
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert figures == json.loads(other.read_text())
    assert figures["train_seconds"] == 12.0 and figures["bytes_on_disk"] == 1234
    assert figures["teacher_alone"]["masks"]["objects"]["iou"] > 0.9


def test_table_of_a_run_without_truth(capsys):
    print_table({"held_out": True, "psnr": 31.234, "ssim": 0.9, "lpips_missing": "no weights"})
    assert "31.23" in capsys.readouterr().out
