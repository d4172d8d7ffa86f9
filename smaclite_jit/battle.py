"""The rules of a battle, compiled with numba: one function for each phase of a tick.

Two arrays have one record for each unit: ``units`` what changes, ``kinds`` what never changes.
``arena.UNIT`` and ``arena.KIND`` list their fields. A unit id is a place in these arrays. Ids run
over both sides, in the order of the map's groups. After ``unit = units[i]``, assigning to
``unit.hp`` changes the battle. Positions are rounded to float32, and ranges are compared in float32
(``within``). All else is float64.

The order of the operations is part of the rules: results are compared with recordings of
the original, and rounding in another place changes whole battles. After any change run
``pytest tests/test_smaclite_jit.py``.

numba pastes functions with ``inline="always"`` into their callers. That saves time where arrays
are handed over: each call counts references to them, about 10 ns for an array. Write a new function
without it, and measure before adding it.
"""

import math

import numpy as np

from smaclite_jit.arena import (
    ACT,
    BATTLE_REWARD,
    EAST,
    FIRST_TARGET,
    HEAL,
    KAMIKAZE,
    KILL_REWARD,
    LASER,
    MOVE,
    NO_OP,
    NOBODY,
    NORTH,
    SOUTH,
    STOP,
    WEST,
    WIN_REWARD,
)
from smaclite_jit.compile_cache import compiled
from smaclite_jit.orca import add_edge, add_neighbour, new_velocity
from smaclite_jit.turn_order import shuffle_turns
from smaclite_jit.units import GROUND

TICKS = 8  # in an environment step
DT = 1 / 16  # seconds in a tick; orca.py and the rates below need changing with it
MOVE_DISTANCE = 2.0  # of a move order, in cells
SHIELD_DELAY = 10.0  # seconds
SHIELD_REGENERATION = 0.125  # a tick: 2 a second
ENERGY_REGENERATION = 0.03515625  # a tick: 0.5625 a second
HEALING = 0.5625  # hp a tick: 9 a second
HEALING_PER_ENERGY = 3.0  # hp
ENERGY_TO_START = 5.0  # healing somebody else
UNSEEN = 2e9  # the distance of attackers that are out of sight: they come after all others


@compiled(inline="always")
def distance(unit, other):
    """The distance of the centres, in cells."""
    dx = unit.x - other.x
    dy = unit.y - other.y
    return math.sqrt(dx * dx + dy * dy)


@compiled(inline="always")
def within(unit, other, limit):
    """The distance of the centres is at most `limit`, in float32 as the reference does it."""
    gap_x = abs(np.float32(unit.x) - np.float32(other.x))
    gap_y = abs(np.float32(unit.y) - np.float32(other.y))
    limit_32 = np.float32(limit)
    if gap_x > limit_32 or gap_y > limit_32:
        return False
    if gap_x + gap_y <= limit_32:
        return True
    return gap_x * gap_x + gap_y * gap_y <= np.float32(limit * limit)


@compiled(inline="always")
def in_range(unit, kind, other, other_kind):
    """Whether `other` is within the attack range of `unit`, from rim to rim."""
    return within(unit, other, kind.attack_range + kind.radius + other_kind.radius)


@compiled(inline="always")
def can_hit(kind, other_kind):
    """Whether a kind of unit can hit, or heal, units on the plane of another."""
    plane_bit = 1 << other_kind.plane
    return kind.hits_planes & plane_bit != 0


# Orders, once a step.


@compiled
def give_orders(units, kinds, agents, enemies, actions):
    """Turn actions into orders for the step. `agents` and `enemies` are unit ids."""
    for agent in range(len(actions)):
        action = actions[agent]
        i = agents[agent]
        unit = units[i]
        if action in (NO_OP, STOP):
            unit.order = action
        elif action < FIRST_TARGET:
            unit.order = MOVE
            unit.to_x = unit.x
            unit.to_y = unit.y
            if action == NORTH:
                unit.to_y += MOVE_DISTANCE
            elif action == SOUTH:
                unit.to_y -= MOVE_DISTANCE
            elif action == EAST:
                unit.to_x += MOVE_DISTANCE
            elif action == WEST:
                unit.to_x -= MOVE_DISTANCE
        else:
            unit.order = ACT
            if kinds[i].healer:
                unit.order_target = agents[action - FIRST_TARGET]
            else:
                unit.order_target = enemies[action - FIRST_TARGET]


