"""The NVIDIA Dynamic Scenes' layout: a rig, of which each camera in turn takes a frame of the video."""

import shutil

import numpy as np
import pytest
import torch
from semaflow.scenes import BadInput, load
from semaflow.scenes.motion.flow import Flows, flow_validity, video_flow
from semaflow.scenes.motion.masks import motion_masks
from semaflow.scenes.readers.label_colors import LabelColors

from tests.reference import nvidia
from tests.reference.captures import capture, misses
from tests.reference.nvidia import COLORS, HEADER, colored, ids, picture, write_rig


@pytest.mark.parametrize("enlarged", [1, 2])
def test_everything_in_its_place(tmp_path, enlarged):
    """Projected dots tell the cameras and which camera took which picture; what is larger is shrunk to the frames."""
    write_rig(tmp_path, enlarged=enlarged)
    scene = load(tmp_path)
    assert scene.format == "nvidia" and scene.timed and scene.posed
    assert misses(scene) < 0.1
    assert scene.label_names == list(COLORS)
    train, test = scene.split("train"), scene.split("test")
    assert [frame.name for frame in train] == ["000", "001", "002", "003"]
    assert scene.times == pytest.approx([0, 1 / 3, 2 / 3, 1])
    for time, frame in enumerate(train):
        check_labels(frame, time, time)
        assert torch.equal(frame.motion, torch.from_numpy(nvidia.moving(time)))
        assert torch.equal(frame.disparity, torch.from_numpy(nvidia.disparity(time)))
        for step, layer in ((1, "flow_forward"), (-1, "flow_backward")):
            known = 0 <= time + step < 4
            assert frame.has(layer) == frame.has(f"{layer}_valid") == known
            if known:
                vectors, valid = nvidia.flow(time, step)
                torch.testing.assert_close(getattr(frame, layer), torch.from_numpy(vectors))
                assert torch.equal(getattr(frame, f"{layer}_valid"), torch.from_numpy(valid))
    assert len(test) == 12 and not any(frame.has("motion") for frame in test)
    for frame in test:
        camera, time = (int(part[-2:]) - 1 for part in frame.name.split("_"))
        assert camera != time and frame.time == scene.times[time]
        assert torch.equal(frame.camera.viewmat, train[camera].camera.viewmat)
        check_labels(frame, time, camera)


def check_labels(frame, time, camera):
    expected = torch.from_numpy(ids(time, camera)).long()
    assert torch.equal(frame.label, expected) and frame.label.dtype == torch.int64
    assert torch.equal(frame.mask, expected == 2)


def test_seen_views_are_marked(tmp_path):
    write_rig(tmp_path)
    scene = load(tmp_path, seen_views=True)
    assert len(scene.test) == 16
    seen = [frame for frame in scene.split("test") if frame.name.endswith("_seen")]
    assert [frame.name for frame in seen] == [f"cam0{i}_0000000{i}_seen" for i in (1, 2, 3, 4)]
    for frame, trained in zip(seen, scene.split("train"), strict=True):
        assert torch.equal(frame.image, trained.image) and frame.time == trained.time


def test_half_sized_frames(tmp_path):
    """The frames' folder decides the size of all that is read."""
    write_rig(tmp_path, enlarged=2, images="images_2")
    for scene in (load(tmp_path), load(tmp_path, images="images_2")):
        assert misses(scene) < 0.1
        assert {frame.image.shape for frame in scene.frames} == {(72, 96, 3)}


def test_smaller_by_option(tmp_path):
    write_rig(tmp_path)
    frame = load(tmp_path, max_width=48).frames[1]
    for layer in ("motion", "label", "mask", "disparity", "flow_forward_valid", "flow_forward"):
        assert getattr(frame, layer).shape[:2] == (36, 48), layer
    assert frame.flow_forward[5, 5].tolist() == pytest.approx([1.5, -0.5])
    assert frame.flow_forward_valid.sum(1).tolist() == [0] * 18 + [48] * 18


