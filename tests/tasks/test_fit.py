"""A run folder says where its scene, cameras and teacher are; that holds wherever one goes on from."""

from dataclasses import replace

import numpy as np
import pytest
from semaflow.fields.gaussians.config import preset
from semaflow.fields.gaussians.trainer import Trainer
from semaflow.scenes import BadInput, simulate
from semaflow.scenes.motion.jumps import jumping
from semaflow.scenes.teachers import located
from semaflow.tasks.__main__ import main
from semaflow.tasks.fit import fit, suited
from semaflow.tasks.run import Run

from tests.reference.captures import capture

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
