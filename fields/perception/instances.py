"""Things told apart: slots of an instance head matched to the things that a picture shows."""

from __future__ import annotations

import torch
from torch import Tensor

from ...scenes import BadInput
from ..instances import matching_costs


def matched(logits: Tensor, instances: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The assignment of things to slots with the least total cost, and the costs [J, K] of all pairs.

    A pair costs what :func:`..instances.matching_costs` says. Pixels of no known thing (-1) do not count.

    Args:
        logits: [K, H, W] of slots. instances: ids [H, W].

    Returns:
        Indices [J] of the things in ascending order of id, slots [J], and costs [J, K], differentiable.

    Raises:
        BadInput: there are more things than slots.
    """
    from scipy.optimize import linear_sum_assignment

    known = instances >= 0
    ids, where = instances[known].unique(return_inverse=True)
    if len(ids) > len(logits):
        raise BadInput(f"instances: expected at most {len(logits)} in a picture, as many as slots, got {len(ids)}")
    share = logits[:, known].softmax(0)
    masks = (where[:, None] == torch.arange(len(ids), device=ids.device)).to(share)
    costs = matching_costs(masks, share.T)
    things, slots = linear_sum_assignment(costs.detach().cpu().numpy())
    return torch.from_numpy(things).to(ids.device), torch.from_numpy(slots).to(ids.device), costs


def instance_error(logits: Tensor, instances: Tensor) -> Tensor:
    """The mean cost of things in the slots they are matched to, and the mean share of the slots left over.

    Arguments and errors as of :func:`matched`; 0 for a picture of nothing known.
    """
    things, slots, costs = matched(logits, instances)
    if not len(things):
        return logits.sum() * 0
    left = torch.ones(len(logits), dtype=torch.bool, device=logits.device)
    left[slots] = False
    share = logits[:, instances >= 0].softmax(0)
    spare = share[left].mean() if left.any() else share.new_zeros(())
    return costs[things, slots].mean() + spare
