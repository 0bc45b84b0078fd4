"""A flow field trained for seconds on a small world's truth: new views, classes and trajectories are right by then."""

import pytest
import torch
from semaflow.fields import metrics
from semaflow.fields.flow.config import preset
from semaflow.fields.flow.start import start_clip, start_field
from semaflow.fields.flow.targets import Targets
from semaflow.fields.flow.trainer import FlowTrainer
from semaflow.scenes import simulate

QUICK = {
    "plane_resolution": 48, "plane_levels": 2, "moments": 10, "samples": 14, "proposals": 14, "static_rays": 96,
    "dynamic_rays": 96, "static_iterations": 120, "dynamic_iterations": 180, "cycle": 0.0, "flow_stride": 1,
    "rate": 1e-2, "plane_rate": 4e-2,
}  # fmt: skip


@pytest.fixture(scope="module")
def world():
    return simulate("twins", frames=10, width=80, height=45, samples=1, test=4)


@pytest.fixture(scope="module")
def field(world):
    shown = world.split("train")
    stacked = {layer: torch.stack([getattr(f, layer) for f in shown]) for layer in ("image", "mask", "label", "depth")}
    tracks = world.tracks.positions
    moves = (tracks - tracks[:, :1]).norm(dim=-1).amax(1) > 1e-3
    found = Targets(
        list(range(10)), stacked["image"], stacked["mask"], stacked["label"], None, None, stacked["depth"],
        stacked["depth"], tracks[moves],
    )
    maps = torch.stack([f.features for f in shown]).permute(0, 3, 1, 2)
    clip = start_clip(world, found, maps, torch.zeros(1))
    made = start_field({"twins": clip}, world.label_names, preset("tiny").replaced(**QUICK))
    trainer = FlowTrainer(made, made.config, [found])
    while not trainer.finished:
        trainer.step()
    return made


def test_new_views_show_the_world_and_its_classes(field, world):
    names, quality = world.label_names, []
    matrix = torch.zeros(len(names), len(names), dtype=torch.long)
    for frame in world.split("test"):
        shown = field.render(frame.camera, frame.time, ("color", "logits"))
        quality.append(metrics.psnr(shown.color.clamp(0, 1), frame.image))
        matrix += metrics.confusion(frame.label, shown.labels, len(names))
    iou = dict(zip(names, metrics.class_iou(matrix).tolist(), strict=True))
    assert sum(quality) / len(quality) > 15.5
    assert min(iou["moving cube"], iou["resting cube"]) > 0.7
    assert min(iou["floor"], iou["wall"]) > 0.7  # smaller things come later than in these few steps


def test_trajectories_follow_what_moves(field, world):
    tracks = world.tracks
    mine = (tracks.instance == tracks.instance.max() - 1) & tracks.visible[:, 4]
    truth = tracks.positions[mine]
    found = field.trajectories(truth[:, 4], float(tracks.times[4]), tracks.times)
    size = metrics.diameter(truth[:, 4])
    error = (found - truth).norm(dim=-1)[:, [1, 8]].median() / size
    still = (truth[:, 4:5] - truth).norm(dim=-1)[:, [1, 8]].median() / size
    assert error < 0.5 * still
