"""Maps of your own, from JSON files.

``gym.make("smaclite_jit/custom-v0", map_file="ambush.json")`` plays the map of this file:

.. code-block:: text

    {
      "name": "ambush",
      "num_allied_units": 4, "num_enemy_units": 9,          the totals of the groups
      "groups": [                                           in the order of the units' ids
        {"x": 5.5, "y": 7, "faction": "ALLY", "units": {"SNIPER": 2}},
        {"x": 10, "y": 4, "faction": "ALLY", "units": {"ZEALOT": 2}},
        {"x": 14, "y": 16, "faction": "ENEMY", "units": {"ZERGLING": 8, "STALKER": 1}}
      ],
      "attack_point": [4, 3],                               where the enemy goes
      "width": 20, "height": 20,                            in cells, 32 when left out
      "terrain": ["XXXXXXXXXXXXXXXXXXXX", ...],             the southern row, y = 0, first
      "num_unit_types": 4,                                  size of the one-hot unit type
      "unit_type_ids": {"SNIPER": 0, "ZEALOT": 1, "ZERGLING": 2, "STALKER": 3},     and its order
      "ally_has_shields": true, "enemy_has_shields": true,  whether agents see each side's shields
      "custom_unit_path": "units",                          where SNIPER.json is; optional
      "episode_limit": 120                                  steps until truncation; optional, 200
    }

``terrain`` has ``height`` rows of ``width`` cells, strings or lists: ``_`` can be walked on, ``X``
and ``C`` cannot. In its place, ``"terrain_preset"`` names one of ``maps.TERRAINS``, 32 x 32. A
group stands around (x, y) in a square grid, as ``arena.place`` puts it. Where agents need not see
types, ``num_unit_types`` is 0 (1 means the same) and ``unit_type_ids`` may be left out. Units are
those of ``units.UNITS`` and those of files in the folder ``custom_unit_path``, which is relative to
the map's folder or to the working directory. A file is looked for in both, in this order; without
the key, in the map's folder alone:

.. code-block:: json

    {
      "hp": 60, "armor": 0, "damage": 20, "cooldown": 1.5, "speed": 2.8, "attack_range": 8,
      "size": 0.75, "attributes": ["LIGHT", "BIOLOGICAL"], "valid_targets": ["GROUND", "AIR"],
      "bonuses": {"BIOLOGICAL": 15}, "minimum_scan_range": 8
    }

Distances are in cells, times in seconds, ``speed`` in cells per second, and ``size`` is the
diameter; ``attack_range``, from rim to rim, can be "MELEE". These keys are optional and have the
meaning and default that ``units.UnitType`` gives them: ``shield``, ``energy``,
``starting_energy``, ``attacks``, ``minimum_scan_range``, ``bonuses``, ``plane``, ``hp_regen``,
``combat_type`` ("DAMAGE" or "HEALING"), ``targeter`` ("STANDARD", "HEAL" for healers, "KAMIKAZE"
or "LASER_BEAM") and ``targeter_kwargs`` ({"radius": 2.2} of a KAMIKAZE, {"width": 2.8, "height":
0.3} of a LASER_BEAM).

A file ``HYDRALISK.json`` there takes the place of our hydralisk, which the original does not have.
The original's own units keep their values: a file with the name of one, ``MARINE.json`` for
example, is not used, as in the original, and a warning says so.

Agents are offered moves only to where x < height and y < width, as in the original: prefer square
maps.

This layer stands on ``arena``, ``maps`` and ``units``.
"""

import difflib
import json
import os
import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import gymnasium as gym
import numpy as np

from smaclite_jit.arena import place
from smaclite_jit.maps import TERRAINS, Map
from smaclite_jit.units import ATTRIBUTES, MELEE, PLANES, UNITS, UnitType


class MapError(ValueError):
    """Raised for a file of a map or of a unit that cannot be used.

    The message is one line with the file, the key and what to do.
    """


