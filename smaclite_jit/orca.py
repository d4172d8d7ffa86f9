"""Optimal reciprocal collision avoidance (ORCA) with the reference environment's deviations.

Every neighbour and every obstacle edge forbids a half-plane of velocities; a small linear program
finds the permitted velocity that is closest to the preferred one. A half-plane is a row (point x,
point y, direction x, direction y): permitted velocities lie to the left of the directed line. The
time horizon is 1 s, a tick is 1/16 s.

The order of the operations is part of the rules: results are compared with recordings of
the original, and rounding in another place changes whole battles. After any change run
``pytest tests/test_smaclite_jit.py``.

References
----------
van den Berg, Guy, Lin and Manocha, "Reciprocal n-body collision avoidance", Robotics Research
(ISRR 2009), Springer 2011.
"""

import math

from smaclite_jit.compile_cache import compiled

EPSILON = 1e-5


@compiled(inline="always")
def cross(ax, ay, bx, by):
    """The cross product: positive where b points to the left of a."""
    return ax * by - ay * bx


@compiled(inline="always")
def dot(ax, ay, bx, by):
    """The dot product."""
    return ax * bx + ay * by


@compiled(inline="always")
def square(x, y):
    """The squared length of a vector."""
    return x * x + y * y


@compiled(inline="always")
def half_plane(half_planes, i):
    """Half-plane i: point x, point y, direction x, direction y."""
    return half_planes[i, 0], half_planes[i, 1], half_planes[i, 2], half_planes[i, 3]


@compiled(inline="always")
def set_half_plane(half_planes, n, point_x, point_y, direction_x, direction_y):
    """Write half-plane n."""
    half_planes[n, 0] = point_x
    half_planes[n, 1] = point_y
    half_planes[n, 2] = direction_x
    half_planes[n, 3] = direction_y


@compiled
def add_neighbour(half_planes, n, unit, neighbour, combined_radius, share):
    """Append the half-plane of a neighbour.

    The velocity obstacle holds the relative velocities that lead to a collision within 1 s. With u,
    the least change that takes the relative velocity to its border, and its outward normal there,
    the permitted velocities q are those with (q - (own_v + share * u)) . normal >= 0: the ORCA set
    of van den Berg et al. 2011, with `share` for their 1/2.

    Parameters
    ----------
    half_planes : ndarray
        (n or more, 4); written to.
    n : int
        How many there are.
    unit, neighbour : record
        Of ``arena.UNIT``.
    combined_radius : float
        Of the two.
    share : float
        How much of the change is the unit's: 1/2, or 1 if the neighbour wants to stand still.

    Returns
    -------
    int
        How many half-planes there are now.
    """
    # The neighbour's position relative to the unit, the unit's velocity relative to the neighbour.
    px = neighbour.x - unit.x
    py = neighbour.y - unit.y
    vx = unit.vx - neighbour.vx
    vy = unit.vy - neighbour.vy
    distance_2 = square(px, py)
    radius_2 = combined_radius * combined_radius
    if distance_2 > radius_2:
        wx = vx - px
        wy = vy - py
        w_2 = square(wx, wy)
        wp = dot(wx, wy, px, py)
        if wp < 0 and wp * wp > radius_2 * w_2:  # the front cap of the velocity obstacle
            w = math.sqrt(w_2)
            normal_x = wx / w
            normal_y = wy / w
            tx = normal_y
            ty = -normal_x
            gap = combined_radius - w
            ux = gap * normal_x
            uy = gap * normal_y
        else:
            leg = math.sqrt(distance_2 - radius_2)
            if cross(px, py, wx, wy) > 0:  # the left leg
                tx = (px * leg - py * combined_radius) / distance_2
                ty = (px * combined_radius + py * leg) / distance_2
            else:
                tx = (-px * leg - py * combined_radius) / distance_2
                ty = (px * combined_radius - py * leg) / distance_2
            along = dot(vx, vy, tx, ty)
            ux = along * tx - vx
            uy = along * ty - vy
    else:  # already touching: apart within a tick
        wx = vx - 16 * px
        wy = vy - 16 * py
        w = math.sqrt(square(wx, wy))
        if w == 0.0:
            return n
        normal_x = wx / w
        normal_y = wy / w
        tx = normal_y
        ty = -normal_x
        gap = 16 * combined_radius - w
        ux = gap * normal_x
        uy = gap * normal_y
    set_half_plane(half_planes, n, unit.vx + share * ux, unit.vy + share * uy, tx, ty)
    return n + 1


