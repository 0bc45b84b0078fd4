"""Video files, by PyAV: frames with their true times in, H.264 out."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .files import BadInput, existing, replacing

SUFFIXES = {
    ".mp4",
    ".mov",
    ".m4v",
    ".mkv",
    ".webm",
    ".avi",
    ".mpg",
    ".mpeg",
    ".ts",
    ".wmv",
    ".3gp",
    ".ogv",
}
BT709 = 1  # the number of that standard in colour space, primaries and transfer fields
QUALITY = "18"  # x264's constant rate factor; 18 is taken for visually lossless


class Video:
    """A sequence of frames [H, W, 3] in 0..1, upright and with square pixels.

    Only the headers are read at first. The first frame asked for decodes all chosen frames once, as
    bytes of the size asked for, which stay in memory (frames x height x width x 3 bytes).

    Attributes:
        width, height: of the frames as shown, in pixels, after :meth:`resize`.
        indices: which frames of the file are in the sequence.
        count: frames in the file.
        times: seconds from the file's first frame, for each frame of the sequence.
    """

    def __init__(self, path: str | Path):
        self.path = existing(path)
        try:
            self._probe()
        except _av().FFmpegError as error:
            raise BadInput(f"{self.path}: not a readable video ({error.strerror})") from error
        self.indices = list(range(self.count))
        self._decoded: np.ndarray | None = None

    def _probe(self) -> None:
        with _av().open(str(self.path)) as container:
            if not container.streams.video:
                raise BadInput(f"{self.path}: holds no video stream")
            stream = container.streams.video[0]
            packets = [
                packet
                for packet in container.demux(stream)
                if packet.size and not packet.is_discard
            ]
            promised = stream.frames
            rate = float(stream.average_rate or stream.guessed_rate or 24)
            stamps = [packet.pts for packet in packets]
            if None in stamps:  # raw streams carry no times
                seconds = [index / rate for index in range(len(packets))]
            else:
                seconds = [stamp * float(stream.time_base) for stamp in sorted(stamps)]
        if not seconds:
            raise BadInput(f"{self.path}: holds no frames")
        if len(seconds) < promised - 1:
            raise BadInput(
                f"{self.path}: truncated: expected {promised} frames, found {len(seconds)}"
            )
        self.count = len(seconds)
        self._seconds = [second - seconds[0] for second in seconds]
        with _av().open(str(self.path)) as container:
            frame = next(container.decode(video=0), None)
            if frame is None:
                raise BadInput(f"{self.path}: no frame could be decoded")
            aspect = container.streams.video[0].sample_aspect_ratio
            self._turns = round(frame.rotation / 90) % 4  # counterclockwise
            self.width, self.height = round(frame.width * float(aspect or 1)), frame.height
        if self._turns % 2:
            self.width, self.height = self.height, self.width

    @property
    def times(self) -> list[float]:
        return [self._seconds[index] for index in self.indices]

    @property
    def frame_rate(self) -> float:
        """Frames per second of the sequence, on average."""
        duration = self.times[-1] - self.times[0]
        return (len(self) - 1) / duration if duration > 0 else 24.0

    def resize(self, width: int, height: int) -> None:
        """Decode to this size from now on."""
        self.width, self.height, self._decoded = width, height, None

    def choose(self, indices: list[int]) -> None:
        """Keep only these frames of the file, ascending."""
        self.indices, self._decoded = list(indices), None

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> Tensor:
        if not -len(self) <= position < len(self):
            raise IndexError(position)
        if self._decoded is None:
            self._decoded = self._decode()
        return torch.from_numpy(self._decoded[position].astype(np.float32) / 255)

    def frame(self, index: int) -> Tensor:
        """The frame of that number in the file; it must be one of :attr:`indices`."""
        return self[self.indices.index(index)]

    def _decode(self) -> np.ndarray:
        decoded = np.empty((len(self), self.height, self.width, 3), np.uint8)
        places = {index: position for position, index in enumerate(self.indices)}
        sideways = self._turns % 2
        width, height = (self.height, self.width) if sideways else (self.width, self.height)
        done = 0
        try:
            with _av().open(str(self.path)) as container:
                container.streams.video[0].thread_type = "AUTO"
                for index, frame in enumerate(container.decode(video=0)):
                    if index in places:
                        picture = frame.to_ndarray(
                            format="rgb24", width=width, height=height, interpolation="AREA"
                        )
                        decoded[places[index]] = np.rot90(picture, self._turns)
                        done += 1
                    if done == len(self):
                        break
        except _av().FFmpegError as error:
            raise BadInput(
                f"{self.path}: damaged after {done} of {len(self)} frames ({error.strerror})"
            ) from error
        if done < len(self):
            raise BadInput(f"{self.path}: truncated: expected {len(self)} frames, decoded {done}")
        return decoded


def read_video(path: str | Path) -> Video:
    """Open a video file; see :class:`Video`. BadInput when it is missing, truncated or no video."""
    return Video(path)


def write_video(path: str | Path, frames: Iterable[Tensor | np.ndarray], fps: float = 24.0) -> None:
    """Write frames [H, W, 3], uint8 or float in 0..1, as H.264 (yuv420p, BT.709), atomically.

    The format stores colour for blocks of 2x2 pixels: an odd width or height grows by one repeated
    column or row.

    Raises BadInput: no frames, frames of several sizes, or a file that cannot be written.
    """
    av = _av()
    path = Path(path)
    with replacing(path) as temporary:
        try:
            _encode(av, path, temporary, frames, fps)
        except av.FFmpegError as error:
            raise OSError(error.errno, error.strerror) from error


def _encode(av, path: Path, temporary: Path, frames: Iterable, fps: float) -> None:
    from fractions import Fraction

    first = None
    with av.open(str(temporary), "w", format="mp4") as container:
        for frame in frames:
            picture = _bytes(frame)
            if first is None:
                first = picture.shape
                stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
                stream.height, stream.width = (size + size % 2 for size in first[:2])
                stream.pix_fmt, stream.options = "yuv420p", {"crf": QUALITY}
                codec = stream.codec_context
                codec.colorspace = codec.color_primaries = codec.color_trc = BT709
                codec.color_range = 1  # the narrow range that players expect
            if picture.shape != first:
                raise BadInput(f"{path}: frames of several sizes: {first[:2]}, {picture.shape[:2]}")
            even = np.pad(picture, ((0, first[0] % 2), (0, first[1] % 2), (0, 0)), mode="edge")
            shown = av.VideoFrame.from_ndarray(even, format="rgb24").reformat(
                format="yuv420p", dst_colorspace="ITU709", dst_color_range=1
            )
            container.mux(stream.encode(shown))
        if first is None:
            raise BadInput(f"{path}: no frames to write")
        container.mux(stream.encode())


def _bytes(frame: Tensor | np.ndarray) -> np.ndarray:
    frame = frame.detach().cpu().numpy() if isinstance(frame, Tensor) else np.asarray(frame)
    if frame.dtype == np.uint8:
        return frame
    return (frame.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def _av():
    import av

    # No log at all, not merely a high level: errors would still be handed to Python, by decoder threads that then
    # wait for the interpreter lock while it waits for them. What goes wrong is said once, by our own errors.
    av.logging.set_level(None)
    return av
