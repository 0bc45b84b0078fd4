"""The training benchmark measures what it says, and its contenders compute the same."""

import pytest
import torch
from semaflow.fields.losses import photometric
from semaflow.scenes import simulate

from benchmarks import training
from benchmarks.peers.adam import BETAS, EPSILON, KernelAdam
from benchmarks.peers.morton import morton_order
from benchmarks.peers.opencv_loss import photometric as opencv_photometric


def test_the_parts_of_a_step_add_up_and_it_learns():
    trainer = training.prepared(simulate("balls", frames=3, width=80, height=45, test=0), count=500)
    first = trainer.step()["psnr"]
    parts = training.step_parts(trainer, warm=20, steps=10)
    assert trainer.field.count == 500 and trainer.step()["psnr"] > first + 1
    whole = parts.pop("step")
    assert set(parts) >= {"pose", "render", "loss", "regularisers", "backward: compositing", "backward: loss", "Adam"}
    assert min(parts.values()) > 0 and sum(parts.values()) == pytest.approx(whole)


def test_losses_agree():
    g = torch.Generator().manual_seed(0)
    a = torch.rand(30, 40, 3, generator=g).requires_grad_(True)
    b = torch.rand(30, 40, 3, generator=g)
    slopes = [torch.autograd.grad(loss(a, b), a)[0] for loss in (photometric, opencv_photometric)]
    torch.testing.assert_close(photometric(a, b), opencv_photometric(a, b))
    torch.testing.assert_close(*slopes, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("width", [1, 3, 16])
def test_adam_as_a_kernel_is_torchs(width):
    g = torch.Generator().manual_seed(0)
    parameters = [torch.nn.Parameter(torch.ones(50, width)) for _ in range(2)]
    torchs = torch.optim.Adam(parameters[:1], lr=0.1, betas=BETAS, eps=EPSILON, fused=True)
    ours = KernelAdam(parameters[1:], 0.1)
    for _ in range(3):
        parameters[0].grad = parameters[1].grad = torch.randn(50, width, generator=g)
        torchs.step()
        ours.step()
    torch.testing.assert_close(*parameters, rtol=1e-5, atol=1e-6)
    seen = torch.rand(50, generator=g) < 0.5
    before = parameters[1].detach().clone()
    ours.step(seen)
    moved = (parameters[1] != before).any(1)
    assert torch.equal(moved, seen)


def test_neighbours_along_mortons_curve_are_near():
    points = torch.rand(4096, 3, generator=torch.Generator().manual_seed(0))
    order = morton_order(points)
    assert torch.equal(order.sort().values, torch.arange(4096))
    steps = points[order].diff(dim=0).norm(dim=1)
    assert steps.mean() < 0.15 * points.diff(dim=0).norm(dim=1).mean()


def test_tables_have_all_contenders():
    tables = [
        training.losses_table(((24, 16),), 0.01), training.adam_table((100,), 0.01),
        training.order_table((200,), 0.01), training.neighbors_table((200,), 0.01),
    ]  # fmt: skip
    assert [len(table.rows) for table in tables] == [3, 4, 2, 2]
    assert all(row["ms"] > 0 for table in tables for row in table.rows)