# The phases of a tick.


@compiled
def index_positions(units):
    """Remember where the units are, for attacks on an area."""
    for i in range(len(units)):
        unit = units[i]
        unit.index_x = unit.x
        unit.index_y = unit.y


@compiled
def clean_up(units, kinds):
    """Set the agents' targets by their orders; drop the enemy's that are dead or out of range."""
    for i in range(len(units)):
        unit = units[i]
        if not unit.alive:
            continue
        unit.previous_target = unit.target
        if not kinds[i].enemy:
            unit.target = NOBODY
            if unit.order == ACT and units[unit.order_target].hp > 0:
                unit.target = unit.order_target
            continue
        if unit.target != NOBODY:
            target = units[unit.target]
            reached = in_range(unit, kinds[i], target, kinds[unit.target])
            # A target that attacks this unit is kept, however far away it is. Quirk of the
            # reference: where enemies have the smaller ids, target.target is of the tick before.
            if target.hp <= 0 or not (reached or target.target == i):
                unit.target = NOBODY
        unit.kept_target = unit.target != NOBODY


@compiled
def nearest_foe(units, kinds, i, largest_radius, attackers_from_afar):
    """The unit that enemy i picks, or NOBODY.

    Of those that it notices or that attack it, it takes the one with the lowest priority, then the
    nearest. Only with `attackers_from_afar` does it know of attackers beyond its scan range.
    """
    unit = units[i]
    kind = kinds[i]
    best = NOBODY
    best_priority = math.inf
    best_distance = math.inf
    for j in range(len(units)):
        foe = units[j]
        foe_kind = kinds[j]
        if foe_kind.enemy or not foe.alive or foe.hp <= 0 or not can_hit(kind, foe_kind):
            continue
        d = distance(unit, foe)
        attacks_me = foe.target == i
        if d <= kind.scan_range + largest_radius:  # as far as the reference searches
            if not (attacks_me or d < kind.scan_range + foe_kind.radius):
                continue
        elif attacks_me and attackers_from_afar:
            # Quirk of the reference: it knows its attackers however far away they are.
            d = UNSEEN
        else:
            continue
        priority = foe_kind.priority
        if priority < best_priority or (priority == best_priority and d < best_distance):
            best = j
            best_priority = priority
            best_distance = d
    return best


@compiled
def weakest_patient(units, kinds, i, largest_radius):
    """Returns the id that enemy healer i picks, or NOBODY, and the lowest speed around it.

    It picks the unit with the least health of those of its side that are hurt or fighting, itself
    too if it can heal its own plane. Only comrades count for the speed; without one it is infinity.
    """
    unit = units[i]
    kind = kinds[i]
    best = NOBODY
    slowest = math.inf
    for j in range(len(units)):
        comrade = units[j]
        comrade_kind = kinds[j]
        if not comrade_kind.enemy or not comrade.alive or not can_hit(kind, comrade_kind):
            continue
        d = distance(unit, comrade)
        if d > kind.scan_range + largest_radius:
            continue
        if j != i:
            slowest = min(slowest, comrade_kind.speed)
        if comrade.hp <= 0 or not d < kind.scan_range + comrade_kind.radius:
            continue
        hurt_or_fighting = comrade.hp < comrade_kind.max_hp or comrade.target != NOBODY
        if hurt_or_fighting and (best == NOBODY or comrade.hp < units[best].hp):
            best = j
    return best, slowest


@compiled
def stand_still(unit):
    """Prefer not to move."""
    unit.pref_x = 0.0
    unit.pref_y = 0.0


