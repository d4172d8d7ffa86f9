"""An environment in which a SIGTERM comes after eight episodes.

With five episodes an evaluation, and one after every episode, that is in the second evaluation.
"""

import signal

from tests.envs.clock import Clock


class Interrupting(Clock):
    ended = 0

    def reset(self, seed=None, options=None):
        if self.ended == 8:
            signal.raise_signal(signal.SIGTERM)
        return super().reset(seed, options)

    def step(self, actions):
        result = super().step(actions)
        if self.t == self.limit:
            self.ended += 1
        return result


parallel_env = Interrupting
