"""One battle, advanced by one environment step of eight ticks in a compiled function.

The state is a structure of arrays: ``f`` (fields, units) float64 with the rows X ... TO_Y, ``g`` (fields, units) int64
with the rows ALIVE ... DRAWN. ``c`` (constants, units) float64 and ``damage`` (units, units) never change. Unit ids run
over both sides in placement order. Positions are rounded to float32, all else is float64.
"""

import math

import numpy as np
from numba import njit

from smaclite_jit.orca import add_edge, add_neighbour, new_velocity

TICKS = 8
DT = 1 / 16  # seconds
SHIELD_DELAY, SHIELD_REGENERATION, ENERGY_REGENERATION = (
    10.0,
    0.125,
    0.03515625,
)  # seconds; per tick
HEALING, HEALING_PER_ENERGY, ENERGY_TO_START = 0.5625, 3.0, 5.0  # hp per tick; hp; energy
KILL_REWARD, WIN_REWARD = 10.0, 200.0
ATTACK_OFFERED = 6.0  # distance up to which a target may be commanded
SIGHT = 9.0
NOBODY = -1

# Rows of f.
X, Y, VX, VY, HP, SHIELD, ENERGY, HEAL_POOL, COOLDOWN, DELAY = range(10)
PREF_X, PREF_Y, NEW_X, NEW_Y, INDEX_X, INDEX_Y, TO_X, TO_Y = range(10, 18)
# Rows of g. INDEXED: among the units that the spatial index of this tick holds. DRAWN: the processing order.
ALIVE, TARGET, PREVIOUS, ATTACKING, ORDER, ORDER_TARGET, INDEXED, HAD_TARGET, DRAWN = range(9)
STOP, MOVE, ACT, NO_OP = range(4)
# Rows of c.
(
    MAX_HP,
    MAX_SHIELD,
    ARMOR,
    HITS,
    WEAPON_COOLDOWN,
    RANGE,
    SPEED,
    RADIUS,
    SCAN,
    MAX_ENERGY,
    FIRST_ENERGY,
    REGENERATION,
) = range(12)
KIND, EXTENT, DEPTH, PRIORITY, HEALER, PLANE, HITS_PLANE, ENEMY, ID_IN_SIDE, TYPE = range(
    12, 22
)  # HITS_PLANE: a bit set
SINGLE, HEAL, KAMIKAZE, LASER = range(4)


@njit(cache=True, inline="always")
def distance(f, i, j):
    dx, dy = f[X, i] - f[X, j], f[Y, i] - f[Y, j]
    return math.sqrt(dx * dx + dy * dy)


@njit(cache=True, inline="always")
def within(f, i, j, limit):
    """Centre distance at most `limit`, in float32 as the reference does it."""
    gx = abs(np.float32(f[X, i]) - np.float32(f[X, j]))
    gy = abs(np.float32(f[Y, i]) - np.float32(f[Y, j]))
    r = np.float32(limit)
    if gx > r or gy > r:
        return False
    return gx + gy <= r or gx * gx + gy * gy <= np.float32(limit * limit)


@njit(cache=True, inline="always")
def in_range(f, c, i, j):
    return within(f, i, j, c[RANGE, i] + c[RADIUS, i] + c[RADIUS, j])


@njit(cache=True, inline="always")
def can_hit(c, i, j):
    return (int(c[HITS_PLANE, i]) >> int(c[PLANE, j])) & 1 == 1


@njit(cache=True)
def give_orders(f, g, c, actions, ids):
    """Turn the agents' actions into orders for the step. `ids` (2, ids in side) are the unit ids of each side."""
    n_agents = len(actions)
    for agent in range(n_agents):
        i, action = ids[0, agent], actions[agent]
        if action == 0:
            g[ORDER, i] = NO_OP
        elif action == 1:
            g[ORDER, i] = STOP
        elif action < 6:
            g[ORDER, i] = MOVE
            f[TO_X, i] = f[X, i] + (2 if action == 4 else -2 if action == 5 else 0)
            f[TO_Y, i] = f[Y, i] + (2 if action == 2 else -2 if action == 3 else 0)
        else:
            g[ORDER, i] = ACT
            g[ORDER_TARGET, i] = ids[0 if c[HEALER, i] else 1, action - 6]


