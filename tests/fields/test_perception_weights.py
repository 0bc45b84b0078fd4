"""Weights of a residual network by name: a real network class, tiny and random, saved here and loaded as any folder."""

import pytest
import torch

transformers = pytest.importorskip("transformers", reason="needs the extra semaflow[teachers]")

from semaflow.fields.perception.extractor import Extractor  # noqa: E402
from semaflow.fields.perception.weights import load_weights  # noqa: E402
from semaflow.scenes import BadInput  # noqa: E402

WIDTHS, BLOCKS = (4, 4, 6, 8), (2, 1, 2)


def folder(path, **changes):
    torch.manual_seed(3)
    sizes = {"embedding_size": 4, "hidden_sizes": [4, 6, 8, 10], "depths": [*BLOCKS, 1], "layer_type": "basic"}
    model = transformers.ResNetModel(transformers.ResNetConfig(**{**sizes, **changes}))
    model.save_pretrained(path)
    return model.state_dict()


def test_the_extractor_begins_with_the_network_s_convolutions(tmp_path):
    known = folder(tmp_path)
    extractor = Extractor(WIDTHS, BLOCKS, 6, 5, 2, 4)
    short = extractor.stages[0][0].short[0].weight.clone()
    load_weights(extractor, str(tmp_path))
    assert torch.equal(extractor.stem.weight, known["embedder.embedder.convolution.weight"])
    last = "encoder.stages.2.layers.1.layer.1"
    assert torch.equal(extractor.stages[2][1].second.weight, known[f"{last}.convolution.weight"])
    assert torch.equal(extractor.stages[2][1].norm2.weight, known[f"{last}.normalization.weight"])
    short_cut = known["encoder.stages.1.layers.0.shortcut.convolution.weight"]
    assert torch.equal(extractor.stages[1][0].short[0].weight, short_cut)
    assert torch.equal(extractor.stages[0][0].short[0].weight, short)
    assert extractor(torch.rand(1, 3, 24, 32)).semantic.isfinite().all()


def test_other_networks_are_refused(tmp_path):
    folder(tmp_path / "wide", embedding_size=8)
    folder(tmp_path / "short", depths=[1, 1, 1, 1])
    extractor = Extractor(WIDTHS, BLOCKS, 6, 5, 2, 4)
    with pytest.raises(BadInput, match=r"convolution.weight: expected \[4, 3, 7, 7\], got \[8, 3, 7, 7\]"):
        load_weights(extractor, str(tmp_path / "wide"))
    with pytest.raises(BadInput, match="got none"):
        load_weights(extractor, str(tmp_path / "short"))
