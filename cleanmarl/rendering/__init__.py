"""Videos of any environment, and pictures of Level-Based Foraging."""

import os

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
