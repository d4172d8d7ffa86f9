"""What the agents see of a battle: available actions, observations and the state."""

import math

from numba import njit

from smaclite_jit import battle as b
from smaclite_jit.battle import distance, within


@njit(cache=True)
def walkable_at(walkable, x, y):
    # Quirk of the reference: width and height are swapped; it shows on maps that are not square only.
    height, width = walkable.shape
    inside = 0 <= y < width and 0 <= x < height and y < height and x < width
    return inside and walkable[int(y), int(x)]


@njit(cache=True)
def available_actions(f, g, c, walkable, ids, avail):
    """Fill `avail` (n_agents, n_actions) with zeros and ones."""
    avail[:] = 0
    n_agents, n_enemies = len(avail), f.shape[1] - len(avail)
    for agent in range(n_agents):
        i = ids[0, agent]
        if not g[b.ALIVE, i]:
            avail[agent, 0] = 1
            continue
        x, y = f[b.X, i], f[b.Y, i]
        avail[agent, 1] = 1
        avail[agent, 2], avail[agent, 3] = (
            walkable_at(walkable, x, y + 1),
            walkable_at(walkable, x, y - 1),
        )
        avail[agent, 4], avail[agent, 5] = (
            walkable_at(walkable, x + 1, y),
            walkable_at(walkable, x - 1, y),
        )
        if c[b.HEALER, i]:
            for k in range(n_agents):
                j = ids[0, k]
                if g[b.ALIVE, j] and not c[b.HEALER, j] and within(f, i, j, b.ATTACK_OFFERED):
                    avail[agent, 6 + k] = 1
        else:
            for k in range(n_enemies):
                j = ids[1, k]
                if g[b.ALIVE, j] and within(f, i, j, b.ATTACK_OFFERED):
                    avail[agent, 6 + k] = 1


@njit(cache=True)
def share(value, most):
    return value / most if most > 0 else 0.0


@njit(cache=True)
def observations(f, g, c, ids, avail, n_types, ally_shields, enemy_shields, obs):
    """Fill `obs` (n_agents, obs_size).

    Units are written out in place: a function for it would count references to the arrays, at three times the cost.
    """
    obs[:] = 0
    n_agents, n_enemies = len(obs), f.shape[1] - len(obs)
    for agent in range(n_agents):
        i = ids[0, agent]
        if not g[b.ALIVE, i]:
            continue
        x, y, at = f[b.X, i], f[b.Y, i], 4
        for move in range(4):
            obs[agent, move] = avail[agent, 2 + move]
        for k in range(n_enemies):
            j = ids[1, k]
            dx, dy = f[b.X, j] - x, f[b.Y, j] - y
            if g[b.ALIVE, j] and dx * dx + dy * dy < b.SIGHT**2:
                d = math.sqrt(dx * dx + dy * dy)
                if not c[b.HEALER, i]:
                    obs[agent, at] = d <= b.ATTACK_OFFERED
                elif k < n_agents:  # quirk: here a healer sees whether ally k can be healed
                    ally = ids[0, k]
                    obs[agent, at] = (
                        ally != i and g[b.ALIVE, ally] and distance(f, i, ally) <= b.ATTACK_OFFERED
                    )
                obs[agent, at + 1], obs[agent, at + 2], obs[agent, at + 3] = (
                    d / b.SIGHT,
                    dx / b.SIGHT,
                    dy / b.SIGHT,
                )
                obs[agent, at + 4] = f[b.HP, j] / c[b.MAX_HP, j]
                if enemy_shields:
                    obs[agent, at + 5] = share(f[b.SHIELD, j], c[b.MAX_SHIELD, j])
                if n_types:
                    obs[agent, at + 5 + enemy_shields + int(c[b.TYPE, j])] = 1
            at += 5 + enemy_shields + n_types
        for k in range(n_agents):
            if k == agent:
                continue
            j = ids[0, k]
            dx, dy = f[b.X, j] - x, f[b.Y, j] - y
            if g[b.ALIVE, j] and dx * dx + dy * dy < b.SIGHT**2:
                d = math.sqrt(dx * dx + dy * dy)
                obs[agent, at], obs[agent, at + 1] = 1, d / b.SIGHT
                obs[agent, at + 2], obs[agent, at + 3] = dx / b.SIGHT, dy / b.SIGHT
                obs[agent, at + 4] = f[b.HP, j] / c[b.MAX_HP, j]
                if ally_shields:
                    obs[agent, at + 5] = share(f[b.SHIELD, j], c[b.MAX_SHIELD, j])
                if n_types:
                    obs[agent, at + 5 + ally_shields + int(c[b.TYPE, j])] = 1
            at += 5 + ally_shields + n_types
        obs[agent, at] = f[b.HP, i] / c[b.MAX_HP, i]
        if ally_shields:
            obs[agent, at + 1] = share(f[b.SHIELD, i], c[b.MAX_SHIELD, i])
        if n_types:
            obs[agent, at + 1 + ally_shields + int(c[b.TYPE, i])] = 1


@njit(cache=True)
def global_state(
    f, g, c, ids, walkable, last_actions, n_actions, n_types, ally_shields, enemy_shields, state
):
    """Fill `state` (state_size,). `last_actions` (n_agents,) holds -1 where there was none yet."""
    state[:] = 0
    n_agents = len(last_actions)
    height, width = walkable.shape
    at = 0
    for side in range(2):
        shields = enemy_shields if side else ally_shields
        for k in range(f.shape[1] - n_agents if side else n_agents):
            j = ids[side, k]
            size = (3 if side else 4) + shields + n_types
            if g[b.ALIVE, j]:
                state[at] = f[b.HP, j] / c[b.MAX_HP, j]
                xy = at + 1
                if side == 0:
                    if c[b.HEALER, j]:
                        state[xy] = share(f[b.ENERGY, j], c[b.MAX_ENERGY, j])
                    elif c[b.WEAPON_COOLDOWN, j] > 0:
                        state[xy] = f[b.COOLDOWN, j] / c[b.WEAPON_COOLDOWN, j]
                    xy += 1
                state[xy], state[xy + 1] = (
                    (f[b.X, j] - width / 2) / width,
                    (f[b.Y, j] - height / 2) / height,
                )
                if shields:
                    state[xy + 2] = share(f[b.SHIELD, j], c[b.MAX_SHIELD, j])
                if n_types:
                    state[xy + 2 + shields + int(c[b.TYPE, j])] = 1
            at += size
    for agent in range(n_agents):
        if last_actions[agent] >= 0:
            state[at + agent * n_actions + last_actions[agent]] = 1
