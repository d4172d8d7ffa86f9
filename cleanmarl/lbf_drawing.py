"""Pictures of Level-Based Foraging, drawn with pygame: lbforaging's own renderer needs OpenGL, which servers lack.

Importing this module imports pygame but opens no display: only `render_mode="human"` does.
"""

import gymnasium as gym
import numpy as np

from smaclite_jit.rendering.sprites import mix, open_window, pixels, pygame, stroke, xy

FINE = 2  # everything is drawn this many times larger and smoothed down
LONGEST, LARGEST_CELL, STRIP, NARROWEST = (
    640,
    96,
    28,
    400,
)  # pixels: the field's longer side, a cell, text, the picture
OUTSIDE, GROUND, TEXT, RING, EATEN = "#22272f", "#333a45", "#e8ecf1", "#ffd84a", "#5dff86"
AGENTS = "#4aa3ff", "#ff8a3c", "#c58bff", "#3fd0c9", "#f2a7c3", "#a0a8b4", "#e0d070", "#7f8cff"
APPLE, STALK, LEAF = "#e04a44", "#7a4a2a", "#4cc25a"
LOAD = 5


class Drawing(gym.Wrapper):
    """Draws a foraging environment in the `render_mode` "rgb_array" or "human": agents are discs, food is apples.

    Numbers are levels. A line leads from those who have just tried to load to the food, a frame shows the food they
    got. Rewards are sums over the agents.
    """

    def __init__(self, env, render_mode):
        super().__init__(env)
        self.game, self.name, self.human = env.unwrapped, env.spec.id, render_mode == "human"
        self.window, self.clock, self.closed, self.fps = (
            None,
            None,
            False,
            env.metadata["render_fps"],
        )
        rows, columns = self.game.field.shape
        self.cell = max(
            8, min(LARGEST_CELL, LONGEST // max(rows, columns) // 2 * 2)
        )  # even, as videos need it
        self.size = max(columns * self.cell, NARROWEST), rows * self.cell + STRIP
        self.field = self.loading = None

    def reset(self, **kwargs):
        result = self.env.reset(**kwargs)
        self.field, self.loading, self.planted = (
            self.game.field,
            {},
            np.count_nonzero(self.game.field),
        )
        if self.human:
            self.render()
        return result

    def step(self, actions):
        places = [player.position for player in self.game.players]
        loading = [
            i
            for i, action in enumerate(actions)
            if action == LOAD and self.game.adjacent_food(*places[i])
        ]
        self.field = (
            self.game.field.copy()
        )  # before the step: what is missing afterwards has been eaten
        self.loading = {i: self.game.adjacent_food_location(*places[i]) for i in loading}
        result = self.env.step(actions)
        if self.human:
            self.render()
        return result

    def render(self):
        """The picture of the state, (height, width, 3) uint8, or None with render_mode "human": that is shown."""
        if self.field is None:
            raise gym.error.ResetNeeded("reset() the environment before render()")
        return self.show() if self.human else pixels(self.draw())

    def show(self):
        """Show the state in a window for 1 / fps seconds. Who closes the window does not see it again."""
        if self.closed:
            return
        if self.window is None:
            self.window, self.clock = open_window(self.size, self.name), pygame.time.Clock()
        if any(event.type == pygame.QUIT for event in pygame.event.get()):
            self.close_window()
            self.closed = True
            return
        self.window.blit(self.draw(), (0, 0))
        pygame.display.flip()
        self.clock.tick(self.fps)

    def close_window(self):
        if self.window is not None:
            self.window = None
            pygame.display.quit()

    def close(self):
        self.close_window()
        super().close()

    def draw(self):
        """A Surface with the state of the game and what has been tried in the last step."""
        pygame.font.init()
        game, scale, (width, height) = (
            self.game,
            self.cell * FINE,
            (FINE * side for side in self.size),
        )
        canvas = pygame.Surface((width, height), 0, 32)
        canvas.fill(OUTSIDE)
        left = (width - game.cols * scale) // 2

        def centre(row, column):  # screen positions are complex, down is positive
            return left + (column + 0.5) * scale + 1j * ((row + 0.5) * scale + STRIP * FINE)

        for row, column in np.ndindex(game.field.shape):
            square = pygame.Rect(0, 0, scale - 2, scale - 2)
            square.center = xy(centre(row, column))
            eaten = self.field[row, column] and not game.field[row, column]
            canvas.fill(mix(GROUND, EATEN, 0.35) if eaten else GROUND, square)
            if eaten:
                pygame.draw.rect(canvas, EATEN, square, max(2, scale // 24))
        for i, food in self.loading.items():
            stroke(canvas, RING, scale / 12, centre(*game.players[i].position), centre(*food))
        for row, column in np.argwhere(game.field):
            draw_apple(canvas, centre(row, column), 0.36 * scale)
            write(canvas, game.field[row, column], centre(row, column), 0.5 * scale)
        for i, player in enumerate(game.players):
            at = centre(*player.position)
            pygame.draw.circle(canvas, RING if i in self.loading else "black", xy(at), 0.4 * scale)
            pygame.draw.circle(canvas, AGENTS[i % len(AGENTS)], xy(at), 0.34 * scale)
            write(canvas, player.level, at, 0.5 * scale, "black")
        canvas.fill("black", (0, 0, width, STRIP * FINE))
        score = [f"step {game.current_step}", f"food {np.count_nonzero(game.field)}/{self.planted}"]
        score += [f"reward {sum(p.reward for p in game.players):.2f}"]
        score += [f"return {sum(p.score for p in game.players):.2f}"]
        for k, words in enumerate(score):
            write(canvas, words, width * (k + 0.5) / len(score) + 1j * STRIP * FINE / 2, 20 * FINE)
        return pygame.transform.smoothscale(canvas, self.size)


def draw_apple(canvas, at, radius):
    """A red apple with a stalk and a leaf, at a complex position of the screen."""
    stroke(canvas, STALK, 0.2 * radius, at - 0.6j * radius, at + (0.1 - 1.15j) * radius)
    pygame.draw.ellipse(
        canvas, LEAF, (*xy(at + (0.1 - 1.2j) * radius), 0.7 * radius, 0.35 * radius)
    )
    for shift, size in ((-0.3, 0.75), (0.3, 0.75), (0.25j, 0.8)):
        pygame.draw.circle(canvas, APPLE, xy(at + shift * radius), size * radius)


def write(canvas, text, at, height, colour=TEXT):
    """Put a text in the middle of a complex position; `height` is the font's, in pixels of the canvas."""
    words = pygame.font.Font(None, max(8, round(height))).render(str(text), True, colour)
    canvas.blit(words, words.get_rect(center=xy(at)))
