"""Differences of paths over frames that need not be evenly spaced."""

from __future__ import annotations

import numpy as np
import pytest
from semaflow.scenes.motion.differences import differences, noise_share


def test_evenly_spaced_they_are_the_plain_ones():
    assert np.allclose(differences(np.arange(6), 3), np.diff(np.eye(6), 3, axis=0))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_of_a_polynomial_they_are_its_derivative(order):
    times = np.array([0.0, 1, 2, 4, 5, 7, 8])
    assert np.allclose(differences(times, order) @ times**order, [1, 2, 6][order - 1])
    assert np.allclose(differences(times, order) @ times ** (order - 1), 0)


@pytest.mark.parametrize("times", [np.arange(3), np.arange(0), np.arange(1)])
def test_too_few_frames_have_none(times):
    assert differences(times, 3).shape == (0, len(times))
    assert noise_share(np.zeros((len(times), 3)), times, 3) == 1


@pytest.mark.parametrize("noise, low, high", [(0.0, 0.0, 0.1), (0.001, 0.15, 0.45), (0.1, 0.8, 1.0)])
def test_a_walk_is_no_noise(noise, low, high):
    """A path that bobs once in six frames by 2 cm, known up to ``noise``; every tenth frame is missing."""
    times = np.delete(np.arange(60.0), np.arange(5, 60, 10))
    path = np.stack([0.05 * times, 0.02 * np.sin(times), 0.01 * np.cos(0.5 * times)], -1)
    path += noise * np.random.default_rng(0).normal(size=path.shape)
    assert low <= noise_share(path, times, 3) <= high
