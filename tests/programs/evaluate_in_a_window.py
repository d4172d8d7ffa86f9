"""Run evaluate.py and write to stderr, in the last line, how many pictures a window has shown."""

import runpy
import sys

import pygame

import cleanmarl.evaluate

shown = []


class Clock:
    """Counts pictures, and does not wait."""

    def tick(self, fps):
        shown.append(fps)


pygame.time.Clock = Clock
try:
    runpy.run_path(cleanmarl.evaluate.__file__, run_name="__main__")
finally:
    print(len(shown), file=sys.stderr)
