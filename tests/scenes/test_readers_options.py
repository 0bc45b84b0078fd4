"""What all readers share: detection, which frames to take, how large, which to hold out."""

import numpy as np
import pytest
import torch
from semaflow.scenes import BadInput, Camera, Frame, Scene, Tracks, load
from semaflow.scenes.layers import resample
from semaflow.scenes.readers import READERS
from semaflow.scenes.readers.options import chosen, resized, trimmed

from tests.reference.captures import capture, misses


def scene_of(count=20, test_times=()):
    """Frames whose image is their number, flow to both neighbours, tracks with numbers too."""
    camera = Camera.look_at((0, -3, 1), (0, 0, 0), 8, 6)
    frames = []
    for index in range(count):
        flow = torch.full((6, 8, 2), float(index))
        valid, layers = torch.ones(6, 8, dtype=torch.bool), {}
        if index < count - 1:
            layers |= {"flow_forward": flow, "flow_forward_valid": valid}
        if index:
            layers |= {"flow_backward": -flow, "flow_backward_valid": valid}
        image = torch.full((6, 8, 3), float(index))
        frames.append(Frame(f"{index:02d}", camera, index / (count - 1), image=image, **layers))
    for place, time in enumerate(test_times):
        frames.append(Frame(f"t{place}", camera, time, image=torch.zeros(6, 8, 3)))
    steps = torch.arange(count)
    tracks = Tracks(
        steps[None, :, None].expand(2, -1, 3).float(),
        steps[None].expand(2, -1) % 2 == 0,
        steps / (count - 1),
        *torch.zeros(3, 2, dtype=torch.int64),
    )
    tests = list(range(count, count + len(test_times)))
    return Scene("made", frames, list(range(count)), tests, tracks=tracks, frame_rate=30.0)


def numbers(frames):
    return [int(frame.image[0, 0, 0]) for frame in frames]


def test_every_eighth_frame_is_held_out():
    scene = trimmed(scene_of(25))
    assert numbers(scene.split("test")) == [8, 16]  # the last, 24, trains
    assert len(scene.train) == 23 and scene.times == sorted(scene.times)
    assert scene.times[0] == 0 and scene.times[-1] == 1


def test_a_scene_with_test_frames_holds_out_none():
    scene = trimmed(scene_of(20, test_times=[0.5]))
    assert len(scene.train) == 20 and len(scene.test) == 1


def test_holdout_adds_to_the_test_frames():
    scene = trimmed(scene_of(20, test_times=[0.5]), holdout=10)
    assert [frame.name for frame in scene.split("test")] == ["10", "t0"]


def test_cut_and_thinned():
    scene = trimmed(scene_of(20, test_times=[0.1, 0.5, 0.9]), start=4, end=15, every=2, holdout=0)
    assert numbers(scene.split("train")) == [4, 6, 8, 10, 12, 14]
    assert scene.times == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    # of the test times in units of frames, 1.9, 9.5 and 17.1, one lies in 4..14
    assert [frame.time for frame in scene.split("test")] == pytest.approx([(9.5 - 4) / 10])
    assert scene.frame_rate == 15
    assert scene.tracks.positions[0, :, 0].tolist() == [4, 6, 8, 10, 12, 14]
    assert scene.tracks.times.tolist() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])


def test_flow_goes_where_its_frame_goes():
    scene = trimmed(scene_of(9), holdout=4)  # frame 4 is held out
    flows = [
        (frame.has("flow_backward"), frame.has("flow_forward")) for frame in scene.split("train")
    ]
    assert flows == [
        (False, True), (True, True), (True, True), (True, False),
        (False, True), (True, True), (True, True), (True, False),
    ]  # fmt: skip
    for frame in scene.frames:
        for layer in ("flow_backward", "flow_forward"):
            assert frame.has(layer) == frame.has(f"{layer}_valid")
    thinned = trimmed(scene_of(9), every=2, holdout=0)
    assert not any(frame.has("flow_forward") for frame in thinned.frames)


def test_static():
    scene = trimmed(scene_of(20, test_times=[0.5]), static=True)
    assert {frame.time for frame in scene.frames} == {0.0}


