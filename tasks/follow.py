"""``semaflow follow``: labels of the first part of a video, followed through the rest."""

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
    parser.add_argument(
        "--pictures", default="seen", choices=["seen", "all"], help="learn from pictures of the labelled part or of all"
    )


def run(arguments: argparse.Namespace) -> None:
    """The verb."""
    labels.run(arguments, partial(LabelSplit.tracking, share=arguments.share, pictures=arguments.pictures))


def follow(source: str | Path, output: str | Path, share: float = 50, pictures: str = "seen", **options) -> Run:
    """Learn the scene at ``source`` from the labels of the first ``share`` percent of its frames, and from the
    ``pictures`` of these (``seen``) or ``all`` of them (Semantic Flow, dynamic scene tracking).

    What was not filmed is foretold: things go on as they last moved. ``options`` are those of
    :func:`.labels.learn_labels`. The run's ``metrics.json`` tells under ``labels_train`` and ``labels`` how well the
    field labels training and test cameras at the later times.
    """
    return labels.learn_labels(source, output, partial(LabelSplit.tracking, share=share, pictures=pictures), **options)
