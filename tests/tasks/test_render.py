"""Camera paths, the channels drawn along them, and the files that come of it."""

import json

import pytest
import torch
from PIL import Image
from semaflow.scenes import BadInput, Camera, Frame, Scene
from semaflow.scenes.video import read_video
from semaflow.tasks import __main__ as command_line
from semaflow.tasks.painters import painter
from semaflow.tasks.paths import camera_path, read_path
from semaflow.tasks.render import looked_at, render
from semaflow.tasks.run import Run
from semaflow.tasks.selection import Selection

from tests.tasks.doubles import BLUE, FRAMES, HEIGHT, RED, WIDTH, BallsField, BallsRun


@pytest.fixture
def run(tmp_path):
    return BallsRun(tmp_path, BallsField())


def record(camera: Camera, time: float = 0.0, **changes) -> dict:
    values = {
        "K": camera.K.tolist(),
        "viewmat": camera.viewmat.tolist(),
        "width": camera.width,
        "height": camera.height,
        "time": time,
    }
    return values | changes


def test_training_and_test_paths_are_the_scenes_cameras(run):
    path = camera_path("train", run.scene, torch.zeros(3))
    assert [time for _, time in path] == run.scene.times
    assert [camera for camera, _ in path] == run.scene.cameras
    assert len(camera_path("test", run.scene, torch.zeros(3))) == 2
    run.scene.test.clear()
    with pytest.raises(BadInput, match="no test frames"):
        camera_path("test", run.scene, torch.zeros(3))


def test_orbit_looks_at_the_focus_from_the_cameras_distance(run):
    focus = torch.tensor([0.0, 0.3, 0.0])
    path = camera_path("orbit", run.scene, focus, 12)
    assert [time for _, time in path] == pytest.approx([i / 11 for i in range(12)])
    distance = (run.scene.cameras[2].center - focus).norm()
    for camera, _ in path:
        pixel, depth = camera.project(focus)
        assert torch.allclose(pixel, torch.tensor([WIDTH / 2, HEIGHT / 2]), atol=1e-3)
        assert depth.item() == pytest.approx(distance.item(), rel=1e-3)
        assert camera.viewmat[1, 2] < 0  # the image's down is the world's down
    sides = torch.stack([camera.center for camera, _ in path])
    assert sides[:, 1].max() < 0.3  # a sway: it never goes behind what was filmed from one side


def test_orbit_goes_all_around_what_was_filmed_from_all_around(run):
    frames = []
    for index in range(8):
        angle = torch.tensor(index * 2 * torch.pi / 8)
        eye = (3 * angle.cos().item(), 3 * angle.sin().item(), 1.0)
        camera = Camera.look_at(eye, (0, 0, 0), 32, 24)
        frames.append(Frame(str(index), camera, index / 7, image=torch.zeros(24, 32, 3)))
    path = camera_path("orbit", Scene("ring", frames, list(range(8))), torch.zeros(3), 8)
    centers = torch.stack([camera.center for camera, _ in path])
    assert centers[:, :2].mean(0).norm() < 0.3 * centers[0, :2].norm()


def test_focus_is_on_what_the_middle_camera_sees(run):
    frame = run.scene.frames[2]
    focus = looked_at(run.field, run.scene)
    pixel, depth = frame.camera.project(focus)
    assert pixel.tolist() == pytest.approx([WIDTH / 2, HEIGHT / 2], abs=0.1)
    assert 2.0 < depth.item() < 4.5


