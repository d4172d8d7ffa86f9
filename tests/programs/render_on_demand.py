"""pygame is imported by an environment that renders, and not before."""

import sys

from smaclite_jit import SMACliteEnv

SMACliteEnv("3m").reset()
assert "pygame" not in sys.modules
SMACliteEnv("3m", render_mode="rgb_array")
assert "pygame" in sys.modules
