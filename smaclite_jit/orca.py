"""Collision avoidance: optimal reciprocal collision avoidance (ORCA) with the reference environment's deviations.

Every neighbour and every obstacle edge forbids a half-plane of velocities; a small linear program finds the permitted
velocity that is closest to the preferred one. A half-plane is a row (point x, point y, direction x, direction y):
permitted velocities lie to the left of the directed line. The time horizon is 1 s, a tick is 1/16 s.

References
----------
van den Berg, Guy, Lin and Manocha, "Reciprocal n-body collision avoidance", Robotics Research (ISRR 2009), Springer
2011.
"""

import math

from numba import njit

EPSILON = 1e-5


@njit(cache=True, inline="always")
def cross(ax, ay, bx, by):
    return ax * by - ay * bx


@njit(cache=True)
def add_neighbour(lines, n, px, py, vx, vy, own_vx, own_vy, combined_radius, share):
    """Append the half-plane of a neighbour.

    The velocity obstacle holds the relative velocities that lead to a collision within 1 s. With u, the least change
    that takes the relative velocity to its border, and its outward normal there, the permitted velocities q are those
    with (q - (own_v + share * u)) . normal >= 0: the ORCA set of van den Berg et al. 2011, with `share` for their 1/2.

    Parameters
    ----------
    lines : ndarray
        (n or more, 4), the half-planes; written to.
    n : int
        How many there are.
    px, py : float
        Position of the neighbour relative to the unit.
    vx, vy : float
        Velocity of the unit relative to the neighbour.
    own_vx, own_vy : float
        Velocity of the unit.
    combined_radius : float
        Of the two.
    share : float
        How much of the change is the unit's: 1/2, or 1 if the neighbour wants to stand still.

    Returns
    -------
    int
        How many half-planes there are now.
    """
    d2, r2 = px * px + py * py, combined_radius * combined_radius
    if d2 > r2:
        wx, wy = vx - px, vy - py
        w2, wp = wx * wx + wy * wy, wx * px + wy * py
        if wp < 0 and wp * wp > r2 * w2:  # the front cap of the velocity obstacle
            w = math.sqrt(w2)
            nx, ny = wx / w, wy / w
            tx, ty = ny, -nx
            ux, uy = (combined_radius - w) * nx, (combined_radius - w) * ny
        else:
            leg = math.sqrt(d2 - r2)
            if cross(px, py, wx, wy) > 0:
                tx, ty = (
                    (px * leg - py * combined_radius) / d2,
                    (px * combined_radius + py * leg) / d2,
                )
            else:
                tx, ty = (
                    (-px * leg - py * combined_radius) / d2,
                    (px * combined_radius - py * leg) / d2,
                )
            along = vx * tx + vy * ty
            ux, uy = along * tx - vx, along * ty - vy
    else:  # already touching: apart within a tick
        wx, wy = vx - 16 * px, vy - 16 * py
        w = math.sqrt(wx * wx + wy * wy)
        if w == 0.0:
            return n
        nx, ny = wx / w, wy / w
        tx, ty = ny, -nx
        ux, uy = (16 * combined_radius - w) * nx, (16 * combined_radius - w) * ny
    lines[n, 0], lines[n, 1], lines[n, 2], lines[n, 3] = (
        own_vx + share * ux,
        own_vy + share * uy,
        tx,
        ty,
    )
    return n + 1


