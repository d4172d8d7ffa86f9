"""A team that watches a clock: agents of different sizes, an early leaver, and a time limit."""

import gymnasium as gym
import numpy as np
from pettingzoo import ParallelEnv


class Clock(ParallelEnv):
    """Agent i observes `obs_dims[i]` numbers, the step, its index and noise, and is paid 1 a step.

    Agents in `leaves` are terminated at that step; the others are cut off at `limit`.
    """

    metadata = {"name": "clock"}

    def __init__(
        self, obs_dims=(3, 4, 5), action_dims=(2, 3, 3), limit=4, leaves=(("agent_1", 2),)
    ):
        self.possible_agents = [f"agent_{i}" for i in range(len(obs_dims))]
        self.obs_dims = dict(zip(self.possible_agents, obs_dims))
        self.action_dims = dict(zip(self.possible_agents, action_dims))
        self.limit, self.leaves, self.rng = limit, dict(leaves), np.random.default_rng()

    def observation_space(self, agent):
        return gym.spaces.Box(-np.inf, np.inf, (self.obs_dims[agent],), np.float32)

    def action_space(self, agent):
        return gym.spaces.Discrete(self.action_dims[agent])

    def observe(self, agents):
        noise = {agent: self.rng.random(self.obs_dims[agent] - 2) for agent in agents}
        index = self.possible_agents.index
        return {
            agent: np.array([self.t, index(agent) + 1, *noise[agent]], np.float32)
            for agent in agents
        }

    def reset(self, seed=None, options=None):
        if seed is not None:
            self.rng = np.random.default_rng(seed)
        self.agents, self.t = list(self.possible_agents), 0
        return self.observe(self.agents), {agent: {} for agent in self.agents}

    def step(self, actions):
        assert set(actions) == set(self.agents)
        assert all(0 <= action < self.action_dims[agent] for agent, action in actions.items())
        self.t += 1
        here = self.agents
        terminations = {agent: self.leaves.get(agent) == self.t for agent in here}
        truncations = {agent: self.t >= self.limit and not terminations[agent] for agent in here}
        self.agents = [agent for agent in here if not (terminations[agent] or truncations[agent])]
        return (
            self.observe(here),
            dict.fromkeys(here, 1),
            terminations,
            truncations,
            {agent: {} for agent in here},
        )


parallel_env = Clock
