"""What is seen of a battle: available actions, observations and the state.

Compiled, on the records of ``arena``.
"""

import math
from typing import NamedTuple

import numpy as np

from smaclite_jit.arena import (
    EAST,
    FIRST_TARGET,
    NO_OP,
    NORTH,
    SOUTH,
    STOP,
    WEST,
    observation_blocks,
    state_blocks,
)
from smaclite_jit.battle import distance, within
from smaclite_jit.compile_cache import compiled

# The distance up to which a target may be commanded. Quirk of the reference: it is the same for all
# units, whatever their range and their weapon.
ATTACK_OFFERED = 6.0
SIGHT = 9.0
AHEAD = 1.0  # quirk of the reference: moves are tested half as far ahead as MOVE_DISTANCE


class View(NamedTuple):
    """The arrays that `observe` fills. Those of many battles have a battle axis in front."""

    avail_actions: np.ndarray  # (n_agents, n_actions) uint8
    obs: np.ndarray  # (n_agents, obs_size) float32
    state: np.ndarray  # (state_size,) float32


@compiled
def walkable_at(walkable, x, y):
    """Whether a unit may be told to go towards (x, y)."""
    # Quirk of the reference: width and height are swapped, which shows on maps that are not square.
    height, width = walkable.shape
    inside = 0 <= y < width and 0 <= x < height and y < height and x < width
    return inside and walkable[int(y), int(x)]


@compiled(inline="always")
def fill_avail_actions(units, rules, avail_actions):
    """Fill `avail_actions` (n_agents, n_actions) with zeros and ones."""
    kinds = rules.kinds
    agents = rules.agents
    enemies = rules.enemies
    walkable = rules.walkable
    avail_actions[:] = 0
    for agent in range(len(agents)):
        i = agents[agent]
        unit = units[i]
        if not unit.alive:
            avail_actions[agent, NO_OP] = 1
            continue
        avail_actions[agent, STOP] = 1
        avail_actions[agent, NORTH] = walkable_at(walkable, unit.x, unit.y + AHEAD)
        avail_actions[agent, SOUTH] = walkable_at(walkable, unit.x, unit.y - AHEAD)
        avail_actions[agent, EAST] = walkable_at(walkable, unit.x + AHEAD, unit.y)
        avail_actions[agent, WEST] = walkable_at(walkable, unit.x - AHEAD, unit.y)
        if kinds[i].healer:
            for k in range(len(agents)):
                ally = units[agents[k]]
                can_be_healed = ally.alive and not kinds[agents[k]].healer
                if can_be_healed and within(unit, ally, ATTACK_OFFERED):
                    avail_actions[agent, FIRST_TARGET + k] = 1
        else:
            for k in range(len(enemies)):
                enemy = units[enemies[k]]
                if enemy.alive and within(unit, enemy, ATTACK_OFFERED):
                    avail_actions[agent, FIRST_TARGET + k] = 1


@compiled
def share(value, most):
    """How much of the most it can be a value is, 0 to 1; 0 where it cannot be anything."""
    return value / most if most > 0 else 0.0


@compiled(inline="always")
def fill_condition(obs, agent, at, end, unit, kind, shields, n_types):
    """Fill a block of an observation from health, at `at`, to its end: health, shield, type."""
    obs[agent, at] = unit.hp / kind.max_hp
    if shields:
        obs[agent, at + 1] = share(unit.shield, kind.max_shield)
    if n_types:
        obs[agent, end - n_types + kind.type_id] = 1


