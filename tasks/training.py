"""The loop of a training: progress, log, checkpoints."""

from __future__ import annotations

import json

from ..fields import processes
from ..scenes.files import append_text
from .progress import bar, console
from .run import Run


def train_all(trainer, made: Run) -> None:
    """All remaining iterations of a trainer of flow or perception fields, with a progress bar, a log and checkpoints;
    Ctrl-C saves before it leaves, but where several processes train: there the last checkpoint stays."""
    config, checkpoint = trainer.config, made.folder / "checkpoint.safetensors"
    recent: dict[str, float] = {}
    with bar() as progress:
        task = progress.add_task("training", total=config.iterations, completed=trainer.iteration, note="")
        try:
            while not trainer.finished:
                stage = trainer.stage
                terms = trainer.step()
                recent = {name: 0.95 * recent.get(name, value) + 0.05 * value for name, value in terms.items()}
                if trainer.iteration % config.log_every == 0 or trainer.finished:
                    speed = progress.tasks[0].speed or 0.0
                    note = f"{stage}  loss {recent['loss']:.4f}  psnr {recent['psnr']:.2f} dB  {speed:.1f} it/s"
                    progress.update(task, completed=trainer.iteration, note=note)
                    entry = {"iteration": trainer.iteration, **recent, "seconds": trainer.seconds}
                    if processes.rank() == 0:
                        append_text(made.folder / "log.jsonl", json.dumps(entry) + "\n")
                if trainer.iteration % config.checkpoint_every == 0:
                    trainer.save_checkpoint(checkpoint)
        except KeyboardInterrupt:
            if processes.count() == 1:
                trainer.save_checkpoint(checkpoint)
                console.print(f"saved {checkpoint}; go on with --resume")
            else:  # several are not interrupted at the same iteration
                console.print(f"go on from the last checkpoint, {checkpoint}, with --resume")
            raise
