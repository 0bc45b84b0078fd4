"""Following an object: masks, trajectories, visibility and boxes against what the ball does."""

import numpy as np
import pytest
import torch
from PIL import Image
from semaflow.scenes import BadInput, Camera
from semaflow.scenes.files import read_json, read_npz
from semaflow.scenes.video import read_video
from semaflow.tasks import __main__ as command_line
from semaflow.tasks.boxes import follow, rotation
from semaflow.tasks.followed import visibility
from semaflow.tasks.run import Run
from semaflow.tasks.selection import Selection
from semaflow.tasks.track import track

from tests.tasks.doubles import BLUE, FRAMES, HEIGHT, RADIUS, RED, WIDTH, BallsField, BallsRun


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    run = BallsRun(tmp_path_factory.mktemp("run"), BallsField())
    for name, body in (("red", RED), ("blue", BLUE)):
        scores = (run.field.body == body).float()
        selection = Selection.of(name, scores, 0.5, None, "by its body")
        run.save_object(selection)
    return run, {name: track(run, run.object(name)) for name in ("red", "blue")}


def test_masks_are_the_true_ones(tracked):
    run, _ = tracked
    for index, frame in enumerate(run.scene.split("train")):
        with Image.open(run.folder / "tracks" / "red" / "masks" / f"{index:05d}.png") as picture:
            mask = torch.from_numpy(np.array(picture) == 255)
        truth = frame.instance == RED
        assert (mask & truth).sum() > 0.95 * (mask | truth).sum()


def test_trajectories_move_with_the_ball(tracked):
    run, followed = tracked
    stored = read_npz(run.folder / "tracks" / "red.npz")
    positions = torch.from_numpy(stored["tracks_XYZ"])
    assert positions.shape == (160, FRAMES, 3)
    assert stored["visibility"].shape == (160, FRAMES) and stored["visibility"].dtype == bool
    assert stored["colors"].shape == (160, 3)
    steps = (positions - positions[:, :1]).numpy()
    expected = [(run.field.offset(t) - run.field.offset(0.0)).numpy() for t in stored["times"]]
    assert np.allclose(steps, np.stack(expected), atol=1e-5)
    assert np.allclose(stored["colors"], [0.85, 0.2, 0.15], atol=1e-4)


def test_the_near_side_is_visible_and_the_far_side_is_not(tracked):
    run, followed = tracked
    red = followed["red"]
    camera = run.scene.cameras[0]
    ball = run.field.offset(0.0)
    outward = (red.positions[:, 0] - ball) / RADIUS
    facing = outward @ torch.nn.functional.normalize(camera.center - ball, dim=0)
    assert red.visible[facing > 0.5, 0].all()
    assert not red.visible[facing < -0.3, 0].any()


def test_what_the_red_ball_hides_is_not_visible(tracked):
    """At mid-time the red ball stands before the blue one as seen from its side."""
    run, followed = tracked
    blue = followed["blue"]
    front = blue.positions[:, 0, 1] < 0.9 - 0.5 * RADIUS
    first, middle = blue.visible[front, 0].float().mean(), blue.visible[front, 2].float().mean()
    assert first > 0.7
    assert middle < first - 0.2


def test_boxes_and_centroid_are_the_balls(tracked):
    run, _ = tracked
    written = read_json(run.folder / "tracks" / "red" / "boxes.json")
    assert written["object"] == "red" and len(written["frames"]) == FRAMES
    for entry in written["frames"]:
        assert entry["centroid"] == pytest.approx(
            run.field.offset(entry["time"]).tolist(), abs=0.01
        )
        size = np.subtract(entry["box"]["max"], entry["box"]["min"])
        assert size == pytest.approx([2 * RADIUS] * 3, rel=0.06)
        assert entry["oriented_box"]["size"] == pytest.approx([2 * RADIUS] * 3, rel=0.06)


def test_overlay_video(tracked):
    run, _ = tracked
    video = read_video(run.folder / "tracks" / "red" / "overlay.mp4")
    assert (len(video), video.width, video.height) == (FRAMES, WIDTH, HEIGHT)
    target = run.scene.frames[0].instance == RED
    shown = video[0]
    assert shown[target][:, 0].mean() > shown[~target][:, 0].mean() + 0.2


def test_number_of_points_is_a_limit(tracked, tmp_path):
    run, _ = tracked
    few = track(run, run.object("red"), points=30, output=tmp_path / "few")
    assert len(few.gaussians) == 30 == len(few.gaussians.unique())
    assert (run.field.body[few.gaussians] == RED).all()
    assert (tmp_path / "red.npz").is_file()
    with pytest.raises(BadInput, match="points: expected at least 1"):
        track(run, run.object("red"), points=0)


def test_visibility_at_edges_and_in_front_of_nothing():
    camera = Camera.look_at((0, -2, 0), (0, 0, 0), 20, 10)
    depth = torch.full((10, 20), 2.0)
    depth[:, 10:] = 0
    points = torch.tensor(
        [[-0.2, 0, 0], [-0.2, 0.5, 0], [-0.2, 0.05, 0], [0.2, 3, 0], [5, 0, 0], [-0.1, -9, 0]]
    )
    seen = visibility(points, camera, depth, 0.1)
    # On the surface, behind it, just behind it, where nothing is drawn, beside the image, behind.
    assert seen.tolist() == [True, False, True, True, False, False]


def test_oriented_box_turns_with_the_object():
    generator = torch.Generator().manual_seed(0)
    points = (torch.rand(400, 3, generator=generator) - 0.5) * torch.tensor([3.0, 2.0, 1.0])
    angle = torch.tensor(0.6)
    turn = torch.eye(3)
    turn[0, 0] = turn[1, 1] = angle.cos()
    turn[0, 1], turn[1, 0] = -angle.sin(), angle.sin()
    moved = points @ turn.T + torch.tensor([5.0, 0, 0])
    first, second = follow(torch.stack([points, moved], 1), torch.ones(400))
    assert second["oriented_box"]["size"] == pytest.approx(first["oriented_box"]["size"], rel=1e-4)
    assert first["oriented_box"]["size"] == pytest.approx([3, 2, 1], rel=0.1)
    before, after = (
        torch.tensor(box["oriented_box"]["rotation"], dtype=torch.float64)
        for box in (first, second)
    )
    relative = after @ before.T
    assert torch.allclose(relative, turn.double(), atol=1e-6)


def test_rotation_is_never_a_mirror():
    flat = torch.rand(50, 3, dtype=torch.float64) * torch.tensor([1.0, 1.0, 0.0])
    flat = flat - flat.mean(0)
    found = rotation(
        flat, flat * torch.tensor([1.0, 1.0, -1.0]), torch.ones(50, dtype=torch.float64)
    )
    assert torch.det(found).item() == pytest.approx(1.0)


def test_unknown_object_is_one_line(tracked, monkeypatch, capsys):
    run, _ = tracked
    monkeypatch.setattr(Run, "open", lambda folder: run)
    assert command_line.main(["track", str(run.folder), "--object", "ghost"]) == 2
    error = capsys.readouterr().err
    assert error == "semaflow track: no such object 'ghost'; there are: blue, red, floor, red ball, blue ball\n"
