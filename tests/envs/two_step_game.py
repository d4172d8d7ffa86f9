"""The two-step game of the QMIX paper, section 5: agent 1's first move picks the second state.

In state 2A every joint action pays 7, in state 2B the pay-offs are [[0, 1], [1, 8]]. The best
return is 8; a learner that cannot represent 2B's values prefers the safe 7.
"""

import gymnasium as gym
import numpy as np
from pettingzoo import ParallelEnv

PAYOFFS = (((7, 7), (7, 7)), ((0, 1), (1, 8)))


class TwoStepGame(ParallelEnv):
    metadata = {"name": "two_step_game"}
    possible_agents = ["agent_1", "agent_2"]

    def __init__(self):
        # PettingZoo asks for the same object in every call of the two functions below.
        self.observed = gym.spaces.Box(0, 1, (3,), np.float32)
        self.actions = {agent: gym.spaces.Discrete(2) for agent in self.possible_agents}

    def observation_space(self, agent):
        return self.observed

    def action_space(self, agent):
        return self.actions[agent]

    def state(self):
        return np.eye(3, dtype=np.float32)[self.position]

    def everyone(self, value):
        return dict.fromkeys(self.possible_agents, value)

    def reset(self, seed=None, options=None):
        self.agents = list(self.possible_agents)
        self.position = 0
        return self.everyone(self.state()), self.everyone({})

    def step(self, actions):
        over = self.position > 0
        payoff = 0
        if over:
            payoff = PAYOFFS[self.position - 1][actions["agent_1"]][actions["agent_2"]]
            self.agents = []
        else:
            self.position = 1 + int(actions["agent_1"])
        observations = self.everyone(self.state())
        rewards = self.everyone(payoff / 2)
        return observations, rewards, self.everyone(over), self.everyone(False), self.everyone({})


parallel_env = TwoStepGame
