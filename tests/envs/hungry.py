"""The clock, in whose sixth episode there is no memory left."""

from tests.envs.clock import Clock


class Hungry(Clock):
    episodes = 0

    def reset(self, seed=None, options=None):
        self.episodes += 1
        return super().reset(seed=seed, options=options)

    def step(self, actions):
        if self.episodes > 6:
            raise MemoryError
        return super().step(actions)


parallel_env = Hungry
