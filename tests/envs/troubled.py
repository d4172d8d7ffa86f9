"""Has an error in its second episode that a worker cannot send, and another in close."""

import threading

from tests.envs.clock import Clock


class OwnError(Exception):
    """Holds what cannot be pickled, and needs two arguments."""

    def __init__(self, name, lock):
        super().__init__(f"a bug with {name}")
        self.lock = lock


class Troubled(Clock):
    episodes = 0

    def reset(self, seed=None, options=None):
        self.episodes += 1
        if self.episodes > 2:
            raise OwnError("a lock", threading.Lock())
        return super().reset(seed, options)

    def close(self):
        raise SystemExit


parallel_env = Troubled
