"""An environment with a bug in its fourth episode of training, whose close() ends the program."""

import sys

from tests.envs.crashing import Crashing


class Slamming(Crashing):
    def close(self):
        sys.exit()


parallel_env = Slamming
