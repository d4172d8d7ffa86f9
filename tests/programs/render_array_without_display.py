"""render_mode="rgb_array" needs no display."""

from smaclite_jit import SMACliteEnv

env = SMACliteEnv("3m", render_mode="rgb_array")
env.reset()
assert env.render().any()