def fail(line: str) -> NoReturn:
    """Raise a MapError of one line: characters that cannot be printed are escaped."""
    escaped = [char if char.isprintable() else repr(char)[1:-1] for char in line]
    raise MapError("".join(escaped)) from None


def hint(name, names) -> str:
    """A hint for somebody who wrote `name` where one of `names` is needed."""
    known = {other.lower(): other for other in names}
    close = difflib.get_close_matches(str(name).lower(), known)
    if close:
        return "did you mean " + " or ".join(known[match] for match in close) + "?"
    return "choose from " + ", ".join(names)


# What a value of a file can be. `problem` says what is wrong with a value, None if nothing is.


@dataclass(frozen=True)
class Number:
    """A number from `low` to `high`."""

    low: float
    high: float

    def problem(self, value):
        """What is wrong with `value`, None if nothing is."""
        is_number = type(value) in (int, float)  # true and false are none
        if is_number and self.low <= value <= self.high:  # nor is NaN, which fails here
            return None
        return f"must be a number from {self.low:g} to {self.high:g}, not {reprlib.repr(value)}"


@dataclass(frozen=True)
class WholeNumber:
    """A whole number from `low` to `high`. 2.0 is none."""

    low: int
    high: int

    def problem(self, value):
        """What is wrong with `value`, None if nothing is."""
        if type(value) is int and self.low <= value <= self.high:
            return None
        return f"must be a whole number from {self.low} to {self.high}, not {reprlib.repr(value)}"


@dataclass(frozen=True)
class OneOf:
    """One of `names`, a collection of str."""

    names: object

    def problem(self, value):
        """What is wrong with `value`, None if nothing is."""
        if isinstance(value, str) and value in self.names:
            return None
        return f"cannot be {reprlib.repr(value)}; {hint(value, self.names)}"


@dataclass(frozen=True)
class Instance:
    """A value of the type `kind`, which is called `name` in the message. An empty str is none."""

    kind: type
    name: str

    def problem(self, value):
        """What is wrong with `value`, None if nothing is."""
        if isinstance(value, self.kind) and value != "":
            return None
        return f"must be {self.name}, not {reprlib.repr(value)}"


MAX_UNITS = 500
ORIGINAL_UNITS = UNITS.keys() - {"HYDRALISK"}
FACTIONS = {"ALLY": "A", "ENEMY": "E"}
TARGETER_KWARGS = {
    "STANDARD": (),
    "HEAL": (),
    "KAMIKAZE": ("radius",),
    "LASER_BEAM": ("width", "height"),
}

TEXT = Instance(str, "a text")
LIST = Instance(list, "a list")
OBJECT = Instance(dict, "an object of keys and values")
TRUE_OR_FALSE = Instance(bool, "true or false")
NOT_NEGATIVE = Number(0, 1e6)
POSITIVE = Number(0.01, 1e6)
UNIT_COUNT = WholeNumber(1, MAX_UNITS - 1)  # one is left for the other side
CELLS = WholeNumber(1, 256)

MAP_KEYS = {
    "name": TEXT,
    "num_allied_units": UNIT_COUNT,
    "num_enemy_units": UNIT_COUNT,
    "groups": LIST,
    "attack_point": LIST,
    "num_unit_types": WholeNumber(0, 100),
    "ally_has_shields": TRUE_OR_FALSE,
    "enemy_has_shields": TRUE_OR_FALSE,
}
OPTIONAL_MAP_KEYS = {
    "width": CELLS,
    "height": CELLS,
    "terrain": LIST,
    "terrain_preset": OneOf(TERRAINS),
    "unit_type_ids": OBJECT,
    "custom_unit_path": TEXT,
    "episode_limit": WholeNumber(1, 100_000),
}
UNIT_KEYS = {
    "hp": POSITIVE,
    "armor": NOT_NEGATIVE,
    "damage": NOT_NEGATIVE,
    "cooldown": NOT_NEGATIVE,
    "speed": NOT_NEGATIVE,
    "attack_range": NOT_NEGATIVE,
    "size": POSITIVE,
    "attributes": LIST,
    "valid_targets": LIST,
}
OPTIONAL_UNIT_KEYS = {
    "shield": NOT_NEGATIVE,
    "energy": NOT_NEGATIVE,
    "starting_energy": NOT_NEGATIVE,
    "minimum_scan_range": NOT_NEGATIVE,
    "hp_regen": NOT_NEGATIVE,
    "attacks": WholeNumber(1, 100),
    "bonuses": OBJECT,
    "plane": OneOf(PLANES),
    "combat_type": OneOf(("DAMAGE", "HEALING")),
    "targeter": OneOf(TARGETER_KWARGS),
    "targeter_kwargs": OBJECT,
}


