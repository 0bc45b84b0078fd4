"""Exports are read back by independent readers: plyfile, trimesh, and the formats' own rules."""

import json
import re
import struct

import numpy as np
import pytest
import torch
import trimesh
from semaflow.fields.gaussians.ply import read_ply
from semaflow.scenes import BadInput, Camera
from semaflow.tasks.animation import Animation, linear, upright
from semaflow.tasks.export import export
from semaflow.tasks.glb import write_glb
from semaflow.tasks.usd import identifier, write_usd
from semaflow.tasks.view.layers import Layers

from tests.tasks.viewer_doubles import OpenRun, ball_selection, two_balls


@pytest.fixture()
def run(tmp_path):
    scene, field = two_balls()
    return OpenRun(tmp_path, scene, field, {"red ball": ball_selection(field)})


def test_ply_at_a_time_and_of_an_object(run, tmp_path):
    export(run, ply=tmp_path / "all.ply", time=0.5)
    state = read_ply(tmp_path / "all.ply")
    torch.testing.assert_close(state.means, run.field.at(0.5).means)
    export(run, ply=tmp_path / "ball.ply", objects=["red ball"])
    ball = read_ply(tmp_path / "ball.ply")
    torch.testing.assert_close(ball.means, run.field.paths[:60, 0])


def test_ply_sequence(run, tmp_path):
    written = export(run, ply_sequence=tmp_path / "poses", objects=["red ball"])
    assert [path.name for path in written] == [f"{i:05d}.ply" for i in range(9)]
    for index in (0, 4, 8):
        torch.testing.assert_close(read_ply(written[index]).means, run.field.paths[:60, index])


def glb_parts(path) -> tuple[dict, bytes]:
    data = path.read_bytes()
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    size, kind = struct.unpack_from("<I4s", data, 12)
    assert kind == b"JSON" and size % 4 == 0
    rest, kind = struct.unpack_from("<I4s", data, 20 + size)
    assert kind == b"BIN\0" and rest % 4 == 0 and 28 + size + rest == len(data)
    return json.loads(data[20 : 20 + size]), data[28 + size :]


def array(tree: dict, data: bytes, index: int) -> np.ndarray:
    entry = tree["accessors"][index]
    view = tree["bufferViews"][entry["bufferView"]]
    kind = {5126: "<f4", 5123: "<u2", 5125: "<u4"}[entry["componentType"]]
    width = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[entry["type"]]
    assert view["byteOffset"] % 4 == 0
    assert view["byteLength"] == entry["count"] * width * np.dtype(kind).itemsize
    values = np.frombuffer(data, kind, entry["count"] * width, view["byteOffset"])
    values = values.reshape(entry["count"], width)
    if "min" in entry:
        assert np.allclose(entry["min"], values.min(0)) and np.allclose(entry["max"], values.max(0))
    return values


def test_glb_opens_in_another_program(run, tmp_path):
    export(run, glb=tmp_path / "run.glb")
    scene = trimesh.load(tmp_path / "run.glb")
    assert set(scene.geometry) == {"still", "moving", "red ball trajectories"}
    assert len(scene.geometry["moving"].vertices) == 60, "the red ball moves, nothing else does"
    assert len(scene.geometry["still"].vertices) == run.field.count - 60
    # z is up in the scene, y in glTF; the floor is at 0.
    low, high = scene.bounds
    assert low[1] == pytest.approx(-0.0, abs=1e-5) and high[1] < 2


def test_glb_moves_points_as_the_field_does(run, tmp_path):
    export(run, glb=tmp_path / "run.glb")
    tree, data = glb_parts(tmp_path / "run.glb")
    mesh = next(mesh for mesh in tree["meshes"] if mesh["name"] == "moving")
    primitive = mesh["primitives"][0]
    base = array(tree, data, primitive["attributes"]["POSITION"])
    targets = np.stack(
        [array(tree, data, target["POSITION"]) for target in primitive["targets"]]
    )
    animation = tree["animations"][0]
    assert tree["nodes"][animation["channels"][0]["target"]["node"]]["name"] == "moving"
    sampler = animation["samplers"][0]
    seconds = array(tree, data, sampler["input"])[:, 0]
    weights = array(tree, data, sampler["output"]).reshape(len(seconds), len(targets))
    assert len(mesh["weights"]) == len(targets)
    assert seconds[0] == 0 and seconds[-1] == pytest.approx(8 / run.scene.frame_rate)
    for time in (0.0, 0.3, 1.0):  # in between as a player does: linear in the weights
        now = [np.interp(time * seconds[-1], seconds, column) for column in weights.T]
        moved = base + np.tensordot(now, targets, 1)
        assert np.allclose(moved, run.field.at(time).means[:60], atol=1e-5)