@compiled
def add_edge(half_planes, n, unit, radius, ax, ay, bx, by, dx, dy):
    """Append the half-plane of an edge of a rectangle, if it gives one.

    The paper's velocity obstacle of a line segment (van den Berg et al. 2011, "Static Obstacles"),
    from which the reference departs: it shifts the line by -r * ty in both coordinates, and not by
    (-r * ty, r * tx).

    Parameters
    ----------
    half_planes, n
        As in ``add_neighbour``.
    unit : record
        Of ``arena.UNIT``.
    radius : float
        Of the unit.
    ax, ay : float
        Start of the edge relative to the unit, counter-clockwise around the rectangle.
    bx, by : float
        Its end.
    dx, dy : float
        Its direction: (1, 0), (0, 1), (-1, 0) or (0, -1).

    Returns
    -------
    int
        How many half-planes there are now.
    """
    ex = bx - ax
    ey = by - ay
    if not cross(ax, ay, ex, ey) < 0:  # the unit is not on the outer side
        return n
    for k in range(n):
        cx, cy, tx, ty = half_plane(half_planes, k)
        a_covered = cross(ax - cx, ay - cy, tx, ty) - radius >= -EPSILON
        if a_covered and cross(bx - cx, by - cy, tx, ty) - radius >= -EPSILON:
            return n  # an earlier edge forbids all that this one would
    # The edges of a rectangle meet at right angles. 0.0 - x is never -0.0, as -x is for 0.0.
    next_dx = 0.0 - dy
    next_dy = dx
    previous_dx = dy
    previous_dy = 0.0 - dx
    a_2 = square(ax, ay)
    b_2 = square(bx, by)
    radius_2 = radius * radius
    # Where the nearest point of the line through the edge is: 0 is a, 1 is b.
    s = dot(-ax, -ay, ex, ey) / square(ex, ey)
    line_2 = square(-ax - s * ex, -ay - s * ey)

    # Contact with a vertex or with the edge.
    if s < 0 and a_2 < radius_2:
        a = math.sqrt(a_2)
        set_half_plane(half_planes, n, 0.0, 0.0, -ay / a, ax / a)
        return n + 1
    if s > 1 and b_2 <= radius_2:
        if cross(bx, by, next_dx, next_dy) < 0:
            return n
        b = math.sqrt(b_2)
        set_half_plane(half_planes, n, 0.0, 0.0, -by / b, bx / b)
        return n + 1
    if 0 < s < 1 and line_2 <= radius_2:
        set_half_plane(half_planes, n, 0.0, 0.0, -dx, -dy)
        return n + 1

    # The legs of the velocity obstacle, from vertex 1 on the left and vertex 2 on the right. Seen
    # end-on, both are the vertex in front.
    x1 = ax
    y1 = ay
    x2 = bx
    y2 = by
    end_dx = dx  # of the edge that is cut off
    end_dy = dy
    right_dx = next_dx  # of the edge that begins at vertex 2
    right_dy = next_dy
    single = False
    if s < 0 and line_2 <= radius_2:
        x2 = ax
        y2 = ay
        right_dx = dx
        right_dy = dy
        single = True
    elif s > 1 and line_2 <= radius_2:
        x1 = bx
        y1 = by
        end_dx = next_dx
        end_dy = next_dy
        single = True
    vertex1_2 = square(x1, y1)
    vertex2_2 = square(x2, y2)
    # A unit inside the circle of a vertex has no tangent to it: all comparisons with nan are false.
    m1 = math.nan
    m2 = math.nan
    if vertex1_2 >= radius_2:
        m1 = math.sqrt(vertex1_2 - radius_2)
    if vertex2_2 >= radius_2:
        m2 = math.sqrt(vertex2_2 - radius_2)
    left_x = (x1 * m1 - y1 * radius) / vertex1_2
    left_y = (x1 * radius + y1 * m1) / vertex1_2
    right_x = (x2 * m2 + y2 * radius) / vertex2_2
    right_y = (-x2 * radius + y2 * m2) / vertex2_2
    # A leg that points into the rectangle gives way to the neighbouring edge: it is "foreign".
    # Quirk of the reference: the previous edge is that before this one also where both vertices are
    # b. For rectangles it makes no difference.
    left_foreign = cross(left_x, left_y, -previous_dx, -previous_dy) >= 0
    if left_foreign:
        left_x = -previous_dx
        left_y = -previous_dy
    right_foreign = cross(right_x, right_y, right_dx, right_dy) <= 0
    if right_foreign:
        right_x = right_dx
        right_y = right_dy

    # Where the velocity lies along the cut-off line (0 is vertex 1, 1 is vertex 2) and along the
    # legs.
    kx = x2 - x1
    ky = y2 - y1
    v1x = unit.vx - x1  # the velocity as seen from vertex 1
    v1y = unit.vy - y1
    v2x = unit.vx - x2
    v2y = unit.vy - y2
    tau = 0.5
    if not single:
        tau = dot(v1x, v1y, kx, ky) / square(kx, ky)
    t_left = dot(v1x, v1y, left_x, left_y)
    t_right = dot(v2x, v2y, right_x, right_y)
    if (tau < 0 and t_left < 0) or (single and t_left < 0 and t_right < 0):
        return add_round_end(half_planes, n, unit, radius, x1, y1)
    if tau > 1 and t_right < 0:
        return add_round_end(half_planes, n, unit, radius, x2, y2)

    # Squared distances of the velocity from the cut-off line and from the legs. The nearest makes
    # the half-plane.
    cut_off_2 = math.inf
    left_2 = math.inf
    right_2 = math.inf
    if not (tau < 0 or tau > 1 or single):
        cut_off_2 = square(v1x - tau * kx, v1y - tau * ky)
    if not t_left < 0:
        left_2 = square(v1x - t_left * left_x, v1y - t_left * left_y)
    if not t_right < 0:
        right_2 = square(v2x - t_right * right_x, v2y - t_right * right_y)
    if cut_off_2 <= left_2 and cut_off_2 <= right_2:
        tx = -end_dx
        ty = -end_dy
        cx = x1
        cy = y1
    elif left_2 <= right_2:
        if left_foreign:
            return n
        tx = left_x
        ty = left_y
        cx = x1
        cy = y1
    else:
        if right_foreign or math.isnan(right_x):
            return n
        tx = -right_x
        ty = -right_y
        cx = x2
        cy = y2
    # Quirk of the reference: the shift that belongs to x is added to both coordinates.
    shift = radius * ty
    set_half_plane(half_planes, n, cx - shift, cy - shift, tx, ty)
    return n + 1


