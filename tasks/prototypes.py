"""Features that stand for everything a field or its maps hold."""

from __future__ import annotations

import torch
from torch import Tensor

SEEDS = 128  # features that climb to where many others are
MEMBERS = 20  # features to a seed and to a prototype, at least
SAMPLE = 20_000  # features that are looked at
ROUNDS = 20  # steps of a climb
BANDWIDTH = 0.05  # of the kernel, in shares of how far the features are spread
SAME = 0.95  # cosine from which two climbs ended at one place


def prototypes(features: Tensor) -> Tensor:
    """Unit features [P, D]: the places where many of ``features`` [N, D] are, by mean shift on the sphere.

    Borders between things, where features are mixed, lie on the way between such places and are none themselves, as
    centres of k-means would be. Seeds far apart (k-means++, Arthur and Vassilvitskii 2007) climb (Comaniciu and Meer
    2002) with the kernel exp((cosine - 1) / h); what arrives at the same place is one prototype, if it stands for
    enough features: one that lies far from all others is a mistake, and would take what is next to it along. A
    feature of zeros is not known and does not count.
    """
    features = features[features.norm(dim=-1) > 1e-8]
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randperm(len(features), generator=generator)[:SAMPLE]
    units = torch.nn.functional.normalize(features[chosen], dim=-1)
    # One less the mean cosine of all pairs: what all features have in common spreads nothing.
    spread = (1 - units.mean(0).square().sum()).clamp_min(1e-3)
    climbers = far_apart(units, min(SEEDS, 1 + len(units) // MEMBERS), generator)
    for _ in range(ROUNDS):
        closeness = torch.exp((climbers @ units.T - 1) / (BANDWIDTH * spread))
        climbers = torch.nn.functional.normalize(closeness @ units, dim=-1)
    crowd = torch.exp((climbers @ units.T - 1) / (BANDWIDTH * spread)).sum(1)
    kept: list[int] = []
    for index in crowd.argsort(descending=True).tolist():
        if not kept or (climbers[kept] @ climbers[index]).amax() < SAME:
            kept.append(index)
    return climbers[kept][supported(units @ climbers[kept].T)]


def supported(cosine: Tensor) -> Tensor:
    """Which of P places [P] stand for ``MEMBERS`` features or more, by the cosines [N, P] of features with them.

    A feature is its nearest place's. The place of the fewest gives way first and leaves them to the others.
    """
    kept = torch.ones(cosine.shape[1], dtype=torch.bool, device=cosine.device)
    while kept.sum() > 1:
        members = torch.bincount(cosine[:, kept].argmax(1), minlength=int(kept.sum()))
        if members.min() >= MEMBERS:
            break
        kept[kept.nonzero()[members.argmin()]] = False
    return kept


def far_apart(units: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``count`` of the unit features [N, D], each drawn the rather the less it is like those drawn before."""
    drawn = [units[0]]
    cosine = units @ drawn[0]
    for _ in range(count - 1):
        odds = (1 - cosine).clamp_min(1e-12).square().cpu()
        drawn.append(units[int(torch.multinomial(odds, 1, generator=generator))])
        cosine = torch.maximum(cosine, units @ drawn[-1])
    return torch.stack(drawn)
