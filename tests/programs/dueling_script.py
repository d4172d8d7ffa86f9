"""A script whose Q-network has a layer more than ours."""

import torch

from cleanmarl.qmix import QNetwork as OurQNetwork
from cleanmarl.qmix import evaluate  # noqa: F401


class QNetwork(OurQNetwork):
    def __init__(self, obs_dim, n_actions, hidden_dim, num_layers):
        super().__init__(obs_dim, n_actions, hidden_dim, num_layers)
        self.value = torch.nn.Linear(hidden_dim, 1)
