"""Policies that more than one program of the benchmark plays."""

import numpy as np


def random_actions(avail_actions, rng):
    """A random available action for every agent: (..., n_agents, n_actions) -> (..., n_agents)."""
    # The best of random values is a uniformly random action.
    return np.where(avail_actions, rng.random(avail_actions.shape), -1).argmax(axis=-1)
