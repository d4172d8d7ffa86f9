"""An environment whose process dies while it is made, if it is a worker's."""

import multiprocessing
import os

from tests.envs.clock import Clock


class Stillborn(Clock):
    def __init__(self):
        super().__init__()
        if multiprocessing.parent_process() is not None:
            os._exit(1)


parallel_env = Stillborn