@njit(cache=True)
def clean_up(f, g, c):
    """Phase 1 of a tick: drop targets that are dead or, for the enemy, out of range."""
    for i in range(f.shape[1]):
        if not g[ALIVE, i]:
            continue
        target = g[TARGET, i]
        g[PREVIOUS, i] = target
        if not c[ENEMY, i]:
            g[TARGET, i] = NOBODY
            if g[ORDER, i] == ACT and f[HP, g[ORDER_TARGET, i]] > 0:
                g[TARGET, i] = g[ORDER_TARGET, i]
        elif target != NOBODY and (
            f[HP, target] <= 0 or (g[TARGET, target] != i and not in_range(f, c, i, target))
        ):
            g[TARGET, i] = NOBODY
        g[HAD_TARGET, i] = g[TARGET, i] != NOBODY


@njit(cache=True)
def nearest_foe(f, g, c, i, rmax, attackers_from_afar):
    """The agents' unit that enemy i picks: lowest (priority, distance) of those it notices."""
    best, best_priority, best_distance = NOBODY, math.inf, math.inf
    for j in range(f.shape[1]):
        if c[ENEMY, j] or not g[ALIVE, j] or f[HP, j] <= 0 or not can_hit(c, i, j):
            continue
        d, attacks_me = distance(f, i, j), g[TARGET, j] == i
        if d > c[SCAN, i] + rmax:
            if not (attackers_from_afar and attacks_me):
                continue
            d = 2e9
        elif not (d < c[SCAN, i] + c[RADIUS, j] or attacks_me):
            continue
        if c[PRIORITY, j] < best_priority or (
            c[PRIORITY, j] == best_priority and d < best_distance
        ):
            best, best_priority, best_distance = j, c[PRIORITY, j], d
    return best


@njit(cache=True)
def patient(f, g, c, i, rmax):
    """The comrade that enemy healer i picks, and the speed of the slowest one around."""
    best, slowest = NOBODY, math.inf
    for j in range(f.shape[1]):
        if j == i or not c[ENEMY, j] or not g[ALIVE, j] or not can_hit(c, i, j):
            continue
        d = distance(f, i, j)
        if d > c[SCAN, i] + rmax:
            continue
        slowest = min(slowest, c[SPEED, j])
        needs_me = f[HP, j] < c[MAX_HP, j] or g[TARGET, j] != NOBODY
        if (
            f[HP, j] > 0
            and d < c[SCAN, i] + c[RADIUS, j]
            and needs_me
            and (best == NOBODY or f[HP, j] < f[HP, best])
        ):
            best = j
    return best, slowest


@njit(cache=True)
def seek(f, i, x, y, speed):
    dx, dy = x - f[X, i], y - f[Y, i]
    length = math.sqrt(dx * dx + dy * dy)
    f[PREF_X, i], f[PREF_Y, i] = 0.0, 0.0
    if speed > 0 and length > 0:
        f[PREF_X, i], f[PREF_Y, i] = dx * speed / length, dy * speed / length


@njit(cache=True)
def prepare(f, g, c, attack_x, attack_y, rmax):
    """Phase 2 and 3 of a tick: the enemy picks targets, everybody a preferred velocity."""
    n_units = f.shape[1]
    ally_healer = False
    for i in range(n_units):
        ally_healer |= g[ALIVE, i] and not c[ENEMY, i] and c[HEALER, i] == 1
    for i in range(n_units):
        if not g[ALIVE, i]:
            continue
        speed, goal = c[SPEED, i], NOBODY
        if not c[ENEMY, i]:
            if g[ORDER, i] == MOVE:
                seek(f, i, f[TO_X, i], f[TO_Y, i], speed)
                continue
            if g[ORDER, i] != ACT:
                f[PREF_X, i], f[PREF_Y, i] = 0.0, 0.0
                continue
            goal = g[ORDER_TARGET, i]
        else:
            if c[HEALER, i]:
                if not g[HAD_TARGET, i]:
                    g[TARGET, i], slowest = patient(f, g, c, i, rmax)
                    if slowest < math.inf:
                        speed = slowest
            elif not g[HAD_TARGET, i]:
                g[TARGET, i] = nearest_foe(f, g, c, i, rmax, True)
            elif ally_healer and not c[HEALER, g[TARGET, i]]:
                better = nearest_foe(f, g, c, i, rmax, False)
                if better != NOBODY:
                    g[TARGET, i] = better
            goal = g[TARGET, i]
            if goal == NOBODY:
                seek(f, i, attack_x, attack_y, speed)
                continue
        if in_range(f, c, i, goal) and can_hit(c, i, goal):
            g[ATTACKING, i] = 1
            f[PREF_X, i], f[PREF_Y, i] = 0.0, 0.0
        else:
            seek(f, i, f[X, goal], f[Y, goal], speed)


