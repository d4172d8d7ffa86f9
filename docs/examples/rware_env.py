"""RWARE, the multi-robot warehouse, as a parallel environment: pip install rware."""

import gymnasium as gym
import rware  # noqa: F401 (registers its environments)
from pettingzoo import ParallelEnv


class Warehouse(ParallelEnv):
    metadata = {"name": "rware", "render_modes": ["rgb_array"]}

    def __init__(self, env_id="rware-tiny-2ag-v2", render_mode=None):
        self.env = gym.make(env_id, disable_env_checker=True, render_mode=render_mode)
        self.possible_agents = list(range(self.env.unwrapped.n_agents))

    def observation_space(self, agent):
        return self.env.observation_space[agent]

    def action_space(self, agent):
        return self.env.action_space[agent]

    def everyone(self, value):
        return dict.fromkeys(self.possible_agents, value)

    def reset(self, seed=None, options=None):
        observations, _ = self.env.reset(seed=seed, options=options)
        self.agents = list(self.possible_agents)
        return dict(enumerate(observations)), self.everyone({})

    def step(self, actions):
        joint_action = [actions[agent] for agent in self.agents]
        observations, rewards, terminated, truncated, _ = self.env.step(joint_action)
        # Its time limit of 500 steps: rware reports it as the end of the task.
        truncated = self.everyone(terminated or truncated)
        if terminated or truncated[0]:
            self.agents = []
        observations = dict(enumerate(observations))
        rewards = dict(enumerate(rewards))
        return observations, rewards, self.everyone(False), truncated, self.everyone({})

    def render(self):
        return self.env.render()

    def close(self):
        self.env.close()


parallel_env = Warehouse
