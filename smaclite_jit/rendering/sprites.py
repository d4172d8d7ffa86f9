"""What the units look like, and what pygame needs to draw and show them.

A point is a complex number, ``renderer`` says why. The shapes of the units are points too: the real
part is the way forward, the imaginary part the way to the left, both in units of the unit's radius.
"""

import os
import sys
from functools import cache
from typing import NamedTuple

import numpy as np
import pygame

NO_DISPLAY = (
    'render_mode="human" needs a display, and this machine has none: use render_mode="rgb_array"'
)
# One of these variables is set where there is a display, or where a driver is asked for.
DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")

# A shade is how far a side's colour goes towards white or, if it is negative, towards black.
DARK = -0.6
PLAIN = 0
LIGHT = 0.75
WHITE = 1


class Part(NamedTuple):
    """A part of the shape of a unit."""

    form: str  # line, area or disc
    shade: float
    size: float  # thickness of a line, radius of a disc
    points: tuple[complex, ...]


def line(shade, thickness, *points):
    """A line through the points."""
    return Part("line", shade, thickness, points)


def area(shade, *outline):
    """A filled outline."""
    return Part("area", shade, 0, outline)


def disc(shade, radius, *centres):
    """One disc at each of the centres."""
    return Part("disc", shade, radius, centres)


def mirror(points):
    """The same points on the other side of the unit."""
    return tuple(complex(point).conjugate() for point in points)


def both_sides(part):
    """A part, which is on the left, and its mirror image on the right."""
    return part, part._replace(points=mirror(part.points))


def closed(*points):
    """The outline with these points on its left half, from the front to the back."""
    return *points, *reversed(mirror(points))


def star(n_points, inner, outer):
    """The outline of a star, with its points at the radius `outer` and the notches at `inner`."""
    outline = []
    for k in range(2 * n_points):
        radius = outer if k % 2 == 1 else inner
        angle = np.pi * (k + 1) / n_points
        outline.append(radius * np.exp(1j * angle))
    return outline


# The parts of each unit, from below to above.
SHAPES = {
    "MARINE": (
        line(LIGHT, 0.3, -0.1 - 0.45j, 1.3 - 0.45j),
        disc(PLAIN, 0.8, 0),
        disc(DARK, 0.4, 0.15),
    ),
    "MARAUDER": (
        *both_sides(line(LIGHT, 0.3, 0.65j, 1.15 + 0.65j)),
        area(PLAIN, *closed(0.85 + 0.5j, 0.5 + 0.85j, -0.5 + 0.85j, -0.85 + 0.5j)),
        area(DARK, *closed(0.5 + 0.4j, 0.1 + 0.4j)),
    ),
    "MEDIVAC": (
        area(PLAIN, *closed(0.1 + 0.3j, -0.1 + 1.1j, -0.7 + 1.1j, -0.6)),
        area(PLAIN, *closed(1.1, 0.7 + 0.4j, -0.8 + 0.4j, -1)),
        line(WHITE, 0.26, -0.6, 0.4),  # a cross
        line(WHITE, 0.26, -0.1 - 0.5j, -0.1 + 0.5j),
    ),
    "STALKER": (
        *both_sides(line(PLAIN, 0.2, 0.2, 0.8 + 0.4j, 0.9 + 0.8j)),  # the front legs
        *both_sides(line(PLAIN, 0.2, -0.2, -0.8 + 0.4j, -0.9 + 0.8j)),
        area(PLAIN, *closed(0.8, 0.55j, -0.8)),
        disc(LIGHT, 0.22, 0.2),
    ),
    "ZEALOT": (
        *both_sides(line(LIGHT, 0.24, 0.2 + 0.75j, 1.25 + 0.55j)),
        area(PLAIN, *closed(0.45, 0.25 + 0.95j, -0.35 + 0.75j, -0.65)),
        disc(DARK, 0.28, 0),
    ),
    "COLOSSUS": (
        *both_sides(line(PLAIN, 0.11, 0, 0.3 + 0.7j, 0.8 + 0.75j)),  # the front legs
        *both_sides(line(PLAIN, 0.11, 0, -0.3 + 0.7j, -0.8 + 0.75j)),
        area(PLAIN, *closed(0.3 + 0.55j, 0.1 + 0.75j, -0.3 + 0.5j, -0.45)),
        disc(LIGHT, 0.13, 0.1 + 0.3j, 0.1 - 0.3j),
    ),
    "ZERGLING": (
        *both_sides(line(LIGHT, 0.2, 0.3 + 0.3j, 0.8 + 0.85j, 1.25 + 0.35j)),
        area(PLAIN, *closed(0.85, -0.1 + 0.7j, -0.95 + 0.45j, -0.55)),
    ),
    "BANELING": (
        disc(PLAIN, 0.95, 0),
        disc(LIGHT, 0.27, 0.4, -0.3 + 0.4j, -0.3 - 0.4j),
    ),
    "SPINE_CRAWLER": (
        area(PLAIN, *star(6, inner=0.6, outer=1.15)),
        line(LIGHT, 0.2, 0, 1.5),
        disc(DARK, 0.35, 0),
    ),
    "HYDRALISK": (
        line(PLAIN, 0.3, -0.4, -0.8 + 0.35j, -1.1 + 0.05j),
        area(
            PLAIN,
            *closed(0.25, 0.15 + 0.55j, 0.75 + 0.55j, 0.2 + 0.95j, -0.55 + 0.6j, -0.75),
        ),
        disc(LIGHT, 0.16, -0.1 + 0.25j, -0.1 - 0.25j),
    ),
}
# Any other unit, on which the first letter of its name is written.
OTHER = (
    area(LIGHT, 1.25, 0.6 + 0.5j, 0.6 - 0.5j),
    disc(PLAIN, 0.85, 0),
)