def test_path_from_a_file(run, tmp_path):
    camera = run.scene.cameras[1]
    file = tmp_path / "cameras.json"
    file.write_text(json.dumps({"cameras": [record(camera, 0.25), record(camera, 1.0)]}))
    path = read_path(file)
    assert [time for _, time in path] == [0.25, 1.0]
    assert torch.allclose(path[0][0].viewmat, camera.viewmat, atol=1e-6)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"time": 1.5}, "time: expected 0 to 1, got 1.5"),
        ({"time": None}, "expected numbers"),
        ({"viewmat": [[float("nan")] * 4] * 4}, "NaN or infinity"),
        ({"viewmat": [[2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]]}, "not a rigid"),
        ({"K": [[1, 2], [3, 4]]}, "expected K 3x3"),
        ({"width": 0}, "image size must be positive"),
    ],
)
def test_unusable_paths_name_the_camera(run, tmp_path, change, message):
    file = tmp_path / "cameras.json"
    camera = run.scene.cameras[1]
    file.write_text(json.dumps({"cameras": [record(camera), record(camera, **change)]}))
    with pytest.raises(BadInput, match=r"cameras.json: cameras\[1\]: .*" + message):
        read_path(file)


def test_files_that_hold_no_path(tmp_path):
    file = tmp_path / "cameras.json"
    for text, message in (("{}", "at least one camera"), ("[", "not valid JSON")):
        file.write_text(text)
        with pytest.raises(BadInput, match=message):
            read_path(file)
    with pytest.raises(BadInput, match="no such file"):
        read_path(tmp_path / "missing.json")
    file.write_text(json.dumps({"cameras": [{"time": 0}]}))
    with pytest.raises(BadInput, match=r"cameras\[0\]: K: missing"):
        read_path(file)


def test_every_channel_becomes_pictures_and_a_video(run):
    for name, body in (("red", RED), ("blue", BLUE)):
        run.save_object(Selection.of(name, (run.field.body == body).float(), 0.5, None, "body"))
    folder = render(run, "train", ("rgb", "depth", "features", "semantics", "objects"))
    assert folder == run.folder / "renders" / "train"
    for channel in ("rgb", "depth", "features", "semantics", "objects"):
        assert len(list((folder / channel).glob("*.png"))) == FRAMES
        assert len(read_video(folder / f"{channel}.mp4")) == FRAMES
    with Image.open(folder / "rgb" / "00000.png") as picture:
        assert picture.size == (WIDTH, HEIGHT)


def test_channels_show_what_they_say(run):
    frame = run.scene.frames[0]
    objects = [
        Selection.of(name, (run.field.body == body).float(), 0.5, None, "body")
        for name, body in (("red", RED), ("blue", BLUE))
    ]
    drawer = painter(run.field, run.scene, objects)
    state = run.field.at(0.0)
    shown = drawer.paint(state, frame.camera, ("rgb", "depth", "features", "semantics", "objects"))
    for channel, image in shown.items():  # painted together as each by itself
        assert torch.allclose(drawer.paint(state, frame.camera, (channel,))[channel], image, atol=1e-5)
    inside = {body: frame.instance == body for body in (0, RED, BLUE)}
    assert torch.allclose(shown["rgb"], frame.image, atol=1e-5)
    near, far = shown["depth"][-4:].mean(), shown["depth"][frame.instance == 0].min()
    assert near > far  # the floor's near edge is brighter than its far one
    means = [shown["features"][mask].mean(0) for mask in inside.values()]
    for i in range(3):
        for j in range(i):
            assert (means[i] - means[j]).abs().max() > 0.3
    colors = [shown["objects"][inside[body]].mean(0) for body in (RED, BLUE)]
    assert (colors[0] - colors[1]).abs().max() > 0.2
    empty = state.render(frame.camera).alpha < 0.01
    assert empty.any() and (shown["features"][empty] < 0.02).all()


def test_width_and_output_folder(run, tmp_path):
    folder = render(run, "orbit", ("rgb",), frames=2, width=32, output=tmp_path / "here")
    with Image.open(folder / "rgb" / "00001.png") as picture:
        assert picture.size == (32, 24)


BAD = [
    (["--channels", "rgb,xray"], "expected rgb, depth, features, semantics, objects, correspondence, got xray"),
    (["--channels", "objects"], "objects: the run has none yet; name one with semaflow select"),
    (["--channels", ","], "got none"),
    (["--clip", "first"], "clip 'first': the run is of one video alone"),
    (["--path", "nowhere.json"], "nowhere.json: no such file"),
    (["--frames", "0"], "frames: expected at least 1"),
    (["--width", "0"], "width: expected at least 1"),
]


