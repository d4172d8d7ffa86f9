"""Pictures of Level-Based Foraging, drawn with pygame.

lbforaging's own renderer needs OpenGL, which servers lack. A position on the screen is a complex
number, x + y * 1j in pixels, down is positive: so points are added and scaled like numbers.
"""

import gymnasium as gym
import numpy as np
import pygame

from cleanmarl.rendering.window import Window

# Sizes in pixels
LONGEST_SIDE = 640  # of the field
LARGEST_CELL = 96
SMALLEST_CELL = 8
STRIP_HEIGHT = 28  # of the line of text above the field
NARROWEST = 400  # of a picture, or the text would not fit
SCALE = 2  # everything is drawn this many times larger and smoothed down

# Colours
OUTSIDE = "#22272f"
GROUND = "#333a45"
TEXT = "#e8ecf1"
LOADING = "#ffd84a"
EATEN = "#5dff86"  # the rim of the cell
EATEN_GROUND = "#427f5c"
APPLE = "#e04a44"
STALK = "#7a4a2a"
LEAF = "#4cc25a"
AGENTS = ("#4aa3ff", "#ff8a3c", "#c58bff", "#3fd0c9", "#f2a7c3", "#a0a8b4", "#e0d070", "#7f8cff")

LOAD = 5  # the action