# Every check has an argument `at`: the file, and the keys that lead to the value. Messages begin
# with it.


def check(value, at, rule):
    """Return `value`, which must keep to `rule`."""
    problem = rule.problem(value)
    if problem is not None:
        fail(f"{at} {problem}")
    return value


def check_fields(value, at, required, optional=None):
    """Return the dict `value`, which must have the keys of `required` and may have `optional` ones.

    Both are dicts, key -> rule. Other keys are refused. An optional key that is null is left out.
    """
    optional = optional or {}
    rules = required | optional
    check(value, at, OBJECT)
    value = {key: held for key, held in value.items() if held is not None or key not in optional}
    for key, held in value.items():
        if key not in rules:
            what_to_do = hint(key, rules) if required else "leave it out"
            fail(f"{at} {key} is not a key here; {what_to_do}")
        check(held, f"{at} {key}", rules[key])
    for key in required:
        if key not in value:
            fail(f"{at} {key} is missing; add it")
    return value


def check_names(names, at, known):
    """Return `names`, each of which must be one of `known`, as a tuple. None may be there twice."""
    for name in names:
        check(name, at, OneOf(known))
    if len(set(names)) < len(names):
        fail(f"{at} has a name twice; leave one out")
    return tuple(names)


def read_json(path):
    """What a JSON file holds."""

    def refuse_duplicates(pairs):
        keys = [key for key, _ in pairs]
        if len(set(keys)) < len(keys):
            twice = max(keys, key=keys.count)
            fail(f"{path}: {twice} is there twice in an object; leave one out")
        return dict(pairs)

    try:
        content = Path(path).read_bytes()
    except (OSError, TypeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        fail(f"{path}: cannot be read, give the name of a file: {reason}")
    try:
        return json.loads(content, object_pairs_hook=refuse_duplicates)
    except MapError:
        raise
    except (ValueError, RecursionError) as error:
        fail(f"{path}: is not JSON; correct it: {error}")


def load_unit(path) -> UnitType:
    """The unit of a JSON file."""
    at = f"{path}:"
    data = read_json(path)
    if isinstance(data, dict) and data.get("attack_range") == "MELEE":
        data["attack_range"] = MELEE
    unit = check_fields(data, at, UNIT_KEYS, OPTIONAL_UNIT_KEYS)

    targeter = unit.get("targeter", "STANDARD")
    healing = unit.pop("combat_type", "DAMAGE") == "HEALING"
    if healing != (targeter == "HEAL"):
        fail(f"{at} combat_type HEALING and targeter HEAL belong together; give both or neither")
    if unit.get("starting_energy", 0) > unit.get("energy", 0):
        fail(f"{at} starting_energy is more than energy; correct one of them")
    unit["attributes"] = check_names(unit["attributes"], f"{at} attributes", ATTRIBUTES)
    unit["valid_targets"] = check_names(unit["valid_targets"], f"{at} valid_targets", PLANES)
    for attribute, bonus in unit.get("bonuses", {}).items():
        check(attribute, f"{at} bonuses", OneOf(ATTRIBUTES))
        check(bonus, f"{at} bonuses {attribute}", NOT_NEGATIVE)
    shape_keys = dict.fromkeys(TARGETER_KWARGS[targeter], POSITIVE)
    shape = check_fields(unit.pop("targeter_kwargs", {}), f"{at} targeter_kwargs", shape_keys)
    return UnitType(healing=healing, **unit, **shape)


def add_unit(name, at, units, folders):
    """Make sure that the dict `units` has the unit `name`: a standard one, or one of a file."""
    if name in units:
        return
    files = [folder / f"{name.removesuffix('.json')}.json" for folder in folders]
    file = next((file for file in files if os.path.isfile(file)), None)
    if name in ORIGINAL_UNITS:
        units[name] = UNITS[name]
        if file is not None:
            line = f"{at} {name} is a standard unit and {file} is not used; rename both to use it"
            gym.logger.warn("%s", line)
    elif file is not None:
        units[name] = load_unit(file)
    elif name in UNITS:
        units[name] = UNITS[name]
    else:
        nowhere = " or a ".join(str(file) for file in files)
        what_to_do = hint(name, UNITS | units)
        fail(f"{at} {name} is neither a standard unit nor is there a {nowhere}; {what_to_do}")


def load_terrain(data, at):
    """The rows of cells of a map, south first."""
    width = data.get("width", 32)
    height = data.get("height", 32)
    if ("terrain" in data) == ("terrain_preset" in data):
        fail(f"{at} terrain or terrain_preset must be there, and not both")
    if "terrain_preset" in data:
        if (width, height) != (32, 32):
            fail(f"{at} terrain_preset is 32 x 32; leave width and height out, or give terrain")
        return TERRAINS[data["terrain_preset"]]

    rows = data["terrain"]
    if len(rows) != height:
        fail(f"{at} terrain has {len(rows)} rows and height is {height}; make them equal")
    for y, row in enumerate(rows):
        if not isinstance(row, str | list) or len(row) != width:
            wanted = f"a row of {width} cells, the width"
            fail(f"{at} terrain[{y}] must be {wanted}, not {reprlib.repr(row)}")
        for cell in row:
            if cell not in ("_", "X", "C"):
                fail(f"{at} terrain[{y}] has a cell {reprlib.repr(cell)}; use _, X and C")
    return tuple("".join(row) for row in rows)


def load_groups(data, at, terrain, units, folders):
    """The groups of a map, as a Map has them. Units that `units` lacks are added to it."""
    group_keys = {
        "x": Number(0, len(terrain[0])),
        "y": Number(0, len(terrain)),
        "faction": OneOf(FACTIONS),
        "units": OBJECT,
    }
    groups = []
    totals = dict.fromkeys(FACTIONS, 0)
    for i, group in enumerate(data["groups"]):
        here = f"{at} groups[{i}]"
        check_fields(group, here, group_keys)
        for name, count in group["units"].items():
            add_unit(name, f"{here} units", units, folders)
            totals[group["faction"]] += check(count, f"{here} units {name}", UNIT_COUNT)
        if not group["units"]:
            fail(f"{here} units is empty; leave the group out")
        side = FACTIONS[group["faction"]]
        groups.append((side, group["x"], group["y"], *group["units"].items()))

    for key, faction in (("num_allied_units", "ALLY"), ("num_enemy_units", "ENEMY")):
        total = totals[faction]
        if data[key] != total:
            counts = f"{key} is {data[key]} and the {faction} groups have {total}"
            fail(f"{at} {counts}; make them equal")
    n_units = sum(totals.values())
    if n_units > MAX_UNITS:
        fail(f"{at} groups have {n_units} units; leave some out, {MAX_UNITS} is the limit")
    return tuple(groups)


def check_placement(groups, units, terrain, at):
    """Every unit must be on the map and clear of the others.

    On the ground it must also stand clear of blocked cells: it would ignore the wall it stands in.
    """
    width = len(terrain[0])
    height = len(terrain)
    group_of = []  # each unit, the number of its group
    for number, (_, _, _, *counts) in enumerate(groups):
        group_of += [number] * sum(count for _, count in counts)
    placed = place(groups, units)
    x = np.array([unit.x for unit in placed], float)
    y = np.array([unit.y for unit in placed], float)
    radius = np.array([units[unit.name].size / 2 for unit in placed])
    plane = np.array([PLANES[units[unit.name].plane] for unit in placed])

    def refuse(i, problem):
        name = placed[i].name
        fail(f"{at} groups[{group_of[i]}] puts a {name} at ({x[i]:.2f}, {y[i]:.2f}), {problem}")

    for i, (name, *_) in enumerate(placed):
        if min(x[i], y[i], width - x[i], height - y[i]) < 0.999 * radius[i]:
            refuse(i, f"not inside the map of {width} x {height}; move the group")
        if units[name].plane == "GROUND" and terrain[int(y[i])][int(x[i])] != "_":
            refuse(i, "in a blocked cell; move the group")
    distance = np.hypot(x[:, None] - x, y[:, None] - y)
    overlap = distance < 0.999 * (radius[:, None] + radius)  # to touch is allowed
    overlap &= plane[:, None] == plane
    pairs = np.argwhere(np.triu(overlap, k=1))  # (i, j) with i < j
    if len(pairs) > 0:
        i, j = pairs[0]
        refuse(j, f"on top of a unit of groups[{group_of[i]}]; move one of the groups")


def load_type_ids(data, at, groups, units, folders):
    """The units in the order of their one-hot types, () if agents are to see no types."""
    n_types = data["num_unit_types"]
    shows_types = n_types > 1
    if shows_types and "unit_type_ids" not in data:
        fail(f"{at} unit_type_ids is missing and num_unit_types is {n_types}; add it")
    type_ids = data.get("unit_type_ids", {})
    if shows_types and n_types != len(type_ids):
        counts = f"num_unit_types is {n_types} and unit_type_ids has {len(type_ids)}"
        fail(f"{at} {counts}; make them equal")
    for name, number in type_ids.items():
        add_unit(name, f"{at} unit_type_ids", units, folders)
        check(number, f"{at} unit_type_ids {name}", WholeNumber(0, len(type_ids) - 1))
    if not shows_types:
        return ()
    if len(set(type_ids.values())) < len(type_ids):
        numbers = f"from 0 to {len(type_ids) - 1}"
        fail(f"{at} unit_type_ids has a number twice; give every unit another, {numbers}")
    for _, _, _, *counts in groups:
        for name, _ in counts:
            if name not in type_ids:
                fail(f"{at} unit_type_ids lacks {name}, which is on the map; add it")
    return tuple(sorted(type_ids, key=type_ids.get))


def load_map(path: str | os.PathLike[str]) -> Map:
    """Read a map, and the units that it needs, from JSON files.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    maps.Map

    Raises
    ------
    MapError
        For a file that holds no map that can be played. Nothing else is raised.
    """
    at = f"{path}:"
    data = check_fields(read_json(path), at, MAP_KEYS, OPTIONAL_MAP_KEYS)
    folders = [Path(path).parent]
    if "custom_unit_path" in data:
        unit_path = Path(data["custom_unit_path"])
        # The original takes it relative to the working directory.
        folders = list(dict.fromkeys([folders[0] / unit_path, unit_path]))
    units = {}
    terrain = load_terrain(data, at)
    groups = load_groups(data, at, terrain, units, folders)
    check_placement(groups, units, terrain, at)
    attack_point = data["attack_point"]
    if len(attack_point) != 2:
        fail(f"{at} attack_point must be [x, y], not {reprlib.repr(attack_point)}")
    type_ids = load_type_ids(data, at, groups, units, folders)
    attack_x, attack_y = attack_point
    check(attack_x, f"{at} attack_point", Number(0, len(terrain[0])))
    check(attack_y, f"{at} attack_point", Number(0, len(terrain)))
    return Map(
        name=data["name"],
        groups=groups,
        attack_point=(attack_x, attack_y),
        terrain=terrain,
        type_ids=type_ids,
        ally_shields=data["ally_has_shields"],
        enemy_shields=data["enemy_has_shields"],
        episode_limit=data.get("episode_limit", 200),
        units=UNITS | units,
    )
