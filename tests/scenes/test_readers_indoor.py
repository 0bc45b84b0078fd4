"""ScanNet and Replica layouts, written small: cameras, classes, depth, and which frames are for what."""

import numpy as np
import pytest
import torch
from PIL import Image
from semaflow.scenes import BadInput, load
from semaflow.scenes.readers.facts import facts

from tests.reference.captures import capture, miss, misses

MADE = capture(count=12, width=192, height=144, fx=96.0, fy=96.0)
# Class ids of ScanNet's own list and what NYU40 calls them: two of one class, and one of none.
TSV = "id\traw_category\tnyu40id\n1\twall\t1\n2\tchair\t5\n1163\toffice chair\t5\n22\tceiling\t22\n1191\tboard\t30\n"


def write(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def scan(folder, numbers=range(12), made=MADE, labels=True):
    """A scan whose picture ``k`` has file number ``numbers[k]``; K counts pixel centres in whole numbers."""
    names = [str(number) for number in numbers]
    made.write_images(folder / "color", names, ".jpg")
    lens = np.eye(4)
    lens[:3, :3] = made.K
    lens[:2, 2] -= 0.5
    (folder / "intrinsic").mkdir()
    np.savetxt(folder / "intrinsic/intrinsic_color.txt", lens)
    (folder / "pose").mkdir()
    rows, columns = np.mgrid[:48, :64]
    for name, pose in zip(names, made.c2w, strict=False):
        np.savetxt(folder / f"pose/{name}.txt", pose)
        write(folder / f"depth/{name}.png", (100 * rows + 5 * columns).astype(np.uint16))
        if labels:
            raw = np.array([[1, 2, 1163], [22, 1191, 0]]).repeat(72, 0).repeat(64, 1)
            write(folder / f"label-filt/{name}.png", raw.astype(np.uint16))
    if labels:
        (folder / "scannetv2-labels.combined.tsv").write_text(TSV)
    return folder


def test_scannet_cameras_depth_and_classes(tmp_path):
    scene = load(scan(tmp_path / "scene0000_00"), split="all", width=192, height=144, holdout=0)
    assert scene.format == "scannet"
    assert misses(scene) < 0.15  # JPEG
    frame = scene.frames[3]
    assert scene.label_names[:5] == ["wall", "floor", "cabinet", "bed", "chair"]
    assert len(scene.label_names) == 20
    assert frame.label[[20, 20, 20, 120, 120, 120], [10, 80, 180, 10, 80, 180]].tolist() == [0, 4, 4, -1, -1, -1]
    assert frame.depth.shape == (144, 192)
    assert frame.depth[60, 90].item() == pytest.approx((100 * 20 + 5 * 30) / 1000)
    assert frame.depth[0, 10].item() == 0  # nearer than 0.1 m
    near = load(tmp_path / "scene0000_00", split="all", near=1.0, far=2.0).frames[0].depth
    assert near[near > 0].min() >= 1
    assert near.max() <= 2


def test_scannet_pictures_of_other_proportions_have_each_focal_length_scaled_by_its_own_factor(tmp_path):
    folder = scan(tmp_path)
    scene = load(folder, split="all", width=160, height=128, holdout=0)
    K = scene.frames[0].camera.K
    assert K[0, 0].item() == pytest.approx(96 * 160 / 192)
    assert K[1, 1].item() == pytest.approx(96 * 128 / 144)
    assert K[:2, 2].tolist() == pytest.approx([80, 64])
    assert misses(scene) < 0.15
    assert load(folder).frames[0].image.shape == (240, 320, 3)


def test_scannet_frames_go_by_file_number_and_bad_poses_are_left_out(tmp_path):
    numbers = [0, 2, 3, 5, 10, 22, 24, 25, 42, 45, 182, 202]
    folder = scan(tmp_path, numbers)
    for bad, value in ((5, "inf"), (42, "nan")):
        (folder / f"pose/{bad}.txt").write_text(f"{value} 0 0 0\n" * 4)

    def names(scene):
        return tuple([frame.name for frame in scene.split(which)] for which in ("train", "test"))

    scene = load(folder)
    assert names(scene) == (["0", "10", "25", "45"], ["2", "22", "182"])
    assert "2 frames without a finite pose" in scene.notes[0]
    assert max(miss(frame) for frame in load(folder, width=192, height=144).frames) < 0.15
    assert names(load(folder, split="finetune"))[0] == ["0", "3", "24", "45"]
    whole = load(folder, split="all", holdout=0)
    assert names(whole) == ([str(n) for n in numbers if n not in (5, 42)], [])
    assert whole.times == pytest.approx([n / 202 for n in numbers if n not in (5, 42)])


def test_scannet_without_labels_or_depth(tmp_path):
    folder = scan(tmp_path, labels=False)
    for file in (folder / "depth").iterdir():
        file.unlink()
    scene = load(folder)
    assert scene.label_names == []
    assert not scene.frames[0].has("label")
    assert not scene.frames[0].has("depth")


def room(folder, count=12, classes=True, instances=True, made=MADE):
    """A sequence of a Replica room; ``made`` has a field of view of 90 degrees."""
    names = [f"rgb_{index}" for index in range(count)]
    made.write_images(folder / "rgb", names)
    np.savetxt(folder / "traj_w_c.txt", made.c2w.reshape(-1, 16))
    for index in range(count):
        rows, columns = np.mgrid[:144, :192]
        write(folder / f"depth/depth_{index}.png", (100 * rows).astype(np.uint16))
        if classes:
            raw = np.array([[3, 93, 98], [0, 21, 101]]).repeat(72, 0).repeat(64, 1)
            write(folder / f"semantic_class/semantic_class_{index}.png", raw.astype(np.uint8))
        if instances:
            ids = (columns // 64 * 130).astype(np.uint16)
            write(folder / f"semantic_instance/semantic_instance_{index}.png", ids)
    return folder


def test_replica_cameras_depth_classes_and_instances(tmp_path):
    folder = room(tmp_path / "room_0/Sequence_1")
    scene = load(tmp_path / "room_0", split="all", holdout=0)
    assert (scene.format, scene.name) == ("replica", "room_0")
    assert misses(scene) < 0.1
    frame = scene.frames[0]
    assert frame.camera.K[[0, 1, 0, 1], [0, 1, 2, 2]].tolist() == [96, 96, 96, 72]
    assert len(scene.label_names) == 51
    named = [scene.label_names[label] for label in frame.label[20, [10, 80, 180]].tolist()]
    assert named == ["basket", "wall", "rug"]
    assert frame.label[120, [10, 80, 180]].tolist() == [-1, -1, -1]
    assert frame.instance[0, [10, 80, 180]].tolist() == [0, 130, 260]
    assert frame.depth[40, 0].item() == pytest.approx(4.0)
    assert frame.depth[120, 0].item() == 0  # farther than 10 m
    assert load(folder, split="all", far=3.0).frames[0].depth.max() <= 3
    with pytest.raises(BadInput, match="Sequence_2"):
        load(tmp_path / "room_0", sequence=2)


def test_replica_frames_are_counted_as_files_are_numbered_not_as_text_sorts(tmp_path):
    scene = load(room(tmp_path), split="semantic-nerf")
    assert [frame.name for frame in scene.split("train")] == ["0", "5", "10"]
    assert [frame.name for frame in scene.split("test")] == ["2", "7"]
    assert torch.allclose(scene.frames[2].camera.viewmat, torch.tensor(np.linalg.inv(MADE.c2w[10])).float(), atol=1e-5)


def test_replica_splits(tmp_path):
    pictures = capture(count=30, width=192, height=144, fx=96.0, fy=96.0)
    folder = room(tmp_path / "a", 30, made=pictures)

    def names(**options):
        scene = load(folder, **options)
        return tuple([int(frame.name) for frame in scene.split(which)] for which in ("train", "test"))

    assert names() == ([0, 5, 10, 15, 20, 25], [2, 22])
    # Neighbours of test frames are no training frames: 3 and 21 are left out.
    assert names(split="finetune") == ([0, 6, 9, 12, 15, 18, 24, 27], [2, 22])
    folder = room(tmp_path / "b", 30, classes=False, made=pictures)
    assert names() == ([0, 5, 10, 15, 20, 25], [2, 22])
    assert load(folder).label_names == []
    assert names(split="semantic-nerf")[1] == [2, 7, 12, 17, 22, 27]


def test_the_instance_set_is_split_as_dm_nerf_does():
    rule = facts("replica")["frames"]["dm-nerf"]
    test = range(rule["test"]["start"], rule["test"]["end"], rule["test"]["step"])
    train = range(rule["train"]["start"], rule["train"]["end"], rule["train"]["step"])
    assert (len(train), train[-1], len(test), test[:3]) == (180, 895, 45, range(2, 62, 20))


@pytest.mark.parametrize("name", ["scannet", "replica"])
def test_no_scene_or_frame_is_both_learned_from_and_tested_on(name):
    known = facts(name)
    groups = [set(known["scenes"][split]) for split in ("train", "validation", "test") if split in known["scenes"]]
    assert len(set.union(*groups)) == sum(map(len, groups))
    assert len(set(known["classes"].values())) == len(known["classes"]) == {"scannet": 20, "replica": 51}[name]
    if name == "scannet":
        assert (len(known["scenes"]["train"]), len(known["scenes"]["test"])) == (198, 10)


def spoiled_scan(change):
    def make(folder):
        scan(folder)
        change(folder)

    return make


def spoiled_room(change):
    def make(folder):
        room(folder)
        change(folder)

    return make


def text(file, content):
    return lambda folder: (folder / file).write_text(content)


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (spoiled_scan(text("pose/4.txt", "1 0 0\n")), {}, r"4\.txt: expected 4 lines of 4 numbers"),
        (spoiled_scan(text("pose/4.txt", "what is this\n")), {}, r"4\.txt: expected 4 lines of 4 numbers"),
        (spoiled_scan(text("pose/5.txt", "2 0 0 0\n0 2 0 0\n0 0 2 0\n0 0 0 1\n")), {}, "rigid"),
        (spoiled_scan(lambda folder: (folder / "pose/4.txt").unlink()), {}, r"4\.txt: no such file"),
        (spoiled_scan(text("scannetv2-labels.combined.tsv", "id\tname\n1\twall\n")), {}, "columns id and nyu40id"),
        (spoiled_scan(text("scannetv2-labels.combined.tsv", "id\tnyu40id\nx\t1\n")), {}, "line 2"),
        (spoiled_scan(lambda f: (f / "scannetv2-labels.combined.tsv").unlink()), {}, "missing, here and above"),
        (spoiled_scan(lambda f: None), {"split": "mine"}, "generalised, finetune, all"),
        (spoiled_scan(lambda f: None), {"near": 5.0, "far": 1.0}, "near < far"),
        (spoiled_scan(lambda f: None), {"far": "x"}, "far: expected a depth"),
        (spoiled_scan(lambda f: None), {"width": 0}, "width: expected a whole number"),
        (spoiled_room(text("traj_w_c.txt", "1 2 3\n")), {}, "line 1: expected 16 numbers"),
        (spoiled_room(text("traj_w_c.txt", "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1\n")), {}, "a line for each frame up to 11"),
        (spoiled_room(lambda f: None), {"split": "mine"}, "dm-nerf, all"),
        (spoiled_room(lambda f: (f / "rgb/rgb_3.png").rename(f / "rgb/rgb_x.png")), {}, "frame's number"),
        (spoiled_room(lambda f: (f / "rgb/rgb_3.png").rename(f / "rgb/rgb_04.png")), {}, "there twice"),
    ],
)
def test_bad_input_gets_one_line(tmp_path, make, options, message):
    make(tmp_path)
    with pytest.raises(BadInput, match=message) as caught:
        load(tmp_path, **options)
    assert "\n" not in str(caught.value)
