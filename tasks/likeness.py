"""How like a query each feature of a field is."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from ..fields.gaussians.companions import TIMES, companions
from ..scenes import BadInput
from . import prototypes

UNRELATED = 0.25  # quantile of the features' cosines with a query that unrelated things reach
# How far from there to 1 the mean cosine of a prototype with others must lie for it to be of the same thing. A teacher
# sees the parts of one thing as alike (0.5 above unrelated things in the simulated worlds), one part as one.
GRAINS = {"whole": 0.4, "part": 0.82}


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
        what they say of its surroundings. The average runs over Gaussians that belong together
        (:mod:`..fields.gaussians.companions`) and whose features are already alike, so that
        borders stay sharp (a bilateral filter, Tomasi and Manduchi 1998).

        BadInput when the field has no semantics.
        """
        states = [field.at(time) for time in TIMES]
        codes = states[0].features
        if codes is None:
            raise BadInput("field: no semantics; fit it with a teacher, or select by --pixels")
        known = codes.norm(dim=-1, keepdim=True) > 1e-8
        features = field.decode(codes) * known
        if field.count < 2:
            return cls(features)
        units = torch.nn.functional.normalize(features, dim=-1)
        total, norm = features.clone(), torch.ones(field.count).to(features)
        for other, together in zip(*(of.T for of in companions(states)), strict=True):
            # One neighbour at a time: [N, k, D] at once can be gigabytes.
            alike = (units * units[other]).sum(-1).clamp_min(0).square()
            weight = together * alike * states[0].opacities[other]
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

        A difference of cosines: with the nearest prototype of the same thing as the query, less the
        nearest prototype of any other thing. Above 0: rather this than anything else. So the border
        lies half-way between two things, wherever each of them is, and a thing of several parts is
        found by all of them; one threshold on the cosine does neither. See :meth:`same`.
        """
        same = self.same(query, grain)
        scores = self.cosine(self.prototypes[same]).amax(1)
        rivals = self.cosine(self.prototypes[~same]).amax(1) if not same.all() else 0.0
        return torch.where(scores > -1, scores - rivals, -1.0)

    def same(self, query: Tensor, grain: str = "whole") -> Tensor:
        """Which prototypes are of the thing that a query [D] is of, [P] bool.

        The nearest is; then, one by one, the one that is most like all that have been found so far
        (average linkage, Sokal and Michener 1958), as long as its mean cosine with them lies far
        enough above what unrelated features score, by the ``grain``: ``whole`` or ``part``, which
        takes in less. So a thing is found by all of its parts, not only by those that are like the
        one that was asked for. BadInput for another grain.
        """
        if grain not in GRAINS:
            raise BadInput(f"grain: expected {' or '.join(GRAINS)}, got {grain!r}")
        to_query = cosine(self.prototypes, query)
        known = self.features.norm(dim=-1) > 1e-8
        unrelated = cosine(self.features[known], query).quantile(UNRELATED).clamp_min(0)
        enough = unrelated + GRAINS[grain] * (1 - unrelated)
        same = to_query == to_query.amax()
        while not same.all():
            found = torch.cat([to_query[:, None], self.prototypes @ self.prototypes[same].T], 1)
            alike = found.mean(1).masked_fill(same, -1.0)
            if alike.amax() < enough:
                break
            same[alike.argmax()] = True
        return same

    @cached_property
    def prototypes(self) -> Tensor:
        """Unit features [P, D] that stand for all of them."""
        return prototypes.prototypes(self.features)


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
