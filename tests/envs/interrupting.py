"""An environment in which Ctrl-C is pressed after eight episodes.

With five episodes an evaluation, and one after every episode, that is in the second evaluation.
"""

from tests.envs.clock import Clock


class Interrupting(Clock):
    ended = 0

    def reset(self, seed=None, options=None):
        if self.ended == 8:
            raise KeyboardInterrupt
        return super().reset(seed, options)

    def step(self, actions):
        result = super().step(actions)
        if self.t == self.limit:
            self.ended += 1
        return result


parallel_env = Interrupting
