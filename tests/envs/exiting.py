"""An environment that ends the program in its third episode."""

import sys

from tests.envs.clock import Clock


class Exiting(Clock):
    episodes = 0

    def reset(self, seed=None, options=None):
        self.episodes += 1
        if self.episodes > 2:
            sys.exit()
        return super().reset(seed, options)


parallel_env = Exiting
