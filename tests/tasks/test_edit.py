"""``semaflow edit`` on small runs: what it writes, what reads it, and what it refuses."""

import json

import pytest
import torch
from semaflow.fields.edit import Edit
from semaflow.fields.gaussians.field import GaussianField
from semaflow.scenes import Camera, Frame, Scene, simulate
from semaflow.scenes.files import write_tensors
from semaflow.scenes.video import read_video
from semaflow.tasks.__main__ import main
from semaflow.tasks.edit import edit
from semaflow.tasks.run import Run
from semaflow.tasks.selection import Selection

CAMERA = Camera.look_at((0, -3, 0), (0, 0, 0), 64, 48)
QUICK = [
    "--method", "flow", "--preset", "tiny", "--teacher", "given", "--set", "static_iterations=40", "--set",
    "dynamic_iterations=25", "--set", "samples=8", "--set", "proposals=8",
]  # fmt: skip


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Six small frames each of balls that roll and of cubes that look alike."""
    folder = tmp_path_factory.mktemp("worlds")
    options = {"frames": 6, "width": 64, "height": 36, "samples": 1, "test": 2}
    simulate("balls", **options).save(folder / "balls")
    simulate("twins", **options).save(folder / "twins")
    return folder


@pytest.fixture(scope="module")
def run(scenes, tmp_path_factory):
    """A flow field of both videos, hardly trained."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert main(["fit", str(scenes / "balls"), str(scenes / "twins"), "-o", str(folder), *QUICK]) == 0
    return folder


