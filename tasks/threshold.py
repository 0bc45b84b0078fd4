"""Where to cut a selection: a threshold read off the histogram of scores."""

from __future__ import annotations

import torch
from torch import Tensor

BINS = 100
BLUR = 2.0  # standard deviation, in bins, of the smoothing that hides accidental dents
WORTHY = 0.5  # a gap counts from this share of the largest one's volume


def automatic_threshold(scores: Tensor) -> float:
    """The score between what was meant and everything else; ``scores`` reach up to about 1.

    The histogram of the scores, with the logarithm of the counts as its height, is a landscape with
    a hill of everything else and a hill, however small, of what was meant. Water poured onto it
    gathers in the gaps between hills; the cut is where the lowest of the large gaps is deepest.
    Heights are logarithms so that an object of fifty Gaussians makes a hill beside thousands.
    Scores below 0 count as 0: all of them say "not this". A landscape without gaps is cut by Otsu's
    criterion (1979).

    Scores of one single value cannot be split: the value itself is returned, which selects all.
    """
    scores = scores[torch.isfinite(scores)].double().cpu().clamp_min(0.0)
    if len(scores) == 0:
        return 0.0
    high = scores.max().item()
    if high - scores.min().item() < 1e-9:
        return scores.min().item()
    height = torch.log1p(torch.histc(scores, BINS, 0.0, high))
    found = gaps(blurred(height, BLUR))
    if not found:
        return high * otsu(height)
    largest = max(volume for volume, _ in found)
    return high * next(place for volume, place in found if volume >= WORTHY * largest)


def gaps(height: Tensor) -> list[tuple[float, float]]:
    """Pools of a landscape [B], from the left: volume, and the place 0..1 of the deepest water."""
    left = height.cummax(0).values
    right = height.flip(0).cummax(0).values.flip(0)
    depth = torch.minimum(left, right) - height
    wet = torch.nn.functional.pad((depth > 1e-6).int(), (1, 1))
    starts, ends = ((wet[1:] - wet[:-1]) == 1).nonzero(), ((wet[1:] - wet[:-1]) == -1).nonzero()
    found = []
    for start, end in zip(starts.flatten().tolist(), ends.flatten().tolist(), strict=True):
        pool, ground = depth[start:end], height[start:end]
        # An empty gap is flat: its middle is as far as can be from both hills.
        lowest = (ground <= ground.min() + 0.05 * pool.max()).nonzero().double().mean().item()
        found.append((pool.sum().item(), (start + lowest + 0.5) / len(height)))
    return found


def otsu(weights: Tensor) -> float:
    """The cut of a histogram, as a share 0..1 of its range, of largest between-class variance."""
    centers = (torch.arange(len(weights), dtype=weights.dtype) + 0.5) / len(weights)
    below = weights.cumsum(0)[:-1]
    above = weights.sum() - below
    moment = (weights * centers).cumsum(0)[:-1]
    total = (weights * centers).sum()
    apart = moment / below.clamp_min(1e-12) - (total - moment) / above.clamp_min(1e-12)
    return (int((below * above * apart.square()).argmax()) + 1) / len(weights)


def blurred(values: Tensor, deviation: float) -> Tensor:
    """``values`` [B] smoothed by a Gaussian, its ends extended."""
    reach = round(4 * deviation)
    x = torch.arange(-reach, reach + 1, dtype=values.dtype)
    window = torch.exp(-0.5 * (x / deviation).square())
    padded = torch.nn.functional.pad(values[None, None], (reach, reach), mode="replicate")
    return torch.nn.functional.conv1d(padded, (window / window.sum())[None, None])[0, 0]
