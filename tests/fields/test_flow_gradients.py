"""Gradients of every loss of a flow field, through networks, trajectories, lookups and compositing, in float64."""

import pytest
import torch
from semaflow.fields.flow.losses import DYNAMIC, STATIC
from semaflow.fields.flow.trainer import FlowTrainer

from tests.reference import flow_clips


def loss_and_parameters(losses: dict, name: str, **changes):
    """``loss() -> Tensor`` of one fixed batch, and the parameters that its stage learns."""
    stage = {"static_iterations": 1} if losses is STATIC else {"static_iterations": 0}
    made = flow_clips.field(torch.float64, **changes, **stage)
    trainer = FlowTrainer(made, made.config, [flow_clips.targets(dtype=torch.float64)])

    def loss():
        trainer.generator.manual_seed(5)
        return losses[name](trainer.look(0))

    return loss, [p for group in trainer.optimizer.param_groups for p in group["params"]]


def difference(loss, parameters, directions, step: float = 1e-7) -> float:
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter += sign * step * direction
            values.append(float(loss()))
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter -= sign * step * direction
    return (values[0] - values[1]) / (2 * step)


@pytest.mark.parametrize(("stage", "name"), [*(("static", n) for n in STATIC), *(("dynamic", n) for n in DYNAMIC)])
@pytest.mark.parametrize("changes", [{}, {"encoding": "waves", "octaves": 2, "dynamic_features": True,
                                          "static_features": True, "latent": 4, "position_semantics": True,
                                          "flow_share": 1.0, "method": "rk4"}], ids=["planes", "paper"])
def test_every_loss_has_the_gradient_of_finite_differences(stage, name, changes):
    loss, parameters = loss_and_parameters({"static": STATIC, "dynamic": DYNAMIC}[stage], name, **changes)
    value = loss()
    gradients = torch.autograd.grad(value, parameters, allow_unused=True)
    reached = [(p, g) for p, g in zip(parameters, gradients, strict=True) if g is not None and g.abs().max() > 0]
    assert value > 0 and reached
    generator = torch.Generator().manual_seed(3)
    directions = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p, _ in reached]
    expected = difference(loss, [p for p, _ in reached], directions)
    found = float(sum((g * d).sum() for (_, g), d in zip(reached, directions, strict=True)))
    assert found == pytest.approx(expected, rel=2e-4, abs=1e-9)
