"""Labels lifted onto Gaussians whose classes are known: a red ball rolls past a blue one over a floor."""

import copy

import pytest
import torch
from semaflow.fields.gaussians import classes
from semaflow.fields.gaussians.classes import lift_labels
from semaflow.fields.gaussians.field import GaussianField
from semaflow.fields.motion import NodeScaffold
from semaflow.scenes import BadInput
from semaflow.scenes.files import read_tensors, write_tensors
from semaflow.tasks.scores import label_figures, label_score

from tests.tasks.doubles import BLUE, FLOOR, RED, BallsField, balls_scene

TIMES = torch.linspace(0, 1, 5)


def gaussian(world: BallsField) -> GaussianField:
    """The world as a field that knows nothing of classes: the red ball is carried by nodes, the rest stands."""
    state = world.at(0.0)
    mine = (world.body == RED).nonzero()[:, 0]
    paths = state.means[mine[::10], None] + torch.stack([world.offset(float(t)) - world.offset(0.0) for t in TIMES])
    motion = NodeScaffold.from_trajectories(paths, TIMES, canonical=0)
    anchors = torch.full((world.count,), -1)
    anchors[mine] = torch.cdist(state.means[mine], paths[:, 0]).argmin(-1)
    return GaussianField(
        state.means, state.scales.log(), state.quats, state.opacities.logit(), state.sh, torch.zeros(world.count, 0, 3),
        anchors=anchors, motion=motion,
    )


@pytest.fixture(scope="module")
def world():
    return BallsField()


@pytest.fixture(scope="module")
def field(world):
    return gaussian(world)


@pytest.fixture(scope="module")
def scene(world):
    return balls_scene(world)


def lifted(field, frames, labels=None, **options):
    labels = [frame.label for frame in frames] if labels is None else labels
    return lift_labels(field, [f.camera for f in frames], [f.time for f in frames], labels, 3, **options)


def test_every_gaussian_is_of_its_class_and_new_views_are_labelled(world, field, scene):
    shares = lifted(field, scene.split("train"))
    assert torch.allclose(shares.sum(1), torch.ones(field.count), atol=1e-5) and shares.min() >= 0
    assert (shares.argmax(1) == world.body).float().mean() > 0.98
    knowing = copy.deepcopy(field)
    knowing.set_classes(shares, scene.label_names)
    score = label_score(knowing, scene.split("test"), scene.label_names)
    assert label_figures(score, scene.label_names)["miou"] > 0.97


def test_what_no_labelled_pixel_shows_is_of_the_class_of_what_it_moves_with(world, field, scene):
    """One pixel in 36 of one frame has a label."""
    frame = scene.split("train")[0]
    y, x = torch.meshgrid(torch.arange(48), torch.arange(64), indexing="ij")
    few = torch.where((x % 6 == 3) & (y % 6 == 3), frame.label, -1)
    hidden = field.at(0.0).uplift((few >= 0).float()[..., None], frame.camera)[0][:, 0] < 1e-3
    shares = lifted(field, [frame], [few])
    for ball in (RED, BLUE):
        mine = hidden & (world.body == ball)
        assert mine.sum() > 40
        assert (shares.argmax(1)[mine] == ball).float().mean() > 0.9


def test_unlabelled_pixels_do_not_count(world, field, scene):
    """Labels that lack the blue ball, and half of all others: nothing else takes the ball's place."""
    frames = scene.split("train")
    y, x = torch.meshgrid(torch.arange(48), torch.arange(64), indexing="ij")
    holes = [torch.where(((x + y) % 2 == 0) | (f.label == BLUE), -1, f.label) for f in frames]
    shares = lifted(field, frames, holes)
    others = world.body != BLUE
    assert (shares.argmax(1) == world.body)[others].float().mean() > 0.97
    assert shares[:, BLUE].max() < 1e-3


def test_each_sweep_makes_the_labels_more_likely(field, scene, monkeypatch):
    """Expectation maximisation, where nothing but pixels has a say; labels are noisy, or there is nothing to gain."""
    monkeypatch.setattr(classes, "TRUST", 1e-9)
    frames = scene.split("train")
    g = torch.Generator().manual_seed(0)
    noisy = [torch.where(torch.rand(48, 64, generator=g) < 0.2, FLOOR, f.label) for f in frames]

    def likelihood(sweeps):
        shares, total = lifted(field, frames, noisy, sweeps=sweeps), 0.0
        for frame, labels in zip(frames, noisy, strict=True):
            seen = field.at(frame.time).render(frame.camera, (), shares)
            known = (labels >= 0) & (seen.alpha > 0.1)
            part = (seen.values / seen.alpha[..., None].clamp_min(1e-6)).gather(-1, labels.clamp_min(0)[..., None])
            total += part[known].clamp_min(classes.LEAST).log().sum().item()
        return total

    found = [likelihood(sweeps) for sweeps in (1, 2, 4)]
    assert found == sorted(found) and found[-1] > found[0] + 5


def test_classes_are_kept_with_the_field_and_older_fields_have_none(field, scene, tmp_path):
    knowing = copy.deepcopy(field)
    knowing.set_classes(torch.eye(3)[torch.arange(field.count) % 3], scene.label_names)
    knowing.save(tmp_path)
    again = GaussianField.load(tmp_path)
    assert again.label_names == scene.label_names and torch.equal(again.classes, knowing.classes)
    frame = scene.frames[0]
    seen = again.render(frame.camera, frame.time, ("color", "logits"))
    assert torch.equal(seen.logits, knowing.render(frame.camera, frame.time, ("logits",)).logits)
    path = tmp_path / "field.safetensors"
    tensors, header = read_tensors(path)
    write_tensors(path, tensors, header | {"label_names": '["cat"]'})
    with pytest.raises(BadInput, match=r'field.safetensors: label_names: expected 3 names, got \["cat"\]'):
        GaussianField.load(tmp_path)
    del tensors["classes"], header["label_names"]
    write_tensors(path, tensors, header)
    older = GaussianField.load(tmp_path)
    assert older.label_names == [] and older.classes.shape == (field.count, 0)
    with pytest.raises(BadInput, match="logits: the field knows no classes"):
        older.render(frame.camera, frame.time, ("logits",))
