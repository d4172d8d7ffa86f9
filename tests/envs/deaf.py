"""An environment that ignores SIGTERM and never comes back from its tenth step."""

import signal
import time

from tests.envs.clock import Clock


class Deaf(Clock):
    def __init__(self):
        super().__init__()
        self.num_steps = 0
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def step(self, actions):
        self.num_steps += 1
        if self.num_steps == 10:
            time.sleep(1000)
        return super().step(actions)


parallel_env = Deaf
