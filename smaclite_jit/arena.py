"""Where a map's units stand and what the compiled functions need to know of it: constants, rectangles, first state."""

import math

import numpy as np

from smaclite_jit import battle as b
from smaclite_jit.units import PLANES

KINDS = {"STANDARD": b.SINGLE, "HEAL": b.HEAL, "KAMIKAZE": b.KAMIKAZE, "LASER_BEAM": b.LASER}
GAP = 0.05  # between the units of a group


def place(groups, units):
    """The units of all groups in id order: (unit name, is enemy, x, y). Groups are square grids, the enemy's turned."""
    placed = []
    for side, gx, gy, *counts in groups:
        names = [name for name, count in counts for _ in range(count)]
        k, sign = math.ceil(math.sqrt(len(names))), 1 if side == "A" else -1
        rows = [names[i * k : (i + 1) * k] for i in range(k)]
        radii = [[units[name].size / 2 for name in row] for row in rows]
        heights = [max(row, default=0.0) for row in radii]
        width, height = max(2 * sum(row) for row in radii), 2 * sum(heights) + (k - 1) * GAP
        y, above = gy - sign * height / 2, 0.0
        for row, row_radii, row_height in zip(rows, radii, heights):
            y += sign * (above + row_height)
            x, previous, above = gx - sign * width / 2, 0.0, row_height
            for name, radius in zip(row, row_radii):
                x += sign * (previous + radius)
                placed.append((name, side == "E", np.float32(x), np.float32(y)))
                x += sign * GAP
                previous = radius
            y += sign * GAP
    return placed


def obstacles(terrain):
    """The blocked cells as rectangles (n, 4) of x, y, width, height, by the reference's greedy sweep."""
    height, width, seen, found = len(terrain), len(terrain[0]), set(), []
    blocked = [[cell != "_" for cell in row] for row in terrain]
    for y in range(height):
        for x in range(width):
            if (x, y) in seen:
                continue
            seen.add((x, y))
            if not blocked[y][x]:
                continue
            right = x + 1
            while right < width and blocked[y][right]:
                seen.add((right, y))
                right += 1
            top = y + 1
            while top < height and all(blocked[top][x:right]):
                seen.update((column, top) for column in range(x, right))
                top += 1
            found.append((x, y, right - x, top - y))
    return np.array(found, np.float64).reshape(-1, 4)


class Arena:
    """All that is fixed for a map."""

    def __init__(self, scenario):
        placed = place(scenario.groups, scenario.units)
        types = [scenario.units[name] for name, *_ in placed]
        n_units = len(placed)
        enemy = np.array([is_enemy for _, is_enemy, _, _ in placed])
        self.scenario, self.unit_names, self.enemy = scenario, [name for name, *_ in placed], enemy
        self.n_units, self.n_agents, self.n_enemies = n_units, int((~enemy).sum()), int(enemy.sum())
        self.ids = np.full((2, max(self.n_agents, self.n_enemies)), b.NOBODY)
        self.ids[0, : self.n_agents], self.ids[1, : self.n_enemies] = (
            np.flatnonzero(~enemy),
            np.flatnonzero(enemy),
        )
        c = self.c = np.zeros((22, n_units))
        for i, (name, unit) in enumerate(zip(self.unit_names, types)):
            values = {
                b.MAX_HP: unit.hp,
                b.MAX_SHIELD: unit.shield,
                b.ARMOR: unit.armor,
                b.HITS: unit.attacks,
                b.WEAPON_COOLDOWN: unit.cooldown,
                b.RANGE: unit.attack_range,
                b.SPEED: unit.speed,
                b.RADIUS: unit.size / 2,
                b.SCAN: unit.minimum_scan_range,
                b.MAX_ENERGY: unit.energy,
                b.FIRST_ENERGY: unit.starting_energy,
                b.REGENERATION: unit.hp_regen,
                b.KIND: KINDS[unit.targeter],
                b.EXTENT: unit.radius or unit.width,
                b.DEPTH: unit.height,
                b.PRIORITY: 0 if unit.healing else 1,
                b.HEALER: unit.healing,
                b.PLANE: PLANES[unit.plane],
                b.HITS_PLANE: sum(1 << PLANES[plane] for plane in unit.valid_targets),
                b.ENEMY: enemy[i],
                b.ID_IN_SIDE: (enemy[:i] == enemy[i]).sum(),
                b.TYPE: scenario.type_ids.index(name) if scenario.type_ids else 0,
            }
            for row, value in values.items():
                c[row, i] = value
        self.damage = np.array(
            [
                [a.damage + sum(a.bonuses.get(kind, 0) for kind in t.attributes) for t in types]
                for a in types
            ],
            float,
        )
        self.rectangles = obstacles(scenario.terrain)
        self.walkable = np.array(
            [[cell == "_" for cell in row] for row in scenario.terrain]
        )  # (y, x)
        self.max_radius = float(c[b.RADIUS].max())
        hp_and_shields = (c[b.MAX_HP] + c[b.MAX_SHIELD])[enemy].sum()
        self.max_reward = b.KILL_REWARD * self.n_enemies + b.WIN_REWARD + float(hp_and_shields)
        healer = c[b.HEALER][~enemy]
        # The reference counts the allies that can be healed. It does not get to the last one if a healer comes first.
        last_patient = int(np.flatnonzero(healer == 0).max(initial=-1)) + 1
        targets = max(last_patient, self.n_enemies) if healer.any() else self.n_enemies
        n_types, sa, se = len(scenario.type_ids), scenario.ally_shields, scenario.enemy_shields
        self.n_actions = 6 + targets
        self.obs_size = (
            4
            + self.n_enemies * (5 + se + n_types)
            + (self.n_agents - 1) * (5 + sa + n_types)
            + 1
            + sa
            + n_types
        )
        self.state_size = self.n_agents * (4 + sa + n_types) + self.n_enemies * (3 + se + n_types)
        self.state_size += self.n_agents * self.n_actions
        self.first_f, self.first_g = np.zeros((18, n_units)), np.zeros((9, n_units), np.int64)
        self.first_f[b.X], self.first_f[b.Y] = [x for *_, x, _ in placed], [y for *_, y in placed]
        self.first_f[b.HP], self.first_f[b.SHIELD], self.first_f[b.ENERGY] = (
            c[b.MAX_HP],
            c[b.MAX_SHIELD],
            c[b.FIRST_ENERGY],
        )
        self.first_g[b.ALIVE] = 1
        self.first_g[[b.TARGET, b.PREVIOUS, b.ORDER_TARGET]] = b.NOBODY
        self.first_g[b.ORDER] = b.NO_OP
        n_lines = 4 * len(self.rectangles) + n_units
        self.lines, self.work = np.zeros((n_lines, 4)), np.zeros((n_lines, 4))