@pytest.mark.parametrize(
    "options, expected",
    [
        ({}, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ({"max_frames": 5}, [0, 2, 4, 6, 8]),
        ({"max_frames": 4}, [0, 3, 6, 9]),
        ({"every": 3, "max_frames": 2}, [0, 6]),
        ({"start": 8}, [8, 9]),
        ({"end": 99, "start": 9}, [9]),
    ],
)
def test_chosen(options, expected):
    assert chosen(10, **options) == expected


@pytest.mark.parametrize(
    "options, message",
    [
        ({"start": 10}, "no frame of 10"),
        ({"start": -1}, "start"),
        ({"every": 0}, "every"),
        ({"every": 1.5}, "every"),
        ({"max_frames": 0}, "max_frames"),
    ],
)
def test_impossible_choices(options, message):
    with pytest.raises(BadInput, match=message):
        chosen(10, **options)


@pytest.mark.parametrize("options", [{"holdout": 1}, {"holdout": -2}, {"every": "2"}])
def test_impossible_splits(options):
    with pytest.raises(BadInput, match=next(iter(options))):
        trimmed(scene_of(), **options)


@pytest.mark.parametrize("options", [{"scale": 0}, {"scale": 2.0}, {"max_width": 0}])
def test_impossible_sizes(options):
    with pytest.raises(BadInput, match=next(iter(options))):
        resized(scene_of(), **options)


@pytest.mark.parametrize("options", [{"max_width": 96}, {"scale": 0.5}])
def test_smaller_images_keep_dots_under_their_cameras(tmp_path, options):
    made = capture(width=192, height=144, fx=160.0, fy=160.0)
    made.write_images(tmp_path)
    np.savez(tmp_path / "cameras.npz", K=made.K, viewmats=made.w2c)
    scene = load(tmp_path, cameras=tmp_path / "cameras.npz", **options)
    assert scene.frames[0].image.shape == (72, 96, 3)
    assert misses(scene) < 0.1


def test_images_are_never_enlarged():
    scene = resized(scene_of(), max_width=100)
    assert scene.frames[0].image.shape == (6, 8, 3)


def test_layers_on_a_smaller_grid():
    ids = torch.arange(24).reshape(4, 6)
    assert set(resample("label", ids, 3, 2).flatten().tolist()) <= set(range(24))
    depth = torch.tensor([[1.0, 9.0], [9.0, 9.0]])
    for layer in ("depth", "disparity"):
        assert resample(layer, depth, 1, 1).item() in (1, 9)  # no surface between two
    mask = torch.zeros(4, 4, dtype=torch.bool)
    mask[:2, :2] = mask[2, 3] = True
    for layer in ("mask", "motion", "flow_forward_valid", "flow_backward_valid"):
        assert resample(layer, mask, 2, 2).tolist() == [[True, False], [False, False]]
    flow = torch.ones(4, 6, 2) * torch.tensor([6.0, 8.0])
    assert resample("flow_forward", flow, 3, 1)[0, 0].tolist() == pytest.approx([3, 2])
    image = torch.arange(16.0).reshape(4, 4, 1).expand(4, 4, 3).contiguous()
    assert resample("image", image, 2, 2)[0, 0].tolist() == [2.5, 2.5, 2.5]
    features = torch.rand(3, 4, 7)
    assert resample("features", features, 2, 2) is features


def test_every_reader_says_what_it_is():
    for name, reader in READERS.items():
        assert name == reader.FORMAT and callable(reader.detect) and reader.read.__doc__


def test_unknown_options_and_formats(tmp_path):
    capture().write_images(tmp_path)
    with pytest.raises(BadInput, match="no option 'colour' for format frames; there are cameras"):
        load(tmp_path, colour="red")
    with pytest.raises(BadInput, match="format: expected one of semaflow, dnerf"):
        load(tmp_path, "blender")
    assert len(load(tmp_path, "frames", every=2, holdout=0).frames) == 3


@pytest.mark.parametrize("options, expected", [
    ({"cameras": 3}, "cameras: expected text, got 3"),
    ({"static": "no"}, "static: expected true or false, got 'no'"),
    ({"frame_rate": float("nan")}, "frame_rate: expected a positive number, got nan"),
])  # fmt: skip
def test_values_of_another_kind_are_named(tmp_path, options, expected):
    capture().write_images(tmp_path)
    with pytest.raises(BadInput, match=expected):
        load(tmp_path, **options)
