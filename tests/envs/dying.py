"""An environment whose process dies with its second episode, if it is a worker's."""

import multiprocessing
import os

from tests.envs.clock import Clock


class Dying(Clock):
    ended = 0

    def step(self, actions):
        result = super().step(actions)
        if self.t == self.limit:
            self.ended += 1
        if self.ended == 2 and multiprocessing.parent_process() is not None:
            os._exit(1)
        return result


parallel_env = Dying
