"""A window of Level-Based Foraging shows every reset and step, until it is closed.

No display is needed: run it with SDL_VIDEODRIVER=dummy.
"""

import pygame

from cleanmarl.env_wrappers import make_env

shown = []
pygame.display.flip = lambda: shown.append("picture")

env = make_env("lbf", "Foraging-5x5-2p-1f-v3", render_mode="human")
env.reset(seed=1)
env.step([0, 0])
env.step([0, 0])
assert env.render() is None
assert len(shown) == 4

pygame.event.post(pygame.event.Event(pygame.QUIT))
env.step([0, 0])
assert not pygame.display.get_init()
env.reset()
assert not pygame.display.get_init()
assert len(shown) == 4

env.close()
env.close()
