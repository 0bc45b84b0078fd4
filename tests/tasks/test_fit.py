"""A run folder says where its scene, cameras and teacher are; that holds wherever one goes on from."""

from dataclasses import replace

import numpy as np
import pytest
from semaflow.fields.gaussians.config import preset
from semaflow.fields.gaussians.trainer import Trainer
from semaflow.scenes import BadInput, simulate
from semaflow.scenes.motion.jumps import jumping
from semaflow.scenes.teachers import located
from semaflow.tasks import fit as fitting
from semaflow.tasks import fit_flow
from semaflow.tasks.__main__ import main
from semaflow.tasks.fit import fit, suited
from semaflow.tasks.run import Run

from tests.reference.captures import capture
from tests.reference.nvidia import write_rig

QUICK = ["--preset", "tiny", "--set", "iterations=4", "--set", "initial_points=200", "--set", "flow=0"]


@pytest.fixture
def video(tmp_path):
    """A folder with ``frames``, cameras ``own.npz`` and ``maps.npz`` of features for them."""
    made, folder = capture(), tmp_path / "video"
    names = made.write_images(folder / "frames")
    np.savez(folder / "own.npz", K=made.K, viewmats=made.w2c)
    random = np.random.default_rng(0)
    np.savez(folder / "maps.npz", **{name: random.normal(size=(6, 8, 5)).astype(np.float32) for name in names})
    return folder


def test_relative_paths_hold_in_other_working_folders(video, tmp_path, monkeypatch):
    monkeypatch.chdir(video)
    step = Trainer.step

    def interrupted(trainer):
        if trainer.iteration == 2:
            raise KeyboardInterrupt
        return step(trainer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "step", interrupted)
        arguments = ["fit", "frames", "-o", "run", "--cameras", "own.npz", "--teacher", "maps.npz", *QUICK]
        assert main(arguments) == 130
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["fit", "-", "-o", "../video/run", "--resume"]) == 0
    assert main(["select", "../video/run", "--name", "thing", "--click", "48,36", "--threshold", "-1"]) == 0
    made = Run.open("../video/run")
    assert made.field.semantics().shape[1] == 5
    assert made.teacher().of_frame(made.scene.frames[1]).shape == (6, 8, 5)


def test_teachers_by_name_stay_names(video, monkeypatch):
    monkeypatch.chdir(video)
    (video / "classical").mkdir()
    for name in ("classical", "mobilesam+classical", "organisation/model"):
        assert located(name) == name
    assert located("maps.npz") == str(video / "maps.npz")
    assert located("classical+maps.npz") == f"classical+{video / 'maps.npz'}"


def test_a_run_without_its_record_makes_one_before_it_goes_on(video, tmp_path, monkeypatch):
    """It was ended between the two files that begin a run folder."""
    monkeypatch.setattr("semaflow.tasks.fit.learn", lambda made, config: made)
    cameras = video / "own.npz"
    made = fit(video / "frames", tmp_path / "run", "tiny", options={"cameras": cameras}, teacher="classical")
    record = made.folder / "scene.json"
    before = record.read_bytes()
    record.unlink()
    assert main(["fit", "-", "-o", str(made.folder), "--resume"]) == 0
    assert record.read_bytes() == before


def test_a_teacher_that_cannot_be_had_leaves_no_run_behind(video, tmp_path):
    with pytest.raises(BadInput, match="teacher 'nobody': expected one of"):
        fit(video / "frames", tmp_path / "run", "tiny", teacher="nobody")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("timed", "motion"), [(True, "nodes"), (False, "still")])
def test_where_cameras_jump_a_network_at_nodes_learns_motion_if_times_are_known(timed, motion, tmp_path):
    scene = simulate("balls", frames=4, width=64, height=36, test=0)
    assert jumping(scene)
    replace(scene, timed=timed).save(tmp_path / "scene")
    made = fit(tmp_path / "scene", tmp_path / "run", "tiny", semantics="none", iterations=8, initial_points=200)
    assert made.field.motion.kind == Run.open(tmp_path / "run").field.motion.kind == motion
    assert made.field.light.shape[1] == 0
    settings = Run.open(tmp_path / "run").config["settings"]
    assert settings["motion"] == ("nodes" if timed else "scaffold") and settings["warmup"] == (1 if timed else 0)


def test_what_is_asked_for_by_name_is_not_changed_to_suit_the_scene():
    scene = simulate("balls", frames=4, width=64, height=36, test=0)
    timed, config = replace(scene, timed=True, estimated=True), preset("tiny")
    assert suited(config, timed).motion == "nodes" and suited(config, timed).pose_rate > 0
    own = config.replaced(motion="scaffold", pose_rate=0.0)
    assert suited(own, timed, ["motion", "pose_rate"]) == own
    nodes = suited(config.replaced(motion="nodes", densify_until=50), scene, ["motion", "densify_until"])
    assert nodes.warmup == config.iterations // 8 and nodes.densify_until == 50
    assert suited(preset("paper"), scene) == preset("paper")


@pytest.mark.parametrize("method", ["gaussians", "flow"])
def test_options_of_a_reader_reach_it_from_the_command_line(tmp_path, monkeypatch, method):
    """And the run reads its scene with them again."""
    monkeypatch.setattr(fitting, "learn", lambda made, config: made)
    monkeypatch.setattr(fit_flow, "learn", lambda made, config, asked: made)
    write_rig(tmp_path / "rig", enlarged=2, images="small")
    options = ["--option", "images=small", "--option", "seen_views=true", "--option", "end=3", "--max-width", "48"]
    arguments = ["fit", str(tmp_path / "rig"), "-o", str(tmp_path / "run"), "--method", method, *options]
    assert main([*arguments, "--teacher", "classical"]) == 0
    made = Run.open(tmp_path / "run")
    wanted = {"images": "small", "seen_views": True, "end": 3, "max_width": 48}
    assert made.config["scene"]["options"] == wanted
    assert made.scene.cameras[0].width == 48 and len(made.scene.train) == 3
    assert sum(frame.name.endswith("_seen") for frame in made.scene.split("test")) == 3


@pytest.mark.parametrize("option, expected", [
    ("seen_views=maybe", "seen_views: expected true or false, got 'maybe'"),
    ("images=7", "images: expected text, got 7"),
    ("end=soon", "end: expected a whole number of at least 1, got 'soon'"),
    ("colour=red", "no option 'colour' for format nvidia; there are end, every, holdout, ignore_unknown"),
    ("images=[a", "--option images: expected a value in YAML, got '[a'"),
    ("images", "--option 'images': expected NAME=VALUE"),
    ("every=2", "--option every: expected --every instead"),
])  # fmt: skip
def test_bad_options_of_a_reader_are_one_line(tmp_path, capsys, option, expected):
    write_rig(tmp_path / "rig")
    assert main(["fit", str(tmp_path / "rig"), "-o", str(tmp_path / "run"), "--option", option]) == 2
    error = capsys.readouterr().err
    assert expected in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()
