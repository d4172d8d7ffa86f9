"""Rendering on a machine that has no pygame."""

import sys

from smaclite_jit import SMACliteEnv

sys.modules["pygame"] = None  # its import fails
SMACliteEnv("3m", render_mode="rgb_array")
