"""Pictures of a battle: units by type (shape) and side (colour), bars, shots and heals.

A point of the picture is a complex number: the real part counts pixels from the left, the
imaginary part pixels from the top. The way from one point to another is then a difference, its
length is ``abs``, ``1j`` times a direction is across it, and one product turns a shape, which is
drawn as if the unit looked along 1, to where the unit looks. ``sprites.xy`` makes a pair for
pygame. On the map y grows upwards, so a direction on the map is the conjugate of that on the
screen.

Nothing here changes the battle: steps are played again on copies. Importing this module imports
pygame but opens no display: only ``Renderer.show`` does.
"""

from colorsys import hsv_to_rgb

import numpy as np
import pygame

from smaclite_jit.arena import ACT, HEAL, KAMIKAZE, LASER, NOBODY
from smaclite_jit.battle import DT, ENERGY_REGENERATION, TICKS, give_orders, play_ticks
from smaclite_jit.rendering.sprites import draw_unit, mix, open_window, pixels, stroke, xy
from smaclite_jit.units import AIR

FINE = 2  # everything is drawn this many times larger and smoothed down
LONGEST = 816  # pixels of the map's longer side, at most
LARGEST_CELL = 32  # pixels
STRIP = 28  # pixels of each line of text, one above the map and one below

BLOCKED = "#14171d"  # cells
OUTSIDE = "#22272f"
WALKABLE = "#333a45"
GRID = "#3a424e"  # between walkable cells
EDGE = "#66717f"  # between walkable and blocked cells
TEXT = "#e8ecf1"
AGENTS = "#4aa3ff"  # blue and orange are told apart with every kind of colour vision
ENEMIES = "#ff8a3c"
SIDES = (AGENTS, ENEMIES)
NEITHER = "#b4bcc8"  # a unit in the legend
HEALTH = "#39d94b"  # in the legend; a bar goes from green to red
SHIELD = "#a8e4ff"
ENERGY = "#c58bff"
HEALED = "#5dff86"  # a healer's ray
BLAST = "#ffd84a"
SHADED = "#505050"  # what is below a bar is multiplied with it


def attacks(before, after, kinds):
    """The (attacker, target) unit ids of one tick, from the units before and after it.

    Only an attack makes a cooldown rise. Weapons with next to no cooldown show by the damage, and
    healing by energy that has not grown or a pool that has changed.
    """
    commanded = np.where(after["order"] == ACT, after["order_target"], NOBODY)
    target = np.where(kinds["enemy"], after["target"], commanded)

    is_hurt = after["hp"] + after["shield"] < before["hp"] + before["shield"]
    always_ready = kinds["weapon_cooldown"] <= DT
    fired = after["cooldown"] > before["cooldown"]
    # The NOBODY of those without a target picks some unit here; `acted` drops them.
    fired |= always_ready & is_hurt[target] & (before["hp"] > 0)

    rested_energy = np.minimum(kinds["max_energy"], before["energy"] + ENERGY_REGENERATION)
    healed = after["heal_pool"] != before["heal_pool"]
    healed |= after["energy"] < rested_energy
    healed &= after["hp"] > 0

    acted = np.where(kinds["targeter"] == HEAL, healed, fired) & (target != NOBODY)
    return [(int(i), int(target[i])) for i in np.flatnonzero(acted)]


