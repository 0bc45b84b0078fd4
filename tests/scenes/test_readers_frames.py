"""Folders of frames, DAVIS-style masks, and cameras that the user brings."""

import numpy as np
import pytest
import torch
from PIL import Image
from semaflow.scenes import BadInput, load

from tests.reference.captures import capture, misses, write_json
from tests.reference.colmap_models import write_text


def test_folder_of_frames(tmp_path):
    made = capture()
    made.write_images(tmp_path, ["f1", "f2", "f10", "f11", "f20", "f3"], ".jpg")
    (tmp_path / "notes.txt").write_text("not a frame")
    scene = load(tmp_path, holdout=0)
    assert scene.format == "frames" and not scene.posed
    assert [frame.name for frame in scene.frames] == ["f1", "f2", "f3", "f10", "f11", "f20"]
    assert scene.times == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    camera = scene.cameras[0]
    assert torch.equal(camera.viewmat, torch.eye(4))
    edge = torch.tensor([[0.0, 36.0]])
    angle = torch.atan(camera.unproject(edge, torch.ones(1))[0, 0]).abs().rad2deg()
    assert angle == pytest.approx(30, abs=1e-3)  # 60 degrees across


def test_images_are_read_as_stored(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 10, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(pixels[..., 0]).save(tmp_path / "b.png")
    Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(tmp_path / "c.png")
    a, b, c = (frame.image for frame in load(tmp_path).frames)
    assert a.dtype == torch.float32
    assert torch.equal(a, torch.tensor(pixels).float() / 255)
    assert torch.equal(b, a[..., :1].expand(-1, -1, 3))
    assert torch.allclose(c, b, atol=1 / 255)


def davis(folder, frames="images", masks="masks"):
    names = capture().write_images(folder / frames, [f"{index:05d}" for index in range(6)], ".jpg")
    (folder / masks).mkdir(parents=True)
    return [folder / masks / f"{name}.png" for name in names]


@pytest.mark.parametrize(
    "frames, masks, given",
    [
        ("images", "masks", "."),
        ("JPEGImages", "Annotations", "."),
        ("JPEGImages/480p/bear", "Annotations/480p/bear", "JPEGImages/480p/bear"),
    ],
)
def test_davis_binary_masks(tmp_path, frames, masks, given):
    for index, file in enumerate(davis(tmp_path, frames, masks)):
        mask = np.zeros((72, 96), np.uint8)
        mask[:, : index + 1] = 255
        Image.fromarray(mask).save(file)
    scene = load(tmp_path / given)
    assert scene.format == "davis" and not scene.posed
    assert [int(frame.mask[0].sum()) for frame in scene.frames] == [1, 2, 3, 4, 5, 6]
    assert not scene.frames[0].has("instance")


def test_davis_palette_masks(tmp_path):
    ids = np.zeros((72, 96), np.uint8)
    ids[:10], ids[10:20], ids[20:30] = 1, 2, 255
    for file in davis(tmp_path):
        picture = Image.fromarray(ids).convert("P")
        picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [0] * 750 + [224, 224, 192])
        picture.putdata(ids.ravel().tolist())
        picture.save(file)
    frame = load(tmp_path).frames[0]
    assert torch.equal(frame.mask, torch.tensor((ids == 1) | (ids == 2)))
    assert frame.instance[:30:10, 0].tolist() == [1, 2, -1] and frame.instance[40, 0] == 0


def test_grey_masks_of_ids(tmp_path):
    ids = np.zeros((72, 96), np.uint8)
    ids[:10], ids[10:20] = 1, 2
    for file in davis(tmp_path):
        Image.fromarray(ids).save(file)
    assert torch.equal(load(tmp_path).frames[0].mask, torch.tensor(ids > 0))


def test_frames_without_a_mask_stay(tmp_path):
    files = davis(tmp_path)
    Image.fromarray(np.zeros((72, 96), np.uint8)).save(files[0])
    assert [frame.has("mask") for frame in load(tmp_path).frames] == [True] + [False] * 5


def test_own_cameras_from_colmap(tmp_path):
    made = capture()
    names = [f"{name}.png" for name in made.write_images(tmp_path / "frames")]
    made.c2w = made.c2w[:5]
    write_text(tmp_path / "model", made, names[:5])
    scene = load(tmp_path / "frames", cameras=tmp_path / "model")
    assert scene.posed and len(scene.frames) == 5 and "1 frames have no camera" in scene.notes[0]
    assert misses(scene) < 0.1
    assert misses(scene, scene.points.positions) < 0.1


def test_own_cameras_from_transforms(tmp_path):
    made = capture()
    made.write_images(tmp_path / "frames")
    frames = [
        {"file_path": f"frames/{index:03d}.png", "transform_matrix": made.opengl(index)}
        for index in range(6)
    ]
    file = write_json(tmp_path / "transforms.json", {"fl_x": 80.0, "frames": frames})
    assert misses(load(tmp_path / "frames", cameras=file)) < 0.1


def npz(folder, made, **changes):
    arrays = {"K": made.K, "viewmats": made.w2c} | changes
    np.savez(folder / "cameras.npz", **{key: a for key, a in arrays.items() if a is not None})
    return folder / "cameras.npz"


def test_own_cameras_from_npz(tmp_path):
    made = capture(fx=85.0, cx=45.0)
    made.write_images(tmp_path / "frames")
    assert misses(load(tmp_path / "frames", cameras=npz(tmp_path, made))) < 0.1
    shared = {"viewmats": None, "c2w": made.c2w, "K": None, "Ks": np.stack([made.K] * 6)}
    assert misses(load(tmp_path / "frames", cameras=npz(tmp_path, made, **shared))) < 0.1


def test_npz_cameras_of_a_larger_image(tmp_path):
    made = capture()
    made.write_images(tmp_path / "frames")
    larger = {"K": np.diag([2.0, 2, 1]) @ made.K, "width": 192, "height": 144}
    assert misses(load(tmp_path / "frames", cameras=npz(tmp_path, made, **larger))) < 0.1


def test_npz_cameras_by_name(tmp_path):
    made = capture()
    names = made.write_images(tmp_path / "frames")
    mixed = [4, 2, 0]
    chosen = {"viewmats": made.w2c[mixed], "names": np.array([names[index] for index in mixed])}
    scene = load(tmp_path / "frames", cameras=npz(tmp_path, made, **chosen))
    assert [frame.name for frame in scene.frames] == ["000", "002", "004"]
    assert misses(scene) < 0.1


def test_cameras_of_another_count(tmp_path):
    made = capture()
    made.write_images(tmp_path / "frames")
    with pytest.raises(BadInput, match="expected one for each of 6 frames, got 4"):
        load(tmp_path / "frames", cameras=npz(tmp_path, made, viewmats=made.w2c[:4]))


def test_numbers_counted_from_one_do_not_shift_the_cameras(tmp_path):
    """Frames 000... and cameras 001... are the same frames, although most names agree."""
    made = capture()
    made.write_images(tmp_path / "frames")
    named = np.array([f"{index + 1:03d}" for index in range(6)])
    scene = load(tmp_path / "frames", cameras=npz(tmp_path, made, names=named))
    assert misses(scene) < 0.1
