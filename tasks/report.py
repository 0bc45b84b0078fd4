"""Figures of an evaluation as a table."""

from __future__ import annotations

from rich.table import Table

from .progress import console


def print_table(figures: dict) -> None:
    """Print what :func:`.evaluate.evaluate` measured, with the run's time, memory and size."""
    console.print(summary(figures))
    for name, table in (("masks", "held-out frames"), ("masks_train", "training frames")):
        if name in figures:
            console.print(per_target(figures, name, f"one selection, {table}"))


def summary(figures: dict) -> Table:
    """One row per figure."""
    table = Table(title=None, show_header=True, header_style="bold")
    table.add_column("figure")
    for column in columns(figures):
        table.add_column(column, justify="right")
    rows = []
    for key, title, form in (
        ("psnr", "PSNR (dB)", "{:.2f}"),
        ("ssim", "SSIM (11x11 Gaussian)", "{:.4f}"),
        ("lpips", "LPIPS (AlexNet v0.1)", "{:.4f}"),
    ):
        if key in figures:
            train = figures.get("train", {}).get(key)
            rows.append((title, *both(figures, figures[key], train, form)))
    if "lpips_missing" in figures:
        rows.append((f"LPIPS: {figures['lpips_missing']}", *last(figures, "-")))
    held, train = figures.get("masks", {}), figures.get("masks_train", {})
    for key, title in (("objects", "objects"), ("parts", "parts")):
        for score, word in (("iou", "J, mean IoU of"), ("boundary_f", "F, boundary of")):
            values = (held.get(key, {}).get(score), train.get(key, {}).get(score))
            if any(value is not None for value in values):
                rows.append((f"{word} {title}", *both(figures, *values, "{:.3f}")))
    for key, title in (("miou", "mIoU, objects and rest"), ("accuracy", "pixel accuracy")):
        if key in held or key in train:
            rows.append((title, *both(figures, held.get(key), train.get(key), "{:.3f}")))
    held, train = figures.get("labels", {}), figures.get("labels_train", {})
    titles = {"miou": "mIoU of classes", "accuracy": "pixel accuracy", "average_accuracy": "mean accuracy of classes"}
    for key, title in titles.items():
        if key in held or key in train:
            rows.append((f"labels: {title}", *both(figures, held.get(key), train.get(key), "{:.3f}")))
    held, train = held.get("per_image", {}), train.get("per_image", {})
    if held or train:
        row = both(figures, held.get("miou"), train.get("miou"), "{:.3f}")
        rows.append(("labels: mIoU of classes, mean over images", *row))
    things = figures.get("instances", {})
    for threshold, value in things.get("ap", {}).items():
        cell = f"{value:.3f} ({things['coco_ap'][threshold]:.3f})"
        rows.append((f"instances: AP at {threshold} (COCO's rule)", *first(figures, cell)))
    if things:
        rows.append(("instances: COCO's mean AP", *first(figures, f"{things['coco_mean']:.3f}")))
    if "epe_median" in figures.get("tracks", {}):
        tracks = figures["tracks"]
        rows.append(
            ("tracks: median error, of size", *last(figures, f"{tracks['median_of_size']:.1%}"))
        )
        rows.append(("tracks: within 5% of size", *last(figures, f"{tracks['within_5']:.1%}")))
        rows.append(("tracks: within 10% of size", *last(figures, f"{tracks['within_10']:.1%}")))
    for key, title, form in (
        ("train_seconds", "training (s)", "{:.0f}"),
        ("seconds", "all of it (s)", "{:.0f}"),
        ("render_seconds", "rendering (s per frame)", "{:.3f}"),
        ("peak_memory_mb", "peak memory (MB)", "{:.0f}"),
        ("gaussians", "Gaussians", "{:d}"),
        ("bytes_on_disk", "bytes on disk", "{:,d}"),
    ):
        if key in figures:
            rows.append((title, *last(figures, form.format(figures[key]))))
    for row in rows:
        table.add_row(*row)
    return table


def columns(figures: dict) -> list[str]:
    """Which splits there are figures of."""
    if not figures.get("held_out"):
        return ["training"]
    of_training = any(name in figures for name in ("train", "masks_train", "labels_train"))
    return ["held out", "training"] if of_training else ["held out"]


def both(figures: dict, held, train, form: str) -> list[str]:
    """Cells of a figure per split; without a held-out split, the one there is."""
    there = columns(figures)
    values = {"held out": held, "training": train}
    if there == ["training"] and held is not None:
        values["training"] = held
    return ["" if values[column] is None else form.format(values[column]) for column in there]


def first(figures: dict, text: str) -> list[str]:
    """Cells of a figure of held-out frames alone."""
    return [text] + [""] * (len(columns(figures)) - 1)


def last(figures: dict, text: str) -> list[str]:
    """Cells of a figure that belongs to no split, in the last column."""
    return [""] * (len(columns(figures)) - 1) + [text]


def per_target(figures: dict, split: str, title: str) -> Table:
    """J and F of each target, beside the teacher alone where that was measured."""
    alone = figures.get("teacher_alone", {}).get(split, {}).get("targets")
    table = Table(title=title, header_style="bold")
    table.add_column("target")
    for column in ("Gaussians", "J", "F", *(["J, teacher alone"] if alone else [])):
        table.add_column(column, justify="right")
    for name, scores in figures[split]["targets"].items():
        if not scores:
            continue
        count = figures.get("selected", {}).get(name, {}).get("gaussians", 0)
        cells = [name, f"{count:d}", f"{scores['iou']:.3f}", f"{scores['boundary_f']:.3f}"]
        if alone:
            other = alone.get(name) or {}
            cells.append(f"{other['iou']:.3f}" if other else "")
        table.add_row(*cells)
    return table