@compiled(inline="always")
def fill_observations(units, rules, avail_actions, obs):
    """Fill `obs` (n_agents, obs_size).

    An observation has the moves that are available, a block for each enemy, one for each ally, and
    the agent's own. Blocks end with the type, one-hot. Those of units that are dead or out of sight
    are zero.
    """
    kinds = rules.kinds
    agents = rules.agents
    enemies = rules.enemies
    n_types = rules.n_types
    ally_shields = rules.ally_shields
    enemy_shields = rules.enemy_shields
    enemy_block, ally_block, own_block = observation_blocks(n_types, ally_shields, enemy_shields)
    obs[:] = 0
    for agent in range(len(agents)):
        i = agents[agent]
        unit = units[i]
        if not unit.alive:
            continue
        at = 0  # where the next block begins
        for move in range(NORTH, WEST + 1):
            obs[agent, at] = avail_actions[agent, move]
            at += 1

        for k in range(len(enemies)):
            j = enemies[k]
            other = units[j]
            dx = other.x - unit.x
            dy = other.y - unit.y
            d_2 = dx * dx + dy * dy
            if other.alive and d_2 < SIGHT**2:
                d = math.sqrt(d_2)
                # In float64, as the reference does it here; fill_avail_actions compares in float32.
                if not kinds[i].healer:
                    obs[agent, at] = d <= ATTACK_OFFERED
                elif k < len(agents):
                    # Quirk of the reference: here a healer sees whether ally k can be healed, and
                    # other healers count too.
                    ally = units[agents[k]]
                    is_other = k != agent and ally.alive
                    obs[agent, at] = is_other and distance(unit, ally) <= ATTACK_OFFERED
                obs[agent, at + 1] = d / SIGHT
                obs[agent, at + 2] = dx / SIGHT
                obs[agent, at + 3] = dy / SIGHT
                end = at + enemy_block
                fill_condition(obs, agent, at + 4, end, other, kinds[j], enemy_shields, n_types)
            at += enemy_block

        for k in range(len(agents)):
            if k == agent:
                continue
            j = agents[k]
            other = units[j]
            dx = other.x - unit.x
            dy = other.y - unit.y
            d_2 = dx * dx + dy * dy
            if other.alive and d_2 < SIGHT**2:
                obs[agent, at] = 1
                obs[agent, at + 1] = math.sqrt(d_2) / SIGHT
                obs[agent, at + 2] = dx / SIGHT
                obs[agent, at + 3] = dy / SIGHT
                end = at + ally_block
                fill_condition(obs, agent, at + 4, end, other, kinds[j], ally_shields, n_types)
            at += ally_block

        end = at + own_block
        fill_condition(obs, agent, at, end, unit, kinds[i], ally_shields, n_types)
        at += own_block
        assert at == obs.shape[1], "the blocks do not add up to the size of an observation"


@compiled(inline="always")
def fill_state(units, rules, last_actions, n_actions, state):
    """Fill `state` (state_size,).

    It has a block for each agent, one for each enemy, and the last actions, one-hot.
    `last_actions` (n_agents,) holds -1 where there was none yet.
    """
    kinds = rules.kinds
    agents = rules.agents
    enemies = rules.enemies
    n_types = rules.n_types
    agent_block, enemy_block = state_blocks(n_types, rules.ally_shields, rules.enemy_shields)
    height, width = rules.walkable.shape
    state[:] = 0
    at = 0  # where the next block begins
    for j in agents:
        unit = units[j]
        kind = kinds[j]
        if unit.alive:
            state[at] = unit.hp / kind.max_hp
            if kind.healer:
                state[at + 1] = share(unit.energy, kind.max_energy)
            else:
                state[at + 1] = share(unit.cooldown, kind.weapon_cooldown)
            state[at + 2] = (unit.x - width / 2) / width
            state[at + 3] = (unit.y - height / 2) / height
            if rules.ally_shields:
                state[at + 4] = share(unit.shield, kind.max_shield)
            if n_types:
                state[at + agent_block - n_types + kind.type_id] = 1
        at += agent_block

    for j in enemies:
        unit = units[j]
        kind = kinds[j]
        if unit.alive:
            state[at] = unit.hp / kind.max_hp
            state[at + 1] = (unit.x - width / 2) / width
            state[at + 2] = (unit.y - height / 2) / height
            if rules.enemy_shields:
                state[at + 3] = share(unit.shield, kind.max_shield)
            if n_types:
                state[at + enemy_block - n_types + kind.type_id] = 1
        at += enemy_block

    for action in last_actions:
        if action >= 0:
            state[at + action] = 1
        at += n_actions
    assert at == len(state), "the blocks do not add up to the size of the state"


@compiled
def observe(units, rules, last_actions, view):
    """Fill the arrays of `view` with what is seen of a battle."""
    fill_avail_actions(units, rules, view.avail_actions)
    fill_observations(units, rules, view.avail_actions, view.obs)
    n_actions = view.avail_actions.shape[1]
    fill_state(units, rules, last_actions, n_actions, view.state)
