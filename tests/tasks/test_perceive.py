"""``semaflow perceive``: training, tuning and evaluation as run folders, and one line for what cannot be used."""

import dataclasses
import json
import shutil

import pytest
import torch
from semaflow.fields.perception.trainer import PerceptionTrainer
from semaflow.fields.perception.views import views_of
from semaflow.scenes import Camera, Frame, load, simulate
from semaflow.scenes.files import read_json
from semaflow.tasks.__main__ import main
from semaflow.tasks.fit import fit
from semaflow.tasks.run import Run

from tests.reference import perception_views as small
from tests.reference.perception_processes import torchrun
from tests.reference.perception_views import SMALL

SET = [f"--set={name}={','.join(map(str, v)) if isinstance(v, tuple) else v}" for name, v in SMALL.items()]


def saved(folder, seed: int, labels: bool = True, **changes):
    """A room of ``seed`` filmed small and saved."""
    scene = simulate("rooms", frames=5, width=32, height=24, seed=seed, samples=1, test=2)
    layers = ("image", "depth", *(("label", "instance") if labels else ()))
    frames = [Frame(f.name, f.camera, f.time, **{layer: getattr(f, layer) for layer in layers}) for f in scene.frames]
    dataclasses.replace(scene, frames=frames, tracks=None, **changes).save(folder)
    return folder


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Two rooms to learn from, one to test on, and a run trained on the two."""
    folder = tmp_path_factory.mktemp("perceive")
    rooms = [saved(folder / f"room{seed}", seed) for seed in (0, 1, 100)]
    assert main(["perceive", "train", *map(str, rooms[:2]), "-o", str(folder / "run"), "--preset", "tiny", *SET]) == 0
    return folder


def test_a_run_of_many_rooms_is_evaluated_on_another(places, capsys):
    run = Run.open(places / "run")
    assert run.config["method"] == "perception" and len(run.scenes) == 2 and run.field.views is None
    assert read_json(places / "run" / "metrics.json")["iterations"] == SMALL["iterations"]
    figures = places / "figures.json"
    assert main(["perceive", "eval", str(places / "run"), str(places / "room100"), "--json", str(figures)]) == 0
    found = read_json(figures)
    assert found["frames"] == 2 and found["held_out"] and 3 < found["psnr"] < 60 and 0 < found["ssim"] < 1
    labels = found["labels"]
    for figures in (labels, labels["per_image"]):
        assert all(0 <= figures[name] <= 1 for name in ("miou", "accuracy", "average_accuracy"))
    assert labels["frames"] == 2 and "instances" not in found
    assert "labels: mean accuracy of classes" in capsys.readouterr().out


def test_a_run_is_tuned_on_one_room_with_instances(places, capsys):
    scene = load(places / "room100")
    things = 1 + max(int(frame.instance.max()) for frame in scene.frames)
    tuned = places / "tuned"
    arguments = ["--from", str(places / "run"), "-o", str(tuned), "--set=iterations=2", f"--set=instances={things}"]
    assert main(["perceive", "tune", str(places / "room100"), *arguments]) == 0
    run = Run.open(tuned)
    camera = run.scene.split("test")[0].camera
    shown = run.field.render(camera, 0.0, ("color", "logits", "instances"))
    assert shown.instances.shape == (24, 32, things) and len(run.field.views) == 5
    assert torch.equal(run.field.views.viewmats, torch.stack([f.camera.viewmat for f in run.scene.split("train")]))
    measured = read_json(tuned / "metrics.json")
    assert {"0.5", "0.75", "0.95"} < set(measured["instances"]["ap"]) == set(measured["instances"]["coco_ap"])
    assert 0 <= measured["instances"]["coco_mean"] <= 1 and measured["instances"]["images"] == 2
    capsys.readouterr()
    for command in (["perceive", "eval", str(tuned), str(places / "room100")], ["eval", str(tuned)]):
        assert main(command) == 0
        assert "AP at 0.75 (COCO's rule)" in capsys.readouterr().out
    assert read_json(tuned / "metrics.json")["instances"] == measured["instances"]


@pytest.mark.parametrize("rendered", [False, True])
def test_frames_without_labels_get_some(places, tmp_path, rendered):
    """As a scene like any other: the frames with all they had, classes of the training frames, names of the classes."""
    scene = load(saved(tmp_path / "video", 7, labels=False, label_names=[]))
    out = tmp_path / "labelled"
    flag = ["--rendered", "--window", "0.5"] if rendered else []
    assert main(["perceive", "labels", str(places / "run"), str(tmp_path / "video"), "-o", str(out), *flag]) == 0
    found, field = load(out), Run.open(places / "run").field
    assert found.label_names == field.label_names and found.train == scene.train and found.test == scene.test
    assert not any(frame.has("label") for frame in found.split("test"))
    if rendered:
        field.look_at(views_of(scene, window=0.5))
    for before, after in zip(scene.split("train"), found.split("train"), strict=True):
        assert torch.equal(before.image, after.image) and torch.equal(before.camera.viewmat, after.camera.viewmat)
        if rendered:
            expected = field.render(before.camera, before.time, ("logits",)).labels
        else:
            expected = field.classify(before.image).argmax(-1)
        assert torch.equal(after.label, expected)
    run = fit(out, tmp_path / "fit", "tiny", semantics="none", iterations=5)
    assert run.field.label_names == field.label_names, "labels that a fit takes"


def test_true_labels_of_test_frames_stay_if_they_are_of_known_classes(places, tmp_path):
    for name, kept in (("wall", True), ("whale", False)):
        names = [name, *simulate("rooms", frames=2, width=32, height=24, samples=1).label_names[1:]]
        saved(tmp_path / name, 7, label_names=names)
        assert main(["perceive", "labels", str(places / "run"), str(tmp_path / name), "-o", str(tmp_path / "out")]) == 0
        found = load(tmp_path / "out")
        for before, after in zip(load(tmp_path / name).split("test"), found.split("test"), strict=True):
            assert torch.equal(after.label, before.label) if kept else not after.has("label")


def test_an_interrupted_training_goes_on(places, monkeypatch):
    step, run = PerceptionTrainer.step, places / "interrupted"

    def interrupted(self):
        if self.iteration == 1:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(PerceptionTrainer, "step", interrupted)
    rooms = [str(places / "room0"), str(places / "room1")]
    assert main(["perceive", "train", *rooms, "-o", str(run), "--preset", "tiny", *SET]) == 130
    monkeypatch.undo()
    assert (run / "checkpoint.safetensors").exists()
    assert main(["perceive", "train", "-o", str(run), "--resume"]) == 0
    assert main(["perceive", "train", "-o", str(run), "--resume"]) == 0  # finished: as it is
    straight, again = Run.open(places / "run").field, Run.open(run).field
    for (name, a), b in zip(straight.named_parameters(), again.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5), name


def test_two_processes_make_one_run(places):
    rooms, run = [places / "room0", places / "room1"], places / "together"
    settings = ("--preset", "tiny", *SET, "--set=log_every=1")
    made = torchrun("semaflow.tasks", "perceive", "train", *rooms, "-o", run, *settings)
    assert made.returncode == 0, made.stderr
    assert made.stdout.count("2 scene(s)") == 1  # one of them speaks
    logged = [json.loads(row)["iteration"] for row in (run / "log.jsonl").read_text().splitlines()]
    assert logged == [1, 2, 3] and not (run / "checkpoint.safetensors").exists()
    assert Run.open(run).field.label_names == Run.open(places / "run").field.label_names
    assert main(["perceive", "eval", str(run), str(places / "room100")]) == 0


def line(capsys, *arguments) -> str:
    capsys.readouterr()
    assert main(["perceive", *map(str, arguments)]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("semaflow perceive: ") and shown.count("\n") == 1
    return shown


def test_bad_input_is_one_line(places, capsys, tmp_path):
    run, room, new = places / "run", places / "room0", tmp_path / "new"
    few = saved(tmp_path / "few", 0, train=[0, 1, 2], test=[5])
    lone = saved(tmp_path / "lone", 0, train=[0, 1], test=[5])
    other = saved(tmp_path / "other", 0, label_names=[f"thing {k}" for k in range(17)])
    untested = saved(tmp_path / "untested", 0, test=[])
    assert "expected at least one" in line(capsys, "train", "-o", new)
    assert "no such file" in line(capsys, "train", tmp_path / "nowhere", "-o", new)
    assert "setting 'colour': unknown" in line(capsys, "train", room, "-o", new, "--set=colour=1")
    tiny = ("--preset=tiny", *SET)
    assert "expected at least 3 beside the target, got 2" in line(capsys, "train", few, "-o", new, *tiny)
    assert "holds a run already" in line(capsys, "train", room, "-o", run)
    assert "not a run folder" in line(capsys, "tune", room, "--from", room, "-o", new)
    assert "labels: expected classes among wall, floor" in line(capsys, "tune", other, "--from", run, "-o", new)
    width = line(capsys, "tune", room, "--from", run, "-o", new, "--set=width=16")
    assert "setting 'width': expected 8, as the run's networks have, got 16" in width
    beside = line(capsys, "tune", room, "--from", run, "-o", new, "--set=views=9")
    assert "expected at least 9 beside the target, got 4" in beside
    unknown = line(capsys, "train", room, "-o", new, "--set=precision=float8")
    assert "setting 'precision': expected one of float32, bfloat16, float16, got 'float8'" in unknown
    assert "no test frames" in line(capsys, "eval", run, untested)
    assert "labels: expected classes among" in line(capsys, "eval", run, other)
    assert ": reference views: expected at least 3, got 2" in line(capsys, "eval", run, lone)
    assert "not a run folder" in line(capsys, "train", "-o", room, "--resume")
    assert "run of perceive, got" in line(capsys, "labels", fitted(tmp_path, room), room, "-o", new)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    assert "holds other files" in line(capsys, "labels", run, room, "-o", tmp_path / "full")
    pictures = room / "image"
    assert "cameras: none are known" in line(capsys, "labels", run, pictures, "-o", new, "--rendered")
    assert "no such file" in line(capsys, "labels", run, tmp_path / "nowhere", "-o", new)
    assert not new.exists()


def test_views_beside_all_references_are_one_line(places, capsys, tmp_path):
    scene = load(places / "room0")
    for name, which in (("away", scene.test[0]), ("apart", scene.train[2])):
        frames = list(scene.frames)
        skyward = Camera.look_at((0, 0, 50), (0, 0, 60), 4, 4, up=(0, 1, 0)).viewmat  # from far above the room
        camera = dataclasses.replace(frames[which].camera, viewmat=skyward)
        layers = {layer: getattr(frames[which], layer) for layer in ("image", "depth", "label")}
        frames[which] = Frame(frames[which].name, camera, frames[which].time, **layers)
        dataclasses.replace(scene, frames=frames).save(tmp_path / name)
    shown = line(capsys, "eval", places / "run", tmp_path / "away")
    assert f"{scene.frames[scene.test[0]].name}: camera: sees nothing that a reference view shows" in shown
    shown = line(capsys, "train", tmp_path / "apart", "-o", tmp_path / "run", "--preset=tiny", *SET)
    assert "training frame 2: shows nothing that a reference view shows" in shown


def test_labels_outside_the_class_map_are_one_line(places, capsys, tmp_path):
    scene = load(places / "room0")
    beyond = [frame.with_layers(label=torch.where(frame.label == 1, 99, frame.label)) for frame in scene.frames]
    dataclasses.replace(scene, frames=beyond).save(tmp_path / "beyond")
    count = len(scene.label_names)
    expected = f"label: expected ids in -1..{count - 1}, got 99"
    assert expected in line(capsys, "train", tmp_path / "beyond", "-o", tmp_path / "run", "--preset=tiny", *SET)
    assert expected in line(capsys, "tune", tmp_path / "beyond", "--from", places / "run", "-o", tmp_path / "run")
    assert expected in line(capsys, "eval", places / "run", tmp_path / "beyond")


def test_a_checkpoint_of_another_class_count_is_one_line(places, capsys, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(places / "run", run)
    (run / "field.safetensors").unlink()
    PerceptionTrainer(small.field(classes=3), [small.targets()]).save_checkpoint(run / "checkpoint.safetensors")
    shown = line(capsys, "train", "-o", run, "--resume")
    count = len(Run.open(places / "run").field.label_names)
    assert f"checkpoint.safetensors: not a checkpoint of this field: expected {count} classes (wall" in shown
    assert "got 3 classes (class 0, class 1, class 2)" in shown


def test_a_run_is_tuned_with_other_settings(places, tmp_path):
    for number, changes in enumerate((["views=2", "coarse=9", "importance=2"], ["precision=bfloat16", "views=4"])):
        made = tmp_path / f"tuned{number}"
        settings = [f"--set={change}" for change in (*changes, "iterations=1")]
        start = ["--from", str(places / "run"), "-o", str(made)]
        assert main(["perceive", "tune", str(places / "room100"), *start, *settings]) == 0
        assert "psnr" in read_json(made / "metrics.json")
    assert Run.open(made).field.config.precision == "bfloat16"


def fitted(folder, room):
    """A run of another method, as far as its settings tell."""
    return Run.create(folder / "fitted", "gaussians", {"path": str(room)}, {"name": "none"}, {}).folder


def test_missing_depth_is_said_once_or_refused_when_asked_for(places, capsys, tmp_path):
    scene = load(places / "room0")
    frames = [frame.with_layers(depth=None) for frame in scene.frames]
    bare = tmp_path / "bare"
    dataclasses.replace(scene, frames=frames).save(bare)
    assert "depth: expected depths of frames or points" in line(capsys, "train", bare, "-o", tmp_path / "run")
    from semaflow.scenes import PointCloud

    points = PointCloud(torch.rand(50, 3) * 2, torch.rand(50, 3))
    dataclasses.replace(scene, frames=frames, points=points).save(tmp_path / "pointed")
    arguments = ["perceive", "train", str(tmp_path / "pointed"), "-o", str(tmp_path / "run"), "--preset", "tiny", *SET]
    assert main(arguments) == 0
    assert capsys.readouterr().out.count("loss guided is off: it needs true depth") == 1
    asked = [*arguments[:4], str(tmp_path / "again"), *arguments[5:], "--set=guided=1"]
    assert "loss guided: needs true depth" in line(capsys, *asked[1:])