def test_round_trip_through_a_saved_scene(tmp_path):
    write_rig(tmp_path / "rig")
    scene = load(tmp_path / "rig")
    scene.save(tmp_path / "saved")
    back = load(tmp_path / "saved")
    assert back.label_names == scene.label_names and back.train == scene.train
    for mine, theirs in zip(scene.frames, back.frames, strict=True):
        for layer in mine.LAYERS:
            assert mine.has(layer) == theirs.has(layer)
            if mine.has(layer):
                given, found = getattr(mine, layer), getattr(theirs, layer)
                assert found.dtype == given.dtype and torch.equal(found, given), layer


@pytest.mark.parametrize("left", ["disp", "motion_masks", "flow", "SegmentationClass_train", "multiview_GT"])
def test_parts_alone(tmp_path, left):
    write_rig(tmp_path)
    parts = {"disp", "motion_masks", "flow", "SegmentationClass_train", "multiview_GT", "multiview_GT_semantic"}
    for part in parts - {left}:
        shutil.rmtree(tmp_path / part)
    if left != "SegmentationClass_train":
        (tmp_path / "labelmap.txt").unlink()
    scene = load(tmp_path, holdout=0)
    assert scene.format == "nvidia" and misses(scene) < 0.1
    layers = {
        "disp": {"disparity"},
        "motion_masks": {"motion"},
        "flow": {"flow_forward", "flow_forward_valid"},
        "SegmentationClass_train": {"label", "mask"},
        "multiview_GT": set(),
    }[left]
    first = scene.frames[0]
    assert {layer for layer in first.LAYERS if first.has(layer)} == {"image"} | layers
    assert bool(scene.label_names) == ("label" in layers) and bool(scene.test) == (left == "multiview_GT")


def test_a_capture_without_them_is_llff(tmp_path):
    write_rig(tmp_path)
    for folder in tmp_path.iterdir():
        if folder.is_dir() and folder.name != "images":
            shutil.rmtree(folder)
    assert load(tmp_path).format == "llff"


def test_labels_of_some_frames(tmp_path):
    write_rig(tmp_path)
    (tmp_path / "SegmentationClass_train/001.png").unlink()
    (tmp_path / "multiview_GT_semantic/00000002/cam01.png").unlink()
    scene = load(tmp_path)
    assert [frame.has("label") for frame in scene.split("train")] == [True, False, True, True]
    check_labels(scene.frames[2], 2, 2)
    unlabelled = [frame.name for frame in scene.split("test") if not frame.has("label")]
    assert unlabelled == ["cam01_00000002"]


def test_files_of_other_names_go_by_their_order(tmp_path):
    write_rig(tmp_path)
    for index in range(4):
        for folder, suffix in (("motion_masks", ".png"), ("disp", ".npy"), ("SegmentationClass_train", ".png")):
            file = tmp_path / folder / f"{index:03d}{suffix}"
            file.rename(file.with_name(f"frame{index + 9}{suffix}"))  # frame9 before frame10
    for time, frame in enumerate(load(tmp_path).split("train")):
        check_labels(frame, time, time)
        assert torch.equal(frame.motion, torch.from_numpy(nvidia.moving(time)))
        assert frame.disparity[0, 0] == 10000 * time


def test_label_files_above_the_scene(tmp_path):
    """They serve many scenes, may name more, and give way to a scene's own."""
    write_rig(tmp_path / "scene")
    for name in ("labelmap.txt", "foreground_object.txt"):
        shutil.move(tmp_path / "scene" / name, tmp_path / name)
    check_labels(load(tmp_path / "scene").frames[3], 3, 3)
    with open(tmp_path / "foreground_object.txt", "a") as file:
        file.write("horse\n")
    own = "\n".join(f"{name}:{r},{g},{b}::" for name, (r, g, b) in reversed(COLORS.items()))
    (tmp_path / "scene/labelmap.txt").write_text(own)  # no header either
    scene = load(tmp_path / "scene")
    assert scene.label_names == ["ball", "box", "ground"]
    assert torch.equal(scene.frames[3].label, 2 - torch.from_numpy(ids(3, 3)).long())
    assert torch.equal(scene.frames[3].mask, torch.from_numpy(ids(3, 3) == 2))
    (tmp_path / "foreground_object.txt").unlink()
    assert not load(tmp_path / "scene").frames[3].has("mask")


