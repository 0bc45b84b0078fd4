"""Video files to damage."""

import struct

import numpy as np
from semaflow.scenes.video import write_video


def clip(folder, count=20):
    """``clip.mp4`` in ``folder``: ``count`` frames of noise, 64x48."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (count, 48, 64, 3), dtype=np.uint8)
    write_video(folder / "clip.mp4", frames)
    return folder / "clip.mp4"


def fast_start(path):
    """Move an mp4 file's index before its pictures, as downloads have it."""
    data = path.read_bytes()
    boxes, place = {}, 0
    while place < len(data):
        size = struct.unpack(">I", data[place : place + 4])[0]
        boxes[data[place + 4 : place + 8]] = data[place : place + size]
        place += size
    moov = bytearray(boxes[b"moov"])
    at = moov.index(b"stco") + 8
    (count,) = struct.unpack(">I", moov[at : at + 4])
    for index in range(at + 4, at + 4 + 4 * count, 4):
        (offset,) = struct.unpack(">I", moov[index : index + 4])
        moov[index : index + 4] = struct.pack(">I", offset + len(moov))
    rest = [box for kind, box in boxes.items() if kind not in (b"ftyp", b"moov")]
    path.write_bytes(boxes[b"ftyp"] + bytes(moov) + b"".join(rest))
