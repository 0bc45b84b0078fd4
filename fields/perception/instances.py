"""Things told apart: slots of an instance head matched to the things that a picture shows."""

from __future__ import annotations

import torch
from torch import Tensor

from ...scenes import BadInput


def matched(logits: Tensor, instances: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The assignment of things to slots with the least total cost, and the costs [J, K] of all pairs.

    A pair costs the cross-entropy of the slot's share of each pixel against the thing's mask, and 1 - their soft
    intersection over union (DM-NeRF, Wang et al. 2023, section 3.2). Pixels of no known thing (-1) do not count.

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
    masks = (where == torch.arange(len(ids), device=ids.device)[:, None]).to(share)
    count = max(1, share.shape[1])
    low = 1e-6
    entropy = -(masks @ share.clamp_min(low).log().T + (1 - masks) @ (1 - share).clamp_min(low).log().T) / count
    both = masks @ share.T
    union = masks.sum(1)[:, None] + share.sum(1)[None] - both
    costs = entropy + 1 - both / union.clamp_min(low)
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
