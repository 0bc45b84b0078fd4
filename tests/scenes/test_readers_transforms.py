"""nerfstudio and instant-ngp ``transforms.json``, D-NeRF's three files."""

import numpy as np
import pytest
import torch
from PIL import Image
from semaflow.scenes import Camera, load
from semaflow.scenes.readers.lens import Lens

from tests.reference.captures import capture, misses, write_json


def nerfstudio(folder, made, head=None, names=None):
    names = made.write_images(folder / "images", names)
    head = {
        "fl_x": made.K[0, 0],
        "fl_y": made.K[1, 1],
        "cx": made.K[0, 2],
        "cy": made.K[1, 2],
        "w": made.size[0],
        "h": made.size[1],
        **(head or {}),
    }
    frames = [
        {"file_path": f"images/{name}.png", "transform_matrix": made.opengl(index)}
        for index, name in enumerate(names)
    ]
    write_json(folder / "transforms.json", {**head, "frames": frames})
    return folder


def test_dots_are_where_the_cameras_say(tmp_path):
    scene = load(nerfstudio(tmp_path, capture(fx=85.0, fy=78.0, cx=47.0, cy=37.5)))
    assert scene.format == "transforms" and scene.posed
    assert misses(scene) < 0.1


def test_the_file_itself_can_be_named(tmp_path):
    folder = nerfstudio(tmp_path, capture())
    assert load(folder / "transforms.json").format == "transforms"


def test_camera_angle_stands_in_for_the_focal_length(tmp_path):
    made = capture()
    folder = nerfstudio(tmp_path, made)
    head = {"camera_angle_x": 2 * np.arctan(0.5 * made.size[0] / made.K[0, 0])}
    frames = [
        {"file_path": f"./images/{index:03d}", "transform_matrix": made.opengl(index)}
        for index in range(6)
    ]
    write_json(folder / "transforms.json", {**head, "frames": frames})
    assert misses(load(folder)) < 0.1


def test_frames_may_have_cameras_of_their_own(tmp_path):
    made = capture()
    folder = nerfstudio(tmp_path, made)
    zoomed = capture(fx=60.0, fy=60.0)
    Image.fromarray(np.repeat(zoomed.images[2][..., None], 3, -1)).save(folder / "images/002.png")
    head = {"fl_x": 80.0, "w": 96, "h": 72}
    frames = [
        {"file_path": f"images/{index:03d}.png", "transform_matrix": made.opengl(index)}
        for index in range(6)
    ]
    frames[2]["fl_x"] = 60.0
    write_json(folder / "transforms.json", {**head, "frames": frames})
    assert misses(load(folder)) < 0.1


def test_frames_come_in_natural_order_with_even_times(tmp_path):
    names = ["f1", "f2", "f10", "f11", "f20", "f3"]
    scene = load(nerfstudio(tmp_path, capture(), names=names), holdout=0)
    assert [frame.name for frame in scene.split("train")] == ["f1", "f2", "f3", "f10", "f11", "f20"]
    assert scene.times == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])


def test_named_test_frames(tmp_path):
    head = {"test_filenames": ["images/001.png", "images/004.png"]}
    scene = load(nerfstudio(tmp_path, capture(), head))
    assert [frame.name for frame in scene.split("test")] == ["001", "004"]
    assert [frame.name for frame in scene.split("train")] == ["000", "002", "003", "005"]


BROWN = (0.5, -0.25, 0.02, -0.01)


def brown(points):
    """OpenCV's model by the formula in its documentation: k1, k2, p1, p2."""
    k1, k2, p1, p2 = BROWN
    x, y = points.T
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2 * r2
    return np.stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        ],
        -1,
    )


def test_distortion_is_straightened(tmp_path):
    made = capture(distort=brown)
    bent = load(nerfstudio(tmp_path / "bent", made))
    assert misses(bent) > 0.5  # the dots are off where distortion is not declared
    head = dict(zip(("k1", "k2", "p1", "p2"), BROWN, strict=True))
    assert misses(load(nerfstudio(tmp_path / "straight", made, head))) < 0.15