@njit(cache=True)
def add_edge(lines, n, ax, ay, bx, by, dax, day, dbx, dby, dpx, dpy, r, vx, vy):
    """Append the half-plane of an obstacle edge, if it gives one.

    The paper's velocity obstacle of a line segment (van den Berg et al. 2011, "Static Obstacles"), from which the
    reference departs: it shifts the line by -r * ty in both coordinates, and not by (-r * ty, r * tx).

    Parameters
    ----------
    lines, n
        As in ``add_neighbour``.
    ax, ay : float
        Start of the edge relative to the unit, counter-clockwise around the obstacle.
    bx, by : float
        Its end.
    dax, day : float
        Direction of the edge.
    dbx, dby : float
        Direction of the next one.
    dpx, dpy : float
        Direction of the one before.
    r : float
        Radius of the unit.
    vx, vy : float
        Velocity of the unit.

    Returns
    -------
    int
        How many half-planes there are now.
    """
    ex, ey = bx - ax, by - ay
    if not cross(ax, ay, ex, ey) < 0:  # the unit is not on the outer side
        return n
    for k in range(n):  # covered by an earlier edge
        cx, cy, tx, ty = lines[k, 0], lines[k, 1], lines[k, 2], lines[k, 3]
        if (
            cross(ax - cx, ay - cy, tx, ty) - r >= -EPSILON
            and cross(bx - cx, by - cy, tx, ty) - r >= -EPSILON
        ):
            return n
    a2, b2, r2 = ax * ax + ay * ay, bx * bx + by * by, r * r
    s = (-ax * ex - ay * ey) / (ex * ex + ey * ey)
    fx, fy = -ax - s * ex, -ay - s * ey
    distance2 = fx * fx + fy * fy

    # Contact with a vertex or with the edge.
    if s < 0 and a2 < r2:
        a = math.sqrt(a2)
        lines[n, 0], lines[n, 1], lines[n, 2], lines[n, 3] = 0.0, 0.0, -ay / a, ax / a
        return n + 1
    if s > 1 and b2 <= r2:
        if cross(bx, by, dbx, dby) < 0:
            return n
        b = math.sqrt(b2)
        lines[n, 0], lines[n, 1], lines[n, 2], lines[n, 3] = 0.0, 0.0, -by / b, bx / b
        return n + 1
    if 0 < s < 1 and distance2 <= r2:
        lines[n, 0], lines[n, 1], lines[n, 2], lines[n, 3] = 0.0, 0.0, -dax, -day
        return n + 1

    # The legs of the velocity obstacle.
    p1x, p1y, p2x, p2y, d1x, d1y, d2x, d2y, single = ax, ay, bx, by, dax, day, dax, day, False
    if s < 0 and distance2 <= r2:
        p2x, p2y, single = ax, ay, True
    elif s > 1 and distance2 <= r2:
        p1x, p1y, d1x, d1y, d2x, d2y, single = bx, by, dbx, dby, dbx, dby, True
    else:
        d2x, d2y = dbx, dby
    g1, g2 = p1x * p1x + p1y * p1y, p2x * p2x + p2y * p2y
    if g1 < r2 or g2 < r2:
        return n  # the square root of a negative number: comparisons with it are false
    m1, m2 = math.sqrt(g1 - r2), math.sqrt(g2 - r2)
    leftx, lefty = (p1x * m1 - p1y * r) / g1, (p1x * r + p1y * m1) / g1
    rightx, righty = (p2x * m2 + p2y * r) / g2, (-p2x * r + p2y * m2) / g2
    left_foreign = cross(leftx, lefty, -dpx, -dpy) >= 0
    if left_foreign:
        leftx, lefty = -dpx, -dpy
    right_foreign = cross(rightx, righty, d2x, d2y) <= 0
    if right_foreign:
        rightx, righty = d2x, d2y

    kx, ky = p2x - p1x, p2y - p1y
    tau = 0.5 if single else ((vx - p1x) * kx + (vy - p1y) * ky) / (kx * kx + ky * ky)
    tl = (vx - p1x) * leftx + (vy - p1y) * lefty
    tr = (vx - p2x) * rightx + (vy - p2y) * righty
    if (tau < 0 and tl < 0) or (single and tl < 0 and tr < 0):
        return add_round_end(lines, n, p1x, p1y, vx, vy, r)
    if tau > 1 and tr < 0:
        return add_round_end(lines, n, p2x, p2y, vx, vy, r)

    cut_off, left, right = math.inf, math.inf, math.inf
    if not (tau < 0 or tau > 1 or single):
        cut_off = (vx - p1x - tau * kx) ** 2 + (vy - p1y - tau * ky) ** 2
    if not tl < 0:
        left = (vx - p1x - tl * leftx) ** 2 + (vy - p1y - tl * lefty) ** 2
    if not tr < 0:
        right = (vx - p2x - tr * rightx) ** 2 + (vy - p2y - tr * righty) ** 2
    if cut_off <= left and cut_off <= right:
        tx, ty, cx, cy = -d1x, -d1y, p1x, p1y
    elif left <= right:
        if left_foreign:
            return n
        tx, ty, cx, cy = leftx, lefty, p1x, p1y
    else:
        if right_foreign:
            return n
        tx, ty, cx, cy = -rightx, -righty, p2x, p2y
    # Quirk of the reference: the shift that belongs to x is added to both coordinates.
    lines[n, 0], lines[n, 1], lines[n, 2], lines[n, 3] = cx - r * ty, cy - r * ty, tx, ty
    return n + 1


@njit(cache=True)
def add_round_end(lines, n, px, py, vx, vy, r):
    wx, wy = vx - px, vy - py
    w = math.sqrt(wx * wx + wy * wy)
    nx, ny = wx / w, wy / w
    lines[n, 0], lines[n, 1], lines[n, 2], lines[n, 3] = px + r * nx, py + r * ny, ny, -nx
    return n + 1