# Label maps.


def test_labels_come_back_from_their_colours(tmp_path):
    rng = np.random.default_rng(0)
    colors = rng.permutation(256**3)[:30]
    colors = np.stack([colors >> 16, colors >> 8 & 255, colors & 255], -1).astype(np.uint8)
    lines = [HEADER, *(f"class {i}:{r},{g},{b}::" for i, (r, g, b) in enumerate(colors))]
    (tmp_path / "labelmap.txt").write_text("\n".join(lines))
    classes = LabelColors.read(tmp_path / "labelmap.txt")
    assert classes.names == [f"class {i}" for i in range(30)]
    drawn = rng.integers(0, 30, (40, 50))
    picture(tmp_path / "label.png", colors[drawn])
    assert torch.equal(classes.decode(tmp_path / "label.png"), torch.from_numpy(drawn))


def test_blends_at_edges_are_unlabelled(tmp_path):
    write_rig(tmp_path)
    drawn = colored(ids(1, 1))
    drawn[20:40, 10], drawn[20:40, 30] = (64, 32, 0), (65, 33, 1)  # each 0.3% of the picture
    picture(tmp_path / "SegmentationClass_train/001.png", drawn)
    frame = load(tmp_path).frames[1]
    expected = torch.from_numpy(ids(1, 1)).long()
    expected[20:40, 10] = expected[20:40, 30] = -1
    assert torch.equal(frame.label, expected)
    assert not frame.mask[20:40, 10].any()


def refused(path, *expected, **options):
    with pytest.raises(BadInput) as caught:
        for frame in load(path, **options).frames:
            for layer in frame.LAYERS:
                getattr(frame, layer)
    message = str(caught.value)
    assert "\n" not in message
    for text in expected:
        assert text in message, message


@pytest.mark.parametrize("place", ["SegmentationClass_train/001.png", "multiview_GT_semantic/00000003/cam02.png"])
def test_unknown_colours(tmp_path, place):
    write_rig(tmp_path)
    drawn = colored(ids(2, 1))
    drawn[:10, :20] = (7, 8, 9)
    picture(tmp_path / place, drawn)
    refused(tmp_path, place.rpartition("/")[2], "colour 7,8,9 covers 2.9% of the picture", "labelmap.txt")
    frames = {frame.name: frame for frame in load(tmp_path, ignore_unknown=True).frames}
    label = frames["001" if place.startswith("Seg") else "cam02_00000003"].label
    assert (label[:10, :20] == -1).all() and (label >= 0).sum() == 72 * 96 - 200


def test_many_unknown_colours(tmp_path):
    """As a lossy format leaves them: no one of them covers much."""
    write_rig(tmp_path)
    noise = np.random.default_rng(0).integers(0, 3, (72, 96, 3), dtype=np.uint8)
    picture(tmp_path / "SegmentationClass_train/001.png", colored(ids(1, 1)) + noise)
    refused(tmp_path, "001.png: colour", "(all unknown ones 96")


@pytest.mark.parametrize(
    "lines, expected",
    [
        ([HEADER, "ground:0,0,0::", "box"], "labelmap.txt: line 3: expected name:r,g,b::, got 'box'"),
        ([HEADER, "ground:0,0::"], "line 2: expected name:r,g,b::, got 'ground:0,0::'"),
        ([HEADER, "ground:0,0,256::"], "line 2: expected name:r,g,b::"),
        ([HEADER, "ground:0,0,-1::"], "line 2: expected name:r,g,b::"),
        ([HEADER, ":0,0,0::"], "line 2: expected name:r,g,b::"),
        ([HEADER, "ground:0,0,0::", "ground:1,0,0::"], "line 3: class 'ground' comes twice"),
        ([HEADER, "ground:0,0,0::", "box:0,0,0::"], "line 3: colour 0,0,0 comes twice"),
        ([HEADER], "labelmap.txt: expected a line name:r,g,b:: for each class, got none"),
        (None, "labelmap.txt: missing, here and above, while labels are there"),
    ],
)
def test_bad_label_maps(tmp_path, lines, expected):
    write_rig(tmp_path / "scene")
    path = tmp_path / "scene/labelmap.txt"
    path.unlink() if lines is None else path.write_text("\n".join(lines))
    refused(tmp_path / "scene", expected)