@compiled
def seek(unit, x, y, speed):
    """Prefer to go straight to (x, y)."""
    dx = x - unit.x
    dy = y - unit.y
    length = math.sqrt(dx * dx + dy * dy)
    if speed > 0 and length > 0:
        unit.pref_x = dx * speed / length
        unit.pref_y = dy * speed / length
    else:
        stand_still(unit)


@compiled
def approach(unit, kind, target, target_kind, speed):
    """Prefer to go to the target or, in range of it, to stand still and attack."""
    if in_range(unit, kind, target, target_kind) and can_hit(kind, target_kind):
        unit.attacking = True
        stand_still(unit)
    else:
        # Quirk of the reference: `attacking` stays as it is. A unit that lost its turn, because it
        # was dead when it came, and was healed in the same tick attacks in the next, out of range.
        seek(unit, target.x, target.y, speed)


@compiled(inline="always")
def prepare_agent(units, kinds, i):
    """An agents' unit does what it is told."""
    unit = units[i]
    kind = kinds[i]
    target_id = unit.order_target
    if unit.order == MOVE:
        # Quirk of the reference: it never arrives, so that fast units go too far by up to a tick.
        seek(unit, unit.to_x, unit.to_y, kind.speed)
    elif unit.order == ACT:
        approach(unit, kind, units[target_id], kinds[target_id], kind.speed)
    else:
        stand_still(unit)


@compiled(inline="always")
def prepare_enemy(units, rules, i, ally_healer):
    """An enemy picks a target, and goes to it or to the attack point."""
    kinds = rules.kinds
    largest_radius = rules.largest_radius
    unit = units[i]
    kind = kinds[i]
    speed = kind.speed
    if unit.kept_target:
        # Quirk of the reference: while a healer of the agents lives, a fighter picks again in every
        # tick, unless its target is a healer. Otherwise a target is kept.
        if ally_healer and not kind.healer and not kinds[unit.target].healer:
            better = nearest_foe(units, kinds, i, largest_radius, False)
            if better != NOBODY:
                unit.target = better
    elif kind.healer:
        unit.target, slowest = weakest_patient(units, kinds, i, largest_radius)
        # Quirk of the reference: if it moves, it is as slow as the slowest comrade around it.
        if speed > 0 and slowest < math.inf:
            speed = slowest
    else:
        unit.target = nearest_foe(units, kinds, i, largest_radius, True)
    target_id = unit.target
    if target_id == NOBODY:
        seek(unit, rules.attack_x, rules.attack_y, speed)
    else:
        approach(unit, kind, units[target_id], kinds[target_id], speed)


@compiled(inline="always")
def prepare(units, rules):
    """The enemies pick targets; everybody gets a preferred velocity."""
    kinds = rules.kinds
    ally_healer = False
    for i in range(len(units)):
        if units[i].alive and kinds[i].healer and not kinds[i].enemy:
            ally_healer = True
    for i in range(len(units)):
        if not units[i].alive:
            continue
        if kinds[i].enemy:
            prepare_enemy(units, rules, i, ally_healer)
        else:
            prepare_agent(units, kinds, i)