class Drawing(gym.Wrapper):
    """Draws a foraging environment in the `render_mode` "rgb_array" or "human".

    Agents are discs, food is apples, numbers are levels. A line leads from an agent that has just
    tried to load to the food; a frame shows the food that was loaded. Rewards are sums over agents.
    """

    def __init__(self, env, render_mode):
        super().__init__(env)
        self.game = env.unwrapped
        rows, columns = self.game.field.shape
        cell = LONGEST_SIDE // max(rows, columns) // 2 * 2  # even: videos need even sizes
        self.cell = max(SMALLEST_CELL, min(LARGEST_CELL, cell))
        self.size = (max(columns * self.cell, NARROWEST), rows * self.cell + STRIP_HEIGHT)
        self.window = None  # only with render_mode "human"
        if render_mode == "human":
            self.window = Window(self.size, env.spec.id, env.metadata["render_fps"])
        self.field = None  # (rows, columns) levels of the food before the latest step
        self.loading = {}  # agent: (row, column) of the food that it has just tried to load
        self.num_food = 0  # at the start of the episode

    def reset(self, **kwargs):
        result = self.env.reset(**kwargs)
        self.field = self.game.field
        self.loading = {}
        self.num_food = np.count_nonzero(self.game.field)
        if self.window is not None:
            self.render()
        return result

    def step(self, actions):
        self.field = self.game.field.copy()  # what is missing after the step has been eaten
        self.loading = {}
        for i, action in enumerate(actions):
            position = self.game.players[i].position
            if action == LOAD and self.game.adjacent_food(*position):
                self.loading[i] = self.game.adjacent_food_location(*position)
        result = self.env.step(actions)
        if self.window is not None:
            self.render()
        return result

    def render(self):
        """Return a picture of the state, (height, width, 3) uint8.

        With render_mode "human" show it instead, and return None.
        """
        if self.field is None:
            raise gym.error.ResetNeeded("reset() the environment before render()")
        picture = self.draw()
        if self.window is None:
            return np.ascontiguousarray(pygame.surfarray.array3d(picture).swapaxes(0, 1))
        self.window.show(picture)

    def close(self):
        if self.window is not None:
            self.window.close()
        super().close()

    def draw(self):
        """Return a Surface with the state of the game and what the last step has tried."""
        pygame.font.init()
        width, height = self.size
        canvas = pygame.Surface((width * SCALE, height * SCALE), 0, 32)
        canvas.fill(OUTSIDE)
        for row, column in np.ndindex(self.game.field.shape):
            self.draw_cell(canvas, row, column)
        for i, food in self.loading.items():
            agent_centre = self.centre(*self.game.players[i].position)
            draw_line(canvas, LOADING, self.cell * SCALE / 12, agent_centre, self.centre(*food))
        for row, column in np.argwhere(self.game.field):
            centre = self.centre(row, column)
            draw_apple(canvas, centre, 0.36 * self.cell * SCALE)
            draw_text(canvas, self.game.field[row, column], centre, 0.5 * self.cell * SCALE)
        for i in range(len(self.game.players)):
            self.draw_agent(canvas, i)
        self.draw_score(canvas)
        return pygame.transform.smoothscale(canvas, self.size)

    def centre(self, row, column):
        """The centre of a cell on the canvas, complex."""
        left = (self.size[0] * SCALE - self.game.cols * self.cell * SCALE) // 2
        x = left + (column + 0.5) * self.cell * SCALE
        y = (row + 0.5) * self.cell * SCALE + STRIP_HEIGHT * SCALE
        return x + 1j * y

    def draw_cell(self, canvas, row, column):
        square = pygame.Rect(0, 0, self.cell * SCALE - 2, self.cell * SCALE - 2)
        square.center = xy(self.centre(row, column))
        eaten = self.field[row, column] and not self.game.field[row, column]
        if eaten:
            canvas.fill(EATEN_GROUND, square)
            pygame.draw.rect(canvas, EATEN, square, max(2, self.cell * SCALE // 24))
        else:
            canvas.fill(GROUND, square)

    def draw_agent(self, canvas, i):
        position = self.game.players[i].position
        # Agents that share a cell stand side by side.
        here = [k for k, player in enumerate(self.game.players) if player.position == position]
        width = self.cell * SCALE / len(here)
        centre = self.centre(*position) + width * (here.index(i) - (len(here) - 1) / 2)
        rim = LOADING if i in self.loading else "black"
        pygame.draw.circle(canvas, rim, xy(centre), 0.4 * width)
        pygame.draw.circle(canvas, AGENTS[i % len(AGENTS)], xy(centre), 0.34 * width)
        draw_text(canvas, self.game.players[i].level, centre, 0.5 * width, "black")

    def draw_score(self, canvas):
        """Write the step, the food that is left and the rewards into the strip above the field."""
        width = self.size[0] * SCALE
        height = STRIP_HEIGHT * SCALE
        reward = sum(player.reward for player in self.game.players)
        total = sum(player.score for player in self.game.players)
        columns = [
            f"step {self.game.current_step}",
            f"food {np.count_nonzero(self.game.field)}/{self.num_food}",
            f"reward {reward:.2f}",
            f"return {total:.2f}",
        ]
        canvas.fill("black", (0, 0, width, height))
        for k, text in enumerate(columns):
            centre = width * (k + 0.5) / len(columns) + 1j * height / 2
            draw_text(canvas, text, centre, 20 * SCALE)


def xy(point):
    """A complex position as pygame wants it."""
    return point.real, point.imag


def draw_line(canvas, colour, width, start, end):
    pygame.draw.lines(canvas, colour, False, [xy(start), xy(end)], max(1, round(width)))


def draw_apple(canvas, centre, radius):
    """Draw a red apple with a stalk and a leaf."""
    stalk_end = centre + (0.1 - 1.15j) * radius
    draw_line(canvas, STALK, 0.2 * radius, centre - 0.6j * radius, stalk_end)
    leaf = (*xy(centre + (0.1 - 1.2j) * radius), 0.7 * radius, 0.35 * radius)
    pygame.draw.ellipse(canvas, LEAF, leaf)
    for shift, size in ((-0.3, 0.75), (0.3, 0.75), (0.25j, 0.8)):
        pygame.draw.circle(canvas, APPLE, xy(centre + shift * radius), size * radius)


def draw_text(canvas, text, centre, height, colour=TEXT):
    """Write a text around `centre`; `height` is the font's, in pixels of the canvas."""
    font = pygame.font.Font(None, max(8, round(height)))
    words = font.render(str(text), True, colour)
    canvas.blit(words, words.get_rect(center=xy(centre)))