def test_label_map_that_is_no_text(tmp_path):
    write_rig(tmp_path)
    (tmp_path / "labelmap.txt").write_bytes(b"\xff\xfe\x00")
    refused(tmp_path, "labelmap.txt: expected text in UTF-8")


def test_foreground_of_no_class(tmp_path):
    write_rig(tmp_path)
    (tmp_path / "foreground_object.txt").write_text("ball\nhorse\n")
    refused(tmp_path, "foreground_object.txt: expected classes of", "labelmap.txt, got 'horse'")


# What is missing, too much, or of another size.


@pytest.mark.parametrize(
    "gone, expected",
    [
        ("flow/002_fwd.npz", "flow/002_fwd.npz: missing, while other flow is there"),
        ("flow/001_bwd.npz", "flow/001_bwd.npz: missing, while other flow is there"),
        ("motion_masks/002.png", "motion_masks: expected 4 files, one per image, got 3; none is called 002"),
        ("disp/000.npy", "disp: expected 4 files, one per image, got 3; none is called 000"),
        ("images/003.png", "poses_bounds.npy: expected one row for each of 3 images, got 4"),
        ("poses_bounds.npy", "poses_bounds.npy: no such file"),
    ],
)
def test_missing_files(tmp_path, gone, expected):
    write_rig(tmp_path)
    (tmp_path / gone).unlink()
    refused(tmp_path, expected, format="nvidia")


def test_no_images(tmp_path):
    write_rig(tmp_path)
    refused(tmp_path, "images_4: no images", images="images_4")


@pytest.mark.parametrize(
    "place, what",
    [
        ("motion_masks/002.png", "motion"),
        ("SegmentationClass_train/002.png", "label"),
        ("multiview_GT/00000002/cam03.png", "image"),
        ("multiview_GT_semantic/00000002/cam03.png", "label"),
    ],
)
def test_pictures_of_other_proportions(tmp_path, place, what):
    write_rig(tmp_path)
    picture(tmp_path / place, np.zeros((72, 72, 3), np.uint8))
    refused(tmp_path, f"{place}: {what} is 72x72, expected 96x72 or those proportions")


@pytest.mark.parametrize(
    "arrays, expected",
    [
        ({"flow": np.zeros((72, 72, 2)), "mask": np.ones((72, 72))}, "flow is 72x72, expected 96x72 or"),
        ({"flow": np.zeros((72, 96, 2)), "mask": np.ones((36, 48))}, "mask: expected finite numbers of flow's"),
        ({"flow": np.zeros((72, 96, 2))}, "mask: expected finite numbers of flow's shape [72, 96]"),
        ({"flow": np.zeros((2, 72, 96)), "mask": np.ones((72, 96))}, "flow: expected finite numbers of shape"),
        ({"flow": np.full((72, 96, 2), np.nan), "mask": np.ones((72, 96))}, "flow: expected finite numbers"),
        ({"mask": np.ones((72, 96))}, "flow: expected finite numbers of shape [h, w, 2]"),
    ],
)
def test_bad_flow(tmp_path, arrays, expected):
    write_rig(tmp_path)
    np.savez(tmp_path / "flow/001_fwd.npz", **arrays)
    refused(tmp_path, f"001_fwd.npz: {expected}")


@pytest.mark.parametrize("array", [np.zeros((3, 72, 96)), np.full((72, 96), np.inf), np.array(["a"])])
def test_bad_disparity(tmp_path, array):
    write_rig(tmp_path)
    np.save(tmp_path / "disp/002.npy", array)
    refused(tmp_path, "002.npy: expected finite numbers of shape [h, w]")