@cache
def mix(first, second, share):
    """The colour `share` of the way from the first to the second."""
    return tuple(pygame.Color(first).lerp(second, share))


def xy(point):
    """The pair of numbers that pygame wants for a point."""
    return point.real, point.imag


def stroke(canvas, colour, width, *points):
    """Draw a line through the points."""
    corners = [xy(point) for point in points]
    pygame.draw.lines(canvas, colour, False, corners, max(1, round(width)))


def draw_unit(canvas, name, colour, at, radius, heading=1):
    """Draw a unit at the screen position `at`, looking along `heading`, a direction on the map."""
    # The shapes reach beyond the unit's rim: a dark disc below them shows its true size.
    pygame.draw.circle(canvas, mix(colour, "black", 0.7), xy(at), radius)
    for part in SHAPES.get(name, OTHER):
        towards = "white" if part.shade > 0 else "black"
        fill = mix(colour, towards, abs(part.shade))
        # The product turns a point by the heading, the conjugate turns up into down.
        points = [at + radius * (heading * point).conjugate() for point in part.points]
        size = part.size * radius
        if part.form == "line":
            stroke(canvas, fill, size, *points)
        elif part.form == "area":
            pygame.draw.polygon(canvas, fill, [xy(point) for point in points])
        else:
            for point in points:
                pygame.draw.circle(canvas, fill, xy(point), size)
    if name not in SHAPES:
        font = pygame.font.Font(None, max(6, int(1.8 * radius)))
        letter = font.render(name[:1], True, "black")
        canvas.blit(letter, letter.get_rect(center=xy(at)))


def pixels(surface):
    """The picture of a Surface, (height, width, 3) uint8."""
    width, height = surface.get_size()
    flat = np.frombuffer(pygame.image.tobytes(surface, "RGB"), np.uint8)
    return flat.reshape(height, width, 3).copy()  # what frombuffer makes is read-only


def start_display():
    """Get ready to open windows. Raises a RuntimeError on a machine without a display."""
    try:
        has_display = any(os.environ.get(name) for name in DISPLAYS)
        if sys.platform.startswith("linux") and not has_display:
            raise pygame.error(NO_DISPLAY)  # SDL would first write to stderr what it has tried
        pygame.display.init()
        if pygame.display.get_driver() != "offscreen" or "SDL_VIDEODRIVER" in os.environ:
            return
        # No display: SDL fell back to a driver that shows nothing.
        pygame.display.quit()
    except pygame.error:
        pass
    raise RuntimeError(NO_DISPLAY)


def open_window(size, name):
    """Open a window of `size` pixels: a Surface. RuntimeError on a machine without a display."""
    start_display()
    pygame.display.set_caption(name)
    try:
        return pygame.display.set_mode(size)
    except pygame.error as error:
        raise RuntimeError(NO_DISPLAY) from error