@compiled
def collect_half_planes(units, kinds, i, rectangles, largest_radius, half_planes):
    """Write down which velocities walls and neighbours forbid unit i.

    Returns
    -------
    n_obstacle, n : int
        How many half-planes there are of walls, which come first, and of all.
    """
    unit = units[i]
    kind = kinds[i]
    x = unit.x
    y = unit.y
    radius = kind.radius
    n = 0
    if kind.plane == GROUND:
        wall_reach = radius + kind.speed  # what it could touch within a second
        for k in range(len(rectangles)):
            left = rectangles[k, 0]
            bottom = rectangles[k, 1]
            right = left + rectangles[k, 2]
            top = bottom + rectangles[k, 3]
            gap_x = max(left - x, 0.0, x - right)
            gap_y = max(bottom - y, 0.0, y - top)
            if gap_x * gap_x + gap_y * gap_y > wall_reach * wall_reach:
                continue
            # The sides of the rectangle as the unit sees them, counter-clockwise.
            west = left - x
            south = bottom - y
            east = right - x
            north = top - y
            n = add_edge(half_planes, n, unit, radius, west, south, east, south, 1.0, 0.0)
            n = add_edge(half_planes, n, unit, radius, east, south, east, north, 0.0, 1.0)
            n = add_edge(half_planes, n, unit, radius, east, north, west, north, -1.0, 0.0)
            n = add_edge(half_planes, n, unit, radius, west, north, west, south, 0.0, -1.0)
    n_obstacle = n
    # Quirk of the reference: the search goes only as far as units of the largest kind touch.
    contact_reach = largest_radius + radius
    for j in range(len(units)):
        other = units[j]
        dx = other.x - x
        dy = other.y - y
        if abs(dx) > contact_reach or abs(dy) > contact_reach:
            continue  # this only spares the square root
        if math.sqrt(dx * dx + dy * dy) > contact_reach:
            continue
        if j == i or not other.alive or kinds[j].plane != kind.plane:
            continue
        # Quirk of the reference: a unit that wants to stand has no share in avoiding others.
        waits = other.pref_x == 0.0 and other.pref_y == 0.0
        share = 1.0 if waits else 0.5
        n = add_neighbour(half_planes, n, unit, other, radius + kinds[j].radius, share)
    return n_obstacle, n


@compiled(inline="always")
def avoid_collisions(units, rules, half_planes, scratch):
    """Find the new velocities, all from the same snapshot.

    Quirk of the reference: a unit that prefers to stand is never pushed.
    """
    kinds = rules.kinds
    rectangles = rules.rectangles
    largest_radius = rules.largest_radius
    for i in range(len(units)):
        unit = units[i]
        if not unit.alive:
            continue
        unit.new_x = 0.0
        unit.new_y = 0.0
        if unit.pref_x != 0.0 or unit.pref_y != 0.0:
            n_obstacle, n = collect_half_planes(
                units, kinds, i, rectangles, largest_radius, half_planes
            )
            unit.new_x, unit.new_y = new_velocity(
                half_planes, n_obstacle, n, kinds[i].speed, unit.pref_x, unit.pref_y, scratch
            )


@compiled
def move_and_recover(unit, kind):
    """One unit's movement, timers and regeneration in a tick."""
    unit.vx = unit.new_x
    unit.vy = unit.new_y
    unit.x = np.float32(unit.x + unit.vx * DT)
    unit.y = np.float32(unit.y + unit.vy * DT)
    unit.cooldown = max(0.0, unit.cooldown - DT)
    unit.shield_delay = max(0.0, unit.shield_delay - DT)
    if unit.shield_delay == 0:
        unit.shield = min(kind.max_shield, unit.shield + SHIELD_REGENERATION)
    unit.energy = min(kind.max_energy, unit.energy + ENERGY_REGENERATION)
    if unit.hp < kind.max_hp:
        unit.hp = min(kind.max_hp, unit.hp + kind.regeneration * DT)


@compiled
def strike(units, kinds, damage, i, j):
    """One attack of unit i on unit j, with all its hits.

    A hit of size ``damage[i, j]`` is absorbed by the shield first; of what gets through, the armor
    is taken off.

    Returns
    -------
    float
        Shield and health that an enemy lost, and 10 if it died; 0 if j is an agent.
    """
    target = units[j]
    kind = kinds[j]
    reward = 0.0
    for _ in range(kinds[i].hits):
        if target.hp <= 0:
            break
        amount = damage[i, j]
        if kind.max_shield > 0:
            target.shield_delay = SHIELD_DELAY
        absorbed = min(amount, target.shield)
        target.shield -= absorbed
        dealt = max(0.0, min(amount - absorbed - kind.armor, target.hp))
        target.hp -= dealt
        if kind.enemy:
            kill_reward = KILL_REWARD if target.hp <= 0 else 0.0
            reward += absorbed + dealt + kill_reward
    return reward


