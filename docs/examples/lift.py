"""A table to lift: two agents walk along a line and must lift at its two ends, at the same step."""

import gymnasium as gym
import numpy as np
from pettingzoo import ParallelEnv

LENGTH = 7
TIME_LIMIT = 20
LEFT, RIGHT, LIFT = range(3)


class Lift(ParallelEnv):
    metadata = {"name": "lift"}
    possible_agents = ["agent_1", "agent_2"]  # a fixed order, the same in every episode

    def __init__(self):
        self.rng = np.random.default_rng()
        self.observation_spaces = {
            agent: gym.spaces.Box(0, 1, (2,), np.float32) for agent in self.possible_agents
        }
        self.action_spaces = {agent: gym.spaces.Discrete(3) for agent in self.possible_agents}

    def observation_space(self, agent):
        return self.observation_spaces[agent]

    def action_space(self, agent):
        return self.action_spaces[agent]

    def observe(self):
        own = self.positions / (LENGTH - 1)  # numbers of about 1 suit the networks
        return {
            agent: np.array([own[i], own[1 - i]], np.float32)
            for i, agent in enumerate(self.possible_agents)
        }

    def state(self):
        """What the mixer sees in training; without it, all observations in a row."""
        return (self.positions / (LENGTH - 1)).astype(np.float32)

    def reset(self, seed=None, options=None):
        if seed is not None:
            self.rng = np.random.default_rng(seed)
        self.agents = list(self.possible_agents)  # who is still playing
        self.t = 0
        self.positions = self.rng.integers(LENGTH, size=2)
        return self.observe(), {agent: {} for agent in self.agents}

    def step(self, actions):
        choices = np.array([actions[agent] for agent in self.possible_agents])
        lifted = bool((choices == LIFT).all()) and set(self.positions.tolist()) == {0, LENGTH - 1}
        moved = self.positions + (choices == RIGHT) - (choices == LEFT)
        self.positions = moved.clip(0, LENGTH - 1)
        self.t += 1
        cut_off = self.t >= TIME_LIMIT and not lifted  # truncated: the task itself goes on
        here = self.agents
        if lifted or cut_off:
            self.agents = []
        # The scripts add rewards up over the agents: halves make 1 for the team.
        rewards = dict.fromkeys(here, lifted / 2)
        terminations = dict.fromkeys(here, lifted)
        truncations = dict.fromkeys(here, cut_off)
        return self.observe(), rewards, terminations, truncations, {agent: {} for agent in here}


def parallel_env():
    return Lift()
