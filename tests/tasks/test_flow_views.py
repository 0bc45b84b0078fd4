"""Flow runs rendered, followed and looked at: classes by their pixels, matter by its trajectories."""

import numpy as np
import pytest
import torch
from PIL import Image
from semaflow.scenes import BadInput, simulate
from semaflow.scenes.files import read_json, read_npz
from semaflow.scenes.video import read_video
from semaflow.tasks.__main__ import main
from semaflow.tasks.fit_flow import fit_flow
from semaflow.tasks.painters import painter
from semaflow.tasks.run import Run
from semaflow.tasks.track_class import track_class
from semaflow.tasks.view.surfels import SurfelLayers

from tests.tasks.doubles import BLUE, FRAMES, RADIUS, RED, BallsFlow, flow_run
from tests.tasks.test_view import session


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    run = flow_run(tmp_path_factory.mktemp("run"))
    return run, track_class(run, "red ball", 100)


def test_masks_of_a_class_are_the_true_ones(tracked):
    run, _ = tracked
    folder = run.folder / "tracks" / "red ball"
    for index, frame in enumerate(run.scene.split("train")):
        with Image.open(folder / "masks" / f"{index:05d}.png") as picture:
            mask = torch.from_numpy(np.array(picture) == 255)
        truth = frame.instance == RED
        assert (mask & truth).sum() > 0.9 * (mask | truth).sum()
    assert len(read_video(folder / "overlay.mp4")) == FRAMES


def test_points_lie_on_the_class_and_go_with_it(tracked):
    run, followed = tracked
    stored = read_npz(run.folder / "tracks" / "red ball.npz")
    positions = torch.from_numpy(stored["tracks_XYZ"])
    assert positions.shape == (100, FRAMES, 3) and set(stored) == {"tracks_XYZ", "visibility", "colors", "times"}
    center = run.field.balls.offset(0.0)
    assert ((positions[:, 0] - center).norm(dim=-1) - RADIUS).abs().median() < 0.1 * RADIUS
    steps = torch.stack([run.field.balls.offset(t) - center for t in stored["times"]])
    assert torch.allclose(positions - positions[:, :1], steps.expand_as(positions), atol=1e-5)
    assert (followed.colors - torch.tensor([0.85, 0.2, 0.15])).abs().amax(-1).median() < 0.1
    assert followed.visible[:, 0].float().mean() > 0.95, "they were seen in the first frame"


def test_what_something_hides_is_not_visible(tmp_path):
    """At mid-time the red ball stands before the blue one as seen from its side."""
    visible = track_class(flow_run(tmp_path), "blue ball").visible.float().mean(0)
    assert visible[0] > 0.9 and visible[2] < visible[0] - 0.2


def test_a_class_that_is_seen_later_is_followed_both_ways(tmp_path):
    run = flow_run(tmp_path, since=0.4)
    followed = track_class(run, "red ball", 50)
    masks = sorted((run.folder / "tracks" / "red ball" / "masks").glob("*.png"))
    assert [np.asarray(Image.open(mask)).any() for mask in masks] == [False, False, True, True, True]
    for k, time in enumerate(followed.times.tolist()):
        away = (followed.positions[:, k] - run.field.balls.offset(time)).norm(dim=-1)
        assert (away - RADIUS).abs().median() < 0.1 * RADIUS


def test_a_class_that_is_never_seen_is_bad_input(tmp_path):
    with pytest.raises(BadInput, match="red ball: the field shows this class in no training frame"):
        track_class(flow_run(tmp_path, since=2.0), "red ball")


def test_classes_are_shown_in_colours(tmp_path):
    run = flow_run(tmp_path)
    frame = run.scene.frames[0]
    shown = painter(run.field, run.scene).paint(run.field.at(0.0), frame.camera, ("rgb", "semantics"))
    assert torch.allclose(shown["rgb"], frame.image, atol=1e-5)
    means = [shown["semantics"][frame.instance == body].mean(0) for body in (0, RED, BLUE)]
    assert min((means[i] - means[j]).abs().max() for i in range(3) for j in range(i)) > 0.2
    with pytest.raises(BadInput, match="expected rgb, depth, semantics, correspondence, got features"):
        painter(run.field, run.scene).check(["features"])
    run.field.label_names = []
    with pytest.raises(BadInput, match="semantics: the field knows no classes"):
        painter(run.field, run.scene).check(["semantics"])


def test_the_viewer_shows_surfaces_that_move(tmp_path):
    run = flow_run(tmp_path)
    layers = SurfelLayers(run.field, run.scene, count=20)
    assert list(layers.selections) == ["red ball"], "of all classes, those that move"
    for time in (0.0, 0.3, 1.0):
        points = layers.points(time, opacity=0.1)
        red = points.positions[layers.selections["red ball"].selected]
        away = (red - run.field.balls.offset(time)).norm(dim=-1)
        # The ball is of Gaussians that reach beyond it; nothing hangs between its outline and the floor behind.
        assert ((away - RADIUS).abs() < 0.1).float().mean() > 0.95
    curves = layers.curves("red ball", 1.0)
    nodes = curves.nodes.reshape(20, FRAMES, 3)
    step = run.field.balls.offset(1.0) - run.field.balls.offset(0.0)
    assert ((nodes[:, -1] - nodes[:, 0]) - step).norm(dim=-1).median() < 1e-4
    colors = layers.points(0.0, "semantics").colors
    label = layers.field.label
    assert all(len(colors[label == body].unique(dim=0)) == 1 for body in (0, RED, BLUE))
    seen = layers.render(run.scene.cameras[0], 0.0)
    assert torch.equal(seen.color, run.field.render(run.scene.cameras[0], 0.0).color), "the field's own picture"


