"""``fit --method flow`` on a small world: what it writes, and that it can be gone on with, evaluated and rendered."""

import json

import pytest
import torch
from semaflow.fields.flow.config import FlowConfig
from semaflow.fields.flow.field import FlowField
from semaflow.fields.flow.trainer import FlowTrainer
from semaflow.scenes import simulate
from semaflow.scenes.motion.masks import motion_masks
from semaflow.tasks import fit, fit_flow, labels
from semaflow.tasks.__main__ import main
from semaflow.tasks.run import Run

QUICK = [
    "--method", "flow", "--preset", "tiny", "--teacher", "given", "--set", "static_iterations=3", "--set",
    "dynamic_iterations=3", "--set", "checkpoint_every=2",
]  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Six small frames of balls that roll, with labels and features, as a scene folder."""
    folder = tmp_path_factory.mktemp("world") / "balls"
    simulate("balls", frames=6, width=64, height=36, samples=1, test=2).save(folder)
    return folder


@pytest.fixture(scope="module")
def run(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    step = FlowTrainer.step

    def interrupted(trainer):
        if trainer.iteration == 5:
            raise KeyboardInterrupt
        return step(trainer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FlowTrainer, "step", interrupted)
        assert main(["fit", str(world), "-o", str(folder), *QUICK]) == 130
    assert main(["fit", str(world), "-o", str(folder), "--resume"]) == 0
    return folder


def test_a_run_knows_its_field_and_how_good_it_is(run):
    opened = Run.open(run)
    assert isinstance(opened.field, FlowField)
    assert opened.field.label_names == opened.scene.label_names
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["iterations"] == 6 and metrics["psnr"] > 0
    assert set(metrics["labels"]["iou"]) <= set(opened.scene.label_names)
    assert not (run / "checkpoint.safetensors").exists()


def test_a_saved_field_is_the_same_field(run):
    first, second = Run.open(run).field, FlowField.load(run)
    camera = Run.open(run).scene.cameras[0].resized(16, 9)
    for channel in ("color", "depth", "logits"):
        assert torch.equal(*(getattr(f.render(camera, 0.4, (channel,)), channel) for f in (first, second)))


def test_going_on_is_the_same_as_never_stopping(world, run, tmp_path):
    assert main(["fit", str(world), "-o", str(tmp_path / "straight"), *QUICK]) == 0
    straight, stopped = Run.open(tmp_path / "straight").field, Run.open(run).field
    for name, value in straight.state_dict().items():
        assert torch.equal(value, stopped.state_dict()[name]), name


def test_eval_measures_a_flow_run(run):
    assert main(["eval", str(run)]) == 0
    figures = json.loads((run / "metrics.json").read_text())
    assert figures["tracks"]["epe_median"] > 0 and figures["labels"]["frames"] == 2


@pytest.mark.parametrize(("arguments", "said"), [
    (["--set", "depth=0.1"], "loss depth: needs monocular disparity"),
    (["--set", "widht=3"], "setting 'widht'"),
    (["--moving", "red ball,dog"], "moving: expected classes among floor"),
    (["--preset", "release"], "preset 'release'"),
    (["--teacher", "nothing"], "nothing"),
])  # fmt: skip
def test_bad_input_is_one_line(world, tmp_path, capsys, arguments, said):
    assert main(["fit", str(world), "-o", str(tmp_path / "run"), *QUICK, *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


@pytest.mark.parametrize("method", ["flow", "gaussians"])
def test_named_classes_are_what_moves_where_labels_may_be_known(world, tmp_path, monkeypatch, method):
    """What a fit that was stopped goes on with: the classes are kept in the run folder."""
    module = {"flow": fit_flow, "gaussians": fit}[method]
    monkeypatch.setattr(module, "learn", lambda made, *_: made)
    monkeypatch.setattr(labels, "drawn", lambda made: made)
    arguments = ["complete", str(world), "-o", str(tmp_path / "run"), "--moving", "red ball, blue ball"]
    assert main([*arguments, "--method", method, "--teacher", "classical", "--share", "50"]) == 0
    made = Run.open(tmp_path / "run")
    assert made.config["settings"]["moving_classes"] == ["red ball", "blue ball"]
    if method == "gaussians":
        return
    found = fit_flow.prepared(made, FlowConfig().replaced(**made.config["settings"]))[1][0]
    balls = torch.tensor([made.scene.label_names.index(name) for name in ("red ball", "blue ball")])
    estimated = motion_masks(made.split.seen(made.scene))
    for position, frame in enumerate(made.scene.split("train")):
        known = position in made.split.labelled
        expected = torch.isin(frame.label, balls) if known else estimated[position]
        assert torch.equal(found.moving[position], expected)


def test_verbs_for_gaussians_say_so(run, capsys):
    assert main(["select", str(run), "--name", "a", "--click", "3,3", "--frame", "0"]) == 2
    assert "needs a run of --method gaussians" in capsys.readouterr().err


def test_a_field_is_adapted_to_another_world(run, tmp_path):
    simulate("balls", frames=5, width=64, height=36, samples=1, test=1, seed=1).save(tmp_path / "other")
    steps = ["--set", "static_iterations=2", "--set", "dynamic_iterations=2"]
    arguments = ["adapt", str(tmp_path / "other"), "-o", str(tmp_path / "run"), "--from", str(run), *steps]
    assert main(arguments) == 0
    old, new = Run.open(run).field, Run.open(tmp_path / "run").field
    assert len(new.clip.times) == 5 and new.label_names == old.label_names
    change = (new.static.color[0].weight - old.static.color[0].weight).abs().max()
    assert 0 < change < 0.1  # four steps from the same networks
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["iterations"] == 4


def test_a_world_of_other_classes_is_refused(run, tmp_path, capsys):
    simulate("twins", frames=4, width=32, height=18, samples=1, test=0).save(tmp_path / "other")
    assert main(["adapt", str(tmp_path / "other"), "-o", str(tmp_path / "run"), "--from", str(run)]) == 2
    assert "moving cube" in capsys.readouterr().err


def test_two_worlds_share_a_field(world, tmp_path):
    simulate("twins", frames=6, width=64, height=36, samples=1, test=1).save(tmp_path / "twins")
    assert main(["fit", str(world), str(tmp_path / "twins"), "-o", str(tmp_path / "run"), *QUICK]) == 0
    field = Run.open(tmp_path / "run").field
    assert field.names == ["balls", "twins"] and {"red ball", "moving cube"} <= set(field.label_names)
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert set(metrics["clips"]) == {"balls", "twins"}
