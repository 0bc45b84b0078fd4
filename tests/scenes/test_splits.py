"""What a field may learn from and what it is tested on: the published protocols, and nothing that leaks."""

import pytest
import torch
from semaflow.scenes import BadInput, Camera, Frame, PointCloud, Scene
from semaflow.scenes.labels import label_map, labelled, with_classes
from semaflow.scenes.splits import LabelSplit

CAMERA = Camera.look_at((0, -4, 1), (0, 0, 0), 8, 6)


def scene(count: int = 12, test: tuple[float, ...] = ()) -> Scene:
    """Frames whose every layer tells which frame it is of."""
    frames = []
    for index in range(count + len(test)):
        time = index / (count - 1) if index < count else test[index - count]
        layers = {"image": torch.full((6, 8, 3), float(index))}
        layers |= {name: torch.full((6, 8), index % 3) for name in ("label", "instance", "part", "mask")}
        layers |= {name: torch.zeros(6, 8, 2) for name in ("flow_forward", "flow_backward")}
        frames.append(Frame(f"{index:04d}", CAMERA, time, **layers))
    times = torch.tensor([float("nan"), 0.0, 5 / 11, 1.0])
    points = PointCloud(torch.zeros(4, 3), torch.zeros(4, 3), times)
    return Scene(
        "twelve", frames, list(range(count)), list(range(count, len(frames))), points, label_names=["a", "b", "c"]
    )


@pytest.mark.parametrize(
    ("share", "completion", "tracking"),
    [
        (25, [0, 1, 11], [0, 1, 2]),
        (50, [0, 1, 2, 9, 10, 11], [0, 1, 2, 3, 4, 5]),
        (75, [0, 1, 2, 3, 4, 8, 9, 10, 11], [0, 1, 2, 3, 4, 5, 6, 7, 8]),
    ],
)
def test_twelve_frames_are_split_as_published(share, completion, tracking):
    assert LabelSplit.completion(12, share).labelled == completion
    assert LabelSplit.tracking(12, share).labelled == tracking


@pytest.mark.parametrize("count", [2, 3, 12, 48])
def test_every_frame_is_either_labelled_or_tested(count):
    made = [LabelSplit.full(count), LabelSplit.completion(count + 2, 50), LabelSplit.tracking(count, 50)]
    made += [LabelSplit.completion(count + 2, 50, "labelled"), LabelSplit.tracking(count, 50, "all")]
    for split in made:
        everyone = sorted(split.labelled + split.unseen)
        assert everyone == list(range(len(everyone)))
        assert set(split.labelled) <= set(split.filmed)
    everything, some = (1, 4), (2, 3)
    assert all(made[k].filmed == sorted(made[k].labelled + made[k].unseen) for k in everything)
    assert all(made[k].filmed == made[k].labelled for k in some)


@pytest.mark.parametrize("share", [0, 100, -5, 0.25, 1])
def test_a_share_that_leaves_nothing_to_learn_or_to_test_is_refused(share):
    for kind in (LabelSplit.completion, LabelSplit.tracking):
        with pytest.raises(BadInput, match=rf"share: expected percent of 12 frames .* got {share}"):
            kind(12, share)


def test_other_pictures_are_refused():
    with pytest.raises(BadInput, match="pictures: expected all or labelled, got 'seen'"):
        LabelSplit.completion(12, 50, "seen")
    with pytest.raises(BadInput, match="pictures: expected all or seen, got 'labelled'"):
        LabelSplit.tracking(12, 50, "labelled")


def test_training_sees_no_truth_and_no_flow_of_what_is_hidden():
    whole = scene(test=(0.5,))
    seen = LabelSplit.completion(12, 25).seen(whole)
    assert [frame.name for frame in seen.split("train")] == [frame.name for frame in whole.split("train")]
    told = [frame.name for frame in seen.frames if frame.has("label")]
    assert told == ["0000", "0001", "0011"] == [f.name for f in seen.frames if f.has("mask") or f.has("instance")]
    assert all(frame.has("flow_forward") for frame in seen.frames[:-1]) and not seen.test and seen.tracks is None
    few = LabelSplit.completion(12, 25, "labelled").seen(whole)
    assert [frame.name for frame in few.frames] == told
    assert [frame.has("flow_forward") for frame in few.frames] == [True, False, False]
    assert [frame.has("flow_backward") for frame in few.frames] == [False, True, False]
    assert few.points.times[1:].tolist() == [0.0, 1.0] and few.points.times[0].isnan()
    assert all(frame.has("label") for frame in whole.frames) and len(whole.points) == 4


def test_times_next_to_a_labelled_frame_are_not_tested():
    whole = scene(test=(0.2, 5 / 11, 5.5 / 11, 5.7 / 11, 1.0))
    tested = LabelSplit.tracking(12, 50).tested(whole)
    assert [frame.name for frame in tested["train"]] == [f"{index:04d}" for index in range(6, 12)]
    assert [frame.time for frame in tested["test"]] == [5.7 / 11, 1.0]
    assert LabelSplit.full(12).tested(whole) == {"train": [], "test": whole.split("test")}


def test_labels_must_be_of_the_scenes_classes():
    whole = scene(test=(0.5,))
    assert with_classes(whole) is whole and label_map(whole.frames[2], 3).unique().tolist() == [2]
    for wrong, message in ((torch.full((6, 8), 3), "ids in -1..2, got 3"), (torch.zeros(6, 4), "8x6 pixels, got 4x6")):
        whole.frames[12] = whole.frames[12].with_layers(label=wrong)
        with pytest.raises(BadInput, match=f"0012: label: expected {message}"):
            with_classes(whole)


def test_classes_without_names_are_numbered():
    whole = scene()
    whole.label_names = []
    assert with_classes(whole).label_names == ["class 0", "class 1", "class 2"]
    assert list(labelled(LabelSplit.tracking(12, 25, "all").seen(whole))) == [0, 1, 2]
    whole.frames = [frame.with_layers(label=None) for frame in whole.frames]
    assert with_classes(whole).label_names == [] and not labelled(whole)
