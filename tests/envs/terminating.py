"""An environment that ignores SIGTERM, as pygame does, and in whose ninth episode one arrives."""

import multiprocessing
import os
import signal

from tests.envs.clock import Clock


class Terminating(Clock):
    episodes = 0

    def __init__(self):
        super().__init__()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def reset(self, seed=None, options=None):
        self.episodes += 1
        return super().reset(seed, options)

    def step(self, actions):
        if self.episodes == 9:
            main = multiprocessing.parent_process()
            os.kill(os.getpid() if main is None else main.pid, signal.SIGTERM)
        return super().step(actions)


parallel_env = Terminating
