"""Pictures of a battle, drawn with pygame: units by type (shape) and side (colour), bars, shots and heals.

Nothing here changes the battle. Importing this module imports pygame but opens no display: only `Renderer.show` does.
"""

from colorsys import hsv_to_rgb

import numpy as np

from smaclite_jit import battle as b
from smaclite_jit.rendering.sprites import draw_unit, mix, open_window, pixels, pygame, stroke, xy
from smaclite_jit.units import AIR

FINE = 2  # everything is drawn this many times larger and smoothed down
LONGEST, LARGEST_CELL, STRIP = (
    816,
    32,
    28,
)  # pixels: the map's longer side, a cell, the lines of text at both ends
BLOCKED, OUTSIDE, WALKABLE, GRID, EDGE, TEXT = (
    "#14171d",
    "#22272f",
    "#333a45",
    "#3a424e",
    "#66717f",
    "#e8ecf1",
)
SIDES = "#4aa3ff", "#ff8a3c"  # blue and orange are told apart with every kind of colour vision
HEALTH, SHIELD, ENERGY, HEALED, BLAST, NEITHER = (
    "#39d94b",
    "#a8e4ff",
    "#c58bff",
    "#5dff86",
    "#ffd84a",
    "#b4bcc8",
)


def attacks(old, units, kinds):
    """The (attacker, target) unit ids of one tick, from the units before and after it.

    Only an attack makes a cooldown rise. Weapons with next to no cooldown show by the damage, and healing by energy
    that has not grown or a pool that has changed.
    """
    acting = np.where(units["order"] == b.ACT, units["order_target"], b.NOBODY)
    target = np.where(kinds["enemy"], units["target"], acting)
    hurt = (units["hp"] + units["shield"] < old["hp"] + old["shield"])[target]
    fired = (units["cooldown"] > old["cooldown"]) | (
        (kinds["weapon_cooldown"] <= b.DT) & hurt & (old["hp"] > 0)
    )
    rested = np.minimum(kinds["max_energy"], old["energy"] + b.ENERGY_REGENERATION)
    healed = ((units["heal_pool"] != old["heal_pool"]) | (units["energy"] < rested)) & (
        units["hp"] > 0
    )
    done = np.where(kinds["targeter"] == b.HEAL, healed, fired) & (target != b.NOBODY)
    return [(int(i), int(target[i])) for i in np.flatnonzero(done)]