def spread(image, frame):
    """How much the mean colours of floor, red and blue ball differ, pair by pair."""
    means = [image[frame.instance == body].mean(0) for body in (0, RED, BLUE)]
    return [(means[i] - means[j]).abs().max().item() for i, j in ((0, 1), (0, 2), (1, 2))]


def test_classes_and_objects_are_channels_of_their_own(run):
    """What is selected hides no class; and what is not selected is grey among the objects, whatever its class."""
    frame = run.scene.frames[0]
    red = Selection.of("red", (run.field.body == RED).float(), 0.5, None, "body")
    bare, chosen = painter(run.field, run.scene), painter(run.field, run.scene, [red])
    state = run.field.at(0.0)
    classes = bare.paint(state, frame.camera, ("semantics",))["semantics"]
    assert min(spread(classes, frame)) > 0.2
    both = chosen.paint(state, frame.camera, ("semantics", "objects"))
    assert torch.allclose(both["semantics"], classes, atol=1e-5)
    colored = both["objects"].amax(-1) - both["objects"].amin(-1)
    assert colored[frame.instance == RED].mean() > 0.2
    assert colored[frame.instance == BLUE].quantile(0.9) < 1e-5
    with pytest.raises(BadInput, match="objects: the run has none yet"):
        bare.check(["objects"])


def test_a_field_without_classes_shows_its_objects_alone(run):
    run.field.label_names = []
    red = Selection.of("red", (run.field.body == RED).float(), 0.5, None, "body")
    drawer = painter(run.field, run.scene, [red])
    drawer.check(["objects"])
    with pytest.raises(BadInput, match="semantics: the field knows no classes, .* selected things are objects"):
        drawer.check(["semantics"])


def test_help_says_what_every_channel_shows(capsys):
    with pytest.raises(SystemExit):
        command_line.main(["render", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for words in ("semantics: the classes of labels that were learned", "objects: what was selected by name"):
        assert words in shown


def test_the_same_matter_has_the_same_colour_at_all_times(run):
    """Pixels of the ball, and the pixels where the same places of its surface are seen later."""
    first, last = run.scene.frames[0], run.scene.frames[4]
    drawer = painter(run.field, run.scene)
    shown = [
        drawer.paint(run.field.at(f.time), f.camera, ("correspondence",))["correspondence"] for f in (first, last)
    ]
    depth = run.field.render(first.camera, 0.0, ("depth",)).depth
    # Away from the outline, where depth is a mean of ball and floor.
    inner = torch.nn.functional.avg_pool2d((first.instance == RED).float()[None, None], 5, 1, 2)[0, 0] > 0.99
    rows, columns = inner.nonzero().unbind(1)
    pixels = torch.stack([columns, rows], -1) + 0.5
    points = first.camera.unproject(pixels, depth[rows, columns])
    later, _ = last.camera.project(points + run.field.offset(1.0) - run.field.offset(0.0))
    column, row = later.floor().long().unbind(1)
    same = (shown[0][rows, columns] - shown[1][row, column]).abs().amax(-1)
    assert same.median() < 0.1 and same.quantile(0.9) < 0.25
    assert shown[0][rows, columns].std(0).amax() > 0.15, "parts of the ball differ"
    still = (first.instance == BLUE) | (first.instance == 0)
    grey = shown[0][still]
    assert (grey.amax(-1) - grey.amin(-1)).quantile(0.9) < 1e-5, "what stands still stays grey"


@pytest.mark.parametrize("arguments, message", BAD, ids=[" ".join(a) for a, _ in BAD])
def test_bad_input_is_one_line_and_exit_code_2(run, monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(Run, "open", lambda folder: run)
    assert command_line.main(["render", str(run.folder), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
