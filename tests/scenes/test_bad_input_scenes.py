"""What a user's scene gets wrong is one line: the file, the field, what was expected."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from semaflow.scenes import BadInput, load

from tests.reference.captures import OPENGL, capture, write_json
from tests.reference.clips import clip, fast_start
from tests.reference.colmap_models import write_binary, write_text


def refused(path, *expected, **options):
    """Loading and looking at all layers fails, in one line that holds every expected text."""
    with pytest.raises(BadInput) as caught:
        for frame in load(path, **options).frames:
            for layer in frame.LAYERS:
                getattr(frame, layer)
    message = str(caught.value)
    assert "\n" not in message
    for text in expected:
        assert text in message, message


# The path itself.


def test_nothing_there(tmp_path):
    refused(tmp_path / "gone.mp4", "gone.mp4: no such file or folder")
    refused(tmp_path / "gone", "no such file or folder", format="colmap")


def test_nothing_known_there(tmp_path):
    refused(tmp_path, "format not recognised; expected one of", "dnerf")
    (tmp_path / "text.txt").write_text("a text")
    refused(tmp_path / "text.txt", "text.txt: format not recognised")


@pytest.mark.parametrize(
    "format, text",
    [
        ("frames", "no images"),
        ("davis", "expected a folder of frames and one of masks"),
        ("colmap", "no COLMAP model"),
        ("transforms", "transforms.json: no such file"),
        ("dnerf", "transforms_train.json: no such file"),
        ("nerfies", "dataset.json: no such file"),
        ("nrnerf", "precomputed.json: no such file"),
        ("llff", "poses_bounds.npy: no such file"),
        ("nvidia", "images: no images"),
        ("panoptic", "cameras.json: no such file"),
        ("semaflow", "scene.json: no such file"),
        ("video", "no such file"),
    ],
)
def test_empty_folder_taken_for(tmp_path, format, text):
    refused(tmp_path, text, format=format)


# Videos.


def test_video_without_its_end(tmp_path):
    path = clip(tmp_path)
    path.write_bytes(path.read_bytes()[:-2000])  # the index is at the end
    refused(path, "clip.mp4: not a readable video")


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_half_a_download(tmp_path, share):
    path = clip(tmp_path)
    fast_start(path)
    assert len(load(path, holdout=0).frames) == 20
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refused(path, "clip.mp4: truncated: expected 20 frames")


@pytest.mark.parametrize("content", [b"", b"this is a text", b"\0" * 5000])
def test_no_video_at_all(tmp_path, content):
    (tmp_path / "clip.mp4").write_bytes(content)
    refused(tmp_path / "clip.mp4", "clip.mp4: not a readable video")


def test_sound_only(tmp_path):
    import av

    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        sound.sample_rate = 16000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    refused(tmp_path / "clip.mp4", "clip.mp4: holds no video stream")


# Images and masks.


def picture(path, width=96, height=72, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), value, np.uint8)).save(path)


def test_frame_of_another_size(tmp_path):
    capture().write_images(tmp_path)
    picture(tmp_path / "003.png", 90, 72)
    refused(tmp_path, "003.png: image is 90x72, expected 96x72 as 000.png")


@pytest.mark.parametrize("content", [b"", b"a text", b"\x89PNG\r\n\x1a\n" + b"\0" * 50])
def test_file_that_is_no_image(tmp_path, content):
    capture().write_images(tmp_path)
    (tmp_path / "003.png").write_bytes(content)
    refused(tmp_path, "003.png: not a readable image")


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_truncated_image(tmp_path, suffix):
    rng = np.random.default_rng(0)
    for index in range(2):
        noise = rng.integers(0, 256, (72, 96, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{index}{suffix}")
    content = (tmp_path / f"1{suffix}").read_bytes()
    (tmp_path / f"1{suffix}").write_bytes(content[: len(content) // 2])
    refused(tmp_path, f"1{suffix}: damaged image")


def masked(folder):
    capture().write_images(folder / "images")
    for index in range(6):
        picture(folder / f"masks/{index:03d}.png", value=255)


def test_mask_of_another_size(tmp_path):
    masked(tmp_path)
    picture(tmp_path / "masks/002.png", 48, 36)
    refused(tmp_path, "002.png: mask is 48x36, expected 96x72 as 002.png")


def test_mask_that_is_no_image(tmp_path):
    masked(tmp_path)
    (tmp_path / "masks/002.png").write_text("a text")
    refused(tmp_path, "masks/002.png: not a readable image")


def test_masks_of_other_frames(tmp_path):
    masked(tmp_path)
    for file in sorted((tmp_path / "masks").iterdir()):
        file.rename(file.with_name("other_" + file.name))
    refused(tmp_path, "no mask has the name of a frame")


# transforms.json.


def transforms(folder, head=None, **first):
    """A good capture but for ``head`` and what the first frame has changed."""
    made = capture()
    made.write_images(folder / "images")
    frames = [
        {"file_path": f"images/{index:03d}.png", "transform_matrix": made.opengl(index)}
        for index in range(6)
    ]
    frames[0] = {key: value for key, value in (frames[0] | first).items() if value is not None}
    head = {"fl_x": 80.0, "w": 96, "h": 72} | (head or {})
    head = {key: value for key, value in head.items() if value is not None}
    write_json(folder / "transforms.json", {"frames": frames} | head)


NAN = float("nan")
SHEARED = [[1, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


@pytest.mark.parametrize(
    "first, expected",
    [
        ({"transform_matrix": None}, "frames[0].transform_matrix: missing"),
        ({"transform_matrix": [[1, 0], [0, 1]]}, "transform_matrix: expected shape [4, 4]"),
        ({"transform_matrix": "unit"}, "transform_matrix: expected numbers"),
        ({"transform_matrix": [[NAN] * 4] * 4}, "NaN"),
        ({"transform_matrix": [[2 * (i == j) for i in range(4)] for j in range(4)]}, "rigid"),
        ({"transform_matrix": SHEARED}, "not a rigid transform"),
        ({"transform_matrix": [[0] * 4] * 4}, "not a rigid transform"),
        ({"file_path": None}, "frames[0].file_path: expected the path"),
        ({"file_path": 7}, "frames[0].file_path: expected the path"),
        ({"file_path": "images/gone.png"}, "gone.png: no such file"),
        ({"file_path": "../secret.png"}, "file_path: path '../secret.png' points outside"),
        ({"file_path": "/etc/passwd"}, "file_path: path '/etc/passwd' points outside"),
        ({"file_path": "images/001.png"}, "two frames are called 'images_001'"),
        ({"fl_x": -80.0}, "focal lengths must be positive"),
        ({"fl_x": "wide"}, "fl_x: expected numbers"),
        ({"time": 1.5, "w": 96}, None),
    ],
)
def test_bad_frame_in_transforms(tmp_path, first, expected):
    transforms(tmp_path, **first)
    if expected is None:  # times of some frames only are not used
        assert load(tmp_path).times[0] == 0
        return
    refused(tmp_path, "transforms.json" if "no such" not in expected else "images", expected)


@pytest.mark.parametrize(
    "head, expected",
    [
        ({"fl_x": None}, "focal length missing: expected fl_x or camera_angle_x"),
        ({"frames": []}, "frames: expected a list of frames"),
        ({"frames": {}}, "frames: expected a list of frames"),
        ({"w": NAN}, "w: expected a number of pixels"),
        ({"h": -5}, "h: expected a number of pixels"),
        ({"k1": NAN}, "distortion: holds NaN"),
        ({"camera_model": "EQUIRECTANGULAR"}, "camera_model: expected one of OPENCV"),
        ({"w": 96, "h": 96}, "image is 96x72, expected 96x96"),
        ({"test_filenames": 3}, "test_filenames: expected a list"),
        ({"ply_file_path": "../points.ply"}, "ply_file_path: path '../points.ply' points outside"),
        ({"ply_file_path": "transforms.json"}, "transforms.json: not a readable PLY file"),
    ],
)
def test_bad_head_of_transforms(tmp_path, head, expected):
    transforms(tmp_path, head)
    refused(tmp_path, expected)


def test_transforms_that_are_no_json(tmp_path):
    transforms(tmp_path)
    (tmp_path / "transforms.json").write_text('{"frames": [')
    refused(tmp_path, "transforms.json: not valid JSON")
    (tmp_path / "transforms.json").write_text("[1, 2]")
    refused(tmp_path, "transforms.json: frames: expected a list of frames")


def test_background_and_split_by_other_names(tmp_path):
    transforms(tmp_path)
    refused(tmp_path, "background: expected black or white, got 'pink'", background="pink")
    (tmp_path / "transforms.json").rename(tmp_path / "transforms_train.json")
    refused(tmp_path, "split: expected test or val, got 'all'", split="all")


def test_times_outside_0_to_1(tmp_path):
    transforms(tmp_path)
    head = json.loads((tmp_path / "transforms.json").read_text())
    for index, frame in enumerate(head["frames"]):
        frame["time"] = index
    write_json(tmp_path / "transforms.json", head)
    refused(tmp_path, "002.png: time: expected a number in 0..1, got 2")


# COLMAP.


def model(folder, write=write_text):
    made = capture()
    names = [f"{name}.png" for name in made.write_images(folder / "images")]
    write(folder / "sparse/0", made, names)
    return folder / "sparse/0"


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    "file, old, new, expected",
    [
        ("cameras.txt", "PINHOLE", "SPHERE", "camera 3: camera model SPHERE"),
        (
            "cameras.txt",
            "3 PINHOLE 96 72 80.0 ",
            "3 PINHOLE 96 72 ",
            "expected 4 parameters, got 3",
        ),
        ("cameras.txt", "80.0", "nan", "NaN"),
        ("cameras.txt", "96 72", "96 96", "image is 96x72, expected 96x96"),
        ("cameras.txt", "3 PINHOLE", "4 PINHOLE", "000.png: camera 3 is not in cameras.txt"),
        ("images.txt", "000.png", "gone.png", "gone.png: no such file"),
        ("images.txt", "000.png", "../../secret.png", "NAME: path '../../secret.png' points"),
        ("images.txt", "1 ", "1 nan ", "images.txt: truncated or damaged"),
        ("images.txt", "\n2 ", "\n2 0 0 0 0 ", "images.txt: truncated or damaged"),
        ("points3D.txt", "255 0 0", "red 0 0", "points3D.txt: truncated or damaged"),
        ("points3D.txt", " 255 0 0", " nan 0 0", "points3D.txt: a point holds NaN"),
    ],
)
def test_bad_colmap_text(tmp_path, file, old, new, expected):
    edit(model(tmp_path) / file, old, new)
    refused(tmp_path, expected)


@pytest.mark.parametrize("file", ["cameras.bin", "images.bin", "points3D.bin"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95])
def test_truncated_colmap_binary(tmp_path, file, share):
    path = model(tmp_path, write_binary) / file
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refused(tmp_path, f"{file}: truncated or damaged COLMAP")


def test_colmap_without_images(tmp_path):
    model(tmp_path)
    shutil.rmtree(tmp_path / "images")
    refused(tmp_path, "no folder 'images' beside the COLMAP model")
    refused(tmp_path, "pictures: no such folder", images="pictures")


# The other layouts.


def rows(folder, change=None):
    made = capture()
    made.write_images(folder / "images")
    table = []
    for pose in made.c2w:
        right, down, forward, position = pose[:3].T
        matrix = np.stack([down, right, -forward, position, [72, 96, 80]], -1)
        table.append([*matrix.ravel(), 1.0, 9.0])
    table = np.array(table)
    np.save(folder / "poses_bounds.npy", table if change is None else change(table))


def with_nan(table):
    table[2, 7] = np.nan
    return table


@pytest.mark.parametrize(
    "change, expected",
    [
        (lambda table: table[:4], "expected one row for each of 6 images, got 4"),
        (lambda table: table[:, :15], "expected an array [frames, 17]"),
        (with_nan, "row 2: camera matrix holds NaN"),
        (lambda table: table * 2, "row 0: camera matrix is not a rigid transform"),
    ],
)
def test_bad_poses_bounds(tmp_path, change, expected):
    rows(tmp_path, change)
    refused(tmp_path, "poses_bounds.npy", expected)


def test_bad_companions_of_llff(tmp_path):
    rows(tmp_path)
    np.savez(tmp_path / "flow.npz", fwd=np.zeros((3, 72, 96, 2)), bwd=np.zeros((5, 72, 96, 2)))
    refused(tmp_path, "flow.npz: fwd: expected shape [5, 72, 96, 2], got [3, 72, 96, 2]")
    (tmp_path / "flow.npz").write_bytes(b"PK not a zip")
    refused(tmp_path, "flow.npz: not a readable npz")
    (tmp_path / "flow.npz").unlink()
    np.savez(tmp_path / "disp.npz", disp=np.zeros((6, 36, 48)))
    refused(tmp_path, "disp.npz: disp: expected shape [6, 72, 96], got [6, 36, 48]")
    np.savez(tmp_path / "disp.npz", disparity=np.zeros((6, 72, 96)))
    refused(tmp_path, "disp.npz: disp: expected shape [6, 72, 96], got none")
    (tmp_path / "disp.npz").unlink()
    picture(tmp_path / "gt_view0/000.png")
    refused(tmp_path, "gt_view0: expected 6 images, one per time, got 1")
    shutil.rmtree(tmp_path / "gt_view0")
    picture(tmp_path / "labels/001.png")
    refused(tmp_path, "001.png: expected a palette or grey image of ids, got 3 channels")


@pytest.mark.parametrize(
    "change, expected",
    [
        (lambda head: head.pop("poses"), "poses: expected a list of 3x5 matrices"),
        (lambda head: head["poses"].pop(), "poses: expected 6, one per image, got 5"),
        (lambda head: head["poses"][1].pop(), "poses[1]: expected shape [3, 5], got [2, 5]"),
        (lambda head: head["poses"][1][0].__setitem__(0, NAN), "poses[1]: holds NaN"),
        (lambda head: head["poses"][1][0].__setitem__(0, 3), "poses[1]: camera matrix is not a"),
        (lambda head: head.update(i_test=[77]), "i_test: expected frame numbers below 6, got 77"),
    ],
)
def test_bad_nrnerf(tmp_path, change, expected):
    made = capture()
    made.write_images(tmp_path / "images")
    poses = [np.hstack([(c2w @ OPENGL)[:3], [[72], [96], [80]]]).tolist() for c2w in made.c2w]
    head = {"poses": poses, "i_test": 2}
    change(head)
    write_json(tmp_path / "precomputed.json", head)
    refused(tmp_path, "precomputed.json", expected)


@pytest.mark.parametrize(
    "change, expected",
    [
        (lambda head: head.pop("test_cameras"), "test_cameras: expected a list"),
        (lambda head: head["test_cameras"].append(9), "camera 9 is not among cameras"),
        (
            lambda head: head["cameras"]["3"].pop("K"),
            "cameras.3: expected K, w2c, width and height",
        ),
        (lambda head: head["cameras"]["3"].update(w2c=SHEARED), "cameras.3: camera matrix is not"),
        (lambda head: head["cameras"]["3"].update(width=None), "width: expected a number of pix"),
        (lambda head: head["monocular_train"][0].update(time=5), "time 5 of camera 3: it has 2 im"),
        (lambda head: head["monocular_train"][0].pop("time"), "monocular_train[0]: expected"),
        (
            lambda head: head["cameras"].update({"../..": head["cameras"]["3"]}),
            "points outside",
        ),
    ],
)
def test_bad_panoptic(tmp_path, change, expected):
    made = capture(2)
    cameras = {}
    for index, name in enumerate(("3", "4")):
        made.write_images(tmp_path / f"ims/{name}")
        cameras[name] = {"K": made.K.tolist(), "w2c": made.w2c[index].tolist()}
        cameras[name] |= {"width": 96, "height": 72}
    train = [{"time": 0, "camera": 3}, {"time": 1, "camera": 3}]
    head = {"cameras": cameras, "monocular_train": train, "test_cameras": [4]}
    change(head)
    write_json(tmp_path / "cameras.json", head)
    refused(tmp_path, "cameras.json", expected)


NERFIES = {
    "orientation": np.eye(3).tolist(), "position": [0, 0, -3.0], "focal_length": 80.0,
    "principal_point": [48.0, 36.0], "image_size": [96, 72],
}  # fmt: skip


@pytest.mark.parametrize(
    "file, change, expected",
    [
        ("camera/a", {"focal_length": None}, "a.json: focal_length: missing"),
        ("camera/a", {"orientation": SHEARED}, "orientation: expected shape [3, 3], got [4, 4]"),
        ("camera/a", {"position": [0, NAN, 0]}, "a.json: camera matrix holds NaN"),
        ("camera/a", {"image_size": [96, 0]}, "image_size: expected a number of pixels"),
        ("scene", {"scale": None}, "scene.json: scale: missing"),
        ("scene", {"scale": 0}, "scene.json: scale: expected a positive number"),
        ("metadata", {"a": None}, "metadata.json: a: expected a whole number time_id or warp_id"),
        ("dataset", {"ids": None}, "dataset.json: ids: expected a list of image ids"),
        ("dataset", {"ids": ["../../a"]}, "points outside"),
        ("dataset", {"ids": ["b"]}, "b"),
    ],
)
def test_bad_nerfies(tmp_path, file, change, expected):
    parts = {
        "camera/a": NERFIES,
        "scene": {"center": [0, 0, 0], "scale": 1.0},
        "metadata": {"a": {"warp_id": 0}, "../../a": {"warp_id": 0}},
        "dataset": {"ids": ["a"]},
    }
    parts[file] = {key: value for key, value in (parts[file] | change).items() if value is not None}
    for name, part in parts.items():
        write_json(tmp_path / f"{name}.json", part)
    picture(tmp_path / "rgb/1x/a.png")
    refused(tmp_path, expected)


# The user's own cameras.


@pytest.mark.parametrize(
    "arrays, expected",
    [
        ({"K": np.eye(3)}, "expected arrays viewmats or c2w, and Ks or K, got K"),
        ({"K": np.eye(3), "viewmats": np.zeros((6, 3, 4))}, "viewmats: expected numbers of shape"),
        ({"K": np.eye(4), "c2w": np.zeros((6, 4, 4))}, "K: expected numbers of shape [6, 3, 3]"),
        ({"K": np.eye(3), "c2w": np.zeros((6, 4, 4))}, "c2w[0]: camera matrix is not a rigid"),
        ({"K": np.eye(3), "viewmats": np.full((6, 4, 4), NAN)}, "viewmats[0]: camera matrix holds"),
        ({"K": np.eye(3), "viewmats": 3.0}, "viewmats: expected numbers of shape"),
        ({"K": np.eye(3), "c2w": np.stack([np.eye(4)] * 6), "width": 9}, "both width and height"),
    ],
)
def test_bad_own_cameras(tmp_path, arrays, expected):
    capture().write_images(tmp_path / "frames")
    np.savez(tmp_path / "own.npz", **arrays)
    refused(tmp_path / "frames", "own.npz", expected, cameras=tmp_path / "own.npz")


def test_own_cameras_that_are_none(tmp_path):
    capture().write_images(tmp_path / "frames")
    refused(tmp_path / "frames", "gone: no such file", cameras=tmp_path / "gone")
    refused(tmp_path / "frames", "expected a COLMAP model's folder", cameras=tmp_path)
    (tmp_path / "own.npz").write_bytes(b"PK damaged")
    refused(tmp_path / "frames", "own.npz: not a readable npz", cameras=tmp_path / "own.npz")


def test_saved_scene_that_is_damaged(tmp_path):
    (tmp_path / "scene.json").write_text("{")
    refused(tmp_path, "scene.json: not valid JSON")
    (tmp_path / "scene.json").write_text("{}")
    refused(tmp_path, "scene.json: not a saved scene")
