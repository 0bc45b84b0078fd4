"""The teacher without a network, on pictures whose right answer is plain."""

import pytest
import torch
from semaflow.scenes import Camera, Frame
from semaflow.scenes.teachers import feature_maps, teacher
from semaflow.scenes.teachers.classical import relative_speed, steady_flow

CAMERA = Camera(torch.eye(4), torch.tensor([[90.0, 0, 64], [0, 90.0, 32], [0, 0, 1]]), 128, 64)


def noise(height=64, width=128, seed=0):
    """Smooth random texture that optical flow can follow."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, height // 4, width // 4, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
    return smooth[0].permute(1, 2, 0).clamp(0, 1).contiguous()


def frame(image, name="0", **layers):
    return Frame(name, CAMERA, 0.0, image=image, **layers)


def alike(features, a, b):
    return (features[a] * features[b]).sum().item()


def test_map_is_unit_and_covers_the_image():
    features = teacher("classical").map(noise())
    assert features.shape == (16, 32, 64) == (16, 32, teacher("classical").dim)
    assert torch.allclose(features.norm(dim=-1), torch.ones(16, 32), atol=1e-5)
    assert torch.equal(features, teacher("classical").map(noise()))
    assert teacher("classical").map(torch.rand(33, 50, 3)).shape == (8, 12, 64)
    assert teacher("classical", size=64).map(noise()).shape == (8, 16, 64)


def test_position_plays_no_part():
    image = noise()
    moved = torch.roll(image, 16, dims=1)
    before, after = (teacher("classical").map(picture) for picture in (image, moved))
    # Away from the seam and the borders, which the wide filters see.
    assert torch.allclose(before[8, 8:20], after[8, 12:24], atol=0.05)


def test_colours_tell_regions_apart():
    image = torch.tensor([0.8, 0.2, 0.2]).repeat(64, 128, 1)
    image[:, 64:] = torch.tensor([0.2, 0.3, 0.8])
    features = teacher("classical").map(image)
    assert alike(features, (8, 2), (8, 5)) > 0.95
    assert alike(features, (8, 2), (8, 28)) < 0.7


def test_textures_of_one_mean_colour_tell_regions_apart():
    image = torch.full((64, 128, 3), 0.5)
    x = torch.arange(128)
    image[:, :64] += torch.where(x[:64] % 8 < 4, 0.15, -0.15)[None, :, None]
    image[:, 64:] += torch.where(torch.arange(64) % 8 < 4, 0.15, -0.15)[:, None, None]
    features = teacher("classical").map(image)
    same, different = alike(features, (8, 4), (8, 8)), alike(features, (8, 4), (8, 27))
    assert same > 0.95 and different < same - 0.05


def test_a_panning_camera_is_not_motion_but_a_thing_that_moves_is():
    background, thing = noise(64, 140), noise(24, 24, seed=1)
    first, second = background[:, :128].clone(), background[:, 4:132].clone()
    first[20:44, 50:74] = thing
    second[20:44, 53:77] = thing  # seven pixels against the background
    moving = frame(first, "0")
    neighbour = frame(second, "1")
    classical = teacher("classical")
    changed = classical.of_frame(moving, neighbour) - classical.map(first)
    change = changed.norm(dim=-1)
    inside, outside = change[6:10, 14:17], torch.cat([change[2:-2, 2:9], change[2:-2, 23:28]], 1)
    assert inside.median() > 0.3 > 0.1 > outside.median()


def test_given_flow_is_used_and_its_direction_left_out():
    image = noise()
    flow = torch.zeros(64, 128, 2)
    flow[16:48, 40:80, 0] = 6.0
    classical = teacher("classical")
    with_layer = classical.of_frame(frame(image, flow_forward=flow))
    assert torch.equal(with_layer, classical.map(image, flow))
    assert torch.allclose(with_layer, classical.map(image, -flow), atol=1e-3)
    assert not torch.allclose(with_layer, classical.map(image), atol=0.1)


def test_speed_is_measured_against_a_turning_camera():
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(128.0), indexing="ij")
    roll = torch.stack([-(y - 32), x - 64], -1) * 0.05  # rolling about the view axis
    assert relative_speed(roll.numpy()).max() < 0.2
    roll[10:30, 20:50] += 5.0
    speed = relative_speed(roll.numpy())[..., 0]
    assert speed[12:28, 22:48].min() > 2.0 and speed[40:].max() < 0.2


def test_views_from_elsewhere_have_no_flow():
    assert steady_flow(frame(noise(seed=0)), frame(noise(seed=5))) is None
    shifted = torch.roll(noise(), 3, dims=1)
    assert steady_flow(frame(noise()), frame(shifted)) is not None


def test_cached_maps_depend_on_the_neighbour(tmp_path):
    still = [frame(noise(), "0"), frame(noise(), "1")]
    moved = [frame(noise(), "0"), frame(torch.roll(noise(), 3, dims=1), "1")]
    a, b = (feature_maps(pair, teacher("classical"), tmp_path) for pair in (still, moved))
    assert a.path(0) != b.path(0)


@pytest.mark.parametrize("size", [(5, 7), (1, 40), (16, 16)])
def test_tiny_images_work(size):
    assert torch.isfinite(teacher("classical").map(torch.rand(*size, 3))).all()
