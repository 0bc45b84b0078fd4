"""Labels of a part of a video, completed and followed: what is made, what it is made of, and what is refused."""

import json
from dataclasses import replace

import pytest
import torch
from semaflow.scenes import load, simulate
from semaflow.scenes.files import read_json
from semaflow.scenes.images import read_image
from semaflow.scenes.splits import LabelSplit
from semaflow.tasks.__main__ import main
from semaflow.tasks.fit import fit, refined
from semaflow.tasks.follow import follow
from semaflow.tasks.run import Run

TINY = {"iterations": 40, "initial_points": 600, "flow": 0, "densify_until": 1}
QUICK = ["--preset", "tiny", *(part for name, value in TINY.items() for part in ("--set", f"{name}={value}"))]


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """A saved scene of eight frames and four test views."""
    folder = tmp_path_factory.mktemp("filmed") / "scene"
    simulate("balls", frames=8, width=64, height=36, test=4).save(folder)
    return folder


@pytest.fixture(scope="module")
def completed(scene):
    """The run of ``semaflow complete`` with half of the labels."""
    folder = scene.parent / "completed"
    assert main(["complete", str(scene), "-o", str(folder), "--share", "50", *QUICK]) == 0
    return folder


@pytest.fixture(scope="module")
def followed(scene):
    """A run of the first half of labels and pictures."""
    return follow(scene, scene.parent / "followed", share=50, preset_name="tiny", **TINY)


def refused(capsys, *arguments, expected):
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1 and expected in shown, shown


def test_unlabelled_frames_are_labelled_and_measured(completed):
    made = Run.open(completed)
    assert made.split == LabelSplit.completion(8, 50) and made.split.filmed == list(range(8))
    metrics = read_json(completed / "metrics.json")
    assert metrics["labels_train"]["frames"] == 4 and 0 < metrics["labels"]["frames"] < 4
    both = metrics["labels_unseen"]
    assert both["frames"] == metrics["labels_train"]["frames"] + metrics["labels"]["frames"]
    ends = sorted(metrics[key]["accuracy"] for key in ("labels_train", "labels"))
    assert ends[0] <= both["accuracy"] <= ends[1]
    truth = torch.stack([frame.label for frame in made.split.tested(made.scene)["train"]])
    assert metrics["labels_train"]["accuracy"] > truth.flatten().bincount().max() / truth.numel() + 0.2
    assert made.field.label_names == made.scene.label_names and "features" not in [p.name for p in completed.iterdir()]


def test_the_maps_are_shown_beside_the_truth(completed):
    assert read_image(completed / "labels" / "labels.png").std() > 0.1
    assert load(completed / "labels" / "labels.mp4").frames[7].camera.width == 3 * 64
    (completed / "labels" / "labels.png").unlink()
    assert main(["complete", "-", "-o", str(completed), "--resume"]) == 0
    assert (completed / "labels" / "labels.png").exists()


def test_cameras_that_were_not_filmed_move_with_the_refined_ones(scene):
    whole, shift = load(scene), torch.tensor([0.5, 0.0, -0.25])
    moved = []
    for camera in whole.cameras[:4]:
        viewmat = camera.viewmat.clone()
        viewmat[:3, 3] -= viewmat[:3, :3] @ shift
        moved.append(replace(camera, viewmat=viewmat))
    for before, after in zip(whole.frames, refined(whole, moved, [0, 1, 2, 3]).frames, strict=True):
        assert torch.allclose(after.camera.center, before.camera.center + shift, atol=1e-4)


def test_eval_measures_the_same_frames(completed, capsys):
    before = read_json(completed / "metrics.json")
    assert main(["eval", str(completed)]) == 0
    assert "labels: mIoU of classes" in capsys.readouterr().out
    after = read_json(completed / "metrics.json")
    assert after["labels"] == before["labels"] and after["labels_train"] == before["labels_train"]


