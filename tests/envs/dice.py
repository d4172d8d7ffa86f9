"""An environment that draws from the generators of its process: each agent sees three numbers."""

import random

import gymnasium as gym
import numpy as np
import torch
from pettingzoo import ParallelEnv


class Dice(ParallelEnv):
    """Agents observe a number of Python's generator, one of NumPy's and one of torch's."""

    metadata = {"name": "dice"}
    possible_agents = ["agent_0", "agent_1"]

    def observation_space(self, agent):
        return gym.spaces.Box(0, 1, (3,), np.float32)

    def action_space(self, agent):
        return gym.spaces.Discrete(2)

    def observe(self):
        numbers = [random.random(), np.random.random(), torch.rand(1).item()]
        return {agent: np.array(numbers, np.float32) for agent in self.possible_agents}

    def reset(self, seed=None, options=None):
        self.agents = list(self.possible_agents)
        return self.observe(), {agent: {} for agent in self.agents}

    def step(self, actions):
        rewards = dict.fromkeys(self.agents, 0)
        terminations = dict.fromkeys(self.agents, False)
        truncations = dict.fromkeys(self.agents, False)
        infos = {agent: {} for agent in self.agents}
        return self.observe(), rewards, terminations, truncations, infos


parallel_env = Dice
