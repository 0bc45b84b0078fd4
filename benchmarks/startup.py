"""How long a fresh process takes to its first picture: with an empty kernel cache, and with what that left.

Each figure is the best of several processes. CPU seconds are of the whole process and say what a machine that has
nothing else to do would need at most. The import brings torch and Warp; how long torch takes to be imported by itself
is told beside it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from .table import Table, cores

_RENDER = """
import json, time
start = time.perf_counter()
from semaflow.kernels import splat
imported = time.perf_counter()
import torch
g = torch.Generator().manual_seed(0)
means = torch.randn(100, 3, generator=g) + torch.tensor([0, 0, 5.0])
means.requires_grad_()
K = torch.tensor([[[60.0, 0, 32], [0, 60, 32], [0, 0, 1]]])
shape = torch.randn(100, 4, generator=g), torch.full((100, 3), 0.2), torch.full((100,), 0.5)
image = splat.rasterization(means, *shape, torch.rand(100, 3, generator=g), torch.eye(4)[None], K, 64, 64)[0]
rendered, used = time.perf_counter(), time.process_time()
image.sum().backward()
done = time.perf_counter()
print(json.dumps({
    "to the picture": rendered - start, "import": imported - start, "render": rendered - imported,
    "backward": done - rendered, "CPU": used,
}))
"""
_TORCH = """
import json, time
start = time.perf_counter()
import torch
print(json.dumps({"torch alone": time.perf_counter() - start, "CPU of torch alone": time.process_time()}))
"""


def first_picture(cache: Path, code: str = _RENDER) -> dict[str, float]:
    """Seconds that a fresh process says, whose kernel caches are below ``cache``."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
    environment.pop("WARP_CACHE_PATH", None)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def run(cold: int = 2, warm: int = 5) -> list[Table]:
    runs = {"cold": [], "warm": []}
    for _ in range(cold):
        with tempfile.TemporaryDirectory() as folder:
            runs["cold"].append(first_picture(Path(folder)))
            for _ in range(-(-warm // cold)):
                runs["warm"].append(first_picture(Path(folder)) | first_picture(Path(folder), _TORCH))
    table = Table("import semaflow.kernels.splat and a first small picture", ["seconds", *runs])
    table.notes.append(f"{cores()} cores; best of {len(runs['cold'])} cold and {len(runs['warm'])} warm processes")
    for part in runs["warm"][0]:
        table.add(
            seconds=part,
            **{kind: min(one[part] for one in those) for kind, those in runs.items() if part in those[0]},
        )
    return [table]
