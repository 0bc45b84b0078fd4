"""Nerfies, NR-NeRF, LLFF with the NVIDIA cut, and panoptic layouts."""

import numpy as np
import pytest
import torch
from PIL import Image
from semaflow.scenes import load
from semaflow.scenes.motion.flow import consistency

from tests.reference.captures import DOTS, OPENGL, capture, misses, write_json

CENTER, SCALE = np.array([0.5, -1.0, 2.0]), 0.25


def nerfies(folder, made, time_key="time_id", val=True, **camera):
    """``made`` lies in the unit scene; the files hold raw coordinates."""
    names = made.write_images(folder / "rgb/1x", [f"left1_{index:06d}" for index in range(6)])
    for name, pose in zip(names, made.c2w, strict=True):
        entry = {
            "orientation": pose[:3, :3].T.tolist(),
            "position": (pose[:3, 3] / SCALE + CENTER).tolist(),
            "focal_length": made.K[0, 0],
            "pixel_aspect_ratio": made.K[1, 1] / made.K[0, 0],
            "principal_point": made.K[:2, 2].tolist(),
            "skew": 0.0,
            "radial_distortion": [0.0, 0.0, 0.0],
            "tangential_distortion": [0.0, 0.0],
            "image_size": list(made.size),
            **camera,
        }
        write_json(folder / f"camera/{name}.json", entry)
    write_json(folder / "scene.json", {"center": CENTER.tolist(), "scale": SCALE, "near": 0.1})
    steps = {name: {time_key: 2 * index, "camera_id": 0} for index, name in enumerate(names)}
    write_json(folder / "metadata.json", steps)
    split = {"train_ids": names[::2], "val_ids": names[1::2] if val else []}
    write_json(folder / "dataset.json", {"count": 6, "ids": names, **split})
    np.save(folder / "points.npy", DOTS / SCALE + CENTER)
    return folder


@pytest.mark.parametrize("time_key", ["time_id", "warp_id"])
def test_nerfies(tmp_path, time_key):
    scene = load(nerfies(tmp_path, capture(fx=80.0, fy=76.0, cx=47.0), time_key))
    assert scene.format == "nerfies"
    assert misses(scene) < 0.1
    assert misses(scene, scene.points.positions) < 0.1
    assert scene.times == pytest.approx([0, 0.4, 0.8])
    assert [frame.time for frame in scene.split("test")] == pytest.approx([0.2, 0.6, 1.0])


def test_nerfies_smaller_folder_and_lens(tmp_path):
    made = capture(width=192, height=144, fx=160.0, fy=160.0, distort=_radial)
    folder = nerfies(tmp_path, made, radial_distortion=[0.4, -0.2, 0.05])
    (folder / "rgb/2x").mkdir()
    for file in (folder / "rgb/1x").iterdir():
        Image.open(file).resize((96, 72), Image.Resampling.BOX).save(folder / "rgb/2x" / file.name)
    scene = load(folder)
    assert scene.frames[0].camera.width == 96
    assert misses(scene) < 0.15
    assert load(folder, resolution="1x").frames[0].camera.width == 192


def _radial(points):
    r2 = (points**2).sum(1, keepdims=True)
    return points * (1 + 0.4 * r2 - 0.2 * r2**2 + 0.05 * r2**3)


def test_nerfies_interpolation_split(tmp_path):
    scene = load(nerfies(tmp_path, capture(), val=False), split="interp")
    assert [frame.name[-1] for frame in scene.split("train")] == ["0", "4"]
    assert [frame.name[-1] for frame in scene.split("test")] == ["2"]
    assert len(load(tmp_path, holdout=0).train) == 6


def test_nrnerf(tmp_path):
    made = capture()
    made.write_images(tmp_path / "images")
    head = [[made.size[1]], [made.size[0]], [made.K[0, 0]]]
    poses = [np.hstack([(pose @ OPENGL)[:3], head]).tolist() for pose in made.c2w]
    write_json(tmp_path / "precomputed.json", {"poses": poses, "i_test": [2, 4]})
    scene = load(tmp_path)
    assert scene.format == "nrnerf"
    assert misses(scene) < 0.1
    assert [frame.name for frame in scene.split("test")] == ["002", "004"]
    assert scene.times == pytest.approx([0, 0.2, 0.6, 1])


