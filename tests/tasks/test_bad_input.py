"""Bad input on the command line: one line that names the culprit, exit code 2, and all that was saved is as it was."""

import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from semaflow.fields.gaussians.trainer import Trainer
from semaflow.scenes import simulate
from semaflow.scenes.files import read_tensors, write_tensors
from semaflow.tasks.__main__ import main

from tests.reference.captures import capture
from tests.reference.clips import clip, fast_start

WIDTH, HEIGHT = 48, 32
QUICK = ["--preset", "tiny", "--set", "iterations=6", "--set", "initial_points=200", "--set", "flow=0"]


def contents(folder):
    """Everything under ``folder``: bytes by path."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def command(*arguments):
    """The exit code of a command line."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as stop:  # arguments that cannot be read
        return stop.code


def one_line(capsys, *arguments):
    """Run a command that must fail as bad input does; its line."""
    capsys.readouterr()
    code = command(*arguments)
    shown = capsys.readouterr()
    assert code == 2, shown.out + shown.err
    assert shown.err.count("\n") == 1 and shown.err.startswith(f"semaflow {arguments[0]}: "), shown.err
    assert "Traceback" not in shown.out
    return shown.err


def refused(capsys, folder, *arguments, expected):
    """The command fails in one line that holds ``expected``, and leaves ``folder`` as it was, nothing added."""
    before = contents(folder)
    line = one_line(capsys, *arguments)
    assert expected in line, line
    assert contents(folder) == before


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a small ``scene`` and a finished ``run`` of it that knows the object ``ball``."""
    folder = tmp_path_factory.mktemp("trained")
    simulate("balls", frames=4, width=WIDTH, height=HEIGHT, test=1).save(folder / "scene")
    assert command("fit", folder / "scene", "-o", folder / "run", "--teacher", "scene", *QUICK) == 0
    assert command("select", folder / "run", "--name", "ball", "--click", "24,16") == 0
    return folder


@pytest.fixture
def run(trained, tmp_path):
    """A run folder to do harm to."""
    return Path(shutil.copytree(trained / "run", tmp_path / "run"))


@pytest.fixture
def stopped(trained, tmp_path):
    """Makes the run folder of a fit, with the given settings, that was interrupted after three of its six steps."""

    def make(*settings):
        chosen = [part for setting in settings for part in ("--set", setting)]
        step = Trainer.step

        def interrupted(trainer):
            if trainer.iteration == 3:
                raise KeyboardInterrupt
            return step(trainer)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Trainer, "step", interrupted)
            source, output = trained / "scene", tmp_path / "stopped"
            assert command("fit", source, "-o", output, "--teacher", "scene", *QUICK, *chosen) == 130
        return output

    return make


def verbs(run):
    """Every command that opens a run folder; what they write goes into ``made`` beside it, or into the run."""
    made = run.parent / "made"
    return {
        "select": ["select", run, "--name", "other", "--click", "24,16"],
        "track": ["track", run, "--object", "ball"],
        "render": ["render", run, "--frames", 2, "--channels", "rgb,depth,features,semantics,objects"],
        "eval": ["eval", run],
        "export": ["export", run, "--ply", made / "a.ply"],
        "export ply sequence": ["export", run, "--ply-sequence", made / "sequence"],
        "export glb": ["export", run, "--glb", made / "a.glb"],
        "export usd": ["export", run, "--usd", made / "a.usda"],
        "view": ["view", run, "--screenshot", made / "a.png"],
        "fit": ["fit", "-", "-o", run, "--resume"],
    }


EACH = list(verbs(Path("run")))
READING = [verb for verb in EACH if verb != "fit"]  # that read the learned field
WRITING = [verb for verb in READING if verb != "view"]  # that need no polyscope


# Videos and frames.


def no_video(folder):
    return folder / "clip.mp4", "clip.mp4: no such file or folder"


def video_without_its_end(folder):
    path = clip(folder)
    path.write_bytes(path.read_bytes()[:-2000])
    return path, "clip.mp4: not a readable video"


def half_a_download(folder):
    path = clip(folder)
    fast_start(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path, "clip.mp4: truncated: expected 20 frames"


def video_with_a_hole(folder):
    path = clip(folder)
    data = bytearray(path.read_bytes())
    start, end = len(data) // 4, len(data) // 2
    data[start:end] = bytes(end - start)
    path.write_bytes(data)
    return path, "clip.mp4: damaged after"


def frame_of_another_size(folder):
    capture().write_images(folder / "frames")
    Image.new("RGB", (90, 72)).save(folder / "frames/003.png")
    return folder / "frames", "003.png: image is 90x72, expected 96x72 as 000.png"


def truncated_frame(folder):
    capture().write_images(folder / "frames")
    path = folder / "frames/003.png"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return folder / "frames", "003.png: damaged image"


@pytest.mark.parametrize(
    "damage",
    [no_video, video_without_its_end, half_a_download, video_with_a_hole, frame_of_another_size, truncated_frame],
)
def test_videos_and_frames(damage, tmp_path, capsys):
    source, expected = damage(tmp_path)
    arguments = ["fit", source, "-o", tmp_path / "new", "--teacher", "classical", *QUICK]
    refused(capsys, tmp_path, *arguments, expected=expected)
    assert not (tmp_path / "new").exists()


# Cameras.

NAN = np.full((4, 4), np.nan)
SHEARED = np.eye(4) + 0.3 * np.eye(4, k=1)
MIRRORED = np.diag([-1.0, 1.0, 1.0, 1.0])
MATRICES = pytest.mark.parametrize(
    "matrix, expected", [(NAN, "holds NaN"), (SHEARED, "not a rigid"), (2 * np.eye(4), "rigid"), (MIRRORED, "rigid")]
)


def transforms(folder, path="images/002.png", matrix=None):
    """A capture of which one frame has another ``path`` or ``matrix``."""
    made = capture()
    made.write_images(folder / "images")
    matrices = [made.opengl(index) for index in range(6)]
    frames = [{"file_path": f"images/{i:03d}.png", "transform_matrix": matrices[i]} for i in range(6)]
    frames[2] = {"file_path": path, "transform_matrix": matrices[2] if matrix is None else matrix.tolist()}
    (folder / "transforms.json").write_text(json.dumps({"fl_x": 80.0, "w": 96, "h": 72, "frames": frames}))
    return folder


@MATRICES
def test_camera_matrices_of_a_scene(matrix, expected, tmp_path, capsys):
    source = transforms(tmp_path / "scene", matrix=matrix)
    refused(capsys, tmp_path, "fit", source, "-o", tmp_path / "new", *QUICK, expected=expected)


@MATRICES
def test_camera_matrices_of_ones_own(matrix, expected, tmp_path, capsys):
    capture().write_images(tmp_path / "frames")
    np.savez(tmp_path / "own.npz", K=80 * np.eye(3), viewmats=np.stack([np.eye(4)] * 5 + [matrix]))
    arguments = ["fit", tmp_path / "frames", "-o", tmp_path / "new", "--cameras", tmp_path / "own.npz", *QUICK]
    refused(capsys, tmp_path, *arguments, expected=expected)


@MATRICES
def test_camera_matrices_of_a_path(matrix, expected, run, tmp_path, capsys):
    K = [[40, 0, 24], [0, 40, 16], [0, 0, 1]]
    camera = {"K": K, "viewmat": matrix.tolist(), "width": WIDTH, "height": HEIGHT, "time": 0}
    (tmp_path / "path.json").write_text(json.dumps({"cameras": [camera]}))
    refused(capsys, tmp_path, "render", run, "--path", tmp_path / "path.json", expected=expected)


# Masks, clicks, names.


@pytest.mark.parametrize(
    "size, value, expected",
    [((WIDTH, HEIGHT), 0, "the mask is empty"), ((40, HEIGHT), 255, "mask is 40x32, expected 48x32")],
)
def test_masks(size, value, expected, run, tmp_path, capsys):
    Image.new("L", size, value).save(tmp_path / "mask.png")
    arguments = ["select", run, "--name", "ball", "--pixels", tmp_path / "mask.png"]
    refused(capsys, tmp_path, *arguments, expected=f"mask.png: {expected}")


@pytest.mark.parametrize("pixel", ["48,3", "3,32", "-0.5,3", "3,-1", "nan,3", "3,inf"])
def test_clicks_outside_the_image(pixel, run, capsys):
    arguments = ["select", run, "--name", "ball", f"--click={pixel}"]
    refused(capsys, run, *arguments, expected="is outside the image, expected 0 <= x < 48 and 0 <= y < 32")


@pytest.mark.parametrize(
    "click, expected", [(["--click=left"], "expected X,Y in pixels"), (["--click", "-5,3"], "expected one argument")]
)
def test_clicks_that_are_none(click, expected, run, capsys):
    refused(capsys, run, "select", run, "--name", "ball", *click, expected=expected)


@pytest.mark.parametrize(
    "verb, arguments",
    [
        ("track", ["--object", "cat"]),
        ("view", ["--object", "cat", "--screenshot", "a.png"]),
        ("export", ["--object", "ball", "cat", "--ply", "a.ply"]),
        ("select", ["--name", "new", "--and", "ball", "cat"]),
        ("select", ["--name", "new", "--or", "ball", "--minus", "cat"]),
        ("select", ["--name", "ball", "--click", "24,16", "--or", "cat"]),
    ],
)
def test_objects_that_are_not_there(verb, arguments, run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(capsys, tmp_path, verb, run, *arguments, expected="no such object 'cat'; there are: ball")


# Run folders of a newer version.


def with_header(path, **values):
    tensors, header = read_tensors(path)
    write_tensors(path, tensors, header | values)


@pytest.mark.parametrize("verb", EACH)
def test_newer_runs(verb, run, tmp_path, capsys):
    path = run / "config.yaml"
    path.write_text(path.read_text().replace("format: 1\n", "format: 99\n", 1))
    expected = "config.yaml: format: 99 is newer than this version reads"
    refused(capsys, tmp_path, *verbs(run)[verb], expected=expected)


@pytest.mark.parametrize("verb", READING)
def test_newer_fields_and_records(verb, run, tmp_path, capsys):
    record = run / "scene.json"
    before = record.read_text()
    record.write_text(json.dumps(json.loads(before) | {"version": 99}))
    expected = "run/scene.json: version: 99 is newer than this version reads"
    refused(capsys, tmp_path, *verbs(run)[verb], expected=expected)
    record.write_text(before)
    with_header(run / "field.safetensors", format="99")
    expected = "field.safetensors: format: 99 is newer than this version reads"
    refused(capsys, tmp_path, *verbs(run)[verb], expected=expected)


@pytest.mark.parametrize("verb", [verb for verb in READING if verb != "select"])
def test_newer_objects(verb, run, tmp_path, capsys):
    with_header(run / "objects/ball.safetensors", format="99")
    expected = "ball.safetensors: format: 99 is newer than this version reads"
    refused(capsys, tmp_path, *verbs(run)[verb], expected=expected)


def test_newer_checkpoints(stopped, tmp_path, capsys):
    path = stopped()
    with_header(path / "checkpoint.safetensors", format="99")
    expected = "checkpoint.safetensors: format: 99 is newer than this version reads"
    refused(capsys, tmp_path, "fit", "-", "-o", path, "--resume", expected=expected)


def test_runs_of_no_known_method(stopped, tmp_path, capsys):
    path = stopped()
    config = path / "config.yaml"
    config.write_text(config.read_text().replace("method: gaussians", "method: guesses"))
    expected = "config.yaml: method: expected one of gaussians, flow, perception, got 'guesses'"
    refused(capsys, tmp_path, "fit", "-", "-o", path, "--resume", expected=expected)


# Corrupt safetensors.

HARM = {
    "empty": lambda data: b"",
    "half": lambda data: data[: len(data) // 2],
    "without its last byte": lambda data: data[:-1],
    "text": lambda data: b"no tensors in here",
    "damaged header": lambda data: data[:8] + b"\xff" * 40 + data[48:],
    "endless header": lambda data: b"\xff" * 8 + data[8:],
}


def harm(path, how):
    path.write_bytes(HARM[how](path.read_bytes()))


@pytest.mark.parametrize("how", HARM)
@pytest.mark.parametrize("verb", ["select", "track", "render", "eval", "export", "view"])
def test_corrupt_fields(verb, how, run, tmp_path, capsys):
    harm(run / "field.safetensors", how)
    refused(capsys, tmp_path, *verbs(run)[verb], expected="field.safetensors: corrupt")


@pytest.mark.parametrize("how", HARM)
@pytest.mark.parametrize("verb", ["track", "render", "eval", "export", "view"])
def test_corrupt_objects(verb, how, run, tmp_path, capsys):
    harm(run / "objects/ball.safetensors", how)
    refused(capsys, tmp_path, *verbs(run)[verb], expected="ball.safetensors: corrupt")


def test_corrupt_checkpoints(stopped, tmp_path, capsys):
    path = stopped() / "checkpoint.safetensors"
    whole = path.read_bytes()
    for how in HARM:
        path.write_bytes(whole)
        harm(path, how)
        arguments = ["fit", "-", "-o", path.parent, "--resume"]
        refused(capsys, tmp_path, *arguments, expected="checkpoint.safetensors: corrupt")


@pytest.mark.parametrize("degree", ["x", "-1", "9", ""])
def test_a_field_of_no_degree(degree, run, tmp_path, capsys):
    with_header(run / "field.safetensors", degree=degree)
    refused(capsys, tmp_path, *verbs(run)["render"], expected="field.safetensors: degree: expected 0 to")


def test_checkpoints_with_values_of_another_kind(stopped, tmp_path, capsys):
    path = stopped() / "checkpoint.safetensors"
    whole = path.read_bytes()
    wrong = {"extent": "wide", "iteration": "x", "lifted": "no", "random": torch.zeros(3), "queue": torch.tensor(1)}
    for name, value in wrong.items():
        path.write_bytes(whole)
        if isinstance(value, str):
            with_header(path, **{name: value})
        else:
            tensors, header = read_tensors(path)
            write_tensors(path, tensors | {name: value}, header)
        arguments = ["fit", "-", "-o", path.parent, "--resume"]
        refused(capsys, tmp_path, *arguments, expected="checkpoint.safetensors: not a checkpoint of this version")


@pytest.mark.parametrize("how", HARM)
def test_corrupt_teacher_maps(how, trained, tmp_path, capsys):
    shutil.copy(trained / "run/field.safetensors", tmp_path / "maps.safetensors")
    harm(tmp_path / "maps.safetensors", how)
    arguments = ["fit", trained / "scene", "-o", tmp_path / "new", "--teacher", tmp_path / "maps.safetensors", *QUICK]
    refused(capsys, tmp_path, *arguments, expected="maps.safetensors: corrupt")


# Paths that lead out of their folder.


@pytest.mark.parametrize(
    "path", ["../secret.png", "images/../../secret.png", "{outside}/secret.png", "link/secret.png"]
)
def test_paths_out_of_a_scene(path, tmp_path, capsys):
    Image.new("RGB", (96, 72)).save(tmp_path / "secret.png")
    source = transforms(tmp_path / "scene", path.format(outside=tmp_path))
    (source / "link").symlink_to(tmp_path)
    arguments = ["fit", source, "-o", tmp_path / "new", *QUICK]
    refused(capsys, source, *arguments, expected=f"transforms.json: file_path: path {path.format(outside=tmp_path)!r}")
    assert not (tmp_path / "new").exists()


def test_paths_out_of_a_saved_scene(trained, tmp_path, capsys):
    source = Path(shutil.copytree(trained / "scene", tmp_path / "scene"))
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "secret.png")
    record = json.loads((source / "scene.json").read_text())
    record["frames"][1]["name"] = "../../secret"
    (source / "scene.json").write_text(json.dumps(record))
    arguments = ["fit", source, "-o", tmp_path / "new", "--teacher", "scene", *QUICK]
    expected = "scene.json: frame ../../secret: path 'image/../../secret.png' points outside"
    refused(capsys, tmp_path, *arguments, expected=expected)


# No space left. Files that may not grow beyond a size fail as those on a full disk do: in the middle of a write.


@contextlib.contextmanager
def full_disk(size):
    """No file can be written beyond ``size`` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.98])
