"""What the types of units look like, drawing them with pygame, and pictures and windows of what was drawn."""

import os
import sys
from functools import cache

import gymnasium as gym
import numpy as np

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
try:
    import pygame
except ImportError as error:
    raise gym.error.DependencyNotInstalled(
        "rendering needs pygame: pip install pygame-ce"
    ) from error

NO_DISPLAY = (
    'render_mode="human" needs a display, and this machine has none: use render_mode="rgb_array"'
)
DISPLAYS = "DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"  # the variables that tell of one
# A shade is how far a side's colour goes towards white or, if it is negative, towards black.
DARK, PLAIN, LIGHT, WHITE = -0.6, 0, 0.75, 1


def mirrored(*points):
    """The outline of which `points` are the left half, from the front to the back."""
    return *points, *(complex(p).conjugate() for p in reversed(points))


# From below to above, each (form, shade, size, *points). The size is a line's thickness or a disc's radius; points are
# complex, forward + left * 1j. Both are in units of the unit's radius.
SHAPES = {
    "MARINE": (
        ("line", LIGHT, 0.3, -0.1 - 0.45j, 1.3 - 0.45j),
        ("disc", PLAIN, 0.8, 0),
        ("disc", DARK, 0.4, 0.15),
    ),
    "MARAUDER": (
        *(("line", LIGHT, 0.3, 0.65j * y, 1.15 + 0.65j * y) for y in (1, -1)),
        ("area", PLAIN, 0, *mirrored(0.85 + 0.5j, 0.5 + 0.85j, -0.5 + 0.85j, -0.85 + 0.5j)),
        ("area", DARK, 0, *mirrored(0.5 + 0.4j, 0.1 + 0.4j)),
    ),
    "MEDIVAC": (
        ("area", PLAIN, 0, *mirrored(0.1 + 0.3j, -0.1 + 1.1j, -0.7 + 1.1j, -0.6)),
        ("area", PLAIN, 0, *mirrored(1.1, 0.7 + 0.4j, -0.8 + 0.4j, -1)),
        *(("line", WHITE, 0.26, -0.1 - 0.5 * arm, -0.1 + 0.5 * arm) for arm in (1, 1j)),
    ),
    "STALKER": (
        *(
            ("line", PLAIN, 0.2, 0.2 * x, 0.8 * x + 0.4j * y, 0.9 * x + 0.8j * y)
            for x in (1, -1)
            for y in (1, -1)
        ),
        ("area", PLAIN, 0, *mirrored(0.8, 0.55j, -0.8)),
        ("disc", LIGHT, 0.22, 0.2),
    ),
    "ZEALOT": (
        *(("line", LIGHT, 0.24, 0.2 + 0.75j * y, 1.25 + 0.55j * y) for y in (1, -1)),
        ("area", PLAIN, 0, *mirrored(0.45, 0.25 + 0.95j, -0.35 + 0.75j, -0.65)),
        ("disc", DARK, 0.28, 0),
    ),
    "COLOSSUS": (
        *(
            ("line", PLAIN, 0.11, 0, 0.3 * x + 0.7j * y, 0.8 * x + 0.75j * y)
            for x in (1, -1)
            for y in (1, -1)
        ),
        ("area", PLAIN, 0, *mirrored(0.3 + 0.55j, 0.1 + 0.75j, -0.3 + 0.5j, -0.45)),
        ("disc", LIGHT, 0.13, 0.1 + 0.3j, 0.1 - 0.3j),
    ),
    "ZERGLING": (
        *(("line", LIGHT, 0.2, 0.3 + 0.3j * y, 0.8 + 0.85j * y, 1.25 + 0.35j * y) for y in (1, -1)),
        ("area", PLAIN, 0, *mirrored(0.85, -0.1 + 0.7j, -0.95 + 0.45j, -0.55)),
    ),
    "BANELING": (("disc", PLAIN, 0.95, 0), ("disc", LIGHT, 0.27, 0.4, -0.3 + 0.4j, -0.3 - 0.4j)),
    "SPINE_CRAWLER": (
        (
            "area",
            PLAIN,
            0,
            *((1.15 if k % 2 else 0.6) * np.exp(1j * np.pi * (k + 1) / 6) for k in range(12)),
        ),
        ("line", LIGHT, 0.2, 0, 1.5),
        ("disc", DARK, 0.35, 0),
    ),
    "HYDRALISK": (
        ("line", PLAIN, 0.3, -0.4, -0.8 + 0.35j, -1.1 + 0.05j),
        (
            "area",
            PLAIN,
            0,
            *mirrored(0.25, 0.15 + 0.55j, 0.75 + 0.55j, 0.2 + 0.95j, -0.55 + 0.6j, -0.75),
        ),
        ("disc", LIGHT, 0.16, -0.1 + 0.25j, -0.1 - 0.25j),
    ),
}
OTHER = (
    ("area", LIGHT, 0, 1.25, 0.6 + 0.5j, 0.6 - 0.5j),
    ("disc", PLAIN, 0.85, 0),
)  # and the first letter of the type


@cache
def mix(first, second, share):
    """The colour `share` of the way from the first to the second."""
    return tuple(pygame.Color(first).lerp(second, share))


def xy(point):
    return point.real, point.imag


def stroke(canvas, colour, width, *points):
    pygame.draw.lines(canvas, colour, False, [xy(p) for p in points], max(1, round(width)))


def draw_unit(canvas, name, colour, at, radius, heading=1):
    """Draw a unit at a complex position of the screen (down is positive), looking along `heading` (up is positive)."""
    pygame.draw.circle(
        canvas, mix(colour, "black", 0.7), xy(at), radius
    )  # its true size, for the shapes reach out
    for form, shade, size, *points in SHAPES.get(name, OTHER):
        fill = mix(colour, "white" if shade > 0 else "black", abs(shade))
        points = [at + radius * (heading * p).conjugate() for p in points]
        if form == "line":
            stroke(canvas, fill, size * radius, *points)
        elif form == "area":
            pygame.draw.polygon(canvas, fill, [xy(p) for p in points])
        else:
            for p in points:
                pygame.draw.circle(canvas, fill, xy(p), size * radius)
    if name not in SHAPES:
        letter = pygame.font.Font(None, max(6, int(1.8 * radius))).render(name[:1], True, "black")
        canvas.blit(letter, letter.get_rect(center=xy(at)))


def pixels(surface):
    """The picture of a Surface, (height, width, 3) uint8."""
    return (
        np.frombuffer(pygame.image.tobytes(surface, "RGB"), np.uint8)
        .reshape(*surface.get_size()[::-1], 3)
        .copy()
    )


def start_display():
    """Make ready to open windows. Raises a RuntimeError on a machine without a display."""
    try:
        if sys.platform.startswith("linux") and not any(os.environ.get(name) for name in DISPLAYS):
            raise pygame.error(NO_DISPLAY)  # SDL would first write to stderr of what it has tried
        pygame.display.init()
        if pygame.display.get_driver() != "offscreen" or "SDL_VIDEODRIVER" in os.environ:
            return
        pygame.display.quit()  # SDL has chosen this driver unasked, for want of a display: it shows nothing
    except pygame.error:
        pass
    raise RuntimeError(NO_DISPLAY)


def open_window(size, name):
    """A window of so many pixels, a Surface. Raises a RuntimeError on a machine without a display."""
    start_display()
    pygame.display.set_caption(name)
    try:
        return pygame.display.set_mode(size)
    except pygame.error as error:
        raise RuntimeError(NO_DISPLAY) from error