@compiled
def add_round_end(half_planes, n, unit, radius, px, py):
    """Append the half-plane of the circle around the vertex (px, py)."""
    wx = unit.vx - px
    wy = unit.vy - py
    w = math.sqrt(square(wx, wy))
    normal_x = wx / w
    normal_y = wy / w
    cx = px + radius * normal_x
    cy = py + radius * normal_y
    set_half_plane(half_planes, n, cx, cy, normal_y, -normal_x)
    return n + 1


@compiled
def best_on_line(half_planes, i, max_speed, goal_x, goal_y, direction_mode):
    """LP-1: the best point on line i that the half-planes before permit, as (found, x, y)."""
    cx, cy, tx, ty = half_plane(half_planes, i)
    ct = dot(cx, cy, tx, ty)
    radicand = ct * ct + max_speed * max_speed - square(cx, cy)
    if radicand < 0:
        return False, 0.0, 0.0
    h = math.sqrt(radicand)
    # Points c + z * t: z lies between low and high.
    low = -ct - h
    high = -ct + h
    for j in range(i):
        jx, jy, ux, uy = half_plane(half_planes, j)
        denominator = cross(tx, ty, ux, uy)
        numerator = cross(ux, uy, cx - jx, cy - jy)
        if abs(denominator) < EPSILON:  # parallel
            if numerator < 0:
                return False, 0.0, 0.0
            continue
        z = numerator / denominator
        if denominator >= 0:
            high = min(high, z)
        else:
            low = max(low, z)
        if low > high:
            return False, 0.0, 0.0
    if direction_mode:
        z = high if dot(goal_x, goal_y, tx, ty) > 0 else low
    else:
        z = dot(tx, ty, goal_x - cx, goal_y - cy)
        if z < low:
            z = low
        elif z > high:
            z = high
    return True, cx + z * tx, cy + z * ty


