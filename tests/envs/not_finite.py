"""An environment whose rewards overflow."""

from tests.envs.clock import Clock


class NotFinite(Clock):
    def step(self, actions):
        observations, rewards, *rest = super().step(actions)
        return observations, dict.fromkeys(rewards, 1e30), *rest


parallel_env = NotFinite
