"""Teachers by name, given maps, and teachers joined: what a user types and gets."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from semaflow.scenes import BadInput, Camera, Frame
from semaflow.scenes.teachers import feature_maps, teacher
from semaflow.scenes.teachers.base import Teacher, network_input, working_size
from semaflow.scenes.teachers.joint import JointTeacher


def frame(name="0003", image=None, **layers):
    image = torch.rand(12, 20, 3) if image is None else image
    height, width = image.shape[:2]
    K = torch.tensor([[20.0, 0, width / 2], [0, 20.0, height / 2], [0, 0, 1]])
    return Frame(name, Camera(torch.eye(4), K, width, height), 0.0, image=image, **layers)


class Constant(Teacher):
    """A teacher whose map is one vector everywhere."""

    def __init__(self, name, vector, grid, words=None):
        self.name, self.vector, self.grid, self.words = name, torch.tensor(vector), grid, words
        self.dim = len(vector)

    def key(self):
        return self.name

    def map(self, image):
        return self.vector.expand(*self.grid, -1)

    def text(self, prompts):
        if self.words is None:
            return super().text(prompts)
        return torch.tensor([self.words] * len(prompts))


@pytest.mark.parametrize("name", ["nosuch", "./nosuch", "/nosuch/folder", "nosuch.npz"])
def test_unknown_name_lists_the_choices(name):
    with pytest.raises(BadInput, match="expected one of dinov2, clip, sam, mobilesam, classical"):
        teacher(name)


def test_unknown_option_is_named():
    with pytest.raises(BadInput, match="teacher classical: .*'sise'"):
        teacher("classical", sise=3)


def test_teacher_without_text_or_masks_says_what_to_use():
    with pytest.raises(BadInput, match="no text tower; use --click or a CLIP teacher"):
        teacher("classical").text(["a ball"])
    with pytest.raises(BadInput, match="no mask decoder"):
        teacher("classical").mask(torch.rand(20, 20, 3), [(3, 3)])


@pytest.mark.parametrize("bad", [torch.rand(3, 8, 8), torch.ones(8, 8, 3).long(), torch.rand(8, 8)])
def test_what_is_not_an_image_is_refused(bad):
    with pytest.raises(BadInput, match="image: expected"):
        teacher("classical").map(bad)


def test_working_size_keeps_the_aspect_and_fills_whole_patches():
    assert working_size(270, 480, 518, 14) == (294, 518)
    assert working_size(480, 270, 518, 14) == (518, 294)
    assert working_size(10, 5000, 518, 14) == (14, 518)  # never less than one patch


def test_resizing_covers_the_whole_image():
    ramp = torch.linspace(0.1, 0.9, 40)[None, :, None].expand(30, 40, 3)
    pixels = network_input(ramp, (60, 100), (0.0,) * 3, (1.0,) * 3)[0, 0]
    expected = (torch.arange(100) + 0.5) * 40 / 100 - 0.5  # where the new pixel's centre lay
    inner = slice(5, 95)  # borders are repeated
    assert torch.allclose(pixels[30, inner], (0.1 + 0.8 * expected / 39)[inner], atol=2e-3)


def test_scene_teacher_hands_out_the_scenes_own_maps(tmp_path):
    truth = torch.rand(3, 5, 7)
    maps = feature_maps([frame(features=truth)], teacher("scene"), tmp_path)
    assert torch.equal(maps[0], truth) and maps.dim == 7
    assert not list(tmp_path.iterdir())  # nothing to keep
    with pytest.raises(BadInput, match="0004: features: the scene has none"):
        teacher("scene").of_frame(frame("0004"))


@pytest.mark.parametrize("kind", ["npz", "safetensors", "folder"])
def test_precomputed_maps_are_found_by_frame_name(tmp_path, kind):
    values = {"0003": np.random.rand(3, 5, 4).astype(np.float16)}
    if kind == "npz":
        np.savez(tmp_path / "maps.npz", **values)
    elif kind == "safetensors":
        path = str(tmp_path / "maps.safetensors")
        save_file({name: torch.from_numpy(array) for name, array in values.items()}, path)
    else:
        (tmp_path / "maps.folder").mkdir()
        np.savez(tmp_path / "maps.folder" / "0003.npz", features=values["0003"])
    given = teacher(next(tmp_path.iterdir()))
    got = given.of_frame(frame("0003"))
    assert got.dtype == torch.float32 and given.dim == 4
    assert torch.equal(got.half(), torch.from_numpy(values["0003"]))
    with pytest.raises(BadInput, match="0007"):
        given.of_frame(frame("0007"))


@pytest.mark.parametrize(
    ("array", "complaint"),
    [
        (np.zeros((5, 4), np.float32), "expected floats"),
        (np.zeros((3, 5, 4), np.int32), "expected floats"),
        (np.full((3, 5, 4), np.nan, np.float32), "NaN"),
    ],
)
def test_bad_precomputed_maps_are_refused(tmp_path, array, complaint):
    np.savez(tmp_path / "maps.npz", **{"0003": array})
    with pytest.raises(BadInput, match=f"maps.npz: 0003: .*{complaint}"):
        teacher(tmp_path / "maps.npz").of_frame(frame())


def test_precomputed_maps_of_several_widths_are_refused(tmp_path):
    np.savez(tmp_path / "maps.npz", a=np.zeros((2, 2, 4)), b=np.zeros((2, 2, 5)))
    given = teacher(tmp_path / "maps.npz")
    given.of_frame(frame("a"))
    with pytest.raises(BadInput, match="expected 4 channels as in the other maps, got 5"):
        given.of_frame(frame("b"))


def test_frame_name_cannot_lead_out_of_the_folder_of_maps(tmp_path):
    (tmp_path / "maps").mkdir()
    np.savez(tmp_path / "secret.npz", features=np.zeros((2, 2, 3)))
    with pytest.raises(BadInput, match="outside"):
        teacher(tmp_path / "maps").of_frame(frame("../secret"))


def test_joined_teachers_share_the_finest_grid_and_average_cosines():
    coarse, fine = Constant("a", [3.0, 0.0], (2, 3)), Constant("b", [0.0, 0.0, 5.0], (4, 6))
    joined = JointTeacher([coarse, fine])
    features = joined.map(torch.rand(8, 12, 3))
    assert features.shape == (4, 6, 5) and joined.name == "a+b"
    assert torch.allclose(features.norm(dim=-1), torch.ones(4, 6))
    other = torch.tensor([1.0, 0, 0, 1, 0]) / 2**0.5  # agrees with part a alone
    assert torch.allclose(features @ other, torch.full((4, 6), 0.5), atol=1e-6)


def test_joined_teachers_compare_words_with_the_part_that_reads():
    speaking = Constant("b", [0.0, 1.0], (2, 2), words=[0.6, 0.8])
    joined = JointTeacher([Constant("a", [1.0], (2, 2)), speaking])
    assert torch.allclose(joined.text(["x", "y"]), torch.tensor([[0, 0.6, 0.8]] * 2))
    with pytest.raises(BadInput, match="no text tower"):
        JointTeacher([Constant("a", [1.0], (2, 2))] * 2).text(["x"])


def test_joined_by_name_with_options_by_part():
    joined = teacher("classical+classical", classical={"size": 16})
    assert joined.map(torch.rand(32, 64, 3)).shape == (2, 4, 128)
    with pytest.raises(BadInput, match="option size"):
        teacher("classical+classical", size=16)
    with pytest.raises(BadInput, match="two or more"):
        teacher("classical+scene")