@compiled
def best_velocity(half_planes, n, max_speed, goal_x, goal_y, direction_mode):
    """LP-2: returns (index of the first half-plane that cannot be kept, or n; x, y).

    The velocity that is closest to the goal or, in direction mode, furthest in its direction.
    """
    x = goal_x
    y = goal_y
    if direction_mode:
        x = goal_x * max_speed
        y = goal_y * max_speed
    elif square(goal_x, goal_y) > max_speed * max_speed:
        length = math.sqrt(square(goal_x, goal_y))
        x = goal_x / length * max_speed
        y = goal_y / length * max_speed
    for i in range(n):
        cx, cy, tx, ty = half_plane(half_planes, i)
        if cross(tx, ty, cx - x, cy - y) > 0:  # the best velocity so far is forbidden
            found, new_x, new_y = best_on_line(
                half_planes, i, max_speed, goal_x, goal_y, direction_mode
            )
            if not found:
                return i, x, y
            x = new_x
            y = new_y
    return n, x, y


@compiled
def new_velocity(half_planes, n_obstacle, n, max_speed, goal_x, goal_y, scratch):
    """Find the permitted velocity that is closest to the goal, or the one that violates least.

    Linear programs in two dimensions, one half-plane after the other. Where the neighbours leave no
    velocity, the largest distance to their half-planes is made as small as can be, while those of
    obstacles stay as they are (van den Berg et al. 2011, "Densely Packed Conditions").

    Parameters
    ----------
    half_planes : ndarray
        (n or more, 4), those of obstacles first.
    n_obstacle : int
        How many are of obstacles.
    n : int
        How many there are.
    max_speed : float
    goal_x, goal_y : float
        The preferred velocity.
    scratch : ndarray
        Like ``half_planes``, room for others.

    Returns
    -------
    x, y : float
        The new velocity.
    """
    failed, x, y = best_velocity(half_planes, n, max_speed, goal_x, goal_y, False)
    # LP-3, for what is left from the first half-plane on that could not be kept.
    distance = 0.0
    for i in range(failed, n):
        cx, cy, tx, ty = half_plane(half_planes, i)
        if cross(tx, ty, cx - x, cy - y) <= distance:
            continue
        m = n_obstacle
        scratch[:m] = half_planes[:m]
        for j in range(n_obstacle, i):
            # On this line i and j are violated equally, to the left of it j less than i.
            jx, jy, ux, uy = half_plane(half_planes, j)
            determinant = cross(tx, ty, ux, uy)
            if abs(determinant) <= EPSILON:  # parallel
                if dot(tx, ty, ux, uy) > 0:
                    continue
                px = (cx + jx) / 2
                py = (cy + jy) / 2
            else:
                z = cross(ux, uy, cx - jx, cy - jy) / determinant
                px = cx + z * tx
                py = cy + z * ty
            dx = ux - tx
            dy = uy - ty
            length = math.sqrt(square(dx, dy))
            set_half_plane(scratch, m, px, py, dx / length, dy / length)
            m += 1
        stopped, new_x, new_y = best_velocity(scratch, m, max_speed, -ty, tx, True)
        if stopped == m:
            x = new_x
            y = new_y
        distance = cross(tx, ty, cx - x, cy - y)
    return x, y