class Renderer:
    """Draws the battle of an environment.

    ``draw`` takes any units, also interpolated ones; ``ticks`` has those of the last step. Surfaces
    are made when they are needed, and are no part of a copy. Unit ids are in the order of the map's
    groups.
    """

    def __init__(self, env):
        self.env = env
        self.selected = None  # a unit id: a circle shows all that the unit can shoot at or heal
        self.window = None  # a Surface, once `show` has opened it
        self.clock = None  # the window's
        self.closed = False  # if the user closes the window, it stays closed
        self.background = None  # a Surface, drawn once

        # The picture shows all cells that can be walked on, all units, and a margin.
        rows, columns = np.nonzero(env.arena.walkable)
        x = np.append(columns, env.arena.first_units["x"])
        y = np.append(rows, env.arena.first_units["y"])
        left = np.floor(x.min() - 1)
        right = np.floor(x.max() + 2)
        bottom = np.floor(y.min() - 1)
        top = np.floor(y.max() + 2)
        text_width = max(17, 0.7 * (top - bottom))  # cells that the lines of text need
        padding = max(0, np.ceil((text_width - (right - left)) / 2))  # cells on either side
        width = int(right - left + 2 * padding)
        height = int(top - bottom)
        even_cell = LONGEST // max(width, height) // 2 * 2  # videos need an even size

        self.left = left - padding  # x of the map at the left edge of the picture
        self.top = top  # y of the map below the upper line of text
        self.cell = min(LARGEST_CELL, max(4, even_cell))  # pixels
        self.size = (width * self.cell, height * self.cell + 2 * STRIP)  # pixels of the picture
        self.reset()

    def __getstate__(self):
        """What a copy keeps: all but what pygame cannot copy."""
        return {**self.__dict__, "window": None, "clock": None, "background": None}

    def reset(self):
        """A new battle begins."""
        self.steps = 0
        self.total = 0.0  # the return until now
        self.reward = 0.0  # of the last step
        self.shown = -1  # the step that the window has shown last
        self.unplayed = None  # (units, rng_state, actions) of a step that is not played again yet
        self.played = []  # the ticks of the last step
        self.events = []  # (tick of the episode, attacker, target), the last eight ticks'

    def note(self, before, actions, reward):
        """A step has been taken. `before` are copies of units and rng_state from before it."""
        self.steps += 1
        self.total += reward
        self.reward = reward
        self.unplayed = (*before, actions)
        self.played = []

    def ticks(self):
        """The last step tick by tick, a list of (units, events), played again on the copies.

        Events are (age in ticks, attacker, target), of the eight ticks up to this one. The list is
        empty after a reset.
        """
        if self.unplayed is None:
            return self.played
        units, rng_state, actions = self.unplayed
        self.unplayed = None
        rules = self.env.arena.rules
        first_tick = TICKS * (self.steps - 1) + 1
        recent = [event for event in self.events if event[0] >= first_tick - TICKS]
        give_orders(units, rules.kinds, rules.agents, rules.enemies, actions)
        for tick in range(first_tick, first_tick + TICKS):
            before = units.copy()
            play_ticks(units, rules, rng_state, 1)
            recent += [(tick, i, j) for i, j in attacks(before, units, rules.kinds)]
            events = [(tick - then, i, j) for then, i, j in recent if tick - then < TICKS]
            self.played.append((units.copy(), events))
        self.events = recent
        return self.played

    def render(self):
        """The current state with the attacks of the last step: (height, width, 3) uint8."""
        ticks = self.ticks()
        events = ticks[-1][1] if ticks else []
        return pixels(self.draw(self.env.units, events))

    def render_ticks(self):
        """The last step, a picture like that of `render` for each tick; after a reset just one."""
        ticks = self.ticks() or [(self.env.units, [])]
        return [pixels(self.draw(units, events)) for units, events in ticks]

    def show(self):
        """Play the last step in a window, in half a second if render_fps is 2."""
        if self.closed:
            return
        if self.window is None:
            self.window = open_window(self.size, self.env.map_name)
            self.clock = pygame.time.Clock()
        ticks = self.ticks() or [(self.env.units, [])]
        if self.shown == self.steps:
            ticks = ticks[-1:]
        for units, events in ticks:
            if any(event.type == pygame.QUIT for event in pygame.event.get()):
                self.close()
                self.closed = True
                return
            self.window.blit(self.draw(units, events), (0, 0))
            pygame.display.flip()
            self.clock.tick(TICKS * self.env.metadata["render_fps"])
        self.shown = self.steps

    def close(self):
        """Close the window, if there is one."""
        if self.window is not None:
            self.window = None
            pygame.display.quit()

    def draw(self, units, events=()):
        """A Surface with the units and the events (age in ticks, attacker, target)."""
        pygame.font.init()
        if self.background is None:
            self.background = self.draw_background()
        canvas = self.background.copy()
        scene = Scene(canvas, self.env.arena, units, self.positions(units), self.cell * FINE)
        scene.draw_blasts(events)
        scene.draw_dead()
        if self.selected in scene.alive:
            scene.draw_range(self.selected)
        scene.draw_living(events)
        scene.draw_attacks(events)
        scene.draw_bars()
        self.write_score(canvas, units)
        return pygame.transform.smoothscale(canvas, self.size)

    def write_score(self, canvas, units):
        """Write the line above the map."""
        is_enemy = self.env.arena.kinds["enemy"]
        agents_alive = units["alive"][~is_enemy]
        enemies_alive = units["alive"][is_enemy]
        score = [
            (None, f"step {self.steps}"),
            (AGENTS, f"agents {agents_alive.sum()}/{len(agents_alive)}"),
            (ENEMIES, f"enemies {enemies_alive.sum()}/{len(enemies_alive)}"),
            (None, f"reward {self.reward:.2f}"),
            (None, f"return {self.total:.2f}"),
        ]
        write(canvas, STRIP, score)

    def positions(self, units):
        """The units' points on the canvas.

        Some maps are open: a unit that has left is drawn at the border.
        """
        scale = self.cell * FINE
        width = self.size[0] * FINE
        map_height = (self.size[1] - 2 * STRIP) * FINE
        x = (units["x"] - self.left) * scale
        y = (self.top - units["y"]) * scale
        x = np.clip(x, scale / 2, width - scale / 2)
        y = np.clip(y, scale / 2, map_height - scale / 2)
        return x + 1j * (y + STRIP * FINE)

    def draw_background(self):
        """What never changes: the terrain and, below it, what shapes and colours mean."""
        arena = self.env.arena
        scale = self.cell * FINE
        width = self.size[0] * FINE
        height = self.size[1] * FINE
        canvas = pygame.Surface((width, height), 0, 32)
        canvas.fill(OUTSIDE)

        # Walkable cells are drawn three times, each smaller: what stays of the first is the edge.
        blocked = np.argwhere(~arena.walkable)
        walkable = np.argwhere(arena.walkable)
        layers = (
            (blocked, BLOCKED, 0),
            (walkable, EDGE, 4),
            (walkable, GRID, 0),
            (walkable, WALKABLE, -2),
        )
        for cells, colour, growth in layers:
            for y, x in cells:
                from_left = (x - self.left) * scale
                from_top = (self.top - y - 1) * scale + STRIP * FINE
                square = pygame.Rect(from_left, from_top, scale, scale)
                canvas.fill(colour, square.inflate(growth, growth))
        for y in (0, height - STRIP * FINE):
            canvas.fill("black", (0, y, width, STRIP * FINE))

        unit_names = dict.fromkeys(arena.unit_names)  # each once, in the order of the units
        legend = [(name, name.lower().replace("_", " ")) for name in unit_names]
        legend.append((HEALTH, "health"))
        if arena.kinds["max_shield"].any():
            legend.append((SHIELD, "shield"))
        if arena.kinds["healer"].any():
            legend.append((ENERGY, "energy"))
            legend.append((HEALED, "healing"))
        write(canvas, height - STRIP, legend)
        return canvas


