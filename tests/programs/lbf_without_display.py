"""Without a display Level-Based Foraging is played and drawn. Only a window ends with an error."""

import sys

from cleanmarl.env_wrappers import make_env

LBF = ("lbf", "Foraging-5x5-2p-1f-v3")

make_env(*LBF)
assert "pygame" not in sys.modules

env = make_env(*LBF, render_mode="rgb_array")
env.reset()
assert env.render().any()

import pygame  # noqa: E402

assert not pygame.display.get_init()
make_env(*LBF, render_mode="human").reset()
