"""Reading and writing files so that nothing saved is ever lost and bad input gets one clear line."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np


class BadInput(ValueError):
    """What a user gave cannot be used. The message is one line: which file, which field, what was expected."""


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of ``path``; on success it is synced and takes ``path``'s place.

    On any error the temporary file is removed and what ``path`` held before is untouched. A full disk or a
    folder without permission becomes :class:`BadInput`.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        os.chmod(temporary, 0o644)
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise BadInput(f"{path}: could not be written ({error.strerror or error})") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` (UTF-8) to ``path`` atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def append_text(path: str | Path, text: str) -> None:
    """Add ``text`` (UTF-8) to the end of ``path``, all of it or, where it does not fit on the disk, nothing."""
    path = Path(path)
    try:
        with open(path, "ab", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            data = text.encode()
            try:
                if file.write(data) < len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                file.truncate(end)
                raise
    except OSError as error:
        raise BadInput(f"{path}: could not be written ({error.strerror or error})") from error


def write_json(path: str | Path, value: object) -> None:
    """Write ``value`` as indented JSON to ``path`` atomically. NaN and infinity are refused (ValueError)."""
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: str | Path) -> dict | list:
    """The JSON value in ``path``; :class:`BadInput` when it is missing or not JSON."""
    path = existing(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: not valid JSON ({error})") from error


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """All arrays of an npz or npy file (key ``array`` for npy), never unpickling; :class:`BadInput` otherwise."""
    path = existing(path)
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"array": loaded}
        with loaded:
            return {key: loaded[key] for key in loaded.files}
    except Exception as error:  # zipfile, numpy and zlib each raise their own kinds
        raise BadInput(f"{path}: not a readable npz or npy file of plain arrays ({error})") from error


def read_tensors(path: str | Path) -> tuple[dict, dict[str, str]]:
    """Tensors by name and the header's text entries of a safetensors file; :class:`BadInput` when corrupt."""
    from safetensors import SafetensorError, safe_open

    path = existing(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise BadInput(f"{path}: corrupt or not a safetensors file ({error})") from error


def write_tensors(path: str | Path, tensors: dict, header: dict[str, str] | None = None) -> None:
    """Write named torch tensors and text entries as one safetensors file, atomically."""
    from safetensors.torch import save_file

    ready = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with replacing(path) as temporary:
        try:
            save_file(ready, str(temporary), metadata=header or {})
        except OSError:
            raise
        except Exception as error:  # safetensors wraps a full disk in its own error
            raise OSError(None, str(error)) from error


def existing(path: str | Path, folder: bool = False) -> Path:
    """``path`` itself if it is an existing file (or folder); :class:`BadInput` otherwise."""
    path = Path(path)
    if folder and not path.is_dir():
        raise BadInput(f"{path}: no such folder")
    if not folder and not path.is_file():
        raise BadInput(f"{path}: no such file")
    return path


def inside(root: str | Path, relative: str, source: str | Path, field: str) -> Path:
    """``root / relative`` if that stays under ``root``; ``source`` and ``field`` name the culprit otherwise.

    Data files name other files; a crafted one must not reach outside its folder.
    """
    root = Path(root).resolve()
    target = (root / relative).resolve()
    if not target.is_relative_to(root):
        raise BadInput(f"{source}: {field}: path {relative!r} points outside {root}")
    return target
