"""Terrain and maps as tables. Distances in cells."""

from dataclasses import dataclass, field

from smaclite_jit.units import UNITS


def terrain(text, width=32, height=32):
    """Rows of cells, `_` walkable and `X` blocked, row 0 (south) first, from `row: columns` or `row-row: columns`."""
    grid = [["X"] * width for _ in range(height)]
    for line in text.split(";"):
        rows, columns = (part.strip() for part in line.split(":"))
        low, high = (rows.split("-") * 2)[:2]
        for y in range(int(low), int(high) + 1):
            for span in columns.split(","):
                first, last = (span.strip().split("-") * 2)[:2]
                grid[y][int(first) : int(last) + 1] = ["_"] * (int(last) + 1 - int(first))
    return tuple("".join(row) for row in grid)


#: The terrains that a map file can name, each a tuple of 32 rows of 32 cells, south first.
TERRAINS = {
    "SIMPLE": terrain("8-23: 0-31"),
    "ALL_GREEN": terrain("0: 0-31; 1-2: 0, 31; 3-28: 0, 3-28, 31; 29-30: 0, 31; 31: 0-31"),
    "NARROW": terrain("8-14: 0-13, 16-31; 15-16: 0-31; 17-23: 0-13, 16-31"),
    "RAVINE": terrain(
        "6: 3-28; 7: 2-29; 8: 1-30; 9-11: 0-31; 12: 0-3, 28-31; 13-16: 0-31; 17: 1-30; 18: 2-29; 19: 3-28"
    ),
    "OCTAGON": terrain(
        "5: 10-21; 6: 9-22; 7: 8-23; 8: 7-24; 9: 6-25; 10-21: 5-26; 22: 6-25; 23: 7-24; 24: 8-23; 25: 9-22; 26: 10-21"
    ),
    "CORRIDOR": terrain(
        "1: 2-13; 2: 1-13; 3-10: 1-12; 11: 1-13; 12: 2-14; 13: 11-25; 14: 12-26; 15: 13-27; 16: 13-28; "
        "17: 12-29; 18-21: 11-30; 22: 12-30; 23: 13-30; 24: 14-30; 25: 15-30; 26: 16-30; 27: 17-30; 28: "
        "18-30; 29: 19-30; 30: 20-29"
    ),
    "PENTAGON": terrain("7: 8-19; 8-19: 7-20; 20: 8-19; 21: 9-18; 22: 10-17; 23: 11-16; 24: 12-15"),
    "CHECKERBOARD": tuple(
        "".join("X" if (x + y) % 2 else "_" for x in range(32)) for y in range(32)
    ),
}


@dataclass(frozen=True)
class Map:
    """A battle.

    Parameters
    ----------
    name : str
    groups : tuple
        Of (side, x, y, (unit, count), ...), where the side is "A" for the agents and "E" for the enemy, x and y the
        centre of the group in cells. Units are numbered in this order.
    attack_point : tuple of float
        (x, y) of where the enemy goes as long as it has no target.
    terrain : tuple of str
        Rows of cells, south first; ``_`` can be walked on.
    type_ids : tuple of str
        Units in the order of the one-hot types that agents see. If it is empty, they see no types.
    ally_shields : bool
        Whether observations and state have the agents' shields.
    enemy_shields : bool
        Whether they have the enemy's.
    episode_limit : int
        Environment steps; SMAC's, and 200 for a file that gives none.
    units : dict
        The kinds of units by name: ``UNITS`` and those of a file's own.
    """

    name: str
    groups: tuple
    attack_point: tuple
    terrain: tuple
    type_ids: tuple = ()
    ally_shields: bool = False
    enemy_shields: bool = False
    episode_limit: int = 200
    units: dict = field(default_factory=lambda: UNITS)


def smac_map(
    name, groups, attack_point, terrain_name, type_ids, ally_shields, enemy_shields, episode_limit
):
    """A Map from a line of the table. Groups are written like `A 9 16 3 stalker, 5 zealot | E 23 16 3 stalker`."""
    parsed = []
    for group in groups.split("|"):
        side, x, y, units = group.split(maxsplit=3)
        counts = (entry.split() for entry in units.split(","))
        parsed.append(
            (side, float(x), float(y), *((unit.upper(), int(count)) for count, unit in counts))
        )
    types = tuple(type_ids.upper().split())
    return Map(
        name,
        tuple(parsed),
        attack_point,
        TERRAINS[terrain_name],
        types,
        ally_shields,
        enemy_shields,
        episode_limit,
    )


