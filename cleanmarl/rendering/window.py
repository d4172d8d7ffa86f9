"""Windows that show pygame's pictures. Importing this module opens no display."""

import os
import sys

import pygame

from cleanmarl import UsageError

NO_DISPLAY = (
    'render_mode="human" needs a display, and this machine has none: use render_mode="rgb_array"'
)
DISPLAY_VARIABLES = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")  # one is set if there is one


def start_display():
    """Prepare to open windows. Raises a RuntimeError on a machine without a display."""
    if sys.platform.startswith("linux"):
        # Ask first: SDL would write what it has tried to stderr.
        if not any(os.environ.get(name) for name in DISPLAY_VARIABLES):
            raise RuntimeError(NO_DISPLAY)
    try:
        pygame.display.init()
    except pygame.error as error:
        raise RuntimeError(NO_DISPLAY) from error
    if pygame.display.get_driver() == "offscreen" and "SDL_VIDEODRIVER" not in os.environ:
        # No display: SDL fell back to a driver that shows nothing.
        pygame.display.quit()
        raise RuntimeError(NO_DISPLAY)


def require_display():
    """Raise a UsageError of evaluate.py on a machine without a display."""
    try:
        start_display()
    except RuntimeError as error:
        raise UsageError("--render needs a display, and there is none: use --video") from error


class Window:
    """A window that opens with the first picture. If the user closes it, it stays closed."""

    def __init__(self, size, title, fps):
        self.size = size  # (width, height) in pixels
        self.title = title
        self.fps = fps  # pictures a second
        self.surface = None  # what is on the screen, while the window is open
        self.clock = pygame.time.Clock()
        self.closed_by_user = False

    def show(self, picture):
        """Show a Surface for 1 / fps seconds."""
        if self.closed_by_user:
            return
        if self.surface is None:
            start_display()
            pygame.display.set_caption(self.title)
            self.surface = pygame.display.set_mode(self.size)
        if any(event.type == pygame.QUIT for event in pygame.event.get()):
            self.closed_by_user = True
            self.close()
            return
        self.surface.blit(picture, (0, 0))
        pygame.display.flip()
        self.clock.tick(self.fps)

    def close(self):
        if self.surface is not None:
            self.surface = None
            pygame.display.quit()