class Scene:
    """What is between the two lines of text: the units and what they do, on a canvas.

    Events are (age in ticks, attacker, target).
    """

    def __init__(self, canvas, arena, units, at, scale):
        self.canvas = canvas
        self.units = units
        self.kinds = arena.kinds
        self.names = arena.unit_names
        self.at = at  # the units' points on the canvas
        self.scale = scale  # pixels in a cell
        self.radius = arena.kinds["radius"] * scale
        self.extent = arena.kinds["extent"] * scale  # of an explosion or a beam
        self.colours = [ENEMIES if enemy else AGENTS for enemy in arena.kinds["enemy"]]
        self.alive = np.flatnonzero(units["alive"])  # unit ids
        self.dead = np.flatnonzero(~units["alive"])

    def draw_blasts(self, events):
        """Discs where units blew themselves up, paler with age."""
        for age, i, _ in events:
            if self.kinds["targeter"][i] != KAMIKAZE:
                continue
            centre = xy(self.at[i])
            fire = mix(BLAST, WALKABLE, 0.6 + age / 20)
            rim = mix(self.colours[i], WALKABLE, age / 10)
            pygame.draw.circle(self.canvas, fire, centre, self.extent[i])
            pygame.draw.circle(self.canvas, rim, centre, self.extent[i], 4)

    def draw_dead(self):
        """A cross for each of the dead."""
        for i in self.dead:
            colour = mix(self.colours[i], WALKABLE, 0.5)
            for direction in (0.6 + 0.6j, 0.6 - 0.6j):
                arm = direction * self.radius[i]
                stroke(self.canvas, colour, 4, self.at[i] - arm, self.at[i] + arm)

    def draw_range(self, i):
        """A circle around unit i, as far as its weapon reaches."""
        reach = (self.kinds["attack_range"][i] + self.kinds["radius"][i]) * self.scale
        colour = mix(self.colours[i], WALKABLE, 0.4)
        pygame.draw.circle(self.canvas, colour, xy(self.at[i]), reach, 3)

    def draw_living(self, events):
        """The living, those in the air, which cast a shadow, above the others."""
        is_air = self.kinds["plane"] == AIR
        for i in sorted(self.alive, key=lambda i: is_air[i]):
            at = self.at[i]
            radius = self.radius[i]
            if is_air[i]:
                shadow = at + self.scale * (0.3 + 0.45j)
                dark = mix(WALKABLE, "black", 0.4)
                pygame.draw.circle(self.canvas, dark, xy(shadow), 0.8 * radius)
            direction = heading(self.units, self.kinds, events, i)
            draw_unit(self.canvas, self.names[i], self.colours[i], at, radius, direction)

    def draw_attacks(self, events):
        """Shots and heals, paler with age, from the rim of the attacker."""
        for age, i, j in events:
            targeter = self.kinds["targeter"][i]
            way = self.at[j] - self.at[i]
            if targeter == KAMIKAZE or way == 0:
                continue
            ahead = way / abs(way)
            fade = 0.5 * age / TICKS
            start = self.at[i] + ahead * self.radius[i]
            end = self.at[j] - ahead * self.radius[j] * 0.8
            if targeter == HEAL:
                draw_heal(self.canvas, fade, start, self.at[j])
            elif targeter == LASER:
                across = ahead * 1j * self.extent[i] / 2
                draw_laser(self.canvas, self.colours[i], fade, start, end, self.at[j], across)
            else:
                draw_shot(self.canvas, self.colours[i], fade, start, end)

    def draw_bars(self):
        """The bars of the living, above each."""
        for i in self.alive:
            upper_rim = self.at[i] - 1j * self.radius[i]
            width = max(2 * self.radius[i], 28)
            draw_bars(self.canvas, self.units[i], self.kinds[i], upper_rim, width)


