"""How strongly features match a prompt, in contrast to what matches everything."""

from __future__ import annotations

from torch import Tensor

from .base import unit

NEGATIVES = ("object", "things", "stuff", "texture")
"""Canonical phrases that any place of an image matches somewhat."""


def relevance(
    features: Tensor, query: Tensor, negatives: Tensor, temperature: float = 10.0
) -> Tensor:
    """Relevance [...] in 0..1 of ``features`` [..., D] to ``query`` [D], not ``negatives`` [M, D].

    The smallest, over the negatives, of the softmax between query and that negative of scaled
    cosines (LERF, Kerr et al., 2023, section 3.3). One half: no more like the query than like the
    most similar negative."""
    features, query, negatives = unit(features), unit(query), unit(negatives)
    wanted, other = features @ query, features @ negatives.T
    return (temperature * (wanted - other.amax(-1))).sigmoid()
