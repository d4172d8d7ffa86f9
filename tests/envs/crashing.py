"""An environment with a bug that shows in its fourth episode of training."""

from tests.envs.clock import Clock


class Crashing(Clock):
    episodes = 0

    def reset(self, seed=None, options=None):
        self.episodes += 1
        if self.episodes > 4:
            raise RuntimeError("a bug in the environment")
        return super().reset(seed, options)


parallel_env = Crashing
