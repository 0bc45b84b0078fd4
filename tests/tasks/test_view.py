"""What the viewer shows (plain arrays), and polyscope sessions, each in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from semaflow.scenes import BadInput, Camera
from semaflow.tasks.view import colors as paint
from semaflow.tasks.view import trajectory_screenshot, view
from semaflow.tasks.view.backend import start
from semaflow.tasks.view.framing import overview, seen_by
from semaflow.tasks.view.layers import Layers, spread_ids

from tests.tasks.viewer_doubles import OpenRun, PathField, ball_selection, two_balls

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def world():
    scene, field = two_balls()
    return scene, field, Layers(field, scene, [ball_selection(field)], count=20)


def session(name: str, folder: Path) -> None:
    """Run a session of ``polyscope_sessions`` in a fresh process; its output tells what failed."""
    command = [sys.executable, "-m", "tests.tasks.polyscope_sessions", name, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_panel_on_the_mock_backend(tmp_path):
    session("panel", tmp_path)


def test_pictures_and_picking_offscreen(tmp_path):
    session("offscreen", tmp_path)


def test_points_follow_the_field_and_leave_out_the_faint(world):
    scene, field, layers = world
    points = layers.points(0.5)
    assert torch.equal(points.positions, field.at(0.5).means)
    torch.testing.assert_close(points.colors, field.colors)
    torch.testing.assert_close(points.radii, torch.full((field.count,), field.size))
    faint = PathField(**{**vars(field), "opacities": torch.linspace(0, 1, field.count)})
    kept = Layers(faint, scene, []).points(0.0, opacity=0.5)
    assert torch.equal(kept.ids, (faint.opacities >= 0.5).nonzero()[:, 0])


def test_dimming_spares_the_objects(world):
    _, field, layers = world
    colors = layers.points(0.0, dim=0.5).colors
    chosen = layers.selections["red ball"].selected
    torch.testing.assert_close(colors[chosen], field.colors[chosen])
    torch.testing.assert_close(colors[~chosen], 0.5 + 0.5 * field.colors[~chosen])


def test_colorings(world):
    scene, field, layers = world
    assert layers.colorings == ["color", "semantics", "red ball"]
    semantic = layers.points(0.0, "semantics").colors
    assert (semantic[:60].mean(0) - semantic[60:100].mean(0)).norm() > 0.3, "balls differ"
    score = layers.points(0.0, "red ball").colors
    assert (score[:60, 0] > score[:60, 2] + 0.2).all(), "above the threshold: warm"
    assert (score[60:, 2] > score[60:, 0]).all(), "below: cold"
    with pytest.raises(BadInput, match="expected color, semantics, red ball, got 'nonsense'"):
        layers.points(0.0, "nonsense")
    plain = Layers(PathField(**{**vars(field), "features": None}), scene, [])
    assert plain.colorings == ["color"]


def test_curves_grow_with_time(world):
    _, field, layers = world
    early, late = layers.curves("red ball", 0.3), layers.curves("red ball", 1.0)
    assert early.nodes.shape == late.nodes.shape == (20 * 9, 3)
    assert torch.equal(early.edges, late.edges)
    paths, ids = field.paths, early.ids
    grown, waiting = early.nodes.reshape(20, 9, 3).split([3, 6], 1)  # times 0, 1/8, 2/8 are past
    assert torch.equal(grown, paths[ids, :3])
    assert torch.equal(waiting, field.at(0.3).means[ids, None].expand(-1, 6, -1))
    assert torch.equal(late.nodes.reshape(20, 9, 3), paths[ids])
    assert torch.equal(late.heads, paths[ids, -1])
    # Every edge joins consecutive nodes of one trajectory.
    assert (early.edges[:, 1] - early.edges[:, 0] == 1).all()
    assert (early.edges[:, 0] // 9 == early.edges[:, 1] // 9).all()
    assert len(early.edges) == 20 * 8


def test_curves_pale_into_the_past(world):
    _, _, layers = world
    curves = layers.curves("red ball", 1.0)
    darkness = 1 - curves.colors.reshape(20, 9, 3).mean(-1)
    assert (darkness[:, 1:] > darkness[:, :-1]).all()
    torch.testing.assert_close(curves.colors.reshape(20, 9, 3)[:, -1], curves.head_colors)


def test_trajectories_are_shared_among_objects_and_colored_apart():
    scene, field = two_balls()
    objects = [ball_selection(field), ball_selection(field, "blue ball", 70)]
    layers = Layers(field, scene, objects, count=20)
    red, blue = layers.curves("red ball", 1.0), layers.curves("blue ball", 1.0)
    assert len(red.ids) == len(blue.ids) == 10
    assert (red.head_colors.mean(0) - blue.head_colors.mean(0)).norm() > 0.3
    assert red.head_colors.std(0).max() < 0.1, "noise in the features is no colour"
    plain = Layers(PathField(**{**vars(field), "features": None}), scene, objects)
    assert plain.object_colors("red ball", red.ids).unique(dim=0).shape == (1, 3)


def test_a_new_threshold_changes_what_is_followed():
    scene, field = two_balls()
    layers = Layers(field, scene, [ball_selection(field)], count=500)
    before = layers.curves("red ball", 0.5).ids
    layers.add(layers.selections["red ball"].cut(-1.0))
    assert len(before) == 60 and len(layers.curves("red ball", 0.5).ids) == 500


def test_spread_ids_cover_the_object_with_solid_gaussians():
    line = torch.linspace(0, 1, 101)[:, None, None].expand(-1, 3, 3)
    selected = torch.ones(101, dtype=torch.bool)
    opacities = torch.ones(101)
    opacities[::3] = 0.2
    ids = spread_ids(line, selected, opacities, 5)
    assert (opacities[ids] == 1).all()
    assert line[ids, 0, 0].diff().min() > 0.15, "evenly spread"
    assert torch.equal(spread_ids(line, selected, opacities, 200), torch.arange(101))


def test_overview_sees_all_from_the_cameras_side(world):
    scene, _, layers = world
    focus = layers.focus(1.0)
    eye = overview(scene, focus, 320, 180)
    pixels, depth = eye.project(focus)
    assert (depth > 0).all()
    assert (pixels > 0).all() and (pixels < torch.tensor([320, 180])).all()
    spread = pixels.amax(0) - pixels.amin(0)
    assert (spread / torch.tensor([320, 180])).max() > 0.5, "and does not look from afar"
    assert eye.center[1] < focus[:, 1].mean(), "the training cameras stand at negative y"
    assert eye.center[2] > focus[:, 2].max() * 0.8, "from above"


def test_overview_is_not_fooled_by_a_stray_point(world):
    scene, _, layers = world
    focus = layers.focus(1.0)
    stray = torch.cat([focus, torch.tensor([[0.0, 500.0, 300.0]])])
    with_stray, without = overview(scene, stray, 320, 180), overview(scene, focus, 320, 180)
    assert (with_stray.center - without.center).norm() < 0.3


def test_seen_by_leaves_out_what_no_camera_saw(world):
    scene, _, _ = world
    points = torch.tensor([[0.0, 0, 0.5], [0, -9, 0.5], [0, 30, 40]])
    assert seen_by(scene, points).tolist() == [True, False, False]


def test_vivid_colors_stand_out_from_white():
    random = torch.rand(200, 3, generator=torch.Generator().manual_seed(1))
    strong = paint.vivid(random)
    assert strong.min() >= 0 and strong.max() <= 1
    assert (strong @ torch.tensor([0.299, 0.587, 0.114])).max() < 0.53
    colored = random.amax(-1) - random.amin(-1) > 0.1
    assert torch.equal(strong.argmax(-1)[colored], random.argmax(-1)[colored]), "same hue"


def test_bad_input(world, monkeypatch, tmp_path):
    scene, field, layers = world
    run = OpenRun(tmp_path, scene, field)
    with pytest.raises(BadInput, match="time: expected 0 to 1, got 2"):
        view(run, time=2.0)
    with pytest.raises(BadInput, match="count"):
        view(run, count=0)
    other = ball_selection(PathField(**{**vars(field), "features": field.features[:70]}))
    with pytest.raises(BadInput, match="red ball: selects among 70 Gaussians"):
        layers.add(other)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(BadInput, match="no display.*--screenshot FILE.png"):
        view(run)
    monkeypatch.setitem(sys.modules, "polyscope", None)
    with pytest.raises(BadInput, match=r"pip install semaflow\[view\]"):
        trajectory_screenshot(layers, tmp_path / "x.png")
    with pytest.raises(BadInput, match="polyscope"):
        start("mock")


def test_cameras_may_look_straight_down():
    scene, field = two_balls()
    for frame in scene.frames:
        frame.camera = Camera.look_at((0, 0, 5), (0, 0, 0), 64, 48, up=(0.0, 1.0, 0.0))
    eye = overview(scene, field.paths[:60].reshape(-1, 3), 64, 48)
    assert torch.isfinite(eye.viewmat).all()
    assert (eye.project(field.paths[:60, 4])[1] > 0).all()
