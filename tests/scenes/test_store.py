"""Scenes as folders of plain files, and records of the cameras that a run used."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from semaflow.scenes import BadInput, Camera, Frame, PointCloud, Scene, Tracks, load
from semaflow.scenes.files import read_json, write_json
from semaflow.scenes.store import apply_record, load_scene, save_scene, scene_record


def made(count=4) -> Scene:
    """A scene with every layer, points and tracks, of random but repeatable content."""
    draw = torch.Generator().manual_seed(0)

    def uniform(*shape):
        return torch.rand(*shape, generator=draw)

    frames = []
    for index in range(count):
        eye = (index, -4.0, 1.0)
        ids = torch.randint(-1, 400, (3, 6, 8), generator=draw)
        valid = uniform(6, 8) > 0.5
        layers = {"flow_backward": uniform(6, 8, 2), "flow_backward_valid": ~valid} if index else {}
        frames.append(
            Frame(
                f"{index:03d}",
                Camera.look_at(eye, (0, 0, 0), 8, 6),
                index / (count - 1),
                image=uniform(6, 8, 3).mul(255).round() / 255,
                alpha=uniform(6, 8).mul(255).round() / 255,
                mask=uniform(6, 8) > 0.5,
                motion=uniform(6, 8) > 0.5,
                label=ids[0],
                instance=ids[1],
                part=ids[2],
                depth=uniform(6, 8) * 7,
                disparity=uniform(6, 8) * 7000,
                flow_forward=uniform(6, 8, 2),
                flow_forward_valid=valid,
                features=uniform(2, 3, 5).half().float(),
                **layers,
            )
        )
    return Scene(
        "made",
        frames,
        train=[0, 1, 3],
        test=[2],
        points=PointCloud(uniform(7, 3), uniform(7, 3), times=torch.full((7,), torch.nan)),
        tracks=Tracks(
            uniform(5, 3, 3),
            uniform(5, 3) > 0.5,
            torch.tensor([0.0, 0.3, 1]),
            *torch.arange(15).reshape(3, 5),
        ),
        label_names=["ground", "ball"],
        part_names=["all"],
        frame_rate=12.5,
        up=(0.0, -1.0, 0.0),
        background=(1.0, 1.0, 1.0),
        notes=["one line"],
        estimated=True,
    )


def test_everything_comes_back(tmp_path):
    scene = made()
    scene.save(tmp_path / "saved")
    back = load(tmp_path / "saved")
    assert back.format == "semaflow"
    for name in ("name", "train", "test", "label_names", "part_names", "frame_rate", "up",
                 "background", "notes", "posed", "estimated"):  # fmt: skip
        assert getattr(back, name) == getattr(scene, name), name
    for mine, theirs in zip(scene.frames, back.frames, strict=True):
        assert (mine.name, mine.time) == (theirs.name, theirs.time)
        assert torch.equal(mine.camera.K, theirs.camera.K)
        assert torch.equal(mine.camera.viewmat, theirs.camera.viewmat)
        for layer in Frame.LAYERS:
            assert mine.has(layer) == theirs.has(layer)
            if mine.has(layer):
                given, found = getattr(mine, layer), getattr(theirs, layer)
                assert found.dtype == given.dtype, layer
                assert torch.allclose(found, given, atol=1e-6), layer
    for name in ("positions", "colors"):
        assert torch.equal(getattr(back.points, name), getattr(scene.points, name))
    assert back.points.times.isnan().all()
    for name in ("positions", "visible", "times", "label", "instance", "part"):
        assert torch.equal(getattr(back.tracks, name), getattr(scene.tracks, name))


def test_a_scene_without_extras(tmp_path):
    frames = [
        Frame("a b.c", Camera.look_at((0, -4, 1), (0, 0, 0), 8, 6), 0, image=torch.ones(6, 8, 3))
    ]
    Scene("bare", frames, [0]).save(tmp_path / "saved")
    back = load(tmp_path / "saved" / "scene.json")
    assert back.points is None and back.tracks is None
    assert torch.equal(back.frames[0].image, torch.ones(6, 8, 3))


def test_layers_load_when_asked_for(tmp_path):
    made().save(tmp_path / "saved")
    (tmp_path / "saved/depth/001.npz").write_bytes(b"damaged")
    back = load_scene(tmp_path / "saved")
    assert back.frames[0].depth is not None
    with pytest.raises(BadInput, match="001.npz"):
        _ = back.frames[1].depth


def test_saving_replaces_a_saved_scene(tmp_path):
    made().save(tmp_path / "saved")
    back = load_scene(tmp_path / "saved")
    smaller = replace(back, frames=back.frames[:2], train=[0, 1], test=[], notes=["anew"])
    smaller.save(tmp_path / "saved")  # its layers are read from the folder that it replaces
    again = load_scene(tmp_path / "saved")
    assert again.notes == ["anew"] and len(again.frames) == 2
    assert torch.equal(again.frames[1].image, made().frames[1].image)
    assert [entry.name for entry in tmp_path.iterdir()] == ["saved"]


def test_other_folders_are_left_alone(tmp_path):
    """A run folder has a scene.json too, and more that must not be lost."""
    write_json(tmp_path / "run/scene.json", scene_record(made()))
    (tmp_path / "run/config.yaml").write_text("format: 1")
    with pytest.raises(BadInput, match="holds other files"):
        made().save(tmp_path / "run")
    assert (tmp_path / "run/config.yaml").read_text() == "format: 1"


def test_a_failed_save_leaves_what_was_there(tmp_path, monkeypatch):
    made().save(tmp_path / "saved")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    real, calls = np.savez_compressed, []

    def full_disk(*args, **kwargs):
        calls.append(args)
        if len(calls) > 3:
            raise OSError(28, "No space left on device")
        return real(*args, **kwargs)

    monkeypatch.setattr(np, "savez_compressed", full_disk)
    with pytest.raises(BadInput, match="No space left"):
        made().save(tmp_path / "saved")
    with pytest.raises(BadInput, match="No space left"):
        made().save(tmp_path / "new")
    monkeypatch.undo()
    assert before == {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}


@pytest.mark.parametrize("name", ["../out", "a/b", ".hidden", ""])
def test_names_that_are_no_file_names(tmp_path, name):
    frames = [
        Frame(name, Camera.look_at((0, -4, 1), (0, 0, 0), 8, 6), 0, image=torch.ones(6, 8, 3))
    ]
    with pytest.raises(BadInput, match="cannot name a file"):
        Scene("bad", frames, [0]).save(tmp_path / "saved")


def test_ids_too_large(tmp_path):
    scene = made()
    scene.frames[0] = scene.frames[0].with_layers(label=torch.full((6, 8), 70000))
    with pytest.raises(BadInput, match="label of frame 000: expected ids in -1..65534"):
        save_scene(scene, tmp_path / "saved")
    assert not list(tmp_path.iterdir())


def test_a_record_brings_cameras_times_and_splits(tmp_path):
    refined = made()
    camera = Camera.look_at((9.0, -4.0, 2.0), (0, 0, 0), 8, 6)
    refined.frames[1] = refined.frames[1].with_camera(camera)
    kept = replace(refined, frames=refined.frames[:3], train=[0, 2], test=[1], notes=["refined"])
    kept.frames[2].time = 0.9
    write_json(tmp_path / "scene.json", scene_record(kept))
    scene = apply_record(made(), read_json(tmp_path / "scene.json"))
    assert [frame.name for frame in scene.split("train")] == ["000", "002"]
    assert torch.equal(scene.frames[1].camera.viewmat, camera.viewmat)
    assert scene.frames[2].time == 0.9 and scene.notes == ["refined"]
    assert torch.equal(scene.frames[2].image, made().frames[2].image)
    assert len(scene.points) == 7


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda r: r.update(version=99), "version: 99 is newer"),
        (lambda r: r.update(kind="else"), "not a saved scene"),
        (lambda r: r.pop("train"), "train: missing"),
        (lambda r: r["train"].append(17), "train: expected frame numbers below 4"),
        (lambda r: r.update(train=[]), "no training frames"),
        (lambda r: r.update(up=[0, 1]), "up: expected three numbers"),
        (lambda r: r["frames"][1].pop("K"), r"frames\[1\] \(001\): expected K"),
        (lambda r: r["frames"][1].update(width="8"), "width: expected a number"),
        (lambda r: r["frames"][1].update(time=float("nan")), "time: expected a number"),
        (lambda r: r["frames"][1]["viewmat"][0].__setitem__(0, float("nan")), "NaN"),
        (lambda r: r["frames"][1]["viewmat"][0].__setitem__(0, 2.0), "not a rigid"),
        (lambda r: r["frames"][1].update(name="000"), "same name"),
    ],
)
def test_damaged_records(tmp_path, change, message):
    made().save(tmp_path / "saved")
    record = read_json(tmp_path / "saved/scene.json")
    change(record)
    with pytest.raises(BadInput, match=message) as caught:
        apply_record(made(), record)
    assert "\n" not in str(caught.value)
    (tmp_path / "saved/scene.json").write_text(json.dumps(record))
    with pytest.raises(BadInput, match=message):
        load(tmp_path / "saved")


def test_records_of_another_scene():
    record = scene_record(made())
    record["frames"][0]["name"] = "else"
    with pytest.raises(BadInput, match="frame 'else' is not in the scene"):
        apply_record(made(), record)
    record = scene_record(made())
    record["frames"][0].update(width=16, height=12)
    with pytest.raises(BadInput, match="frame 000: expected 16x12, the scene has 8x6"):
        apply_record(made(), record)


def test_a_record_alone_is_no_scene(tmp_path):
    write_json(tmp_path / "scene.json", scene_record(made()))
    with pytest.raises(BadInput, match="holds no image"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["../../secret", "a/../../../secret"])
def test_paths_out_of_the_folder(tmp_path, name):
    made().save(tmp_path / "saved")
    record = read_json(tmp_path / "saved/scene.json")
    record["frames"][0]["name"] = name
    write_json(tmp_path / "saved/scene.json", record)
    with pytest.raises(BadInput, match="points outside"):
        load(tmp_path / "saved")


@pytest.mark.parametrize(
    "file, arrays, message",
    [
        ("points", {"positions": np.zeros((3, 3))}, "colors: missing"),
        (
            "points",
            {"positions": np.zeros((3, 2)), "colors": np.zeros((3, 3))},
            "positions: expected",
        ),
        ("points", {"positions": np.zeros((3, 3)), "colors": np.zeros((2, 3))}, "colors: expected"),
        (
            "tracks",
            {"positions": np.zeros((3, 4, 3)), "visible": np.zeros((3, 5))},
            "visible: expect",
        ),
    ],
)
def test_damaged_points_and_tracks(tmp_path, file, arrays, message):
    made().save(tmp_path / "saved")
    np.savez(tmp_path / f"saved/{file}.npz", **arrays)
    with pytest.raises(BadInput, match=message):
        load(tmp_path / "saved")
