"""Every example, as a newcomer runs it: in a fresh process, with nothing but an output folder."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
LONG = ("edit_instances", "follow_matter", "several_scenes")  # more than a minute of a core each
FILE = re.compile(r"[\w/]+\.(?:png|mp4|npz|json|ply|glb|usda|safetensors)\b")


def promised(source: str) -> list[str]:
    """The files that an example's header says it writes."""
    header = source.split('"""')[1]
    return FILE.findall(header.partition("Writes ")[2])


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem, marks=[pytest.mark.slow] * (path.stem in LONG)) for path in EXAMPLES],
)
def test_example(path, tmp_path):
    """It ends well, its own check included, and has written what its header promises."""
    files = promised(path.read_text(encoding="utf-8"))
    assert files, f"{path.name}: the header does not say what the example writes"
    command = [sys.executable, str(path), "-o", str(tmp_path / "made")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    missing = [file for file in files if not (tmp_path / "made" / file).stat().st_size]
    assert not missing
    assert [entry.name for entry in tmp_path.iterdir()] == ["made"], "it wrote beside its folder"
