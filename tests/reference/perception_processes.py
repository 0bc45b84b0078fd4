"""Two processes that train a small perception field together; run as a module in each, with a folder, this writes the
parameters that it ends with there, and a checkpoint on the way."""

import os
import subprocess
import sys
from pathlib import Path

from semaflow.fields import processes
from semaflow.fields.perception.trainer import PerceptionTrainer
from semaflow.scenes.files import write_tensors
from semaflow.tasks.processes import joined

from tests.reference import perception_views as small

STEPS = 4


def torchrun(*arguments) -> subprocess.CompletedProcess:
    """``arguments`` run by two processes on this machine."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", *arguments]
    environment = {**os.environ, "SEMAFLOW_THREADS": "1", "OMP_NUM_THREADS": "1", "SEMAFLOW_DEVICE": "cpu"}
    return subprocess.run([*map(str, command)], env=environment, capture_output=True, text=True, timeout=500)


def trainer(rank: int = 0) -> PerceptionTrainer:
    """Of two scenes; only one has labels, so that the heads have no gradient in some steps. Each process begins with
    networks of its own."""
    bare = small.targets(seed=2)
    bare.labels = None
    return PerceptionTrainer(small.field(seed=rank, iterations=STEPS), [small.targets(), bare])


def main(folder: Path) -> None:
    rank = int(os.environ["RANK"])
    with joined():
        own = trainer(rank)
        while not own.finished:
            own.step()
            if own.iteration == STEPS // 2:
                own.save_checkpoint(folder / "checkpoint.safetensors")
        write_tensors(folder / f"straight{rank}.safetensors", dict(own.field.state_dict()), {})
        again = trainer(rank)
        again.load_checkpoint(folder / "checkpoint.safetensors")
        while not again.finished:
            again.step()
        write_tensors(folder / f"again{rank}.safetensors", dict(again.field.state_dict()), {})
        assert processes.count() == 2


if __name__ == "__main__":
    main(Path(sys.argv[1]))
