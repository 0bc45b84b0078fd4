"""Maps on disk: computed once, never stale, never trusted blindly; and their small code."""

import logging

import numpy as np
import pytest
import torch
from semaflow.scenes import BadInput, Camera, Frame
from semaflow.scenes.files import write_tensors
from semaflow.scenes.teachers import compress, feature_maps
from semaflow.scenes.teachers.base import Teacher


class Counting(Teacher):
    """Says for each cell its colour, and counts how often it is asked."""

    name, dim = "counting", 3

    def __init__(self, option=1):
        self.option, self.asked = option, 0

    def key(self):
        return f"counting {self.option}"

    def map(self, image):
        self.asked += 1
        return image[::4, ::4] * self.option


class Pairing(Counting):
    """Looks at the neighbour, too."""

    def inputs(self, frame, neighbour=None):
        return [frame.image, neighbour.image]

    def of_frame(self, frame, neighbour=None):
        return self.map(neighbour.image - frame.image)


def frames(count=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    camera = Camera(torch.eye(4), torch.tensor([[9.0, 0, 8], [0, 9.0, 4], [0, 0, 1]]), 16, 8)
    images = [torch.rand(8, 16, 3, generator=generator) for _ in range(count)]
    return [Frame(f"a/{i:03d}", camera, i / 9, image=image) for i, image in enumerate(images)]


def test_maps_are_computed_once_and_kept_as_halves(tmp_path):
    first = Counting()
    maps = feature_maps(frames(), first, tmp_path)
    assert first.asked == 0 and len(maps) == 3 and maps.dim == 3
    fresh = list(maps)
    again = Counting()
    stored = list(feature_maps(frames(), again, tmp_path))
    assert (first.asked, again.asked) == (3, 0)
    for one, other, frame in zip(fresh, stored, frames(), strict=True):
        assert other.dtype == torch.float32 and torch.equal(one, other)
        assert torch.equal(other, frame.image[::4, ::4].half().float())


def test_maps_behave_like_a_list(tmp_path):
    maps = feature_maps(frames(), Counting(), tmp_path)
    assert torch.equal(maps[-1], maps[2]) and len(maps[1:]) == 2
    with pytest.raises(IndexError):
        maps[3]


def test_other_options_images_or_neighbours_never_meet_an_old_map(tmp_path):
    list(feature_maps(frames(), Counting(), tmp_path))
    other_option = feature_maps(frames(), Counting(2), tmp_path)
    assert torch.allclose(other_option[0], 2 * frames()[0].image[::4, ::4], atol=2e-3)
    other_image = feature_maps(frames(seed=1), Counting(), tmp_path)
    assert torch.allclose(other_image[0], frames(seed=1)[0].image[::4, ::4], atol=1e-3)

    pairs = feature_maps(frames(), Pairing(), tmp_path)
    three = [pairs[i] for i in range(3)]
    assert torch.allclose(three[2], -three[1], atol=1e-3)  # the last frame looks back
    changed = feature_maps([frames()[0], frames()[2]], Pairing(), tmp_path)
    assert not torch.allclose(changed[0], three[0], atol=0.1)


@pytest.mark.parametrize("damage", ["cut", "garbage", "dtype", "name", "width", "nan"])
def test_a_damaged_file_is_computed_again_with_a_note(tmp_path, damage, caplog):
    maps = feature_maps(frames(), Counting(), tmp_path)
    good, path = maps[1], maps.path(1)
    shape = good.shape
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:40])
    elif damage == "garbage":
        path.write_bytes(b"not tensors at all")
    else:
        wrong = {
            "dtype": {"features": torch.zeros(shape)},
            "name": {"feature": torch.zeros(shape).half()},
            "width": {"features": torch.zeros(2, 4, 5).half()},
            "nan": {"features": torch.full(shape, np.nan).half()},
        }
        write_tensors(path, wrong[damage])
    with caplog.at_level(logging.WARNING):
        assert torch.equal(feature_maps(frames(), Counting(), tmp_path)[1], good)
    assert path.name in caplog.text and "computing it again" in caplog.text
    again = Counting()
    assert torch.equal(feature_maps(frames(), again, tmp_path)[1], good) and again.asked == 0


def test_a_failing_teacher_leaves_nothing_behind(tmp_path):
    class Broken(Counting):
        def map(self, image):
            return image * float("nan")

    with pytest.raises(BadInput, match="a/000: counting features: contains NaN"):
        feature_maps(frames(), Broken(), tmp_path).prepare()
    assert not list(tmp_path.rglob("*.*"))


def test_prepare_computes_what_is_missing(tmp_path):
    feature_maps(frames(), Counting(), tmp_path)[1]
    rest = Counting()
    feature_maps(frames(), rest, tmp_path).prepare(progress=False)
    assert rest.asked == 2


def test_code_of_flat_data_is_exact():
    torch.manual_seed(0)
    directions = torch.linalg.qr(torch.randn(20, 3)).Q.T
    maps = [torch.randn(5, 7, 3) @ directions + 2.0 for _ in range(4)]
    mean, basis, report = compress(maps, 3)
    assert mean.shape == (20,) and basis.shape == (3, 20)
    assert torch.allclose(basis @ basis.T, torch.eye(3), atol=1e-5)
    decoded = mean + ((maps[2] - mean) @ basis.T) @ basis
    assert torch.allclose(decoded, maps[2], atol=1e-4)
    assert report["dim"] == 3 and report["low_cosine"] == pytest.approx(1.0, abs=1e-5)


def test_report_is_the_true_cosine_and_grows_with_the_code():
    torch.manual_seed(0)
    maps = [torch.randn(6, 8, 16) * torch.linspace(2, 0.1, 16) + 0.3 for _ in range(3)]
    means = []
    for dim in (2, 6, 12, 16, 40):
        mean, basis, report = compress(maps, dim)
        cells = torch.cat([m.reshape(-1, 16) for m in maps])
        decoded = mean + ((cells - mean) @ basis.T) @ basis
        cosine = (cells * decoded).sum(-1) / (cells.norm(dim=-1) * decoded.norm(dim=-1))
        assert report["mean_cosine"] == pytest.approx(cosine.mean().item(), abs=1e-5)
        assert report["low_cosine"] == pytest.approx(cosine.quantile(0.05).item(), abs=1e-4)
        assert 0 < report["variance"] <= 1 + 1e-6
        means.append(report["mean_cosine"])
    assert means == sorted(means) and means[-1] == pytest.approx(1.0, abs=1e-5)
    assert basis.shape == (16, 16)  # no wider than the features are


def test_code_of_nothing_is_refused():
    with pytest.raises(BadInput, match="compress: expected maps and dim >= 1"):
        compress([], 4)
    with pytest.raises(BadInput, match="dim 0"):
        compress([torch.zeros(2, 2, 3)], 0)
