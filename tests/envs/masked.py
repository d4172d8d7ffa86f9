"""Two agents, a mask in each of PettingZoo's two ways, and actions that do not start at 0."""

import gymnasium as gym
import numpy as np
from pettingzoo import ParallelEnv


class Masked(ParallelEnv):
    """`in_obs` finds its mask in its observation, `in_info` in its info.

    Both may only take the middle action, 6.
    """

    metadata = {"name": "masked"}
    possible_agents = ["in_obs", "in_info"]
    mask = np.array([0, 1, 0], np.int8)

    def observation_space(self, agent):
        space = gym.spaces.Discrete(4)
        return (
            gym.spaces.Dict(observation=space, action_mask=gym.spaces.MultiBinary(3))
            if agent == "in_obs"
            else space
        )

    def action_space(self, agent):
        return gym.spaces.Discrete(3, start=5)

    def observe(self):
        return {"in_obs": {"observation": self.t, "action_mask": self.mask}, "in_info": self.t}

    def reset(self, seed=None, options=None):
        self.agents, self.t = list(self.possible_agents), 0
        return self.observe(), {"in_obs": {}, "in_info": {"action_mask": self.mask}}

    def step(self, actions):
        assert set(actions.values()) == {6}
        self.t += 1
        over = dict.fromkeys(self.agents, self.t == 3)
        rewards, truncations = dict.fromkeys(self.agents, 0.5), dict.fromkeys(self.agents, False)
        self.agents = [] if self.t == 3 else self.agents
        return (
            self.observe(),
            rewards,
            over,
            truncations,
            {"in_obs": {}, "in_info": {"action_mask": self.mask}},
        )


parallel_env = Masked
