"""A script whose Q-network takes an argument more than ours."""

from cleanmarl.qmix import QNetwork as OurQNetwork
from cleanmarl.qmix import evaluate  # noqa: F401


class QNetwork(OurQNetwork):
    def __init__(self, obs_dim, n_actions, hidden_dim, num_layers, width):
        super().__init__(obs_dim, n_actions, width, num_layers)
