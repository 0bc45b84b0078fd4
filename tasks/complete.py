"""``semaflow complete``: labels of both ends of a video, and the gap between them filled in."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from ..scenes.splits import LabelSplit
from . import labels
from .run import Run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    labels.add_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """The verb."""
    labels.run(arguments, partial(LabelSplit.completion, share=arguments.share))


def complete(source: str | Path, output: str | Path, share: float = 50, **options) -> Run:
    """Learn the scene at ``source`` from all its pictures and the labels of ``share`` percent of its frames, at both
    ends of the video (Semantic Flow, semantic completion).

    ``options`` are those of :func:`.labels.learn_labels`. The run's ``metrics.json`` tells under ``labels_train`` and
    ``labels`` how well the field labels training and test cameras at the times between.
    """
    return labels.learn_labels(source, output, partial(LabelSplit.completion, share=share), **options)