def test_a_plain_fit_knows_the_classes_of_labels_that_are_there(scene, tmp_path):
    made = fit(scene, tmp_path / "run", "tiny", semantics="none", **TINY)
    metrics = read_json(made.folder / "metrics.json")
    assert made.split == LabelSplit.full(8) and "split" not in made.config
    assert metrics["labels"]["frames"] == 4 and "labels_train" not in metrics
    assert main(["render", str(made.folder), "--path", "test", "--channels", "semantics", "--width", "32"]) == 0
    assert read_image(made.folder / "renders" / "test" / "semantics" / "00000.png").shape == (18, 32, 3)


def test_nothing_of_unseen_frames_is_learned(scene, followed, tmp_path):
    """Other pictures and other truth at later times: the same field, bit by bit."""
    whole = load(scene)
    assert followed.split.filmed == [0, 1, 2, 3]
    frames = list(whole.frames)
    for index in range(4, len(frames)):
        upset = {
            "image": torch.rand(36, 64, 3), "label": frames[index].label.roll(9), "mask": ~frames[index].mask,
            "instance": frames[index].instance.roll(5), "depth": frames[index].depth.flip(0),
        }
        frames[index] = frames[index].with_layers(**upset)
    frames[3] = frames[3].with_layers(flow_forward=torch.full((36, 64, 2), 9.0))
    replace(whole, frames=frames).save(tmp_path / "upset")
    again = fit(tmp_path / "upset", tmp_path / "run", "tiny", semantics="none",
                split=lambda count: LabelSplit.tracking(count, 50), **TINY)
    for name, value in followed.field.state_dict().items():
        assert torch.equal(value, again.field.state_dict()[name]), name


def test_what_cannot_be_learned_from_is_refused(scene, tmp_path, capsys):
    out = ["-o", tmp_path / "run", *QUICK]
    for share in ("0", "100", "0.5"):
        refused(capsys, "complete", scene, *out, "--share", share, expected="share: expected percent of 8 frames")
        refused(capsys, "follow", scene, *out, "--share", share, expected="share: expected percent of 8 frames")
    bare = load(scene)
    bare = replace(bare, frames=[frame.with_layers(label=None) for frame in bare.frames])
    bare.save(tmp_path / "bare")
    expected = "label: no frame that is to give labels has any"
    refused(capsys, "complete", tmp_path / "bare", *out, expected=expected)
    named = replace(load(scene), label_names=["floor", "wall"])
    named.save(tmp_path / "named")
    refused(capsys, "follow", tmp_path / "named", *out, expected="0000: label: expected ids in -1..1, got ")
    assert not (tmp_path / "run").exists()


def test_a_run_without_classes_shows_no_labels(completed, capsys, tmp_path):
    made = Run.open(completed)
    made.field.set_classes(torch.zeros(made.field.count, 0), [])
    (tmp_path / "run").mkdir()
    for name in ("config.yaml", "scene.json"):
        (tmp_path / "run" / name).write_bytes((completed / name).read_bytes())
    made.field.save(tmp_path / "run")
    expected = "semantics: the field knows no classes"
    refused(capsys, "render", tmp_path / "run", "--path", "test", "--channels", "semantics", expected=expected)


def test_a_damaged_split_is_named(completed, capsys, tmp_path):
    for name in ("config.yaml", "scene.json", "field.safetensors"):
        (tmp_path / name).write_bytes((completed / name).read_bytes())
    text = (tmp_path / "config.yaml").read_text(encoding="utf-8")
    (tmp_path / "config.yaml").write_text(text.partition("split:")[0] + "split:\n  labelled: [0, 99]\n", "utf-8")
    refused(capsys, "eval", tmp_path, expected="split: expected lists called labelled, filmed, unseen")
    split = json.dumps({"labelled": [0, 99], "filmed": [0], "unseen": [1]})
    (tmp_path / "config.yaml").write_text(text.partition("split:")[0] + f"split: {split}\n", "utf-8")
    refused(capsys, "eval", tmp_path, expected="split: labelled: expected numbers of training frames below 8")