@njit(cache=True)
def half_planes(f, g, c, rectangles, rmax, i, lines):
    """Fill `lines` with what walls and neighbours forbid unit i. Returns the number of walls' lines, and of all."""
    x, y, vx, vy, r, n = f[X, i], f[Y, i], f[VX, i], f[VY, i], c[RADIUS, i], 0
    if c[PLANE, i] == 0:
        reach = r + c[SPEED, i]
        for k in range(len(rectangles)):
            x0, y0 = rectangles[k, 0], rectangles[k, 1]
            x1, y1 = x0 + rectangles[k, 2], y0 + rectangles[k, 3]
            gx, gy = max(x0 - x, 0.0, x - x1), max(y0 - y, 0.0, y - y1)
            if gx * gx + gy * gy > reach * reach:
                continue
            x0, x1, y0, y1 = x0 - x, x1 - x, y0 - y, y1 - y
            n = add_edge(lines, n, x0, y0, x1, y0, 1.0, 0.0, 0.0, 1.0, 0.0, -1.0, r, vx, vy)
            n = add_edge(lines, n, x1, y0, x1, y1, 0.0, 1.0, -1.0, 0.0, 1.0, 0.0, r, vx, vy)
            n = add_edge(lines, n, x1, y1, x0, y1, -1.0, 0.0, 0.0, -1.0, 0.0, 1.0, r, vx, vy)
            n = add_edge(lines, n, x0, y1, x0, y0, 0.0, -1.0, 1.0, 0.0, -1.0, 0.0, r, vx, vy)
    n_obstacle = n
    for j in range(f.shape[1]):
        px, py = f[X, j] - x, f[Y, j] - y
        if abs(px) > rmax + r or abs(py) > rmax + r or math.sqrt(px * px + py * py) > rmax + r:
            continue
        if j == i or not g[ALIVE, j] or c[PLANE, j] != c[PLANE, i]:
            continue
        share = 1.0 if f[PREF_X, j] == 0.0 and f[PREF_Y, j] == 0.0 else 0.5
        n = add_neighbour(
            lines, n, px, py, vx - f[VX, j], vy - f[VY, j], vx, vy, r + c[RADIUS, j], share
        )
    return n_obstacle, n


@njit(cache=True)
def avoid_collisions(f, g, c, rectangles, rmax, lines, work):
    """Phase 4 of a tick: new velocities, all from the same snapshot."""
    for i in range(f.shape[1]):
        if not g[ALIVE, i]:
            continue
        f[NEW_X, i], f[NEW_Y, i] = 0.0, 0.0
        if f[PREF_X, i] != 0.0 or f[PREF_Y, i] != 0.0:
            n_obstacle, n = half_planes(f, g, c, rectangles, rmax, i, lines)
            f[NEW_X, i], f[NEW_Y, i] = new_velocity(
                lines, n_obstacle, n, c[SPEED, i], f[PREF_X, i], f[PREF_Y, i], work
            )


@njit(cache=True)
def hit(f, c, damage, i, j):
    """All hits of one attack of unit i on unit j.

    A hit of size ``damage[i, j]`` is absorbed by the shield first; of what gets through, the armor is taken off.

    Returns
    -------
    float
        Shield and health that an enemy lost, and 10 if it died; 0 if j is an agent.
    """
    reward = 0.0
    for _ in range(int(c[HITS, i])):
        if f[HP, j] <= 0:
            break
        amount = damage[i, j]
        if c[MAX_SHIELD, j] > 0:
            f[DELAY, j] = SHIELD_DELAY
        absorbed = min(amount, f[SHIELD, j])
        f[SHIELD, j] -= absorbed
        dealt = max(0.0, min(amount - absorbed - c[ARMOR, j], f[HP, j]))
        f[HP, j] -= dealt
        if c[ENEMY, j]:
            reward += absorbed + dealt + (KILL_REWARD if f[HP, j] <= 0 else 0.0)
    return reward


