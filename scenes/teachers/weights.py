"""Weight files: where they are found, and how a replaced one is noticed."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from ..files import existing


def find_weights(name: str) -> Path | None:
    """``$SEMAFLOW_DATA/weights/name`` if it is there."""
    root = os.environ.get("SEMAFLOW_DATA")
    path = Path(root) / "weights" / name if root else None
    return path if path is not None and path.is_file() else None


def file_ends(path: str | Path, block: int = 1 << 20) -> str:
    """Digest of a file's size, first and last block: enough to notice replaced weights."""
    path = existing(path)
    size = path.stat().st_size
    digest = hashlib.blake2b(str(size).encode(), digest_size=12)
    with open(path, "rb") as file:
        digest.update(file.read(block))
        file.seek(max(0, size - block))
        digest.update(file.read(block))
    return digest.hexdigest()
