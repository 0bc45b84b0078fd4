"""Video files in and out: colours, sizes, rotation, true times, options, cameras."""

from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from semaflow.scenes import BadInput, load
from semaflow.scenes.video import read_video, write_video

from tests.reference.captures import capture, misses

COLORS = [
    (255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 120, 40), (255, 255, 255), (0, 0, 0),
]  # fmt: skip


def numbered(count, width=64, height=48):
    """Frames whose grey level says their number: 8 levels apart."""
    return [np.full((height, width, 3), 8 * index, np.uint8) for index in range(count)]


def numbers(frames):
    return [round(float(frame.mean()) * 255 / 8) for frame in frames]


def test_colours_survive(tmp_path):
    picture = np.zeros((48, 96, 3), np.uint8)
    for index, color in enumerate(COLORS):
        picture[:, 16 * index : 16 * index + 16] = color
    write_video(tmp_path / "a.mp4", [picture] * 3, 24)
    frame = read_video(tmp_path / "a.mp4")[1]
    assert frame.shape == (48, 96, 3) and frame.dtype == torch.float32
    middles = frame[24, 8::16] * 255
    assert (middles - torch.tensor(COLORS)).abs().max() <= 3


def test_written_files_play_anywhere(tmp_path):
    write_video(tmp_path / "a.mp4", torch.rand(5, 48, 64, 3), 12.5)
    with av.open(str(tmp_path / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264" and stream.pix_fmt == "yuv420p"
        assert stream.frames == 5 and float(stream.average_rate) == 12.5


def test_odd_sizes_grow_by_a_pixel(tmp_path):
    picture = torch.rand(1, 1, 1, 3).expand(2, 47, 63, 3).clone()
    picture[:, :, -1], picture[:, -1] = 1.0, 0.0
    write_video(tmp_path / "a.mp4", picture)
    frame = read_video(tmp_path / "a.mp4")[0]
    assert frame.shape == (48, 64, 3)
    assert (frame[:44, -1] - frame[:44, -2]).abs().max() < 0.1  # the last column, once more
    assert frame[-1].mean() < 0.1


@pytest.mark.parametrize("frames", [[], [np.zeros((8, 8, 3)), np.zeros((8, 10, 3))]])
def test_impossible_videos_leave_no_file(tmp_path, frames):
    (tmp_path / "a.mp4").write_bytes(b"what was here")
    with pytest.raises(BadInput, match="no frames|several sizes"):
        write_video(tmp_path / "a.mp4", frames)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"what was here"]


def test_frames_are_read_in_order_and_only_those_asked_for(tmp_path):
    write_video(tmp_path / "a.mp4", numbered(30), 10)
    video = read_video(tmp_path / "a.mp4")
    assert len(video) == 30 and video.frame_rate == pytest.approx(10)
    assert numbers([video[index] for index in (29, 0, 12)]) == [29, 0, 12]
    video.choose([3, 7, 20])
    assert numbers([video[index] for index in range(3)]) == [3, 7, 20]
    assert video.times == pytest.approx([0.3, 0.7, 2.0])


def test_scene_of_a_video(tmp_path):
    write_video(tmp_path / "clip.mp4", numbered(30), 10)
    scene = load(tmp_path / "clip.mp4", start=2, end=28, every=2, holdout=0)
    assert scene.format == "video" and scene.name == "clip" and not scene.posed
    assert [frame.name for frame in scene.frames][:3] == ["00002", "00004", "00006"]
    assert numbers(frame.image for frame in scene.frames) == list(range(2, 28, 2))
    assert scene.frame_rate == pytest.approx(5)
    assert scene.times == pytest.approx([index / 12 for index in range(13)])
    assert scene.notes == ["13 of the file's 30 frames are taken"]


def test_long_videos_are_thinned_and_held_out(tmp_path):
    write_video(tmp_path / "clip.mp4", numbered(30), 10)
    scene = load(tmp_path / "clip.mp4", max_frames=12)
    assert numbers(frame.image for frame in scene.split("test")) == [24]
    assert numbers(frame.image for frame in scene.split("train")) == [
        0,
        3,
        6,
        9,
        12,
        15,
        18,
        21,
        27,
    ]


def test_wide_videos_are_shrunk(tmp_path):
    write_video(tmp_path / "clip.mp4", numbered(3, 1000, 40))
    assert load(tmp_path / "clip.mp4").frames[0].image.shape == (38, 960, 3)
    scene = load(tmp_path / "clip.mp4", scale=0.5)
    assert scene.frames[0].image.shape == (20, 500, 3)
    assert (scene.cameras[0].width, scene.cameras[0].height) == (500, 20)


def test_shrunk_frames_are_averages(tmp_path):
    checks = (np.indices((48, 64)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, -1)
    write_video(tmp_path / "clip.mp4", [checks] * 2)
    image = load(tmp_path / "clip.mp4", scale=0.25).frames[0].image
    assert (image - 0.5).abs().max() < 0.1


def turned(path, matrix):
    """Write a display matrix, 9 fixed-point numbers, into the track header of an mp4 file."""
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40  # version 0: 40 bytes from the flags to the matrix
    data[place : place + 36] = b"".join(
        round(value * unit).to_bytes(4, "big", signed=True)
        for value, unit in zip(matrix, (65536, 65536, 1 << 30) * 3, strict=True)
    )
    path.write_bytes(data)


@pytest.mark.parametrize(
    "matrix, turns, shape",
    [
        ((0, 1, 0, -1, 0, 0, 0, 0, 1), -1, (64, 48, 3)),  # a phone held upright: 90 clockwise
        ((0, -1, 0, 1, 0, 0, 0, 0, 1), 1, (64, 48, 3)),
        ((-1, 0, 0, 0, -1, 0, 0, 0, 1), 2, (48, 64, 3)),
    ],
)
def test_rotation_is_applied(tmp_path, matrix, turns, shape):
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:16, :16], picture[:16, -16:], picture[-16:, :16] = (
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
    )
    write_video(tmp_path / "clip.mp4", [picture] * 2)
    turned(tmp_path / "clip.mp4", matrix)
    image = load(tmp_path / "clip.mp4").frames[0].image
    assert image.shape == shape
    assert (image - torch.tensor(np.rot90(picture, turns) / 255.0)).abs().mean() < 0.02
    assert load(tmp_path / "clip.mp4", max_width=24).frames[0].image.shape[1] == 24


def test_variable_frame_rate(tmp_path):
    """Times come from the file's time stamps, not from a steady rate."""
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for picture, stamp in zip(numbered(4), (0, 100, 200, 1000), strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    scene = load(tmp_path / "clip.mp4")
    assert scene.times == pytest.approx([0, 0.1, 0.2, 1], abs=1e-3)
    assert scene.frame_rate == pytest.approx(3, abs=0.01)


def test_wide_pixels_are_made_square(tmp_path):
    with av.open(str(tmp_path / "clip.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        for picture in numbered(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    assert load(tmp_path / "clip.mkv").frames[0].image.shape == (48, 85, 3)


def test_own_cameras_follow_the_frames_taken(tmp_path):
    made = capture(12, width=192, height=144, fx=160.0, fy=160.0)
    write_video(tmp_path / "clip.mp4", [image[..., None].repeat(3, -1) for image in made.images])
    np.savez(tmp_path / "cameras.npz", K=made.K, viewmats=made.w2c)
    scene = load(tmp_path / "clip.mp4", cameras=tmp_path / "cameras.npz", every=3, max_width=96)
    assert scene.posed and len(scene.frames) == 4
    assert misses(scene) < 0.25  # the codec moves dots a little


def test_own_cameras_for_some_frames(tmp_path):
    made = capture(6)
    write_video(tmp_path / "clip.mp4", [image[..., None].repeat(3, -1) for image in made.images])
    names = np.array([f"{index:05d}" for index in (1, 2, 5)])
    np.savez(tmp_path / "cameras.npz", K=made.K, viewmats=made.w2c[[1, 2, 5]], names=names)
    scene = load(tmp_path / "clip.mp4", cameras=tmp_path / "cameras.npz")
    assert [frame.name for frame in scene.frames] == ["00001", "00002", "00005"]
    assert scene.times == pytest.approx([0, 0.25, 1])
    assert misses(scene) < 0.25