#: The maps by name, :class:`Map` objects. Each is the environment ``smaclite_jit/<name>-v0``.
MAPS = {
    line[0]: smac_map(*line)
    for line in (
        # name, groups, attack point, terrain, type ids, shields of allies and enemies, episode limit
        ("3m", "A 9 16 3 marine | E 23 16 3 marine", (9, 16), "SIMPLE", "", False, False, 60),
        ("8m", "A 9 16 8 marine | E 23 16 8 marine", (9, 16), "SIMPLE", "", False, False, 120),
        ("25m", "A 9 16 25 marine | E 23 16 25 marine", (9, 16), "SIMPLE", "", False, False, 150),
        ("5m_vs_6m", "A 9 16 5 marine | E 23 16 6 marine", (9, 16), "SIMPLE", "", False, False, 70),
        (
            "8m_vs_9m",
            "A 9 16 8 marine | E 23 16 9 marine",
            (9, 16),
            "SIMPLE",
            "",
            False,
            False,
            120,
        ),
        (
            "10m_vs_11m",
            "A 9 16 10 marine | E 23 16 11 marine",
            (9, 16),
            "SIMPLE",
            "",
            False,
            False,
            150,
        ),
        (
            "27m_vs_30m",
            "A 9 16 27 marine | E 23 16 30 marine",
            (9, 16),
            "SIMPLE",
            "",
            False,
            False,
            180,
        ),
        (
            "MMM",
            "A 9 16 1 medivac, 7 marine, 2 marauder | E 23 16 1 medivac, 7 marine, 2 marauder",
            (9, 16),
            "SIMPLE",
            "marauder marine medivac",
            False,
            False,
            150,
        ),
        (
            "MMM2",
            "A 9 16 1 medivac, 7 marine, 2 marauder | E 23 16 1 medivac, 8 marine, 3 marauder",
            (9, 16),
            "SIMPLE",
            "marauder marine medivac",
            False,
            False,
            180,
        ),
        (
            "2s3z",
            "A 9 16 2 stalker, 3 zealot | E 23 16 2 stalker, 3 zealot",
            (9, 16),
            "SIMPLE",
            "stalker zealot",
            True,
            True,
            120,
        ),
        (
            "3s5z",
            "A 9 16 3 stalker, 5 zealot | E 23 16 3 stalker, 5 zealot",
            (9, 16),
            "SIMPLE",
            "stalker zealot",
            True,
            True,
            150,
        ),
        (
            "3s5z_vs_3s6z",
            "A 9 16 3 stalker, 5 zealot | E 23 16 3 stalker, 6 zealot",
            (9, 16),
            "SIMPLE",
            "stalker zealot",
            True,
            True,
            170,
        ),
        (
            "3s_vs_3z",
            "A 9 16 3 stalker | E 23 16 3 zealot",
            (9, 16),
            "ALL_GREEN",
            "",
            True,
            True,
            150,
        ),
        (
            "3s_vs_4z",
            "A 9 16 3 stalker | E 23 16 4 zealot",
            (9, 16),
            "ALL_GREEN",
            "",
            True,
            True,
            200,
        ),
        (
            "3s_vs_5z",
            "A 9 16 3 stalker | E 23 16 5 zealot",
            (9, 16),
            "ALL_GREEN",
            "",
            True,
            True,
            250,
        ),
        (
            "1c3s5z",
            "A 9 16 1 colossus, 3 stalker, 5 zealot | E 23 16 1 colossus, 3 stalker, 5 zealot",
            (9, 16),
            "SIMPLE",
            "colossus stalker zealot",
            True,
            True,
            180,
        ),
        (
            "2m_vs_1z",
            "A 9 16 2 marine | E 23 16 1 zealot",
            (9, 16),
            "ALL_GREEN",
            "",
            False,
            True,
            150,
        ),
        (
            "corridor",
            "E 27.91 28.24 24 zergling | A 19.04 19.12 6 zealot",
            (4.47, 4.33),
            "CORRIDOR",
            "",
            True,
            False,
            400,
        ),
        (
            "6h_vs_8z",
            "A 9 16 6 hydralisk | E 23 16 8 zealot",
            (9, 16),
            "ALL_GREEN",
            "",
            False,
            True,
            150,
        ),
        (
            "2s_vs_1sc",
            "E 13.92 20.04 1 spine_crawler | A 11.12 10.34 1 stalker | A 16.98 10.37 1 stalker",
            (13.92, 20.04),
            "PENTAGON",
            "",
            True,
            False,
            300,
        ),
        (
            "so_many_baneling",
            "A 9 16 7 zealot | E 23 16 32 baneling",
            (9, 16),
            "SIMPLE",
            "",
            True,
            False,
            100,
        ),
        (
            "bane_vs_bane",
            "E 16 24 4 baneling | E 16 21 20 zergling | A 16 11 20 zergling | A 16 8 4 baneling",
            (16, 8),
            "OCTAGON",
            "baneling zergling",
            False,
            False,
            200,
        ),
        (
            "2c_vs_64zg",
            "A 16 16 2 colossus | E 16 9 64 zergling",
            (16, 16),
            "RAVINE",
            "",
            True,
            False,
            400,
        ),
    )
}
