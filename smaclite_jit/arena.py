"""A map as arrays: the records of its units, the obstacles, and the sizes that follow from them.

This module also defines the records. A field that is added to `UNIT` or `KIND` has its place
everywhere: all arrays are made from these two types.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import config
from numba.extending import register_jitable

from smaclite_jit.units import PLANES

# Actions of agents.
NO_OP = 0
STOP = 1
NORTH = 2
SOUTH = 3
EAST = 4
WEST = 5
FIRST_TARGET = 6  # FIRST_TARGET + k is enemy k or, for a healer, ally k

# Orders to units: NO_OP and STOP, as above, and these two. They are not actions 2 and 3.
MOVE = 2
ACT = 3  # attack or heal order_target

# Kinds of attacks, `targeter` in the records.
SINGLE = 0
HEAL = 1
KAMIKAZE = 2
LASER = 3
TARGETERS = {"STANDARD": SINGLE, "HEAL": HEAL, "KAMIKAZE": KAMIKAZE, "LASER_BEAM": LASER}

NOBODY = -1  # in place of a unit id
KILL_REWARD = 10.0
WIN_REWARD = 200.0
BATTLE_REWARD = 20.0  # what a won battle pays: rewards are scaled to it
GAP = 0.05  # cells between the units of a group

#: What changes in a battle: one record for each unit.
UNIT = np.dtype(
    [
        ("x", np.float64),  # always a float32 in value
        ("y", np.float64),
        ("vx", np.float64),  # cells per second, in the last tick
        ("vy", np.float64),
        ("hp", np.float64),
        ("shield", np.float64),
        ("energy", np.float64),
        ("heal_pool", np.float64),  # hp that are paid for and not yet healed
        ("cooldown", np.float64),  # seconds until the weapon is ready
        ("shield_delay", np.float64),  # seconds until the shield grows
        ("alive", np.bool_),  # not removed; within a tick a unit without hp is dead but still alive
        ("target", np.int64),  # a unit id or NOBODY
        ("attacking", np.bool_),  # in range: attacks in its turn
        ("order", np.int64),  # of agents: NO_OP, STOP, MOVE or ACT
        ("order_target", np.int64),  # for ACT
        ("to_x", np.float64),  # for MOVE
        ("to_y", np.float64),
        # What the phases of a tick leave for later ones:
        ("index_x", np.float64),  # where it was at the beginning of the tick
        ("index_y", np.float64),
        ("previous_target", np.int64),  # in the tick before
        ("kept_target", np.bool_),  # of enemies: it has a target that clean_up did not drop
        ("pref_x", np.float64),  # the preferred velocity
        ("pref_y", np.float64),
        ("new_x", np.float64),  # the velocity that avoids collisions
        ("new_y", np.float64),
    ],
    align=True,
)

#: What never changes: one record for each unit. Distances in cells, times in seconds.
KIND = np.dtype(
    [
        ("enemy", np.bool_),
        ("id_in_side", np.int64),
        ("type_id", np.int64),  # place in the one-hot types of observations
        ("max_hp", np.float64),
        ("max_shield", np.float64),
        ("max_energy", np.float64),
        ("starting_energy", np.float64),
        ("regeneration", np.float64),  # hp per second
        ("armor", np.float64),
        ("speed", np.float64),
        ("radius", np.float64),
        ("plane", np.int64),
        ("healer", np.bool_),
        ("priority", np.int64),  # enemies prefer targets with a lower one
        ("scan_range", np.float64),
        ("attack_range", np.float64),  # from rim to rim
        ("weapon_cooldown", np.float64),
        ("hits", np.int64),  # of one attack
        ("hits_planes", np.int64),  # a bit for each plane
        ("targeter", np.int64),  # SINGLE, HEAL, KAMIKAZE or LASER
        ("extent", np.float64),  # radius of an explosion, width of a beam
        ("depth", np.float64),  # of a beam, along the line of fire
    ],
    align=True,
)


class Rules(NamedTuple):
    """What compiled functions need to know of a map."""

    kinds: np.ndarray  # (units,) of KIND
    damage: np.ndarray  # (units, units): of a hit of the first on the second
    agents: np.ndarray  # (n_agents,) unit ids
    enemies: np.ndarray  # (n_enemies,) unit ids
    rectangles: np.ndarray  # (n, 4): x, y, width and height of the blocked parts
    walkable: np.ndarray  # (height, width) bool
    attack_x: float  # where enemies without a target go
    attack_y: float
    largest_radius: float  # of a unit
    largest_reward: float  # of a battle, before it is scaled to BATTLE_REWARD
    n_types: int  # 0 where observations don't show the types of units
    ally_shields: int  # 1 where observations show the shields of agents
    enemy_shields: int


def zero_records(shape, dtype):
    """An array of records.

    Code that is not compiled (NUMBA_DISABLE_JIT) needs numpy's recarray to reach fields as
    attributes. Compiled code does not, and a call of it takes 2 us longer for each recarray.
    """
    records = np.zeros(shape, dtype)
    return records.view(np.recarray) if config.DISABLE_JIT else records


@register_jitable
def observation_blocks(n_types, ally_shields, enemy_shields):
    """How many numbers of an observation describe an enemy, an ally and the agent itself."""
    enemy = 5 + enemy_shields + n_types
    ally = 5 + ally_shields + n_types
    own = 1 + ally_shields + n_types
    return enemy, ally, own


@register_jitable
def state_blocks(n_types, ally_shields, enemy_shields):
    """How many numbers of the state describe an agent and an enemy."""
    agent = 4 + ally_shields + n_types
    enemy = 3 + enemy_shields + n_types
    return agent, enemy


class Placed(NamedTuple):
    """A unit where it stands at a reset."""

    name: str
    enemy: bool
    x: np.float32
    y: np.float32


def find_radii(names, units):
    """The radii of the units of these names, in cells."""
    return [units[name].size / 2 for name in names]


def place(groups, units):
    """Place the units of all groups: a list of `Placed` in id order.

    A group is a square grid around its centre, filled row by row. Agents' rows go up and to the
    right, enemies' down and to the left. Seven units of the agents (the grid has room for nine)::

        6
        3 4 5
        0 1 2
    """
    placed = []
    for side, centre_x, centre_y, *counts in groups:
        names = []
        for name, count in counts:
            names += [name] * count
        columns = math.ceil(math.sqrt(len(names)))
        rows = [names[i * columns : (i + 1) * columns] for i in range(columns)]
        radii = [find_radii(row, units) for row in rows]
        half_heights = [max(row, default=0.0) for row in radii]
        # Quirk of the reference: the height has the gaps, the width has not.
        width = max(2 * sum(row) for row in radii)
        height = 2 * sum(half_heights) + (columns - 1) * GAP
        sign = 1 if side == "A" else -1
        y = centre_y - sign * height / 2
        half_below = 0.0
        for row, row_radii, half_height in zip(rows, radii, half_heights):
            y += sign * (half_below + half_height)
            half_below = half_height
            x = centre_x - sign * width / 2
            previous_radius = 0.0
            for name, radius in zip(row, row_radii):
                x += sign * (previous_radius + radius)
                previous_radius = radius
                placed.append(Placed(name, side == "E", np.float32(x), np.float32(y)))
                x += sign * GAP
            y += sign * GAP
    return placed


def find_walkable(terrain):
    """Which cells are walkable, (height, width) bool. The first row is the south."""
    return np.array([list(row) for row in terrain]) == "_"


def obstacles(terrain):
    """The blocked cells as rectangles (n, 4) of x, y, width, height.

    The reference's greedy sweep: to the right, then up, as far as all cells are blocked.
    """
    blocked = ~find_walkable(terrain)
    height, width = blocked.shape
    seen = set()
    rectangles = []
    for y in range(height):
        for x in range(width):
            if (x, y) in seen:
                continue
            seen.add((x, y))
            if not blocked[y, x]:
                continue
            # Quirk of the reference: rectangles overlap, as cells that were seen are taken again.
            right = x + 1
            while right < width and blocked[y, right]:
                seen.add((right, y))
                right += 1
            top = y + 1
            while top < height and blocked[top, x:right].all():
                seen.update((column, top) for column in range(x, right))
                top += 1
            rectangles.append((x, y, right - x, top - y))
    return np.array(rectangles, np.float64).reshape(-1, 4)


def hit_damage(attacker, target):
    """Damage of one hit of a kind of unit on another, with its bonuses."""
    return attacker.damage + sum(attacker.bonuses.get(kind, 0) for kind in target.attributes)


class Arena:
    """Everything that is fixed for a map.

    Parameters
    ----------
    battle_map : maps.Map
    """

    def __init__(self, battle_map):
        placed = place(battle_map.groups, battle_map.units)
        self.battle_map = battle_map
        self.unit_names = [unit.name for unit in placed]  # by unit id
        self.kinds = self.make_kinds(placed)  # (units,) of KIND
        self.first_units = self.make_first_units(placed)  # (units,) of UNIT, at a reset
        self.walkable = find_walkable(battle_map.terrain)  # (height, width) bool

        enemy = self.kinds["enemy"]
        self.agents = np.flatnonzero(~enemy)  # unit ids
        self.enemies = np.flatnonzero(enemy)
        self.n_units = len(placed)
        self.n_agents = len(self.agents)
        self.n_enemies = len(self.enemies)
        self.n_actions = FIRST_TARGET + self.count_targets()

        shows = (
            len(battle_map.type_ids),
            int(battle_map.ally_shields),
            int(battle_map.enemy_shields),
        )
        moves = WEST - NORTH + 1
        seen_enemy, seen_ally, own = observation_blocks(*shows)
        self.obs_size = moves + self.n_enemies * seen_enemy + (self.n_agents - 1) * seen_ally + own
        agent_block, enemy_block = state_blocks(*shows)
        self.state_size = (
            self.n_agents * agent_block
            + self.n_enemies * enemy_block
            + self.n_agents * self.n_actions
        )

        types = [battle_map.units[name] for name in self.unit_names]
        damage = np.zeros((self.n_units, self.n_units))
        for i, attacker in enumerate(types):
            damage[i] = [hit_damage(attacker, target) for target in types]
        enemies_health = (self.kinds["max_hp"] + self.kinds["max_shield"])[enemy].sum()
        attack_x, attack_y = battle_map.attack_point
        self.rules = Rules(
            kinds=self.kinds,
            damage=damage,
            agents=self.agents,
            enemies=self.enemies,
            rectangles=obstacles(battle_map.terrain),
            walkable=self.walkable,
            attack_x=float(attack_x),
            attack_y=float(attack_y),
            largest_radius=float(self.kinds["radius"].max()),
            largest_reward=KILL_REWARD * self.n_enemies + WIN_REWARD + float(enemies_health),
            n_types=len(battle_map.type_ids),
            ally_shields=int(battle_map.ally_shields),
            enemy_shields=int(battle_map.enemy_shields),
        )

    def make_kinds(self, placed):
        """The constants of the units, (units,) of KIND."""
        kinds = zero_records(len(placed), KIND)
        type_ids = self.battle_map.type_ids
        counts = {True: 0, False: 0}  # of the units of each side so far
        for i, (name, enemy, _, _) in enumerate(placed):
            unit = self.battle_map.units[name]
            kind = kinds[i]
            kind["enemy"] = enemy
            kind["id_in_side"] = counts[enemy]
            counts[enemy] += 1
            kind["type_id"] = type_ids.index(name) if type_ids else 0
            kind["max_hp"] = unit.hp
            kind["max_shield"] = unit.shield
            kind["max_energy"] = unit.energy
            kind["starting_energy"] = unit.starting_energy
            kind["regeneration"] = unit.hp_regen
            kind["armor"] = unit.armor
            kind["speed"] = unit.speed
            kind["radius"] = unit.size / 2
            kind["plane"] = PLANES[unit.plane]
            kind["healer"] = unit.healing
            kind["priority"] = 0 if unit.healing else 1
            kind["scan_range"] = unit.minimum_scan_range
            kind["attack_range"] = unit.attack_range
            kind["weapon_cooldown"] = unit.cooldown
            kind["hits"] = unit.attacks
            kind["hits_planes"] = sum(1 << PLANES[plane] for plane in unit.valid_targets)
            kind["targeter"] = TARGETERS[unit.targeter]
            is_beam = kind["targeter"] == LASER
            kind["extent"] = unit.width if is_beam else unit.radius
            kind["depth"] = unit.height
        return kinds

    def make_first_units(self, placed):
        """The units as a reset puts them back, (units,) of UNIT."""
        units = zero_records(len(placed), UNIT)
        units["x"] = [unit.x for unit in placed]
        units["y"] = [unit.y for unit in placed]
        units["hp"] = self.kinds["max_hp"]
        units["shield"] = self.kinds["max_shield"]
        units["energy"] = self.kinds["starting_energy"]
        units["alive"] = True
        units["order"] = NO_OP
        for field in ("target", "previous_target", "order_target"):
            units[field] = NOBODY
        return units

    def count_targets(self):
        """How many units an action can name: as many as there are enemies or, for healers, allies.

        The reference counts the allies that can be healed. If a healer comes first, it has no
        action for the last of them. Here there is one.
        """
        healer = self.kinds["healer"][self.agents]
        if not healer.any():
            return self.n_enemies
        last_patient = np.flatnonzero(~healer).max(initial=-1)
        return max(int(last_patient) + 1, self.n_enemies)