@pytest.mark.parametrize(
    "place, expected",
    [
        ("00000005/cam01.png", "time: expected 1 to 4, got 00000005"),
        ("00000000/cam01.png", "time: expected 1 to 4, got 00000000"),
        ("00000001/cam05.png", "camera: expected 1 to 4, got 05"),
        ("00000001/left.png", "camera: expected 1 to 4, got left"),
        ("later/cam01.png", "time: expected 1 to 4, got later"),
    ],
)
def test_pictures_of_no_time_or_camera(tmp_path, place, expected):
    write_rig(tmp_path)
    picture(tmp_path / "multiview_GT" / place, np.zeros((72, 96, 3), np.uint8))
    refused(tmp_path, place, expected)


# What is given goes before what is computed.


def test_given_flow_and_motion_are_taken(tmp_path):
    write_rig(tmp_path)
    scene = load(tmp_path)
    frames, flows = scene.split("train"), Flows.of(scene)
    lands = np.arange(96) + 0.5 + 2.0 + 1 < 96  # frame 1's flow goes 3 to the right
    assert np.array_equal(flows.between(1, 2), nvidia.flow(1, 1)[0])
    assert np.array_equal(flows.between(2, 1), nvidia.flow(2, -1)[0])
    assert np.array_equal(flows.consistent(1, 2), nvidia.flow(1, 1)[1] & lands)
    forward, backward = video_flow(frames)
    assert torch.equal(forward[1], frames[1].flow_forward)
    assert torch.equal(backward[1], frames[2].flow_backward)
    valid, _ = flow_validity(frames, forward, backward)
    assert np.array_equal(valid[1].numpy(), flows.consistent(1, 2))
    masks = motion_masks(scene)
    assert torch.equal(masks, torch.stack([frame.motion for frame in frames]))
    assert motion_masks(scene, dilate=2).sum() > masks.sum()


def test_flow_without_validity_is_not(tmp_path):
    """It is a simulated world's truth, which nothing may learn from."""
    write_rig(tmp_path)
    scene = load(tmp_path)
    pictures = [frame.image for frame in scene.split("train")]
    for index in scene.train:
        scene.frames[index] = scene.frames[index].with_layers(flow_forward_valid=None, flow_backward_valid=None)
    flows, own = Flows.of(scene), Flows(pictures)
    for pair in ((1, 2), (2, 1)):
        assert np.array_equal(flows.between(*pair), own.between(*pair))
        assert np.array_equal(flows.consistent(*pair), own.consistent(*pair))
    frames = scene.split("train")
    valid = flow_validity(frames, *video_flow(frames))[0]
    assert np.array_equal(valid[1].numpy(), own.consistent(1, 2))


def test_where_a_frame_is_held_out_flow_is_computed(tmp_path):
    write_rig(tmp_path, count=6)
    scene = load(tmp_path, holdout=2)  # 0, 1, 3 and 5 are left
    flows = Flows.of(scene)
    own = Flows([frame.image for frame in scene.split("train")])
    assert np.array_equal(flows.between(0, 1), nvidia.flow(0, 1)[0])
    assert np.array_equal(flows.between(1, 2), own.between(1, 2))
    part = flows.subset([1, 2, 3])
    assert np.array_equal(part.between(0, 1), own.between(1, 2))
    assert np.array_equal(flows.subset([0, 1]).between(1, 0), nvidia.flow(1, -1)[0])


def test_masks_of_some_frames_are_not_taken(tmp_path):
    write_rig(tmp_path)
    scene = load(tmp_path)
    scene.frames[1] = scene.frames[1].with_layers(motion=None)
    assert not torch.equal(motion_masks(scene)[0], scene.frames[0].motion)


def test_given_layers_of_another_size(tmp_path):
    write_rig(tmp_path)
    scene = load(tmp_path)
    small = torch.zeros(36, 48, dtype=torch.bool)
    scene.frames[0] = scene.frames[0].with_layers(flow_forward=torch.zeros(36, 48, 2), motion=small)
    with pytest.raises(BadInput, match="000: flow_forward is 48x36, expected 96x72 as its image"):
        video_flow(scene.split("train"))
    with pytest.raises(BadInput, match="000: motion is 48x36, expected 96x72 as its image"):
        motion_masks(scene)


def test_frames_alone_are_no_rig(tmp_path):
    capture().write_images(tmp_path)
    assert load(tmp_path).format == "frames"
