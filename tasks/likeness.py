"""How like a query each feature of a field is."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from ..kernels.neighbors import nearest
from ..scenes import BadInput

NEIGHBORS = 8  # whose features a Gaussian's is averaged with
PROTOTYPES = 32  # features that stand for everything a field holds
SAMPLE = 20_000  # features that the prototypes are made from
ALIKE = 0.75  # cosine from which a prototype is the queried part itself and no rival


class Likeness:
    """Features that queries are compared with.

    Args:
        features: [N, D]; a row of zeros is a feature that is not known.
    """

    def __init__(self, features: Tensor):
        self.features = features.detach().float()

    @classmethod
    @torch.no_grad()
    def of(cls, field) -> Likeness:
        """The features of a field's Gaussians, each averaged over its neighbourhood.

        Single Gaussians are noisy: what maps say of a Gaussian only a few pixels large is mostly
        what they say of its surroundings. The average runs over the nearest Gaussians that stay
        near through the video, for what moves apart is not one thing, and whose features are
        already alike, so that borders stay sharp (a bilateral filter, Tomasi and Manduchi 1998).

        BadInput when the field has no semantics.
        """
        states = [field.at(time) for time in (0.0, 0.5, 1.0)]
        codes = states[0].features
        if codes is None:
            raise BadInput("field: no semantics; fit it with a teacher, or select by --pixels")
        known = codes.norm(dim=-1, keepdim=True) > 1e-8
        features = field.decode(codes) * known
        if field.count < 2:
            return cls(features)
        units = torch.nn.functional.normalize(features, dim=-1)
        distance, ids = nearest(states[0].means, min(NEIGHBORS, field.count - 1))
        near = 2 * distance.mean(-1).clamp_min(1e-9)
        total, norm = features.clone(), torch.ones(field.count).to(features)
        for other in ids.T:  # one neighbour at a time: [N, k, D] at once can be gigabytes
            apart = torch.stack([(s.means[other] - s.means).norm(dim=-1) for s in states]).amax(0)
            alike = (units * units[other]).sum(-1).clamp_min(0).square()
            weight = torch.exp(-0.5 * (apart / near).square()) * alike * states[0].opacities[other]
            total += weight[:, None] * features[other]
            norm += weight
        return cls(total / norm[:, None])

    def cosine(self, query: Tensor) -> Tensor:
        """Cosine with a query [D] or queries [M, D]: [N] or [N, M]; see :func:`cosine`."""
        return cosine(self.features, query)

    def contrast(self, query: Tensor) -> Tensor:
        """How much liker a query [D] each feature is than any rival: a difference of cosines, [N].

        Rivals are the prototypes of everything else that the field holds. Positive means: this is
        rather the query than anything else. It tells parts of one object from one another, which
        are alike and so have no gap in the histogram of plain cosines.
        """
        rivals = self.prototypes[cosine(self.prototypes, query) < ALIKE]
        scores = self.cosine(query)
        if len(rivals) == 0:
            return scores
        return torch.where(scores > -1, scores - self.cosine(rivals).amax(1), -1.0)

    @cached_property
    def prototypes(self) -> Tensor:
        """Unit features [P, D] that stand for all of them: centres of spherical k-means."""
        features = self.features[self.features.norm(dim=-1) > 1e-8]
        features = torch.nn.functional.normalize(features, dim=-1)
        generator = torch.Generator().manual_seed(0)
        chosen = torch.randperm(len(features), generator=generator)[:SAMPLE]
        return spherical_means(features[chosen], min(PROTOTYPES, len(chosen)), generator)


def cosine(features: Tensor, query: Tensor) -> Tensor:
    """Cosine of features [N, D] and query [D] or queries [M, D]: [N] or [N, M].

    A feature that is not known (all zeros) scores -1.
    """
    if features.shape[-1] != query.shape[-1]:
        raise BadInput(
            f"query: it has {query.shape[-1]} channels, the field's features have "
            f"{features.shape[-1]}; they come from different teachers"
        )
    size = features.norm(dim=-1)
    unit = features / size.clamp_min(1e-12)[..., None]
    directions = torch.nn.functional.normalize(query.to(features), dim=-1)
    scores = unit @ directions.movedim(-1, 0)
    known = size > 1e-8
    return torch.where(known if scores.dim() == 1 else known[:, None], scores, -1.0)


def spherical_means(features: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``count`` centres [count, D] of unit features [N, D] by k-means on the sphere.

    Started far apart (k-means++, Arthur and Vassilvitskii 2007); ten rounds.
    """
    centers = [features[0]]
    nearest_cosine = features @ centers[0]
    for _ in range(count - 1):
        odds = (1 - nearest_cosine).clamp_min(1e-12).square().cpu()
        centers.append(features[int(torch.multinomial(odds, 1, generator=generator))])
        nearest_cosine = torch.maximum(nearest_cosine, features @ centers[-1])
    centers = torch.stack(centers)
    for _ in range(10):
        member = (features @ centers.T).argmax(1)
        sums = torch.zeros_like(centers).index_add_(0, member, features)
        moved = torch.nn.functional.normalize(sums, dim=-1)
        centers = torch.where(sums.norm(dim=-1, keepdim=True) > 1e-8, moved, centers)
    return centers
