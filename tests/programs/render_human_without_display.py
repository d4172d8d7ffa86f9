"""render_mode="human" where there is no display."""

from smaclite_jit import SMACliteEnv

env = SMACliteEnv("3m", render_mode="human")
env.reset()
