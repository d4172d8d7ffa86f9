"""Pictures of battles, drawn with pygame. Nothing imports this but an environment that renders.

``renderer`` draws with ``sprites``. This layer stands on ``battle``, ``arena`` and ``units``.
"""

import os

import gymnasium as gym

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
try:
    import pygame  # noqa: F401
except ImportError as error:
    message = "rendering needs pygame: pip install pygame-ce"
    raise gym.error.DependencyNotInstalled(message) from error
