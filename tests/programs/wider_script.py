"""A script whose Q-network is twice as wide as ours."""

from cleanmarl.qmix import QNetwork as OurQNetwork
from cleanmarl.qmix import evaluate  # noqa: F401


def QNetwork(obs_dim, n_actions, hidden_dim, num_layers):
    return OurQNetwork(obs_dim, n_actions, 2 * hidden_dim, num_layers)
