"""Terrains and maps as tables. Distances in cells.

This layer stands on `units`.
"""

from dataclasses import dataclass, field

from smaclite_jit.units import UNITS, UnitType


def first_and_last(text):
    """The two numbers of `3-28`. Those of `7` are 7 and 7."""
    first, _, last = text.strip().partition("-")
    return int(first), int(last or first)


def terrain(walkable, width=32, height=32):
    """A terrain in which only the cells of `walkable`, `rows: columns, ...; ...`, can be walked on.

    Rows and columns are a number or `first-last`. Returns a tuple of strings, one for each row, row
    0 (south) first: `_` can be walked on, `X` is blocked.
    """
    grid = [["X"] * width for _ in range(height)]
    for entry in walkable.split(";"):
        rows, spans = entry.split(":")
        bottom, top = first_and_last(rows)
        for span in spans.split(","):
            left, right = first_and_last(span)
            for y in range(bottom, top + 1):
                for x in range(left, right + 1):
                    grid[y][x] = "_"
    return tuple("".join(row) for row in grid)


def checkerboard(width=32, height=32):
    """A terrain on which every other cell is blocked."""
    even_row = "_X" * (width // 2)
    odd_row = "X_" * (width // 2)
    return (even_row, odd_row) * (height // 2)


#: The terrains that a map file can name, each a tuple of 32 rows of 32 cells, south first.
TERRAINS: dict[str, tuple[str, ...]] = {
    "SIMPLE": terrain("8-23: 0-31"),
    "ALL_GREEN": terrain("0: 0-31; 1-2: 0, 31; 3-28: 0, 3-28, 31; 29-30: 0, 31; 31: 0-31"),
    "NARROW": terrain("8-14: 0-13, 16-31; 15-16: 0-31; 17-23: 0-13, 16-31"),
    "RAVINE": terrain(
        "6: 3-28; 7: 2-29; 8: 1-30; 9-11: 0-31; 12: 0-3, 28-31; "
        "13-16: 0-31; 17: 1-30; 18: 2-29; 19: 3-28"
    ),
    "OCTAGON": terrain(
        "5: 10-21; 6: 9-22; 7: 8-23; 8: 7-24; 9: 6-25; 10-21: 5-26; "
        "22: 6-25; 23: 7-24; 24: 8-23; 25: 9-22; 26: 10-21"
    ),
    "CORRIDOR": terrain(
        "1: 2-13; 2: 1-13; 3-10: 1-12; 11: 1-13; 12: 2-14; "
        "13: 11-25; 14: 12-26; 15: 13-27; 16: 13-28; 17: 12-29; 18-21: 11-30; "
        "22: 12-30; 23: 13-30; 24: 14-30; 25: 15-30; 26: 16-30; 27: 17-30; "
        "28: 18-30; 29: 19-30; 30: 20-29"
    ),
    "PENTAGON": terrain("7: 8-19; 8-19: 7-20; 20: 8-19; 21: 9-18; 22: 10-17; 23: 11-16; 24: 12-15"),
    "CHECKERBOARD": checkerboard(),
}


@dataclass(frozen=True)
class Map:
    """A battle."""

    name: str  #: As in the environment's id.
    #: Groups (side, x, y, (unit, count), ...). The side is "A" for the agents and "E" for the
    #: enemy, x and y are the centre of the group in cells. Units are numbered in this order.
    groups: tuple[tuple, ...]
    #: (x, y) of where the enemy goes as long as it has no target.
    attack_point: tuple[float, float]
    #: Rows of cells, south first; ``_`` can be walked on.
    terrain: tuple[str, ...]
    #: Units in the order of the one-hot types that agents see. If it is empty, they see no types.
    type_ids: tuple[str, ...] = ()
    ally_shields: bool = False  #: Whether observations and state have the agents' shields.
    enemy_shields: bool = False  #: Whether they have the enemy's.
    episode_limit: int = 200  #: Environment steps.
    #: The kinds of units by name, ``UNITS`` and those of a map file.
    units: dict[str, UnitType] = field(default_factory=lambda: UNITS)


def read_counts(text):
    """The (unit, count) pairs of `3 stalker, 5 zealot`."""
    counts = []
    for entry in text.split(","):
        count, unit = entry.split()
        counts.append((unit.upper(), int(count)))
    return tuple(counts)


def allies_at(x, y, units):
    """A group of agents around (x, y). `units` is written like `3 stalker, 5 zealot`."""
    return ("A", float(x), float(y), *read_counts(units))


def enemies_at(x, y, units):
    """The same for the enemy."""
    return ("E", float(x), float(y), *read_counts(units))


def has_shields(units):
    """Whether a unit of a group, written like `3 stalker, 5 zealot`, has a shield."""
    return any(UNITS[unit].shield > 0 for unit, _ in read_counts(units))


def smac_map(name, *, allies, enemies, episode_limit, types="", terrain="SIMPLE"):
    """A map as most of SMAC's are: agents in the west, and the enemy, in the east, attacks there.

    Agents see the shields of a side if one of its units has any.
    """
    return Map(
        name=name,
        groups=(allies_at(9, 16, allies), enemies_at(23, 16, enemies)),
        attack_point=(9, 16),
        terrain=TERRAINS[terrain],
        type_ids=tuple(types.upper().split()),
        ally_shields=has_shields(allies),
        enemy_shields=has_shields(enemies),
        episode_limit=episode_limit,
    )


# The formatter is off so that a map takes a line or two.
# fmt: off
SMAC_MAPS = (
    smac_map("3m", allies="3 marine", enemies="3 marine", episode_limit=60),
    smac_map("8m", allies="8 marine", enemies="8 marine", episode_limit=120),
    smac_map("25m", allies="25 marine", enemies="25 marine", episode_limit=150),
    smac_map("5m_vs_6m", allies="5 marine", enemies="6 marine", episode_limit=70),
    smac_map("8m_vs_9m", allies="8 marine", enemies="9 marine", episode_limit=120),
    smac_map("10m_vs_11m", allies="10 marine", enemies="11 marine", episode_limit=150),
    smac_map("27m_vs_30m", allies="27 marine", enemies="30 marine", episode_limit=180),
    smac_map(
        "MMM", allies="1 medivac, 7 marine, 2 marauder", enemies="1 medivac, 7 marine, 2 marauder",
        types="marauder marine medivac", episode_limit=150,
    ),
    smac_map(
        "MMM2", allies="1 medivac, 7 marine, 2 marauder", enemies="1 medivac, 8 marine, 3 marauder",
        types="marauder marine medivac", episode_limit=180,
    ),
    smac_map(
        "2s3z", allies="2 stalker, 3 zealot", enemies="2 stalker, 3 zealot",
        types="stalker zealot", episode_limit=120,
    ),
    smac_map(
        "3s5z", allies="3 stalker, 5 zealot", enemies="3 stalker, 5 zealot",
        types="stalker zealot", episode_limit=150,
    ),
    smac_map(
        "3s5z_vs_3s6z", allies="3 stalker, 5 zealot", enemies="3 stalker, 6 zealot",
        types="stalker zealot", episode_limit=170,
    ),
    smac_map(
        "3s_vs_3z", allies="3 stalker", enemies="3 zealot", terrain="ALL_GREEN", episode_limit=150,
    ),
    smac_map(
        "3s_vs_4z", allies="3 stalker", enemies="4 zealot", terrain="ALL_GREEN", episode_limit=200,
    ),
    smac_map(
        "3s_vs_5z", allies="3 stalker", enemies="5 zealot", terrain="ALL_GREEN", episode_limit=250,
    ),
    smac_map(
        "1c3s5z", types="colossus stalker zealot", episode_limit=180,
        allies="1 colossus, 3 stalker, 5 zealot", enemies="1 colossus, 3 stalker, 5 zealot",
    ),
    smac_map(
        "2m_vs_1z", allies="2 marine", enemies="1 zealot", terrain="ALL_GREEN", episode_limit=150,
    ),
    Map(
        name="corridor",
        groups=(
            enemies_at(27.91, 28.24, "24 zergling"),
            allies_at(19.04, 19.12, "6 zealot"),
        ),
        attack_point=(4.47, 4.33),
        terrain=TERRAINS["CORRIDOR"],
        ally_shields=True,
        episode_limit=400,
    ),
    smac_map(
        "6h_vs_8z", allies="6 hydralisk", enemies="8 zealot",
        terrain="ALL_GREEN", episode_limit=150,
    ),
    Map(
        name="2s_vs_1sc",
        groups=(
            enemies_at(13.92, 20.04, "1 spine_crawler"),
            allies_at(11.12, 10.34, "1 stalker"),
            allies_at(16.98, 10.37, "1 stalker"),
        ),
        attack_point=(13.92, 20.04),
        terrain=TERRAINS["PENTAGON"],
        ally_shields=True,
        episode_limit=300,
    ),
    smac_map("so_many_baneling", allies="7 zealot", enemies="32 baneling", episode_limit=100),
    Map(
        name="bane_vs_bane",
        groups=(
            enemies_at(16, 24, "4 baneling"),
            enemies_at(16, 21, "20 zergling"),
            allies_at(16, 11, "20 zergling"),
            allies_at(16, 8, "4 baneling"),
        ),
        attack_point=(16, 8),
        terrain=TERRAINS["OCTAGON"],
        type_ids=("BANELING", "ZERGLING"),
        episode_limit=200,
    ),
    Map(
        name="2c_vs_64zg",
        groups=(
            allies_at(16, 16, "2 colossus"),
            enemies_at(16, 9, "64 zergling"),
        ),
        attack_point=(16, 16),
        terrain=TERRAINS["RAVINE"],
        ally_shields=True,
        episode_limit=400,
    ),
)
# fmt: on

#: The maps by name, :class:`Map` objects. Each is the environment ``smaclite_jit/<name>-v0``.
MAPS: dict[str, Map] = {smac.name: smac for smac in SMAC_MAPS}