def test_fisheye_is_straightened(tmp_path):
    k = (0.05, -0.01, 0.002, 0.0)

    def fisheye(points):
        radius = np.linalg.norm(points, axis=1, keepdims=True).clip(1e-9)
        angle = np.arctan(radius)
        bent = angle * (1 + sum(c * angle ** (2 * i + 2) for i, c in enumerate(k)))
        return points * bent / radius

    head = {f"k{i + 1}": c for i, c in enumerate(k)} | {"camera_model": "OPENCV_FISHEYE"}
    folder = nerfstudio(tmp_path, capture(distort=fisheye), head)
    assert misses(load(folder)) < 0.15


def test_points_from_ply(tmp_path):
    folder = nerfstudio(tmp_path, capture(), {"ply_file_path": "sparse.ply"})
    (folder / "sparse.ply").write_text(
        "ply\nformat ascii 1.0\nelement vertex 2\n"
        "property float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\nend_header\n"
        "1 2 3 255 0 51\n4 5 6 0 0 0\n"
    )
    points = load(folder).points
    assert torch.equal(points.positions, torch.tensor([[1.0, 2, 3], [4, 5, 6]]))
    assert torch.allclose(points.colors[0], torch.tensor([1.0, 0, 0.2]))


def dnerf(folder, made, splits=None):
    """The frames of ``made`` by split: name to (frame, time) pairs; opaque where the dots are."""
    splits = splits or {
        "train": [(2, 1.0), (0, 0.0), (1, 0.5)],
        "val": [(3, 0.2)],
        "test": [(4, 0.7)],
    }
    for split, pairs in splits.items():
        (folder / split).mkdir(parents=True)
        frames = []
        for place, (index, time) in enumerate(pairs):
            grey = made.images[index]
            rgba = np.stack([np.full_like(grey, 255)] * 3 + [grey], -1)
            Image.fromarray(rgba).save(folder / split / f"r_{place:03d}.png")
            frames.append(
                {
                    "file_path": f"./{split}/r_{place:03d}",
                    "time": time,
                    "transform_matrix": made.opengl(index),
                }
            )
        angle = 2 * np.arctan(0.5 * made.size[0] / made.K[0, 0])
        write_json(folder / f"transforms_{split}.json", {"camera_angle_x": angle, "frames": frames})
    return folder


def test_dnerf(tmp_path):
    scene = load(dnerf(tmp_path, capture()))
    assert scene.format == "dnerf"
    assert scene.times == [0.0, 0.5, 1.0]
    assert [frame.time for frame in scene.split("test")] == [0.7]
    assert misses(scene) < 0.1
    frame = scene.frames[0]
    assert torch.equal(frame.mask, frame.alpha > 0.5) and frame.mask.any() and not frame.mask.all()


def test_dnerf_background(tmp_path):
    dnerf(tmp_path, capture())
    black, white = load(tmp_path), load(tmp_path, background="white")
    assert black.background == (0, 0, 0) and white.background == (1, 1, 1)
    frame = black.frames[0]
    assert torch.allclose(frame.image, frame.alpha[..., None].expand(-1, -1, 3), atol=1e-6)
    assert torch.allclose(white.frames[0].image, torch.ones(72, 96, 3), atol=1e-6)


def test_dnerf_validation_split(tmp_path):
    scene = load(dnerf(tmp_path, capture()), split="val")
    assert [frame.time for frame in scene.split("test")] == [0.2]


def test_dnerf_points(tmp_path):
    dnerf(tmp_path, capture())
    (tmp_path / "points3d.ply").write_text(
        "ply\nformat ascii 1.0\nelement vertex 1\n"
        "property float x\nproperty float y\nproperty float z\n"
        "end_header\n1 2 3\n"
    )
    points = load(tmp_path).points
    assert points.positions.tolist() == [[1, 2, 3]] and points.colors.tolist() == [[0.5, 0.5, 0.5]]


def test_ids_are_straightened_along_with_the_image():
    made = capture(distort=brown)
    camera = Camera(torch.tensor(made.K).float(), torch.tensor(made.w2c[0]).float(), *made.size)
    columns = torch.arange(96).repeat(72, 1)
    averaged = Lens(BROWN).straighten("image", columns.float(), camera)
    ids = Lens(BROWN).straighten("instance", columns, camera)
    assert ids.dtype == torch.int64
    assert (averaged - columns).abs().max() > 2  # the lens does something
    assert (averaged - ids).abs().max() <= 0.52  # its nearest column, up to OpenCV's fixed point
