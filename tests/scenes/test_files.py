"""Writing that loses nothing, reading that trusts nothing."""

import json
import os
import pickle
import resource

import numpy as np
import pytest
import safetensors.torch
import torch
from semaflow.scenes import BadInput, files


def test_written_files_appear_whole(tmp_path):
    files.write_text(tmp_path / "deep/a.txt", "first")
    files.write_text(tmp_path / "deep/a.txt", "second")
    assert (tmp_path / "deep/a.txt").read_text() == "second"
    assert [entry.name for entry in (tmp_path / "deep").iterdir()] == ["a.txt"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, MemoryError])
def test_an_interrupted_write_leaves_what_was_there(tmp_path, error):
    files.write_text(tmp_path / "a.txt", "before")
    with pytest.raises(error), files.replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("half of")
        raise error
    assert (tmp_path / "a.txt").read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_is_one_line(tmp_path):
    files.write_text(tmp_path / "a.txt", "before")
    line = "a.txt: could not be written .No space left"
    with pytest.raises(BadInput, match=line), files.replacing(tmp_path / "a.txt"):
        raise OSError(28, os.strerror(28))
    assert (tmp_path / "a.txt").read_text() == "before"


def test_tensors_on_a_full_disk(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    files.write_tensors(path, {"x": torch.ones(3)})

    def full(tensors, name, metadata):
        with open(name, "wb") as file:
            file.write(b"half")
        raise safetensors.SafetensorError("I/O error: No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(BadInput, match="a.safetensors: could not be written .*No space left"):
        files.write_tensors(path, {"x": torch.zeros(3)})
    assert files.read_tensors(path)[0]["x"].tolist() == [1, 1, 1]
    assert list(tmp_path.iterdir()) == [path]


def test_lines_are_added_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.jsonl"
    files.append_text(path, "first ü\n")
    files.append_text(path, "second\n")
    before = path.read_bytes()
    assert before.decode() == "first ü\nsecond\n"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 3, hard))  # the write is cut short, as by a full disk
    try:
        with pytest.raises(BadInput, match="a.jsonl: could not be written"):
            files.append_text(path, "third\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before


def test_a_path_through_a_file(tmp_path):
    (tmp_path / "a").write_text("a file, no folder")
    with pytest.raises(BadInput, match="could not be written"):
        files.write_text(tmp_path / "a/b.txt", "text")


def test_json(tmp_path):
    files.write_json(tmp_path / "a.json", {"x": [1, 2.5, "ü"]})
    assert files.read_json(tmp_path / "a.json") == {"x": [1, 2.5, "ü"]}
    with pytest.raises(ValueError):
        files.write_json(tmp_path / "a.json", {"x": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text())["x"][0] == 1


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe\x00", b"{'a': 1}"])
def test_damaged_json(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(BadInput, match="a.json: not valid JSON") as caught:
        files.read_json(tmp_path / "a.json")
    assert "\n" not in str(caught.value)


class Trap:
    """Unpickling this would leave a mark."""

    def __reduce__(self):
        return os.mkdir, ("unpickled",)


def test_pickles_are_never_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "a.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "b.npz", x=np.array([Trap()], dtype=object))
    (tmp_path / "c.npz").write_bytes(pickle.dumps(Trap()))
    for name in ("a.npy", "b.npz", "c.npz"):
        with pytest.raises(BadInput, match=f"{name}: not a readable npz"):
            files.read_npz(tmp_path / name)
    assert not (tmp_path / "unpickled").exists()


def test_truncated_npz(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(1000))
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(BadInput, match="a.npz"):
        files.read_npz(tmp_path / "a.npz")


def test_npz_and_npy(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(3), y=np.ones(2))
    np.save(tmp_path / "b.npy", np.arange(4))
    assert {key: len(a) for key, a in files.read_npz(tmp_path / "a.npz").items()} == {
        "x": 3,
        "y": 2,
    }
    assert files.read_npz(tmp_path / "b.npy")["array"].tolist() == [0, 1, 2, 3]


def test_tensors(tmp_path):
    path = tmp_path / "a.safetensors"
    files.write_tensors(path, {"x": torch.arange(6).reshape(2, 3).T}, {"format": "1"})
    tensors, header = files.read_tensors(path)
    assert tensors["x"].tolist() == [[0, 3], [1, 4], [2, 5]] and header == {"format": "1"}
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(BadInput, match="a.safetensors: corrupt"):
        files.read_tensors(path)


@pytest.mark.parametrize(
    "read", [files.read_json, files.read_npz, files.read_tensors, files.existing]
)
def test_missing_files(tmp_path, read):
    with pytest.raises(BadInput, match="gone: no such file"):
        read(tmp_path / "gone")


@pytest.mark.parametrize("relative", ["../b", "a/../../b", "/etc/passwd", "link/b"])
def test_paths_that_lead_outside(tmp_path, relative):
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(BadInput, match="scene.json: file_path: .* points outside"):
        files.inside(root, relative, "scene.json", "file_path")


def test_paths_that_stay_inside(tmp_path):
    assert files.inside(tmp_path, "./a/../b.png", "s", "f") == tmp_path.resolve() / "b.png"
