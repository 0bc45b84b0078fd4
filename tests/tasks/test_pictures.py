"""Pictures: what is drawn where."""

import numpy as np
import pytest
import torch
from PIL import Image
from semaflow.scenes import BadInput, Camera
from semaflow.tasks import pictures
from semaflow.tasks.masks import inside_point, read_labels, read_mask, write_mask


def test_overlay_tints_the_inside_and_outlines_it():
    image = torch.full((20, 30, 3), 0.5)
    mask = torch.zeros(20, 30, dtype=torch.bool)
    mask[5:15, 10:20] = True
    color = torch.tensor([1.0, 0.0, 0.0])
    shown = pictures.overlay(image, mask, color)
    assert torch.equal(shown[5, 12], color)
    assert shown[10, 15, 0] > 0.6 > 0.4 > shown[10, 15, 1]
    assert (shown[0, 0] < 0.5).all() and (shown[0, 0] > 0.2).all()


def test_classes_have_colours_of_their_own_and_the_unlabelled_none():
    colors = pictures.label_colors(torch.arange(-1, 16)[None])[0]
    assert (colors[0] == 0).all() and (colors[1:].amax(-1) > 0.3).all()
    apart = torch.cdist(colors, colors) + torch.eye(17)
    assert apart.min() > 0.1


def test_depth_colors_are_bright_near_and_black_where_nothing_is():
    depth = torch.linspace(1, 5, 50).repeat(4, 1)
    depth[0] = 0
    shown = pictures.depth_colors(depth)
    brightness = shown.mean(-1)
    assert (brightness[0] == 0).all()
    assert (brightness[1, 1:] <= brightness[1, :-1] + 1e-6).all()
    fixed = pictures.depth_colors(depth, 0.1, 50.0)
    assert fixed[1].std(0).max() < shown[1].std(0).max()
    assert (pictures.depth_colors(torch.zeros(3, 3)) == 0).all()


def test_sheet_places_every_image_and_writes_headings():
    rows = [[torch.full((40, 60, 3), 0.2 * (2 * i + j + 1)) for j in range(2)] for i in range(2)]
    made = pictures.sheet(rows, ["input", "novel view"], ["t = 0.0", "t = 1.0"])
    assert made.shape[1] >= 120 and made.shape[0] >= 80
    for value in (0.4, 0.8):
        assert ((made - value).abs().amax(-1) < 0.01).sum() > 0.9 * 40 * 60
    bare = pictures.sheet(rows, ["", ""], ["t = 0.0", "t = 1.0"])
    changed = (made - bare).abs().amax(-1) > 0.3
    assert changed.any() and not changed[30:].any()


def test_images_survive_the_disk(tmp_path):
    image = torch.rand(9, 7, 3, generator=torch.Generator().manual_seed(0))
    pictures.write_image(tmp_path / "a" / "image.png", image)
    with Image.open(tmp_path / "a" / "image.png") as picture:
        assert np.abs(np.asarray(picture) / 255 - image.numpy()).max() <= 0.5 / 255 + 1e-6


def test_masks_survive_the_disk_in_every_picture_format(tmp_path):
    camera = Camera.look_at((0, -1, 0), (0, 0, 0), 6, 4)
    mask = torch.zeros(4, 6, dtype=torch.bool)
    mask[1:3, 2:5] = True
    write_mask(tmp_path / "grey.png", mask)
    palette = Image.fromarray(mask.numpy().astype(np.uint8) * 3)
    palette.putpalette([0, 0, 0, 9, 9, 9, 200, 0, 0, 0, 200, 0])
    palette.save(tmp_path / "palette.png")
    Image.fromarray(np.stack([mask.numpy() * 255] * 3, -1).astype(np.uint8)).save(
        tmp_path / "rgb.png"
    )
    for name in ("grey", "palette", "rgb"):
        assert torch.equal(read_mask(tmp_path / f"{name}.png", camera), mask)
    assert read_labels(tmp_path / "palette.png").unique().tolist() == [0, 3]


def test_inside_point_is_farthest_from_the_border():
    mask = torch.zeros(30, 40, dtype=torch.bool)
    mask[5:16, 20:31] = True
    mask[0:3, 0:10] = True
    (x, y), depth = inside_point(mask)
    assert (x, y) == (25.5, 10.5) and depth == 6.0
    with pytest.raises(BadInput, match="empty"):
        inside_point(torch.zeros(3, 3, dtype=torch.bool))