@compiled
def explode(units, kinds, damage, i, largest_radius):
    """A baneling's end: it strikes every foe around it. Returns the reward."""
    unit = units[i]
    kind = kinds[i]
    # Quirk of the reference: an enemy's pays the health it has left, but no kill reward.
    reward = unit.hp if kind.enemy else 0.0
    unit.hp = 0.0
    for j in range(len(units)):
        foe = units[j]
        if kinds[j].enemy == kind.enemy or not foe.alive:
            continue
        dx = foe.index_x - unit.x
        dy = foe.index_y - unit.y
        if math.sqrt(dx * dx + dy * dy) > kind.extent + largest_radius:
            continue
        if within(unit, foe, kind.extent + kinds[j].radius):
            reward += strike(units, kinds, damage, i, j)
    return reward


@compiled
def beam_angle(fire_x, fire_y):
    """The direction across the line of fire, in radians from the x axis."""
    if fire_x == 0:
        return 0.0
    if fire_y == 0:
        # The reference computes atan(-1 / (fire_y / fire_x)), with an infinity here. The bar is the
        # same for either sign.
        return -math.copysign(math.pi / 2, fire_x)
    return math.atan(-fire_x / fire_y)


@compiled
def fire_beam(units, kinds, damage, i, target_id):
    """A colossus's beam: it strikes every foe in a bar across the line of fire.

    The target is in the middle of the bar. Returns the reward.
    """
    kind = kinds[i]
    target = units[target_id]
    fire_x = target.x - units[i].x
    fire_y = target.y - units[i].y
    if fire_x == 0 and fire_y == 0:
        return 0.0
    angle = beam_angle(fire_x, fire_y)
    cos = math.cos(angle)
    sin = math.sin(angle)
    half_width = kind.extent / 2
    half_depth = kind.depth / 2
    # Quirk of the reference: no radius is added, so units that only touch the ends are missed.
    reach = math.sqrt(half_width * half_width + half_depth * half_depth)
    reward = 0.0
    for j in range(len(units)):
        foe = units[j]
        if kinds[j].enemy == kind.enemy or not foe.alive:
            continue
        dx = foe.index_x - target.x
        dy = foe.index_y - target.y
        if math.sqrt(dx * dx + dy * dy) > reach:
            continue
        dx = foe.x - target.x
        dy = foe.y - target.y
        # How far its centre is outside the bar, along the bar and along the line of fire.
        outside_x = max(0.0, abs(dx * cos + dy * sin) - half_width)
        outside_y = max(0.0, abs(-dx * sin + dy * cos) - half_depth)
        if outside_x * outside_x + outside_y * outside_y <= kinds[j].radius * kinds[j].radius:
            reward += strike(units, kinds, damage, i, j)
    return reward


@compiled
def heal(unit, patient, max_hp):
    """A tick of healing: energy fills the pool, the pool heals. `max_hp` is the patient's."""
    starting = unit.previous_target != unit.target
    if (starting and unit.energy < ENERGY_TO_START) or patient.hp == max_hp:
        unit.target = NOBODY
        return
    want = min(max_hp - patient.hp, HEALING)
    if unit.heal_pool < want:
        energy = min(1.0, unit.energy)
        unit.energy -= energy
        unit.heal_pool += HEALING_PER_ENERGY * energy
    amount = min(want, unit.heal_pool)
    unit.heal_pool -= amount
    # Quirk of the reference: it heals the dead too, and a unit that has died in this tick lives on.
    patient.hp += amount


@compiled(inline="always")
def attack(units, kinds, damage, i, target_id, largest_radius):
    """One attack, or a tick of healing. Returns the reward."""
    targeter = kinds[i].targeter
    if targeter == HEAL:
        heal(units[i], units[target_id], kinds[target_id].max_hp)
        return 0.0
    if targeter == KAMIKAZE:
        return explode(units, kinds, damage, i, largest_radius)
    if targeter == LASER:
        return fire_beam(units, kinds, damage, i, target_id)
    return strike(units, kinds, damage, i, target_id)


