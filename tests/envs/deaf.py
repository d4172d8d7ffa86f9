"""An environment that ignores SIGTERM, has a process, and never comes back from its tenth step."""

import multiprocessing
import signal
import time

from tests.envs.clock import Clock


class Deaf(Clock):
    def __init__(self):
        super().__init__()
        self.num_steps = 0
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self.process = multiprocessing.Process(target=time.sleep, args=(1000,))
        self.process.start()

    def step(self, actions):
        self.num_steps += 1
        if self.num_steps == 10:
            time.sleep(1000)
        return super().step(actions)

    def close(self):
        self.process.kill()
        self.process.join()


parallel_env = Deaf
