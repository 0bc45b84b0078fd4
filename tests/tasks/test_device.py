"""Where a field lives is where everything that meets it goes: on a device that is only pretended."""

import importlib

import pytest
import torch
from semaflow.fields.gaussians.config import preset
from semaflow.fields.gaussians.start import start_field
from semaflow.fields.gaussians.trainer import Trainer
from semaflow.fields.losses import _Blur
from semaflow.kernels import bridge, neighbors
from semaflow.kernels.splat import functions
from semaflow.scenes import BadInput, simulate
from semaflow.tasks.device import device
from semaflow.tasks.evaluate import evaluate
from semaflow.tasks.fit import flows

from tests.reference.elsewhere import Elsewhere, mark, marked, tensors


@pytest.fixture
def elsewhere(monkeypatch):
    """The pretended device, which autograd's functions, parameters and Warp's grids are told of."""
    for function in (functions.Project, functions.Composite, _Blur):
        def applied(*arguments, apply=function.apply):
            there = any(marked(t) for t in tensors(list(arguments)))
            return mark(apply(*arguments), there)

        monkeypatch.setattr(function, "apply", applied)
    importlib.import_module("torch._dynamo")  # which optimizers import, and which knows what is patched here
    make = torch.Tensor._make_subclass
    monkeypatch.setattr(
        torch.Tensor, "_make_subclass", lambda kind, data, *rest: mark(make(kind, data, *rest), marked(data))
    )
    grid, array = neighbors.wp.HashGrid, bridge.array
    monkeypatch.setattr(bridge, "array", lambda tensor, dtype: array(mark(tensor.view_as(tensor), False), dtype))
    monkeypatch.setattr(neighbors.wp, "HashGrid", lambda *size, device: grid(*size, device="cpu"))
    return Elsewhere()


def test_the_pretended_device_notices(elsewhere):
    with elsewhere:
        there, here = torch.ones(3, device="cuda"), torch.ones(3)
        with pytest.raises(RuntimeError, match="one device"):
            there + here
        assert (there + here.to(there)).device.type == "cuda"
        assert (there.cpu() + here).device.type == "cpu"
        assert (2 * there.sum() * here.sum()).device.type == "cuda"


@pytest.mark.parametrize("motion", ["scaffold", "network", "nodes"])
def test_training_and_evaluation_keep_to_the_fields_device(motion, elsewhere, tmp_path):
    scene = simulate("balls", frames=6, width=64, height=36, test=2)
    config = preset("tiny").replaced(
        motion=motion, initial_points=300, max_gaussians=600, iterations=12, densify_from=4, densify_until=12,
        densify_every=4, opacity_reset_every=6, warmup=1, pose_rate=1e-3, network_depth=2, network_width=16,
        semantics="distill", feature_from=8, flow=0.1, flow_until=12, absolute_gradient=False,
    )
    maps = [frame.features for frame in scene.split("train")]
    field, video_flows = start_field(scene, config), flows(scene, config)
    with elsewhere:
        trainer = Trainer(field.to("cuda"), scene, config, maps, video_flows)
        while not trainer.finished:
            trainer.step()
        trainer.save_checkpoint(tmp_path / "checkpoint.safetensors")
        trainer.load_checkpoint(tmp_path / "checkpoint.safetensors")
        trainer.lift(sweeps=1)
        assert trainer.field.means.device.type == "cuda"
        with torch.no_grad():
            figures = evaluate(trainer.field.eval(), scene)
    assert figures["psnr"] > 5


def test_a_device_that_is_not_there(monkeypatch):
    monkeypatch.setenv("SEMAFLOW_DEVICE", "tpu")
    with pytest.raises(BadInput, match="SEMAFLOW_DEVICE: expected cpu or cuda, got 'tpu'"):
        device()
    monkeypatch.setenv("SEMAFLOW_DEVICE", "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BadInput, match="finds no CUDA device"):
        device()
    monkeypatch.delenv("SEMAFLOW_DEVICE")
    assert device().type == "cpu"
