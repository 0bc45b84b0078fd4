"""COLMAP models, text and binary."""

import numpy as np
import pytest
import torch
from PIL import Image
from semaflow.scenes import BadInput, load

from tests.reference.captures import capture, misses
from tests.reference.colmap_models import COLORS, write_binary, write_text


@pytest.mark.parametrize("write", [write_text, write_binary])
@pytest.mark.parametrize("place", ["sparse/0", "sparse", "."])
def test_dots_are_where_the_cameras_say(tmp_path, write, place):
    made = capture(fx=85.0, fy=78.0, cx=47.0)
    names = [f"{name}.png" for name in made.write_images(tmp_path / "scene/images")]
    (tmp_path / "scene").rename(tmp_path / "moved")  # no path may be kept anywhere
    write(tmp_path / "model", made, names)
    for file in (tmp_path / "model").iterdir():
        target = tmp_path / "moved" / place / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        file.rename(target)
    scene = load(tmp_path / "moved")
    assert scene.format == "colmap" and scene.posed
    assert misses(scene) < 0.1
    assert misses(scene, scene.points.positions) < 0.1
    assert torch.allclose(scene.points.colors * 255, torch.tensor(COLORS).float())


def test_the_model_folder_itself_can_be_named(tmp_path):
    made = capture()
    names = [f"{name}.png" for name in made.write_images(tmp_path / "images")]
    write_text(tmp_path / "sparse/0", made, names)
    assert len(load(tmp_path / "sparse/0").frames) == 6


LENSES = {
    "SIMPLE_PINHOLE": ([80.0, 48.0, 36.0], None),
    "SIMPLE_RADIAL": ([80.0, 48.0, 36.0, 0.4], lambda r: 1 + 0.4 * r**2),
    "RADIAL": ([80.0, 48.0, 36.0, 0.4, -0.2], lambda r: 1 + 0.4 * r**2 - 0.2 * r**4),
    "OPENCV": (
        [80.0, 80.0, 48.0, 36.0, 0.4, -0.2, 0.0, 0.0],
        lambda r: 1 + 0.4 * r**2 - 0.2 * r**4,
    ),
    "FULL_OPENCV": (
        [80.0, 80.0, 48.0, 36.0, 0.4, -0.2, 0, 0, 0, 0.1, 0, 0],
        lambda r: (1 + 0.4 * r**2 - 0.2 * r**4) / (1 + 0.1 * r**2),
    ),
    "SIMPLE_RADIAL_FISHEYE": (
        [80.0, 48.0, 36.0, 0.1],
        lambda r: np.arctan(r) * (1 + 0.1 * np.arctan(r) ** 2) / r,
    ),
    "OPENCV_FISHEYE": (
        [80.0, 80.0, 48.0, 36.0, 0.1, 0.02, 0, 0],
        lambda r: np.arctan(r) * (1 + 0.1 * np.arctan(r) ** 2 + 0.02 * np.arctan(r) ** 4) / r,
    ),
}


@pytest.mark.parametrize("model", LENSES)
def test_camera_models(tmp_path, model):
    """Each model by its formula in COLMAP's documentation."""
    values, radial = LENSES[model]

    def distort(points):
        radius = np.linalg.norm(points, axis=1, keepdims=True).clip(1e-9)
        return points * radial(radius)

    made = capture(distort=distort if radial else None)
    names = [f"{name}.png" for name in made.write_images(tmp_path / "images")]
    write_binary(tmp_path / "sparse/0", made, names, model, values)
    assert misses(load(tmp_path)) < 0.15


def test_unregistered_images_leave_gaps_in_time(tmp_path):
    made = capture(5)
    made.write_images(tmp_path / "images", ["a1", "a2", "a3", "a4", "a9"])
    made.c2w, names = made.c2w[[0, 1, 4]], ["a1.png", "a2.png", "a9.png"]
    write_text(tmp_path / "sparse/0", made, names)
    scene = load(tmp_path)
    assert scene.times == [0, 0.25, 1]
    assert "2 of the images" in scene.notes[0]


def test_masks_beside_the_images(tmp_path):
    made = capture()
    names = [f"{name}.png" for name in made.write_images(tmp_path / "images")]
    write_text(tmp_path / "sparse/0", made, names)
    (tmp_path / "masks").mkdir()
    Image.fromarray((made.images[1] > 128).astype(np.uint8) * 255).save(tmp_path / "masks/001.png")
    frames = load(tmp_path).frames
    assert [frame.has("mask") for frame in frames] == [False, True, False, False, False, False]
    assert torch.equal(frames[1].mask, torch.tensor(made.images[1] > 128))


def test_smaller_images_than_the_model_was_made_from(tmp_path):
    made = capture(width=192, height=144, fx=160.0, fy=160.0)
    names = [f"{name}.png" for name in made.write_images(tmp_path / "images")]
    write_text(tmp_path / "sparse/0", made, names)
    for name in names:
        file = tmp_path / "images" / name
        Image.open(file).resize((96, 72), Image.Resampling.BOX).save(file)
    assert misses(load(tmp_path)) < 0.1


@pytest.mark.parametrize("model, count", [("FOV", 5), ("THIN_PRISM_FISHEYE", 12)])
def test_lenses_without_a_straightener_are_refused(tmp_path, model, count):
    made = capture()
    names = [f"{name}.png" for name in made.write_images(tmp_path / "images")]
    write_text(tmp_path / "sparse/0", made, names, model, [80.0] * count)
    with pytest.raises(BadInput, match=f"camera model {model}"):
        load(tmp_path)
