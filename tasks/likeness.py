"""How like a query each feature of a field is."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from ..kernels.neighbors import nearest
from ..scenes import BadInput

NEIGHBORS = 8  # whose features a Gaussian's is averaged with
PROTOTYPES = 128  # features that stand for everything a field holds
MEMBERS = 20  # features that a prototype is the mean of, on average, at least
SAMPLE = 20_000  # features that the prototypes are made from
UNRELATED = 0.25  # quantile of the prototypes' cosines with a query that unrelated things reach
# How far from there to 1 a prototype's cosine must lie for it to be of the same thing. A teacher sees
# the parts of one thing as alike (0.5 above unrelated things in the simulated worlds), one part as one.
GRAINS = {"whole": 0.42, "part": 0.75}


class Likeness:
    """Features that queries are compared with.

    Args:
        features: [N, D]; a row of zeros is a feature that is not known.
        prototypes: [P, D] unit features that stand for all there are; None: made from ``features``.
    """

    def __init__(self, features: Tensor, prototypes: Tensor | None = None):
        self.features = features.detach().float()
        if prototypes is not None:
            self.prototypes = prototypes

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

    def centred(self, query: Tensor) -> Tensor:
        """Cosine with a query [D] after the mean feature was taken from both, [N]; -1 where not known.

        What everything in a field has in common, which in a network's maps is much, tells nothing apart.
        """
        known = self.features.norm(dim=-1) > 1e-8
        mean = self.features[known].mean(0)
        return torch.where(known, cosine(self.features - mean, query.to(mean) - mean), -1.0)

    def contrast(self, query: Tensor, grain: str = "whole") -> Tensor:
        """How much liker each feature is to what a query [D] stands for than to anything else, [N].

        A difference of cosines: with the nearest prototype of the same thing as the query (or the
        query itself), less the nearest prototype of any other thing. Above 0: rather this than
        anything else. So the border lies half-way between two things, wherever each of them is, and
        a thing of several parts is found by all of them; one threshold on the cosine does neither.

        A prototype is of the same thing if its cosine with the query lies far enough above what
        unrelated ones score, by the ``grain``: ``whole`` or ``part``, which takes in less. BadInput
        for another grain.
        """
        if grain not in GRAINS:
            raise BadInput(f"grain: expected {' or '.join(GRAINS)}, got {grain!r}")
        to_query = cosine(self.prototypes, query)
        unrelated = to_query.quantile(UNRELATED).clamp_min(0)
        same = to_query >= unrelated + GRAINS[grain] * (1 - unrelated)
        own = torch.cat([self.prototypes[same], query[None].to(self.prototypes)])
        scores = self.cosine(own).amax(1)
        rivals = self.cosine(self.prototypes[~same]).amax(1) if not same.all() else 0.0
        return torch.where(scores > -1, scores - rivals, -1.0)

    @cached_property
    def prototypes(self) -> Tensor:
        """Unit features [P, D] that stand for all of them: centres of spherical k-means."""
        features = self.features[self.features.norm(dim=-1) > 1e-8]
        features = torch.nn.functional.normalize(features, dim=-1)
        generator = torch.Generator().manual_seed(0)
        chosen = torch.randperm(len(features), generator=generator)[:SAMPLE]
        count = min(PROTOTYPES, 1 + len(chosen) // MEMBERS)
        return spherical_means(features[chosen], count, generator)


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