@njit(cache=True)
def explode(f, g, c, damage, i, rmax):
    """A baneling's end."""
    reward = f[HP, i] if c[ENEMY, i] else 0.0
    f[HP, i] = 0.0
    for j in range(f.shape[1]):
        if c[ENEMY, j] == c[ENEMY, i] or not g[INDEXED, j]:
            continue
        dx, dy = f[INDEX_X, j] - f[X, i], f[INDEX_Y, j] - f[Y, i]
        if math.sqrt(dx * dx + dy * dy) <= c[EXTENT, i] + rmax and within(
            f, i, j, c[EXTENT, i] + c[RADIUS, j]
        ):
            reward += hit(f, c, damage, i, j)
    return reward


@njit(cache=True)
def fire_beam(f, g, c, damage, i, target):
    """A colossus's beam across the line of fire."""
    fx, fy = f[X, target] - f[X, i], f[Y, target] - f[Y, i]
    if fx == 0 and fy == 0:
        return 0.0
    angle = (
        0.0
        if fx == 0
        else -math.pi / 2 * math.copysign(1.0, fx)
        if fy == 0
        else math.atan(-fx / fy)
    )
    cos, sin = math.cos(angle), math.sin(angle)
    width, depth = c[EXTENT, i] / 2, c[DEPTH, i] / 2
    rho, reward = math.sqrt(width * width + depth * depth), 0.0
    for j in range(f.shape[1]):
        if c[ENEMY, j] == c[ENEMY, i] or not g[INDEXED, j]:
            continue
        dx, dy = f[INDEX_X, j] - f[X, target], f[INDEX_Y, j] - f[Y, target]
        if math.sqrt(dx * dx + dy * dy) > rho:
            continue
        dx, dy = f[X, j] - f[X, target], f[Y, j] - f[Y, target]
        ex, ey = (
            max(0.0, abs(dx * cos + dy * sin) - width),
            max(0.0, abs(-dx * sin + dy * cos) - depth),
        )
        if ex * ex + ey * ey <= c[RADIUS, j] * c[RADIUS, j]:
            reward += hit(f, c, damage, i, j)
    return reward


@njit(cache=True)
def heal(f, g, c, i, target):
    """A tick of healing."""
    starting = g[PREVIOUS, i] != g[TARGET, i]
    if (starting and f[ENERGY, i] < ENERGY_TO_START) or f[HP, target] == c[MAX_HP, target]:
        g[TARGET, i] = NOBODY
        return
    want = min(c[MAX_HP, target] - f[HP, target], HEALING)
    if f[HEAL_POOL, i] < want:
        energy = min(1.0, f[ENERGY, i])
        f[ENERGY, i] -= energy
        f[HEAL_POOL, i] += HEALING_PER_ENERGY * energy
    amount = min(want, f[HEAL_POOL, i])
    f[HEAL_POOL, i] -= amount
    f[HP, target] += amount


@njit(cache=True)
def process(f, g, c, damage, i, rmax):
    """Phase 5 of a tick for one unit: move, timers, regeneration, attack. Returns the reward."""
    f[VX, i], f[VY, i] = f[NEW_X, i], f[NEW_Y, i]
    f[X, i], f[Y, i] = np.float32(f[X, i] + f[VX, i] * DT), np.float32(f[Y, i] + f[VY, i] * DT)
    f[COOLDOWN, i] = max(0.0, f[COOLDOWN, i] - DT)
    f[DELAY, i] = max(0.0, f[DELAY, i] - DT)
    if f[DELAY, i] == 0:
        f[SHIELD, i] = min(c[MAX_SHIELD, i], f[SHIELD, i] + SHIELD_REGENERATION)
    f[ENERGY, i] = min(c[MAX_ENERGY, i], f[ENERGY, i] + ENERGY_REGENERATION)
    if f[HP, i] < c[MAX_HP, i]:
        f[HP, i] = min(c[MAX_HP, i], f[HP, i] + c[REGENERATION, i] * DT)

    if c[ENEMY, i]:
        target = g[TARGET, i]
    elif g[ORDER, i] == ACT:
        target = g[ORDER_TARGET, i]
    else:
        target = NOBODY
        if g[ORDER, i] == STOP:
            g[TARGET, i] = NOBODY
    if target == NOBODY or not g[ATTACKING, i]:
        return 0.0
    g[ATTACKING, i] = 0
    if f[COOLDOWN, i] > 0:
        return 0.0
    f[COOLDOWN, i] = c[WEAPON_COOLDOWN, i]
    if c[KIND, i] == HEAL:
        heal(f, g, c, i, target)
        return 0.0
    if c[KIND, i] == KAMIKAZE:
        return explode(f, g, c, damage, i, rmax)
    if c[KIND, i] == LASER:
        return fire_beam(f, g, c, damage, i, target)
    return hit(f, c, damage, i, target)