def test_classes_of_the_viewer_are_those_asked_for(tmp_path):
    run = flow_run(tmp_path)
    layers = SurfelLayers(run.field, run.scene, ["blue ball", "red ball"], count=20)
    blue, red = layers.curves("blue ball", 1.0), layers.curves("red ball", 1.0)
    assert len(blue.ids) == len(red.ids) == 10
    assert (blue.head_colors - red.head_colors).abs().max() > 0.3
    with pytest.raises(BadInput, match="no such class 'cat'; there are: floor, red ball, blue ball"):
        SurfelLayers(run.field, run.scene, ["cat"])


def test_a_field_without_classes_can_be_looked_at(tmp_path):
    run = flow_run(tmp_path)
    field = BallsFlow()
    field.label_names = []
    layers = SurfelLayers(field, run.scene)
    assert layers.colorings == ["color"] and len(layers.points(0.5).positions) > 1000


def test_a_picture_of_surfaces_offscreen(tmp_path):
    session("surfels", tmp_path)


# The command line, on a run of two videos.


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A flow field of two videos, hardly trained."""
    folder = tmp_path_factory.mktemp("flow")
    for number, name in enumerate(("balls", "twins")):
        simulate(name, frames=4 + number, width=48, height=28, samples=1, test=1).save(folder / name)
    fit_flow([folder / "balls", folder / "twins"], folder / "run", "tiny", encoder="given", static_iterations=2,
             dynamic_iterations=2)  # fmt: skip
    return folder / "run"


def test_every_channel_of_a_flow_run(run):
    assert main(["render", str(run), "--channels", "rgb,depth,semantics,correspondence", "--frames", "2"]) == 0
    for channel in ("rgb", "depth", "semantics", "correspondence"):
        assert len(list((run / "renders" / "orbit" / channel).glob("*.png"))) == 2


def test_a_clip_is_that_video(run):
    assert main(["render", str(run), "--path", "train", "--clip", "twins"]) == 0
    opened = Run.open(run)
    pictures = sorted((run / "renders" / "twins" / "train" / "rgb").glob("*.png"))
    assert len(pictures) == len(opened.scenes[1].train) == 5
    frame = opened.scenes[1].split("train")[2]
    color = opened.field.of("twins").render(frame.camera, frame.time).color.clamp(0, 1)
    with Image.open(pictures[2]) as picture:
        assert np.abs(np.asarray(picture) / 255 - color.numpy()).max() < 0.01
    assert opened.clip()[1] is opened.scenes[0] and opened.field.current == 0, "the first, whichever was shown last"


def test_the_commonest_class_is_tracked_in_either_clip(run):
    opened = Run.open(run)
    for name, frames in (("balls", 4), ("twins", 5)):
        field, scene = opened.clip(name)
        frame = scene.split("train")[0]
        label = field.render(frame.camera, frame.time, ("logits",)).labels
        shown = field.label_names[int(label.flatten().mode().values)]
        assert main(["track", str(run), "--object", shown, "--clip", name, "--points", "20"]) == 0
        stored = read_npz(run / "tracks" / name / f"{shown}.npz")
        assert stored["tracks_XYZ"].shape == (20, frames, 3)
        assert len(list((run / "tracks" / name / shown / "masks").glob("*.png"))) == frames


def test_either_clip_is_measured(run):
    assert main(["eval", str(run)]) == 0 and main(["eval", str(run), "--clip", "twins"]) == 0
    figures = read_json(run / "metrics.json")
    own = figures["clips"]["twins"]
    assert own["tracks"]["epe_median"] != figures["tracks"]["epe_median"]
    assert own["psnr"] != figures["psnr"] and own["labels"]["frames"] == figures["labels"]["frames"] == 1
    assert set(figures["clips"]) == {"balls", "twins"}


@pytest.mark.parametrize(("arguments", "said"), [
    (["render", "--channels", "features"], "channels: expected rgb, depth, semantics, correspondence, got features"),
    (["render", "--clip", "cats"], "clip 'cats': expected one of balls, twins"),
    (["track", "--object", "cat"], "no such class 'cat'; there are: "),
    (["track", "--object", "cat", "--clip", "cats"], "clip 'cats': expected one of balls, twins"),
    (["track", "--object", "cat", "--refine"], "needs a run of --method gaussians"),
    (["track", "--object", "cat", "--points", "0"], "points: expected at least 1"),
    (["view", "--object", "cat", "--screenshot", "a.png"], "no such class 'cat'; there are: "),
    (["eval", "--clip", "cats"], "clip 'cats': expected one of balls, twins"),
    (["view", "--clip", "cats", "--screenshot", "a.png"], "clip 'cats': expected one of balls, twins"),
    (["export", "--ply", "a.ply"], "needs a run of --method gaussians"),
])  # fmt: skip
def test_bad_input_is_one_line(run, tmp_path, monkeypatch, capsys, arguments, said):
    monkeypatch.chdir(tmp_path)
    verb, *rest = arguments
    assert main([verb, str(run), *rest]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())
