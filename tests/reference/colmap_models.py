"""COLMAP models of a capture, by the formats in COLMAP's documentation."""

import struct

from scipy.spatial.transform import Rotation

from tests.reference.captures import DOTS

NUMBERS = {
    "SIMPLE_PINHOLE": 0,
    "PINHOLE": 1,
    "SIMPLE_RADIAL": 2,
    "RADIAL": 3,
    "OPENCV": 4,
    "OPENCV_FISHEYE": 5,
    "FULL_OPENCV": 6,
    "SIMPLE_RADIAL_FISHEYE": 8,
}
COLORS = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [51, 51, 51]]


def poses(made):
    """Quaternion wxyz and translation of each image, as COLMAP stores them."""
    for matrix in made.w2c:
        x, y, z, w = Rotation.from_matrix(matrix[:3, :3]).as_quat()
        yield [w, x, y, z], matrix[:3, 3].tolist()


def parameters(made):
    return [made.K[0, 0], made.K[1, 1], made.K[0, 2], made.K[1, 2]]


def write_text(folder, made, names, model="PINHOLE", values=None):
    folder.mkdir(parents=True)
    values = parameters(made) if values is None else values
    width, height = made.size
    numbers = " ".join(map(str, values))
    (folder / "cameras.txt").write_text(f"# cameras\n3 {model} {width} {height} {numbers}\n")
    lines = ["# images"]
    for index, ((quat, move), name) in enumerate(zip(poses(made), names, strict=True)):
        lines.append(" ".join(map(str, [index + 1, *quat, *move, 3, name])))
        lines.append("" if index % 2 else "10.5 20.5 1 30.5 40.5 -1")  # 2D points, or none
    (folder / "images.txt").write_text("\n".join(lines) + "\n")
    points = [
        " ".join(map(str, [index, *dot, *color, 0.5, 1, 0, 2, 0]))
        for index, (dot, color) in enumerate(zip(DOTS, COLORS, strict=True))
    ]
    (folder / "points3D.txt").write_text("# points\n" + "\n".join(points) + "\n")


def write_binary(folder, made, names, model="PINHOLE", values=None):
    folder.mkdir(parents=True)
    values = parameters(made) if values is None else values
    data = struct.pack("<QiiQQ", 1, 3, NUMBERS[model], *made.size)
    (folder / "cameras.bin").write_bytes(data + struct.pack(f"<{len(values)}d", *values))
    data = struct.pack("<Q", len(names))
    for index, ((quat, move), name) in enumerate(zip(poses(made), names, strict=True)):
        data += struct.pack("<i7di", index + 1, *quat, *move, 3) + name.encode() + b"\0"
        observed = index % 3
        data += struct.pack("<Q", observed) + struct.pack("<ddq", 1.5, 2.5, 0) * observed
    (folder / "images.bin").write_bytes(data)
    data = struct.pack("<Q", len(DOTS))
    for index, (dot, color) in enumerate(zip(DOTS, COLORS, strict=True)):
        data += struct.pack("<QdddBBBdQ", index, *dot, *color, 0.5, 2)
        data += struct.pack("<iiii", 1, 0, 2, 0)
    (folder / "points3D.bin").write_bytes(data)
