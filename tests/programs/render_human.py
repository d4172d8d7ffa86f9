"""A window shows each tick once, and stays closed when the user has closed it."""

import pygame

from smaclite_jit import SMACliteEnv

SMACliteEnv.metadata["render_fps"] = 500  # do not wait
env = SMACliteEnv("3m", render_mode="human")
shown = []  # the step of each picture that the window shows
pygame.display.flip = lambda: shown.append(env.renderer.steps)

env.reset(seed=1)
for _ in range(3):
    env.step([4, 4, 4])
assert env.render() is None
assert shown == [0] + 8 * [1] + 8 * [2] + 8 * [3] + [3], shown

pygame.event.post(pygame.event.Event(pygame.QUIT))
env.step([4, 4, 4])
env.reset()
env.step([4, 4, 4])
assert len(shown) == 26, shown
assert not pygame.display.get_init()
env.close()
env.close()
