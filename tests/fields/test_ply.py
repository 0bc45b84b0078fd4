"""The standard 3DGS PLY: what other programs read, and what this one accepts back."""

import struct

import numpy as np
import pytest
import torch
from semaflow.fields.gaussians.field import GaussianField
from semaflow.fields.gaussians.ply import read_ply, write_ply
from semaflow.fields.gaussians.state import GaussianState
from semaflow.scenes import BadInput


def gaussians(count: int, degree: int, seed: int = 0) -> GaussianState:
    random = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(*shape, generator=random)  # noqa: E731
    return GaussianState(
        means=normal(count, 3),
        quats=torch.nn.functional.normalize(normal(count, 4), dim=-1),
        scales=(normal(count, 3) - 3).exp(),
        opacities=torch.rand(count, generator=random),
        sh=normal(count, (degree + 1) ** 2, 3),
        features=None,
        time=0.25,
        background=torch.zeros(3),
    )


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_round_trip(tmp_path, degree):
    state = gaussians(37, degree)
    write_ply(tmp_path / "field.ply", state)
    back = read_ply(tmp_path / "field.ply", time=0.25)
    assert back.time == 0.25 and back.degree == degree
    for name in ("means", "quats", "scales", "opacities", "sh"):
        torch.testing.assert_close(getattr(back, name), getattr(state, name), rtol=1e-5, atol=1e-6)


def test_a_field_is_written_in_its_canonical_pose(tmp_path):
    state = gaussians(6, 2)
    field = GaussianField(
        state.means, state.scales.log(), state.quats, torch.logit(state.opacities),
        state.sh[:, :1], state.sh[:, 1:],
    )
    field.degree = 0  # how far training got does not shorten the file
    write_ply(tmp_path / "field.ply", field)
    back = read_ply(tmp_path / "field.ply")
    for name in ("means", "scales", "opacities", "sh"):
        torch.testing.assert_close(getattr(back, name), getattr(state, name), rtol=1e-4, atol=1e-5)


def test_bytes_are_laid_out_as_the_original_writes_them(tmp_path):
    state = gaussians(3, 1)
    path = tmp_path / "field.ply"
    write_ply(path, state)
    header, body = path.read_bytes().split(b"end_header\n", 1)
    lines = header.decode("ascii").splitlines()
    assert lines[:3] == ["ply", "format binary_little_endian 1.0", "element vertex 3"]
    order = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    order += [f"f_rest_{i}" for i in range(9)] + ["opacity"]
    order += ["scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    assert lines[3:] == [f"property float {name}" for name in order]
    second = dict(zip(order, struct.unpack("<26f", body[26 * 4 : 2 * 26 * 4]), strict=True))
    assert len(body) == 3 * 26 * 4
    assert second["nx"] == second["ny"] == second["nz"] == 0
    assert second["scale_1"] == pytest.approx(state.scales[1, 1].log().item(), rel=1e-5)
    assert second["opacity"] == pytest.approx(torch.logit(state.opacities[1]).item(), rel=1e-4)
    assert second["rot_0"] == pytest.approx(state.quats[1, 0].item())
    # Channel-major: the three higher coefficients of red come first, then those of green.
    rest = [second[f"f_rest_{i}"] for i in range(6)]
    assert rest[:3] == pytest.approx(state.sh[1, 1:, 0].tolist())
    assert rest[3:] == pytest.approx(state.sh[1, 1:, 1].tolist())


def test_extreme_opacities_and_scales_stay_finite(tmp_path):
    state = gaussians(2, 0)
    state.opacities[:] = torch.tensor([0.0, 1.0])
    state.scales[0] = 0
    write_ply(tmp_path / "field.ply", state)
    back = read_ply(tmp_path / "field.ply")
    assert back.opacities.tolist() == pytest.approx([0, 1])
    assert back.scales[0].max() < 1e-9


def test_reads_other_programs_files(tmp_path):
    """Text, big-endian, shuffled properties, doubles, quaternions of any length are legal."""
    from plyfile import PlyData, PlyElement

    state = gaussians(5, 0)
    write_ply(tmp_path / "ours.ply", state)
    table = PlyData.read(tmp_path / "ours.ply")["vertex"].data
    order = [name for name in table.dtype.names if not name.startswith("n")][::-1]
    other = np.zeros(5, [(name, "f8") for name in order])
    for name in order:
        other[name] = table[name] * (3 if name.startswith("rot") else 1)
    for name, options in (("text.ply", {"text": True}), ("big.ply", {"byte_order": ">"})):
        PlyData([PlyElement.describe(other, "vertex")], **options).write(tmp_path / name)
        back = read_ply(tmp_path / name)
        torch.testing.assert_close(back.quats, state.quats, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(back.means, state.means)


def test_bad_files_get_one_line(tmp_path):
    path = tmp_path / "field.ply"

    def message(content: bytes) -> str:
        path.write_bytes(content)
        with pytest.raises(BadInput) as caught:
            read_ply(path)
        assert "\n" not in str(caught.value) and "field.ply" in str(caught.value)
        return str(caught.value)

    write_ply(path, gaussians(4, 1))
    good = path.read_bytes()
    assert "not a readable PLY" in message(good[:-10])
    assert "not a readable PLY" in message(b"not a ply at all")
    assert "rot_2" in message(good.replace(b"rot_2", b"rot_x"))
    assert "f_rest" in message(good.replace(b"f_rest_8", b"g_rest_8"))
    assert "no vertices" in message(good.replace(b"element vertex", b"element wertex"))
    start = good.index(b"end_header\n") + len(b"end_header\n")
    nan = struct.pack("<f", float("nan"))
    assert "x: holds NaN" in message(good[:start] + nan + good[start + 4 :])
    with pytest.raises(BadInput, match="no such file"):
        read_ply(tmp_path / "none.ply")


def test_an_unwritable_place_leaves_what_was_there(tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(BadInput, match="could not be written"):
        write_ply(tmp_path / "file" / "field.ply", gaussians(1, 0))
    assert (tmp_path / "file").read_text() == "kept"
