"""An environment that QMIX cannot play: its actions are continuous."""

import gymnasium as gym

from tests.envs.clock import Clock


class Continuous(Clock):
    def action_space(self, agent):
        return gym.spaces.Box(-1, 1, (2,))


parallel_env = Continuous
