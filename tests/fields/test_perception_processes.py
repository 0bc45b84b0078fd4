"""Two processes train one perception field: they agree, and take the steps that one would with both their pictures."""

import copy

import pytest
import torch
from semaflow.fields import processes
from semaflow.scenes.files import read_tensors

from tests.reference.perception_processes import STEPS, torchrun, trainer


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """What each of two processes ends with, straight and gone on with from a checkpoint."""
    folder = tmp_path_factory.mktemp("processes")
    made = torchrun("tests.reference.perception_processes", folder)
    assert made.returncode == 0, made.stderr
    return {path.stem: read_tensors(path)[0] for path in folder.glob("*[01].safetensors")}


def test_both_end_with_the_same_network(together):
    for name, value in together["straight0"].items():
        assert torch.equal(value, together["straight1"][name]), name


def test_steps_are_along_the_mean_gradient_of_both(together):
    """By hand in one process: gradients at the same parameters, drawn as each process draws."""
    first, second = trainer(), trainer()
    second.generator.manual_seed(second.config.seed + 1)
    before = copy.deepcopy(first.field.state_dict())
    without = 0
    for _ in range(STEPS):
        first._schedule()
        found = []
        for own in (first, second):
            own.field.load_state_dict(first.field.state_dict())
            own.backward()
            found.append([parameter.grad for parameter in own.field.parameters()])
        for parameter, a, b in zip(first.field.parameters(), *found, strict=True):
            given = [gradient for gradient in (a, b) if gradient is not None]
            without += len(given) == 1
            parameter.grad = sum(given) / 2 if given else None
        torch.nn.utils.clip_grad_norm_(first.field.parameters(), first.config.clip_gradient)
        first.optimizer.step()
        first.iteration += 1
    assert without > 0  # a step in which one process has gradients that the other has not
    for name, value in first.field.state_dict().items():
        moved = (value - before[name]).abs().max()
        assert moved > 0 or not value.is_floating_point(), name
        assert torch.allclose(together["straight0"][name], value, atol=1e-5), name


def test_both_go_on_from_a_checkpoint(together):
    for name, value in together["straight0"].items():
        assert torch.equal(together["again0"][name], together["again1"][name]), name
        assert torch.allclose(together["again0"][name], value, atol=1e-6), name


def test_one_process_keeps_its_gradients():
    alone = trainer()
    alone.backward()
    before = [None if p.grad is None else p.grad.clone() for p in alone.field.parameters()]
    processes.average_gradients(alone.field.parameters())
    for parameter, gradient in zip(alone.field.parameters(), before, strict=True):
        assert (gradient is None and parameter.grad is None) or torch.equal(parameter.grad, gradient)
    assert (processes.rank(), processes.count()) == (0, 1)
    assert alone.generator.initial_seed() == alone.config.seed