@compiled
def take_turn(units, kinds, damage, i, largest_radius):
    """One unit moves, recovers and attacks. Returns the reward."""
    unit = units[i]
    kind = kinds[i]
    move_and_recover(unit, kind)
    target_id = NOBODY
    if kind.enemy:
        target_id = unit.target
    elif unit.order == ACT:
        # Quirk of the reference: it goes on attacking a corpse until the end of the step.
        target_id = unit.order_target
    if target_id == NOBODY or not unit.attacking:
        return 0.0
    unit.attacking = False
    if unit.cooldown > 0:
        return 0.0
    unit.cooldown = kind.weapon_cooldown
    return attack(units, kinds, damage, i, target_id, largest_radius)


@compiled(inline="always")
def take_turns(units, rules, turns):
    """One unit after the other takes its turn, unless it has died. Returns the reward."""
    kinds = rules.kinds
    damage = rules.damage
    largest_radius = rules.largest_radius
    reward = 0.0
    for i in turns:
        if i != NOBODY and units[i].hp > 0:
            reward += take_turn(units, kinds, damage, i, largest_radius)
    return reward


@compiled
def remove_dead(units):
    """Take the units without health off the map."""
    for i in range(len(units)):
        if units[i].hp <= 0:
            units[i].alive = False


@compiled
def tick(units, rules, turns, half_planes, scratch):
    """Play one sixteenth of a second, in the phases of "How a step goes" in docs/smaclite_jit.md.

    The enemy drops and picks targets, every unit chooses a velocity, collision avoidance makes new
    velocities of them. Then one unit after the other moves and attacks, and at the end those
    without health are taken off.

    Parameters
    ----------
    units : ndarray
        (units,) of ``arena.UNIT``, the battle; changed in place.
    rules : arena.Rules
        Of the map.
    turns : ndarray
        (units,) unit ids in the order in which they move and attack, -1 behind the last.
    half_planes, scratch : ndarray
        (4 * len(rules.rectangles) + units, 4) float64: room for half-planes.

    Returns
    -------
    float
        The reward, not yet scaled and without that of the victory.
    """
    index_positions(units)
    # 1. Targets are dropped.
    clean_up(units, rules.kinds)
    # 2. The enemy picks targets, and 3. every unit chooses a velocity.
    prepare(units, rules)
    # 4. Collision avoidance turns these into new velocities.
    avoid_collisions(units, rules, half_planes, scratch)
    # 5. One unit after the other, in random order, moves, recovers and attacks.
    reward = take_turns(units, rules, turns)
    # 6. The dead are removed.
    remove_dead(units)
    return reward


# A step.


@compiled
def play_ticks(units, rules, rng_state, n_ticks):
    """Play some ticks with the turns in random order.

    Parameters
    ----------
    units, rules
        As in ``tick``.
    rng_state : ndarray
        (6,) uint64, the generator of turn_order.py; changed in place.
    n_ticks : int
        ``TICKS`` for an environment step.

    Returns
    -------
    float
        The reward, not yet scaled and without that of the victory.
    """
    turns = np.empty(len(units), np.int64)
    half_planes = np.empty((4 * len(rules.rectangles) + len(units), 4))
    scratch = np.empty_like(half_planes)
    reward = 0.0
    # Quirk of the reference: all ticks are played, also when the fight is decided before the last.
    for _ in range(n_ticks):
        shuffle_turns(rng_state, units, turns)
        reward += tick(units, rules, turns, half_planes, scratch)
    return reward


@compiled
def end_step(units, rules, raw_reward):
    """Scale the reward of a step and see which side has units left.

    Parameters
    ----------
    units : ndarray
    rules : arena.Rules
    raw_reward : float
        The rewards of its ticks.

    Returns
    -------
    reward : float
        20 * (raw_reward + (200 if won else 0)) / rules.largest_reward.
    done, won : bool
        One side has nobody left; that of the enemy.
    """
    agents_left = False
    enemies_left = False
    for i in range(len(units)):
        if units[i].alive:
            if rules.kinds[i].enemy:
                enemies_left = True
            else:
                agents_left = True
    won = not enemies_left
    win_reward = WIN_REWARD if won else 0.0
    reward = (raw_reward + win_reward) / (rules.largest_reward / BATTLE_REWARD)
    return reward, won or not agents_left, won
