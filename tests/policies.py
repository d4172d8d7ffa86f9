"""Policies that the tests play. They know only what the environments make public."""

import math

from benchmark.common import random_actions
from smaclite_jit import MAPS

__all__ = ["random_actions", "scripted"]

NOTHING = 0
STOP = 1
NORTH = 2
SOUTH = 3
EAST = 4
WEST = 5
FIRST_TARGET = 6  # attack enemy k or, for a healer, heal ally k with 6 + k


class Unit:
    """What the state of a battle (`get_state`) tells of a unit."""

    def __init__(self, kind, hp, x, y):
        self.kind = kind  # a UnitType
        self.hp = hp  # as a part of its greatest
        self.x = x  # in cells
        self.y = y

    def distance(self, other):
        return math.hypot(other.x - self.x, other.y - self.y)


def units_of(env):
    """The agents' units and the enemy's, two lists in the order of their ids."""
    battle = MAPS[env.map_name]
    height = len(battle.terrain)
    width = len(battle.terrain[0])
    kinds = {"A": [], "E": []}
    for side, _, _, *counts in battle.groups:
        for name, count in counts:
            kinds[side] += [battle.units[name]] * count
    state = env.get_state()
    sides = []
    start = 0
    for side, shields in (("A", battle.ally_shields), ("E", battle.enemy_shields)):
        # hp, the agents' energy or cooldown, x, y, shield, one-hot type
        position = 2 if side == "A" else 1
        size = position + 2 + shields + len(battle.type_ids)
        units = []
        for kind in kinds[side]:
            hp = state[start]
            x, y = state[start + position : start + position + 2].astype(float)
            units.append(Unit(kind, hp, (x + 0.5) * width, (y + 0.5) * height))
            start += size
        sides.append(units)
    return sides


def nearest(unit, others):
    return min(others, key=unit.distance, default=None)


def walk_towards(unit, target, available):
    """The available move along the longer way first, or stop."""
    dx = target.x - unit.x
    dy = target.y - unit.y
    along_x = (abs(dx), EAST if dx > 0 else WEST)
    along_y = (abs(dy), NORTH if dy > 0 else SOUTH)
    moves = [along_y, along_x] if abs(dy) > abs(dx) else [along_x, along_y]
    for length, action in moves:
        if length > 0 and available[action]:
            return action
    return STOP


def heal(unit, allies, available):
    """Heal who has lost the largest share of health, else stay near a unit that can be healed."""
    patients = []
    for ally in allies:
        if ally.hp > 0 and ally is not unit and not ally.kind.healing:
            patients.append(ally)
    hurt = []
    for ally in patients:
        if available[FIRST_TARGET + allies.index(ally)] and ally.hp < 1:
            hurt.append(ally)
    if hurt:
        weakest = min(hurt, key=lambda ally: ally.hp)
        return FIRST_TARGET + allies.index(weakest)
    friend = nearest(unit, patients)
    if friend is not None and unit.distance(friend) > 3:
        return walk_towards(unit, friend, available)
    return STOP


def attack(unit, enemies, available):
    """Attack the nearest enemy that the unit can hit, else walk towards it."""
    alive = [enemy for enemy in enemies if enemy.hp > 0]
    fair = [enemy for enemy in alive if enemy.kind.plane in unit.kind.valid_targets]
    offered = [enemy for enemy in fair if available[FIRST_TARGET + enemies.index(enemy)]]
    target = nearest(unit, offered)
    if target is not None:
        return FIRST_TARGET + enemies.index(target)
    return walk_towards(unit, nearest(unit, fair or alive), available)


def scripted(env):
    """The policy of the reference statistics: attack the nearest, heal the weakest, else advance.

    `env` is a SMACliteEnv on a map of MAPS.
    """
    allies, enemies = units_of(env)
    actions = []
    for unit, available in zip(allies, env.get_avail_actions()):
        if unit.hp <= 0:
            actions.append(NOTHING)
        elif unit.kind.healing:
            actions.append(heal(unit, allies, available))
        else:
            actions.append(attack(unit, enemies, available))
    return actions