@njit(cache=True)
def tick(f, g, c, damage, rectangles, attack_x, attack_y, rmax, order, lines, work):
    """Play one sixteenth of a second.

    The enemy chooses targets, everybody a preferred velocity, collision avoidance makes new velocities of them. Then
    one unit after the other moves and attacks, and at the end those without health are taken off.

    Parameters
    ----------
    f, g : ndarray
        The battle; changed in place.
    c : ndarray
        The constants of the units.
    damage : ndarray
        (units, units): of a hit of the first on the second.
    rectangles : ndarray
        (n, 4): x, y, width and height of the blocked parts of the map.
    attack_x, attack_y : float
        Where the enemy goes without a target.
    rmax : float
        The largest radius of a unit on the map.
    order : ndarray
        (units,) unit ids in the order in which they move and attack, -1 behind the last.
    lines, work : ndarray
        (4 * len(rectangles) + units, 4) float64: room for half-planes.

    Returns
    -------
    float
        The reward, not yet scaled and without that of the victory.
    """
    for i in range(f.shape[1]):
        g[INDEXED, i] = g[ALIVE, i]
        f[INDEX_X, i], f[INDEX_Y, i] = f[X, i], f[Y, i]
    clean_up(f, g, c)
    prepare(f, g, c, attack_x, attack_y, rmax)
    avoid_collisions(f, g, c, rectangles, rmax, lines, work)
    reward = 0.0
    for i in order:
        if i >= 0 and f[HP, i] > 0:
            reward += process(f, g, c, damage, i, rmax)
    for i in range(f.shape[1]):
        if f[HP, i] <= 0:
            g[ALIVE, i] = 0
    return reward


@njit(cache=True)
def outcome(g, c, raw, max_reward):
    """End a step: scale its reward and see who is left.

    Parameters
    ----------
    g, c : ndarray
    raw : float
        The rewards of its ticks.
    max_reward : float
        10 for each enemy, its health and shield, and 200.

    Returns
    -------
    reward : float
        20 * (raw + 200 if won) / max_reward.
    done, won : bool
        One side has nobody left; that of the enemy.
    """
    left = np.zeros(2)
    for i in range(g.shape[1]):
        left[int(c[ENEMY, i])] += g[ALIVE, i]
    won = left[1] == 0
    return (raw + (WIN_REWARD if won else 0.0)) / (max_reward / 20), won or left[0] == 0, won


@njit(cache=True)
def advance(f, g, c, damage, rectangles, plan, actions, ids, orders, lines, work):
    """Play one environment step with given random orders.

    Parameters
    ----------
    f, g, c, damage, rectangles, lines, work : ndarray
        As in ``tick``.
    plan : tuple of float
        Attack point x and y, largest radius and largest reward.
    actions : ndarray
        (n_agents,) int64, available ones.
    ids : ndarray
        (2, ids in side): the unit ids of agents and enemies.
    orders : ndarray
        (8, units), the ``order`` of each tick.

    Returns
    -------
    reward : float
    done, won : bool
    """
    give_orders(f, g, c, actions, ids)
    raw = 0.0
    for t in range(TICKS):
        raw += tick(f, g, c, damage, rectangles, plan[0], plan[1], plan[2], orders[t], lines, work)
    return outcome(g, c, raw, plan[3])