@pytest.mark.parametrize("verb", WRITING)
def test_a_full_disk(verb, share, run, tmp_path, capsys):
    """What was written before stays; where there was nothing, nothing half is left."""
    arguments = verbs(run)[verb]
    before = contents(tmp_path)
    assert command(*arguments) == 0
    written = contents(tmp_path)
    size = int(share * max(len(data) for path, data in written.items() if before.get(path) != data))
    with full_disk(size):
        refused(capsys, tmp_path, *arguments, expected="could not be written")
    for path in written.keys() - before.keys():
        (tmp_path / path).unlink()
    with full_disk(size):
        one_line(capsys, *arguments)
    left = contents(tmp_path)
    assert left.items() <= written.items(), "every file is whole, and none is a temporary one"


def test_a_full_disk_at_the_start_of_a_fit(trained, tmp_path, capsys):
    with full_disk(0):
        arguments = ["fit", trained / "scene", "-o", tmp_path / "new", "--teacher", "scene", *QUICK]
        refused(capsys, tmp_path, *arguments, expected="config.yaml: could not be written")


@pytest.mark.parametrize(
    "setting, share, file",
    [
        ("log_every=1", 0.0, "log.jsonl"),
        ("checkpoint_every=4", 0.9, "checkpoint.safetensors"),
        ("checkpoint_every=99", 0.4, "field.safetensors"),
    ],
)
def test_a_full_disk_while_training(setting, share, file, stopped, tmp_path, capsys):
    """The last checkpoint stays, and once there is space the fit goes on from it."""
    path = stopped(setting)
    before = contents(path)
    with full_disk(int(share * (path / "checkpoint.safetensors").stat().st_size)):
        line = one_line(capsys, "fit", "-", "-o", path, "--resume")
    assert f"{file}: could not be written" in line
    after = contents(path)
    log = Path("log.jsonl")
    entries, earlier = after.pop(log, b""), before.pop(log, b"")
    assert after == before
    assert entries.startswith(earlier)
    assert all(json.loads(entry)["gaussians"] for entry in entries.decode().splitlines())
    assert command("fit", "-", "-o", path, "--resume") == 0
    assert json.loads((path / "metrics.json").read_text())["iterations"] == 6


# The viewer.


def test_no_viewer_is_one_line_too(run, tmp_path):
    """In a process of its own, since polyscope has a last word when its process ends."""
    command = [sys.executable, "-m", "semaflow.tasks", "view", str(run), "--screenshot", str(tmp_path / "a.png")]
    hidden = dict.fromkeys(("__EGL_VENDOR_LIBRARY_DIRS", "__EGL_VENDOR_LIBRARY_FILENAMES"), str(tmp_path))
    done = subprocess.run(command, env=os.environ | hidden, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "semaflow view: pictures without a display need EGL" in done.stderr