class Renderer:
    """Draws the battle of an environment.

    `draw` takes any units, also interpolated ones; `ticks` has those of the last step. Surfaces are made when they
    are needed, and are no part of a copy. While `selected` is the id of a living unit, a circle shows how far it can
    shoot or heal: at all it touches. Ids are in the order of the map's groups.
    """

    def __init__(self, env):
        arena = env.arena
        self.env, self.window, self.clock, self.background, self.closed = (
            env,
            None,
            None,
            None,
            False,
        )
        self.selected = None
        y, x = np.nonzero(arena.walkable)
        x, y = np.append(x, arena.first_units["x"]), np.append(y, arena.first_units["y"])
        left, right, bottom, top = np.floor([x.min() - 1, x.max() + 2, y.min() - 1, y.max() + 2])
        padding = max(
            0, np.ceil((max(17, 0.7 * (top - bottom)) - (right - left)) / 2)
        )  # room for the text
        self.left, self.top = left - padding, top
        width, height = int(right - left + 2 * padding), int(top - bottom)
        self.cell = min(
            LARGEST_CELL, max(4, LONGEST // max(width, height) // 2 * 2)
        )  # even, as videos need it
        self.size = width * self.cell, height * self.cell + 2 * STRIP
        self.reset()

    def __getstate__(self):
        return {**self.__dict__, "window": None, "clock": None, "background": None}

    def reset(self):
        """A new battle begins."""
        self.steps, self.total, self.reward, self.shown = 0, 0.0, 0.0, -1
        self.before, self.played, self.events = None, [], []

    def note(self, before, actions, reward):
        """A step has been taken. `before` are copies of units and rng_state from before it."""
        self.steps, self.total, self.reward = self.steps + 1, self.total + reward, reward
        self.before, self.played = (*before, actions), []

    def ticks(self):
        """The last step tick by tick: a list of (units, events), played again on the copies. Empty after a reset.

        Events are (age in ticks, attacker, target), of the eight ticks up to this one.
        """
        if self.before is not None:
            (units, rng_state, actions), rules = self.before, self.env.arena.rules
            now = b.TICKS * (self.steps - 1)
            recent, self.before = [event for event in self.events if event[0] > now - b.TICKS], None
            b.give_orders(units, rules.kinds, rules.agents, rules.enemies, actions)
            for tick in range(now + 1, now + b.TICKS + 1):
                old = units.copy()
                b.play_ticks(units, rules, rng_state, 1)
                recent += [(tick, i, j) for i, j in attacks(old, units, rules.kinds)]
                events = [(tick - then, i, j) for then, i, j in recent if tick - then < b.TICKS]
                self.played.append((units.copy(), events))
            self.events = recent
        return self.played

    def render(self):
        """The current state with the attacks of the last step: (height, width, 3) uint8, north at the top."""
        played = self.ticks()
        return pixels(self.draw(self.env.units, played[-1][1] if played else ()))

    def render_ticks(self):
        """The last step as a list of pictures like `render`'s, one a tick; after a reset that of the first state."""
        return [pixels(self.draw(*frame)) for frame in self.ticks()] or [self.render()]

    def show(self):
        """Play the last step in a window, in half a second if render_fps is 2. Who closes it does not see it again."""
        if self.closed:
            return
        if self.window is None:
            self.window, self.clock = open_window(self.size, self.env.map_name), pygame.time.Clock()
        frames = self.ticks() or [(self.env.units, ())]
        for frame in frames[-1:] if self.shown == self.steps else frames:
            if any(event.type == pygame.QUIT for event in pygame.event.get()):
                self.close()
                self.closed = True
                return
            self.window.blit(self.draw(*frame), (0, 0))
            pygame.display.flip()
            self.clock.tick(b.TICKS * self.env.metadata["render_fps"])
        self.shown = self.steps

    def close(self):
        if self.window is not None:
            self.window = None
            pygame.display.quit()

    def draw(self, units, events=()):
        """A Surface with the units (records as in arena.py) and events (age in ticks, attacker, target)."""
        pygame.font.init()
        m, kinds, scale = self.env.arena, self.env.arena.kinds, self.cell * FINE
        if self.background is None:
            self.background = self.draw_background()
        canvas, (width, height) = self.background.copy(), self.background.get_size()
        # Screen positions are complex, down is positive. Some maps are open: those who leave are shown at the border.
        x = np.clip((units["x"] - self.left) * scale, scale / 2, width - scale / 2)
        y = (
            np.clip((self.top - units["y"]) * scale, scale / 2, height - 2 * STRIP * FINE - scale / 2)
            + STRIP * FINE
        )
        at, radius, extent = x + 1j * y, kinds["radius"] * scale, kinds["extent"] * scale
        colours, alive = [SIDES[int(enemy)] for enemy in kinds["enemy"]], np.flatnonzero(units["alive"])
        for age, i, _ in events:
            if kinds["targeter"][i] == b.KAMIKAZE:
                pygame.draw.circle(
                    canvas, mix(BLAST, WALKABLE, 0.6 + age / 20), xy(at[i]), extent[i]
                )
                pygame.draw.circle(
                    canvas, mix(colours[i], WALKABLE, age / 10), xy(at[i]), extent[i], 4
                )
        for i in np.flatnonzero(~units["alive"]):
            for arm in (0.6 + 0.6j, 0.6 - 0.6j):
                ends = at[i] - arm * radius[i], at[i] + arm * radius[i]
                stroke(canvas, mix(colours[i], WALKABLE, 0.5), 4, *ends)
        if self.selected in alive:
            reach = (kinds["attack_range"] + kinds["radius"])[self.selected] * scale
            pygame.draw.circle(
                canvas, mix(colours[self.selected], WALKABLE, 0.4), xy(at[self.selected]), reach, 3
            )
        for i in sorted(alive, key=lambda i: kinds["plane"][i] == AIR):
            if kinds["plane"][i] == AIR:
                shadow = at[i] + scale * (0.3 + 0.45j)
                pygame.draw.circle(canvas, mix(WALKABLE, "black", 0.4), xy(shadow), 0.8 * radius[i])
            draw_unit(
                canvas, m.unit_names[i], colours[i], at[i], radius[i], heading(units, kinds, events, i)
            )
        for age, i, j in events:
            if kinds["targeter"][i] != b.KAMIKAZE and at[i] != at[j]:
                ahead = (at[j] - at[i]) / abs(at[j] - at[i])
                draw_attack(
                    canvas,
                    kinds["targeter"][i],
                    colours[i],
                    age,
                    at[i],
                    at[j],
                    ahead,
                    radius[[i, j]],
                    extent[i],
                )
        for i in alive:
            draw_bars(
                canvas, units[i], kinds[i], at[i].real, at[i].imag - radius[i], max(2 * radius[i], 28)
            )
        score = [(None, f"step {self.steps}")]
        for name, colour, side in zip(("agents", "enemies"), SIDES, (~kinds["enemy"], kinds["enemy"])):
            score.append((colour, f"{name} {units['alive'][side].sum()}/{side.sum()}"))
        write(
            canvas,
            STRIP,
            [*score, (None, f"reward {self.reward:.2f}"), (None, f"return {self.total:.2f}")],
        )
        return pygame.transform.smoothscale(canvas, self.size)

    def draw_background(self):
        """What never changes: the terrain and, below the map, what shapes and colours mean."""
        m, scale, (width, height) = (
            self.env.arena,
            self.cell * FINE,
            (FINE * side for side in self.size),
        )
        canvas = pygame.Surface((width, height), 0, 32)
        canvas.fill(OUTSIDE)
        for colour, growth in ((BLOCKED, 0), (EDGE, 4), (GRID, 0), (WALKABLE, -2)):
            for y, x in np.argwhere(m.walkable == (colour != BLOCKED)):
                corner = (x - self.left) * scale, (self.top - y - 1) * scale + STRIP * FINE
                canvas.fill(colour, pygame.Rect(*corner, scale, scale).inflate(growth, growth))
        for y in (0, height - STRIP * FINE):
            canvas.fill("black", (0, y, width, STRIP * FINE))
        legend = [(name, name.lower().replace("_", " ")) for name in dict.fromkeys(m.unit_names)]
        legend += [(HEALTH, "health"), (SHIELD, "shield")][: 1 + m.kinds["max_shield"].any()]
        legend += [(ENERGY, "energy"), (HEALED, "healing")] if m.kinds["healer"].any() else []
        write(canvas, height - STRIP, legend)
        return canvas


def heading(units, kinds, events, i):
    """Where unit i looks, complex: at what it has just attacked, else its target, else ahead, else the other side."""
    target = [units["target"][i], *(j for _, attacker, j in events if attacker == i)][-1]
    unit, foe = units[i], units[target]
    way = (unit["vx"], unit["vy"])
    if target != b.NOBODY:
        way = (foe["x"] - unit["x"], foe["y"] - unit["y"])
    length = np.hypot(*way)
    return complex(*way) / length if length > 1e-3 else 1 - 2 * int(kinds["enemy"][i])


def draw_attack(canvas, kind, colour, age, start, end, ahead, radii, extent):
    """A line between two units, paler with age. `ahead` is its direction, and `extent` the width of a laser."""
    fade = 0.5 * age / b.TICKS
    start += ahead * radii[0]
    if kind == b.HEAL:
        for first, second in ((start, end), (end - 12, end + 12), (end - 12j, end + 12j)):
            stroke(canvas, mix(HEALED, WALKABLE, fade), 7, first, second)
        return
    bright, across = mix(mix(colour, "white", 0.45), WALKABLE, fade), ahead * 1j * extent / 2
    if kind == b.LASER:
        stroke(canvas, bright, 8, end - across, end + across)
    end -= ahead * radii[1] * 0.8
    stroke(canvas, bright, 10 if kind == b.LASER else 4, start, end)
    for arm in (9, 9j, 6 + 6j, 6 - 6j):  # a spark where it hits
        stroke(canvas, mix("white", WALKABLE, fade), 2, end - arm, end + arm)


def draw_bars(canvas, unit, kind, x, y, width):
    """From below to above the energy of healers, health, and the shield of those who have one."""
    colour = [int(255 * part) for part in hsv_to_rgb(unit["hp"] / kind["max_hp"] / 3, 0.75, 0.85)]
    bars = (
        (ENERGY, "energy", "max_energy"),
        (colour, "hp", "max_hp"),
        (SHIELD, "shield", "max_shield"),
    )
    for colour, variable, most in bars if kind["healer"] else bars[1:]:
        if kind[most] > 0:
            y -= 7
            canvas.fill(
                "#505050", (x - width / 2 - 1, y - 1, width + 2, 8), pygame.BLEND_MULT
            )  # darkens what is below
            canvas.fill(colour, (x - width / 2, y, width * min(unit[variable] / kind[most], 1), 6))


def write(canvas, y, items):
    """Put (mark, text) on a line, from left to right. A mark is a type of unit, a colour or None."""
    font, x = pygame.font.Font(None, 20 * FINE), 12 * FINE
    for mark, text in items:
        if mark and mark[0] == "#":
            pygame.draw.circle(canvas, mark, (x + 5 * FINE, y), 5 * FINE)
        elif mark:
            draw_unit(canvas, mark, NEITHER, x + 7 * FINE + 1j * y, 8 * FINE)
        words = font.render(text, True, TEXT)
        x += (0 if not mark else 17 if mark[0] == "#" else 24) * FINE
        canvas.blit(words, (x, y - words.get_height() / 2))
        x += words.get_width() + 18 * FINE