def heading(units, kinds, events, i):
    """The direction in which unit i looks, on the map.

    It looks at what it has just attacked, else at its target, else ahead, else at the other side.
    """
    target = units["target"][i]
    for _, attacker, attacked in events:
        if attacker == i:
            target = attacked
    if target == NOBODY:
        dx = units["vx"][i]
        dy = units["vy"][i]
    else:
        dx = units["x"][target] - units["x"][i]
        dy = units["y"][target] - units["y"][i]
    length = np.hypot(dx, dy)
    if length > 1e-3:
        return complex(dx, dy) / length
    return -1 if kinds["enemy"][i] else 1


def draw_heal(canvas, fade, start, end):
    """A ray with a cross at its end."""
    colour = mix(HEALED, WALKABLE, fade)
    stroke(canvas, colour, 7, start, end)
    stroke(canvas, colour, 7, end - 12, end + 12)
    stroke(canvas, colour, 7, end - 12j, end + 12j)


def draw_laser(canvas, colour, fade, start, end, target, across):
    """A thick ray, and the bar that it burns, from `-across` to `across` of the target."""
    bright = mix(mix(colour, "white", 0.45), WALKABLE, fade)
    stroke(canvas, bright, 8, target - across, target + across)
    stroke(canvas, bright, 10, start, end)
    draw_spark(canvas, fade, end)


def draw_shot(canvas, colour, fade, start, end):
    """A thin ray with a spark where it hits."""
    bright = mix(mix(colour, "white", 0.45), WALKABLE, fade)
    stroke(canvas, bright, 4, start, end)
    draw_spark(canvas, fade, end)


def draw_spark(canvas, fade, at):
    """A star where something hits."""
    colour = mix("white", WALKABLE, fade)
    for arm in (9, 9j, 6 + 6j, 6 - 6j):
        stroke(canvas, colour, 2, at - arm, at + arm)


def draw_bars(canvas, unit, kind, bottom, width):
    """From below to above: energy of a healer, health, shield of a unit that has one.

    `bottom` is the point below the middle of the lowest bar.
    """
    hue = unit["hp"] / kind["max_hp"] / 3  # from red, 0, to green, 1/3
    health_colour = [int(255 * part) for part in hsv_to_rgb(hue, 0.75, 0.85)]
    bars = [
        (health_colour, unit["hp"], kind["max_hp"]),
        (SHIELD, unit["shield"], kind["max_shield"]),
    ]
    if kind["healer"]:
        bars.insert(0, (ENERGY, unit["energy"], kind["max_energy"]))
    left = bottom.real - width / 2
    top = bottom.imag
    for colour, value, most in bars:
        if most > 0:
            top -= 7
            canvas.fill(SHADED, (left - 1, top - 1, width + 2, 8), pygame.BLEND_MULT)
            canvas.fill(colour, (left, top, width * min(value / most, 1), 6))


def write(canvas, y, items):
    """Write (mark, text) items on a line. A mark is a unit name, a colour like #rrggbb or None."""
    font = pygame.font.Font(None, 20 * FINE)
    x = 12 * FINE
    for mark, text in items:
        if mark is None:
            mark_width = 0
        elif mark.startswith("#"):
            mark_width = 17
            pygame.draw.circle(canvas, mark, (x + 5 * FINE, y), 5 * FINE)
        else:
            mark_width = 24
            draw_unit(canvas, mark, NEITHER, x + 7 * FINE + 1j * y, 8 * FINE)
        x += mark_width * FINE
        words = font.render(text, True, TEXT)
        canvas.blit(words, (x, y - words.get_height() / 2))
        x += words.get_width() + 18 * FINE
