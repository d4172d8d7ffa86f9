"""A team whose steps take a network of torch, as a learned model of a world does."""

import torch

from tests.envs.clock import Clock


class Dreaming(Clock):
    def __init__(self):
        super().__init__()
        self.network = torch.nn.Linear(512, 512)

    def step(self, actions):
        with torch.no_grad():
            self.network(torch.ones(256, 512))  # large enough for several threads
        return super().step(actions)


parallel_env = Dreaming