@pytest.fixture(scope="module")
def removed(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("edited") / "removed"
    assert main(["edit", str(run), "--object", "floor", "--remove", "-o", str(folder)]) == 0
    return folder


def test_an_edited_run_is_a_run_that_shows_the_edit(run, removed):
    before, after = Run.open(run), Run.open(removed)
    assert after.field.edit.edit.removed == ("floor",)
    frame = before.scene.split("train")[2]
    floor = before.field.label_names.index("floor")
    shown = [opened.field.render(frame.camera, frame.time, ("logits",)).labels for opened in (before, after)]
    assert (shown[0] == floor).sum() > 300
    assert (shown[1] == floor).sum() < 0.05 * (shown[0] == floor).sum()
    assert (run / "edit.json").exists() is False


def test_before_and_after_are_filmed(removed):
    video = read_video(removed / "edited.mp4")
    assert (len(video), video.width, video.height) == (6, 128, 36)
    left, right = video[3][:, :64], video[3][:, 64:]
    assert (left - right).abs().mean() > 0.02
    assert (removed / "edited.png").stat().st_size > 1000


def test_an_edited_run_is_measured(removed):
    assert main(["eval", str(removed)]) == 0
    figures = json.loads((removed / "metrics.json").read_text())
    assert figures["labels"]["iou"]["floor"] < 0.2


def test_an_edited_run_is_edited_further(removed, tmp_path):
    background = Run.open(removed).field.names[1]
    arguments = ["--object", "red ball", "--recolor", "0,0,1", "--background", background, "--width", "32"]
    assert main(["edit", str(removed), *arguments, "-o", str(tmp_path / "more")]) == 0
    made = Run.open(tmp_path / "more").field.edit.edit
    assert made == Edit(("floor",), {"red ball": (0, 0, 1)}, background, up=made.up, moving=made.moving)


def test_the_other_video_is_edited(run, tmp_path):
    opened = Run.open(run)
    name = opened.field.names[1]
    made = edit(opened, tmp_path / "made", "floor", clip=name, remove=True, width=32)
    assert made.field.edit.clip is made.field.clips[1]
    assert opened.field.edit is None and opened.field.current == 0


@pytest.mark.parametrize(("arguments", "said"), [
    ([], "nothing to do"),
    (["--object", "floor"], "nothing to do"),
    (["--remove"], "expected the name of what is changed, --object"),
    (["--object", "dog", "--remove"], "object 'dog': expected one of floor,"),
    (["--object", "floor", "--insert", "moon"], "clip 'moon': expected one of balls, twins"),
    (["--background", "moon"], "clip 'moon': expected one of balls, twins"),
    (["--object", "floor", "--remove", "--clip", "moon"], "clip 'moon': expected one of balls, twins"),
    (["--object", "floor", "--remove", "--move", "1,0,0"], "what is removed cannot be changed too"),
    (["--object", "floor", "--duplicate", "1,0,0", "--move", "1,0,0"], "one of duplicate, move and insert"),
    (["--object", "floor", "--scale", "0"], "scale: expected a number above 0"),
    (["--object", "floor", "--remove", "--width", "0"], "width: expected at least 1 pixel"),
    (["--object", "floor", "--freeze", "3"], "time: expected 0 to 1"),
    (["--object", "floor", "--recolor", "255,0,0"], "color: expected three numbers in 0..1"),
])  # fmt: skip
def test_bad_input_is_one_line_and_makes_nothing(run, tmp_path, capsys, arguments, said):
    assert main(["edit", str(run), "-o", str(tmp_path / "made"), *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (tmp_path / "made").exists()


def test_an_edit_of_another_field_is_refused(run, removed, tmp_path, capsys):
    path = removed / "edit.json"
    whole = path.read_text()
    path.write_text(json.dumps(json.loads(whole) | {"of": {"gaussians": 3}}))
    assert main(["render", str(removed), "--path", "train"]) == 2
    error = capsys.readouterr().err
    path.write_text(whole)
    assert "edit.json: of: expected an edit of a field of" in error and error.count("\n") == 1


@pytest.fixture
def gaussians(tmp_path):
    """A run of two balls of Gaussians that drift to the right, of which the red one is selected."""
    spots = torch.randn(300, 3, generator=torch.Generator().manual_seed(0))
    spots = 0.3 * torch.nn.functional.normalize(spots, dim=-1)
    red = torch.arange(300) < 150
    means = spots + torch.where(red[:, None], torch.tensor([-0.6, 0, 0]), torch.tensor([0.5, 0, 0]))
    colors = torch.where(red[:, None], torch.tensor([0.8, 0.3, 0.2]), torch.tensor([0.2, 0.3, 0.8]))
    field = GaussianField(
        means, torch.full((300, 3), -3.0), torch.tensor([1.0, 0, 0, 0]).repeat(300, 1), torch.full((300,), 4.0),
        ((colors - 0.5) / 0.28209479)[:, None], torch.zeros(300, 0, 3), motion=Drift(),
    )
    images = {"image": torch.zeros(48, 64, 3)}
    scene = Scene("drift", [Frame(str(k), CAMERA, k / 2, **images) for k in range(3)], [0, 1, 2])
    scene.save(tmp_path / "scene")
    made = Run.create(tmp_path / "run", "gaussians", {"path": str(tmp_path / "scene")}, {"name": "none"}, {})
    made.save_scene(scene)
    made.__dict__["field"] = field
    field.save(made.folder)
    made.save_object(Selection.of("red", red.float(), 0.5, None, "by hand"))
    return made


class Drift(torch.nn.Module):
    kind = "drift"

    def settings(self):
        return {}

    def pose(self, means, quats, scales, anchors, time):
        return means + torch.tensor([0.4 * time, 0.0, 0.0]), quats, scales


def red_pixels(field, time):
    color = field.render(CAMERA, time).color
    return (color[..., 0] > 0.4).nonzero().float()


def test_gaussians_are_edited_too(gaussians, tmp_path, monkeypatch):
    from semaflow.fields.gaussians import field as module

    monkeypatch.setitem(module.MOTIONS, "drift", Drift)
    before, blue = gaussians.field, gaussians.field.render(CAMERA, 0.0).color[..., 2] > 0.4

    def after(name, **change):
        return edit(gaussians, tmp_path / name, "red", **change).field

    gone = after("gone", remove=True)
    assert len(red_pixels(before, 0.0)) > 60 and not len(red_pixels(gone, 0.0))
    assert torch.equal(gone.render(CAMERA, 0.0).color[..., 2] > 0.4, blue)
    pixel = CAMERA.K[0, 0] / 3
    moved = after("moved", move=(0.2, 0.0, 0.5))
    shift = red_pixels(moved, 0.5).mean(0) - red_pixels(before, 0.5).mean(0)
    assert torch.allclose(shift, torch.tensor([-0.5, 0.2]) * pixel, atol=1.0)
    small = after("small", scale=0.5)
    assert len(red_pixels(small, 0.0)) / len(red_pixels(before, 0.0)) == pytest.approx(0.3, abs=0.1)
    frozen = after("frozen", freeze=0.0)
    assert torch.equal(red_pixels(frozen, 1.0), red_pixels(before, 0.0))
    green = after("green", recolor=(0.1, 0.9, 0.1)).render(CAMERA, 0.0).color
    was = before.render(CAMERA, 0.0).color
    inside = was[..., 0] > 0.6
    assert (green[inside].argmax(-1) == 1).all()
    luma = torch.tensor([0.2126, 0.7152, 0.0722])
    assert torch.allclose(green[inside] @ luma, was[inside] @ luma, atol=1e-3)
    start = torch.tensor([[-0.4, -0.3, 0.5]])
    assert torch.allclose(moved.trajectories(start, 0.0, torch.tensor([0.0, 1.0]))[0, 1] - start[0],
                          torch.tensor([0.4, 0.0, 0.0]), atol=0.02)


def test_what_goes_with_removed_gaussians_is_kept(gaussians, tmp_path, monkeypatch, capsys):
    from semaflow.fields.gaussians import field as module

    monkeypatch.setitem(module.MOTIONS, "drift", Drift)
    edit(gaussians, tmp_path / "gone", "red", remove=True)
    kept = Run.open(tmp_path / "gone").field.edit.hidden["red"]
    assert kept.dtype == torch.bool and kept.shape == (300,)
    twice = edit(Run.open(tmp_path / "gone"), tmp_path / "twice", "red", recolor=(0, 1, 0)).field.edit
    assert torch.equal(twice.hidden["red"], kept)
    write_tensors(tmp_path / "gone" / "hidden.safetensors", {"red": kept[:7]})
    capsys.readouterr()
    assert main(["render", str(tmp_path / "gone"), "--path", "train"]) == 2
    assert "hidden.safetensors: red: expected 300 truth values" in capsys.readouterr().err


def test_a_class_of_gaussians_is_removed(gaussians, tmp_path, monkeypatch):
    from semaflow.fields.gaussians import field as module

    monkeypatch.setitem(module.MOTIONS, "drift", Drift)
    field = gaussians.field
    red = (torch.arange(300) < 150).float()
    field.set_classes(torch.stack([red, 1 - red], 1), ["reds", "blues"])
    field.save(gaussians.folder)
    gone = edit(Run.open(gaussians.folder), tmp_path / "gone", "reds", remove=True).field
    assert not len(red_pixels(gone, 0.0)) and len(red_pixels(field, 0.0))


@pytest.mark.parametrize(("arguments", "said"), [
    (["--object", "red", "--duplicate", "1,0,0"], "Gaussians cannot be repeated"),
    (["--object", "red", "--turn", "30"], "Gaussians cannot be turned"),
    (["--object", "red", "--insert", "drift"], "Gaussians cannot be inserted from another video"),
    (["--object", "blue", "--remove"], "no such object 'blue'; there are: red"),
])  # fmt: skip
def test_what_gaussians_cannot_is_said(gaussians, tmp_path, capsys, monkeypatch, arguments, said):
    from semaflow.fields.gaussians import field as module

    monkeypatch.setitem(module.MOTIONS, "drift", Drift)
    assert main(["edit", str(gaussians.folder), "-o", str(tmp_path / "made"), *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
