"""Where numba finds no folder for its cache, the simulator is compiled and plays nevertheless."""

import logging
import sys

import smaclite_jit
from smaclite_jit.battle import beam_angle

logging.basicConfig(level=logging.DEBUG)  # numba's own messages stay away
assert beam_angle.stats.cache_path is None
assert beam_angle(0.0, 1.0) == 0
if sys.argv[1:] == ["play"]:
    env = smaclite_jit.SMACliteEnv("3m")
    env.reset(seed=1)
    print(env.step([4, 4, 4])[1:])