@njit(cache=True)
def best_on_line(lines, i, vmax, goal_x, goal_y, direction_mode):
    """LP-1: the best permitted point on line i, given the lines before it. Returns (found, x, y)."""
    cx, cy, tx, ty = lines[i, 0], lines[i, 1], lines[i, 2], lines[i, 3]
    ct = cx * tx + cy * ty
    radicand = ct * ct + vmax * vmax - (cx * cx + cy * cy)
    if radicand < 0:
        return False, 0.0, 0.0
    h = math.sqrt(radicand)
    low, high = -ct - h, -ct + h
    for j in range(i):
        jx, jy, ux, uy = lines[j, 0], lines[j, 1], lines[j, 2], lines[j, 3]
        den, num = cross(tx, ty, ux, uy), cross(ux, uy, cx - jx, cy - jy)
        if abs(den) < EPSILON:
            if num < 0:
                return False, 0.0, 0.0
            continue
        z = num / den
        if den >= 0:
            high = min(high, z)
        else:
            low = max(low, z)
        if low > high:
            return False, 0.0, 0.0
    if direction_mode:
        z = high if goal_x * tx + goal_y * ty > 0 else low
    else:
        z = tx * (goal_x - cx) + ty * (goal_y - cy)
        z = low if z < low else high if z > high else z
    return True, cx + z * tx, cy + z * ty


@njit(cache=True)
def best_velocity(lines, n, vmax, goal_x, goal_y, direction_mode):
    """LP-2: returns (index of the first line that cannot be kept, or n; x, y)."""
    x, y = goal_x, goal_y
    if direction_mode:
        x, y = goal_x * vmax, goal_y * vmax
    elif goal_x * goal_x + goal_y * goal_y > vmax * vmax:
        length = math.sqrt(goal_x * goal_x + goal_y * goal_y)
        x, y = goal_x / length * vmax, goal_y / length * vmax
    for i in range(n):
        if cross(lines[i, 2], lines[i, 3], lines[i, 0] - x, lines[i, 1] - y) > 0:
            found, new_x, new_y = best_on_line(lines, i, vmax, goal_x, goal_y, direction_mode)
            if not found:
                return i, x, y
            x, y = new_x, new_y
    return n, x, y


@njit(cache=True)
def new_velocity(lines, n_obstacle, n, vmax, goal_x, goal_y, work):
    """Find the permitted velocity that is closest to the goal, or where there is none, the one that violates least.

    Linear programs in two dimensions, one half-plane after the other. Where the neighbours leave no velocity, the
    largest distance to their half-planes is made as small as can be, while those of obstacles stay as they are (van
    den Berg et al. 2011, "Densely Packed Conditions").

    Parameters
    ----------
    lines : ndarray
        (n or more, 4): the half-planes, those of obstacles first.
    n_obstacle : int
        How many are of obstacles.
    n : int
        How many there are.
    vmax : float
        The greatest speed.
    goal_x, goal_y : float
        The preferred velocity.
    work : ndarray
        Like ``lines``, room for others.

    Returns
    -------
    x, y : float
        The new velocity.
    """
    failed, x, y = best_velocity(lines, n, vmax, goal_x, goal_y, False)
    distance = 0.0
    for i in range(failed, n):
        cx, cy, tx, ty = lines[i, 0], lines[i, 1], lines[i, 2], lines[i, 3]
        if cross(tx, ty, cx - x, cy - y) <= distance:
            continue
        m = n_obstacle
        work[:m] = lines[:m]
        for j in range(n_obstacle, i):
            jx, jy, ux, uy = lines[j, 0], lines[j, 1], lines[j, 2], lines[j, 3]
            det = cross(tx, ty, ux, uy)
            if abs(det) <= EPSILON:
                if tx * ux + ty * uy > 0:
                    continue
                work[m, 0], work[m, 1] = (cx + jx) / 2, (cy + jy) / 2
            else:
                z = cross(ux, uy, cx - jx, cy - jy) / det
                work[m, 0], work[m, 1] = cx + z * tx, cy + z * ty
            dx, dy = ux - tx, uy - ty
            length = math.sqrt(dx * dx + dy * dy)
            work[m, 2], work[m, 3] = dx / length, dy / length
            m += 1
        stopped, new_x, new_y = best_velocity(work, m, vmax, -ty, tx, True)
        if stopped == m:
            x, y = new_x, new_y
        distance = cross(tx, ty, cx - x, cy - y)
    return x, y
