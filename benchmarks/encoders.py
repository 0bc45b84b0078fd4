"""What the encoders cost on the CPU: time and memory per frame, and the size of what they give.

Networks of the hub have their published sizes and random weights, which take as long as trained ones.
Each runs in a process of its own, whose time on the processor counts. The small encoder that is
trained with a field is measured in steps that ask for one frame, forward and backward.
"""

from __future__ import annotations

import json
import subprocess
import sys

from .table import Table, cores

RESOLUTIONS = ((135, 240), (270, 480))
FRAMES = 4

_MEASURE = """
import json, sys, tempfile, time
from pathlib import Path
name, height, width, count = sys.argv[1], *map(int, sys.argv[2:])
import torch
from semaflow.kernels.bridge import threads
torch.set_num_threads(threads())
def memory():
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in status if line.startswith("VmHWM"))) / 1024
clip = torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))
if name.startswith("small"):
    from semaflow.fields.flow.encoder import SmallEncoder
    network = SmallEncoder()
    def work():
        for asked in range(count):
            maps, vector = network(clip, [asked])
            (maps.square().mean() + vector.sum()).backward()
        return maps, vector
else:
    from semaflow.scenes import Camera, Frame
    from semaflow.scenes.encoders import encode, encoder
    place = name
    if name not in ("classical", "mobilesam"):
        import transformers
        kinds = {
            "resnet18": lambda: transformers.ResNetModel(transformers.ResNetConfig(
                hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], layer_type="basic")),
            "resnet50": lambda: transformers.ResNetModel(transformers.ResNetConfig()),
            "dinov2": lambda: transformers.Dinov2Model(transformers.Dinov2Config(
                hidden_size=384, num_attention_heads=6, image_size=518)),
            "videomae": lambda: transformers.VideoMAEModel(transformers.VideoMAEConfig()),
            "vjepa2": lambda: transformers.VJEPA2Model(transformers.VJEPA2Config()),
        }
        place = tempfile.TemporaryDirectory()
        kinds[name]().save_pretrained(place.name)
    chosen = encoder(name, **({} if place is name else {"weights": place.name}))
    camera = Camera.look_at((0, -3, 1), (0, 0, 0), width, height)
    frames = [Frame(f"{i}", camera, i / count, image=image.permute(1, 2, 0)) for i, image in enumerate(clip)]
    def work():
        with tempfile.TemporaryDirectory() as folder:
            encoding = encode(frames, chosen, folder)
        return encoding.maps, encoding.vector
Path("/proc/self/clear_refs").write_text("5")  # forget the peak of making the network
before = memory()
best = float("inf")
for _ in range(2):
    start = time.process_time()
    maps, vector = work()
    best = min(best, time.process_time() - start)
    if best > 2:
        break
print(json.dumps({
    "CPU ms per frame": 1e3 * best / count, "channels": maps.shape[1], "grid": f"{maps.shape[3]}x{maps.shape[2]}",
    "vector": len(vector), "MB of maps per frame": maps[0].numel() * 2 / 2**20,
    "MB more at the peak": memory() - before,
}))
"""

NAMES = ("classical", "mobilesam", "dinov2", "resnet18", "resnet50", "videomae", "vjepa2", "small, trained")


def measured(name: str, height: int, width: int, count: int = FRAMES) -> dict:
    """The figures of one encoder for ``count`` frames, in a fresh process."""
    command = [sys.executable, "-c", _MEASURE, name, str(height), str(width), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def run() -> list[Table]:
    figures = ["CPU ms per frame", "channels", "grid", "vector", "MB of maps per frame", "MB more at the peak"]
    table = Table(f"Encoders, clips of {FRAMES} frames", ["encoder", "image", *figures])
    table.notes.append(f"{cores()} cores, best of two where they take under two seconds; small: both ways")
    table.notes.append("videomae computes sixteen frames at a time, however few there are")
    for name in NAMES:
        for height, width in RESOLUTIONS:
            table.add(encoder=name, image=f"{width}x{height}", **measured(name, height, width))
            print(table.rows[-1], flush=True)
    return [table]