def llff(folder, made, enlarged=1.0):
    """``enlarged``: how much larger the original images were than the stored ones."""
    names = made.write_images(folder / "images")
    rows = []
    for pose in made.c2w:
        right, down, forward, position = pose[:3].T
        size = np.array([made.size[1], made.size[0], made.K[0, 0]]) * enlarged
        rows.append([*np.stack([down, right, -forward, position, size], -1).ravel(), 1.0, 9.0])
    np.save(folder / "poses_bounds.npy", np.array(rows))
    return names


@pytest.mark.parametrize("enlarged", [1.0, 4.0])
def test_llff(tmp_path, enlarged):
    llff(tmp_path, capture(), enlarged)
    scene = load(tmp_path)
    assert scene.format == "llff"
    assert misses(scene) < 0.1


def test_llff_static(tmp_path):
    llff(tmp_path, capture())
    scene = load(tmp_path, static=True, holdout=3)
    assert {frame.time for frame in scene.frames} == {0.0}
    assert len(scene.test) == 1


def test_second_view_labels_and_flow(tmp_path):
    made = capture()
    names = llff(tmp_path, made)
    ids = np.zeros((72, 96), np.uint8)
    ids[10:20, 30:50], ids[40:, :9] = 2, 255
    for folder in ("labels", "gt_view0_labels"):
        (tmp_path / folder).mkdir()
        for name in names:
            Image.fromarray(ids).save(tmp_path / folder / f"{name}.png")
    still = capture()
    still.images = [made.images[0]] * 6
    still.write_images(tmp_path / "gt_view0")
    rng = np.random.default_rng(0)
    forward, backward = (rng.normal(size=(5, 72, 96, 2)).astype(np.float16) for _ in range(2))
    np.savez(tmp_path / "flow.npz", fwd=forward, bwd=backward)
    disparity = (7000 * rng.random((6, 72, 96))).astype(np.float16)
    np.savez(tmp_path / "disp.npz", disp=disparity)

    scene = load(tmp_path, label_names=["background", "person", "balloon"])
    assert misses(scene) < 0.1
    assert scene.label_names[2] == "balloon"
    assert scene.times == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    tested = scene.split("test")
    assert [frame.time for frame in tested] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1])
    assert all(torch.equal(frame.camera.viewmat, scene.cameras[0].viewmat) for frame in tested)
    frame = scene.frames[3]
    for shown in (frame, tested[0]):
        assert shown.label[15, 40] == 2 and shown.label[50, 3] == -1 and shown.label[0, 0] == 0
        assert torch.equal(shown.mask, torch.tensor(ids != 0))
    assert torch.equal(frame.flow_forward, torch.tensor(forward[3]).float())
    assert torch.equal(frame.flow_backward, torch.tensor(backward[2]).float())
    assert not scene.frames[0].has("flow_backward") and not scene.frames[5].has("flow_forward")
    undone = consistency(torch.tensor(backward[2]).float(), torch.tensor(forward[2]).float())
    assert torch.equal(frame.flow_backward_valid, undone) and undone.any()
    assert torch.equal(frame.disparity, torch.tensor(disparity[3]).float())


def test_panoptic(tmp_path):
    made = capture(3)
    cameras = {}
    for index, name in enumerate(("7", "3", "12")):
        rig = capture(3)
        rig.images = [made.images[index]] * 4
        rig.write_images(tmp_path / f"ims/{name}", [f"{t:06d}" for t in range(4)], ".png")
        cameras[name] = {"K": made.K.tolist(), "w2c": made.w2c[index].tolist()}
        cameras[name] |= {"width": 96, "height": 72}
    (tmp_path / "seg/12").mkdir(parents=True)
    for t in range(4):
        Image.fromarray(np.full((72, 96), 255 * (t % 2), np.uint8)).save(
            tmp_path / f"seg/12/{t:06d}.png"
        )
    order = [{"time": t, "camera": (7, 3, 7, 3)[t]} for t in range(4)]
    head = {"fps": 30, "cameras": cameras, "monocular_train": order, "test_cameras": [12]}
    write_json(tmp_path / "cameras.json", head)
    scene = load(tmp_path)
    assert scene.format == "panoptic" and scene.frame_rate == 30
    assert misses(scene) < 0.1
    train, test = scene.split("train"), scene.split("test")
    assert [frame.name for frame in train] == ["7_000000", "3_000001", "7_000002", "3_000003"]
    assert [frame.time for frame in test] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert [bool(frame.mask.all()) for frame in test] == [False, True, False, True]
    assert not train[0].has("mask")
