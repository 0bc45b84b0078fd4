"""Run folders: what is written can be read, and what is damaged gets one clear line."""

import pytest
import torch
from semaflow.fields.gaussians.field import GaussianField
from semaflow.fields.motion import DeformationNetwork, NodeNetwork, NodeScaffold
from semaflow.scenes import BadInput
from semaflow.scenes.files import read_tensors, write_tensors
from semaflow.tasks.run import Run


def field(count=20, motion=None, features=4):
    generator = torch.Generator().manual_seed(0)
    return GaussianField(
        torch.rand(count, 3, generator=generator), torch.full((count, 3), -3.0), torch.ones(count, 4),
        torch.zeros(count), torch.rand(count, 1, 3, generator=generator), torch.zeros(count, 3, 3),
        torch.rand(count, features, generator=generator), motion=motion,
    )


def scaffold():
    trajectories = torch.rand(12, 1, 3) + torch.linspace(0, 1, 5)[:, None] * torch.tensor([1.0, 0, 0])
    return NodeScaffold.from_trajectories(trajectories, torch.linspace(0, 1, 5), 0)


def node_network():
    motion = NodeNetwork(nodes=9, depth=2, width=16)
    motion.settle(torch.rand(20, 3))
    torch.nn.init.normal_(motion.network.heads.weight, std=0.1)
    return motion


@pytest.mark.parametrize("motion", [None, DeformationNetwork(3, 16), scaffold(), node_network()])
def test_a_field_reads_back_as_it_was(tmp_path, motion):
    made = field(motion=motion)
    made.anchors[:] = torch.arange(20) % 3 - 1
    made.set_features(torch.rand(20, 4), torch.rand(9), torch.rand(4, 9))
    made.save(tmp_path)
    back = GaussianField.load(tmp_path)
    assert torch.equal(back.semantics(), made.semantics())
    for mine, its in zip(made.at(0.37).geometry, back.at(0.37).geometry, strict=True):
        assert torch.equal(mine, its)


def test_newer_corrupt_and_foreign_fields_are_refused(tmp_path):
    made = field()
    path = tmp_path / "field.safetensors"
    made.save(tmp_path)
    tensors, header = read_tensors(path)
    cases = {
        "newer": (tensors, header | {"format": "99"}),
        "kind": (tensors, header | {"kind": "flow"}),
        "missing": ({k: v for k, v in tensors.items() if k != "quats"}, header),
        "expected": (tensors | {"quats": torch.ones(3, 4)}, header),
        "NaN": (tensors | {"means": torch.full((20, 3), float("nan"))}, header),
        "motion": (tensors, header | {"motion": "teleport"}),
    }
    for word, (values, entries) in cases.items():
        write_tensors(path, values, entries)
        with pytest.raises(BadInput, match=word) as error:
            GaussianField.load(tmp_path)
        assert "\n" not in str(error.value)
        assert str(path) in str(error.value)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(BadInput, match="corrupt"):
        GaussianField.load(tmp_path)


def create(folder):
    return Run.create(folder, "gaussians", {"path": "clip.mp4"}, {"name": "classical"}, {"seed": 0})


def test_a_run_opens_again_and_is_not_overwritten(tmp_path):
    create(tmp_path / "run")
    assert Run.open(tmp_path / "run").config["scene"]["path"] == "clip.mp4"
    with pytest.raises(BadInput, match="holds a run already"):
        create(tmp_path / "run")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("format: 99\n", "newer"),
        ("just words", "expected settings"),
        ("a: [", "not valid YAML"),
        ("format: 1\nmethod: gaussians\n", "scene"),
    ],
)
def test_a_damaged_config_gets_one_line(tmp_path, text, word):
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(BadInput, match=word) as error:
        Run.open(tmp_path)
    assert "\n" not in str(error.value)


def test_unknown_object_lists_the_known(tmp_path):
    made = create(tmp_path / "run")
    field().save(made.folder)
    with pytest.raises(BadInput, match="there are: none yet"):
        made.object("ball")


def test_a_class_of_gaussians_is_an_object(tmp_path):
    made, saved = create(tmp_path / "run"), field()
    shares = torch.rand(saved.count, 3, generator=torch.Generator().manual_seed(1))
    saved.set_classes(shares, ["floor", "ball", "cat"])
    saved.save(made.folder)
    assert torch.equal(made.object("ball").selected, shares.argmax(1) == 1)
    with pytest.raises(BadInput, match="no such object 'dog'; there are: floor, ball, cat"):
        made.object("dog")


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    made = field()
    made.save(tmp_path)
    before = (tmp_path / "field.safetensors").read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    made.means.data += 1
    with pytest.raises(BadInput, match="No space left"):
        made.save(tmp_path)
    assert (tmp_path / "field.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["field.safetensors"]
