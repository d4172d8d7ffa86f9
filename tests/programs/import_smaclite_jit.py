"""Importing the simulator registers its maps, and imports nothing that only some users need."""

import logging
import sys

import gymnasium as gym

logging.getLogger("numba").setLevel(logging.INFO)

import smaclite_jit  # noqa: E402

expected = {f"smaclite_jit/{name}-v0" for name in smaclite_jit.MAPS} | {"smaclite_jit/custom-v0"}
registered = {name for name in gym.registry if name.startswith("smaclite_jit/")}
assert registered == expected, registered ^ expected
for module in ("pygame", "torch", "smaclite_jit.rendering"):
    assert module not in sys.modules, module
assert logging.getLogger("numba").level == logging.INFO, "it had been set"