def test_glb_trajectories_and_linear_colors(run, tmp_path):
    export(run, glb=tmp_path / "run.glb", count=10)
    tree, data = glb_parts(tmp_path / "run.glb")
    mesh = next(mesh for mesh in tree["meshes"] if mesh["name"] == "red ball trajectories")
    lines = mesh["primitives"][0]
    assert lines["mode"] == 1
    curves = Layers(run.field, run.scene, [run.object("red ball")], 10).curves("red ball", 1.0)
    assert np.allclose(array(tree, data, lines["attributes"]["POSITION"]), curves.nodes)
    indices = array(tree, data, lines["indices"]).reshape(-1, 2)
    assert np.array_equal(indices, curves.edges)
    still = next(mesh for mesh in tree["meshes"] if mesh["name"] == "still")["primitives"][0]
    color = array(tree, data, still["attributes"]["COLOR_0"])[-1] / 65535
    assert color == pytest.approx([0.2140, 0.2140, 0.2140, 1], abs=1e-3)  # sRGB 0.5 is 21% light
    assert linear(torch.tensor([0.0, 1.0])).tolist() == [0, 1]


def test_usd_text(run, tmp_path):
    run.save_object(ball_selection(run.field, "blue ball", 70))
    export(run, usd=tmp_path / "run.usda", count=10)
    text = (tmp_path / "run.usda").read_text()
    assert text.startswith("#usda 1.0\n") and 'upAxis = "Y"' in text
    assert text.count("{") == text.count("}") and text.count("[") == text.count("]")
    prims = re.findall(r'def (\w+) "(\w+)"', text)
    assert prims == [
        ("Xform", "World"),
        ("Points", "still"),
        ("Points", "moving"),
        ("BasisCurves", "blue_ball"),
        ("BasisCurves", "red_ball"),
    ]
    moving = text.split('"moving"')[1].split("def ")[0]
    samples = re.findall(r"^ +([\d.]+): \[(.*)\],$", moving, re.M)
    assert [float(code) for code, _ in samples] == list(range(9))
    for code, row in samples:
        points = np.array([float(v) for v in re.findall(r"[-\d.e]+", row)]).reshape(-1, 3)
        assert np.allclose(points, run.field.paths[:60, int(code)], atol=1e-4)
    taken = {"still"}
    words = [identifier(name, taken) for name in ("still", "2 balls", "still", "a-b")]
    assert words == ["still_", "_2_balls", "still__", "a_b"]


def test_upright_turns_up_to_y_and_cameras_to_z(run):
    R = upright(run.scene)
    torch.testing.assert_close(R @ R.T, torch.eye(3))
    assert torch.det(R) > 0
    torch.testing.assert_close(R @ torch.tensor(run.scene.up), torch.tensor([0.0, 1.0, 0.0]))
    eye = torch.stack([camera.center for camera in run.scene.cameras]).mean(0)
    assert (R @ eye)[2] > 2, "who opens the file looks from the cameras' side"
    for frame in run.scene.frames:
        frame.camera = Camera.look_at((0, 0, 5), (0, 0, 0), 64, 48, up=(0.0, 1.0, 0.0))
    assert torch.isfinite(upright(run.scene)).all()


def test_a_single_frame_has_nothing_that_moves(run, tmp_path):
    run.scene.train = [0]
    animation = Animation.of(Layers(run.field, run.scene, [run.object("red ball")]))
    assert len(animation.moving.ids) == 0 and not animation.curves
    write_glb(tmp_path / "one.glb", animation)
    assert set(trimesh.load(tmp_path / "one.glb").geometry) == {"still"}
    write_usd(tmp_path / "one.usda", animation)
    assert "timeSamples" not in (tmp_path / "one.usda").read_text()


def test_bad_input(run, tmp_path):
    with pytest.raises(BadInput, match="expected one of ply, ply_sequence, glb and usd"):
        export(run)
    with pytest.raises(BadInput, match="time: expected 0 to 1, got -1"):
        export(run, ply=tmp_path / "x.ply", time=-1)
    with pytest.raises(BadInput, match="count"):
        export(run, glb=tmp_path / "x.glb", count=0)
    with pytest.raises(BadInput, match=r"x\.usdz: expected a name ending in \.usda or \.usd"):
        export(run, usd=tmp_path / "x.usdz")
    (tmp_path / "file").write_text("kept")
    for target in ({"glb": tmp_path / "file" / "x.glb"}, {"ply_sequence": tmp_path / "file"}):
        with pytest.raises(BadInput, match="could not be written"):
            export(run, **target)
    assert (tmp_path / "file").read_text() == "kept"
    run.field.opacities = torch.full((run.field.count,), 0.01)
    with pytest.raises(BadInput, match="no Gaussian is as opaque"):
        export(run, glb=tmp_path / "x.glb")
    assert not (tmp_path / "x.glb").exists()
