"""Maps of your own, from JSON files.

``gym.make("smaclite_jit/custom-v0", map_file="ambush.json")`` plays the map of a file. The tables
below have every key; docs/environments.md has a complete example. Distances are in cells, times in
seconds. The original's files work unchanged, unless units start on top of each other, in a wall
or over the rim, or a unit that heals has another targeter than HEAL.

Units are those of ``units.UNITS`` and those of files: SNIPER is read from ``SNIPER.json`` in the
folder ``custom_unit_path``, which is relative to the map's folder or to the working directory, in
this order. Without that key it is the map's folder. A file ``HYDRALISK.json`` takes the place of
our hydralisk, which the original does not have. The original's own units keep their values: a file
with the name of one, ``MARINE.json`` for example, is not used, as in the original, and a warning
says so.

Agents are offered moves only to where x < height and y < width, as in the original: prefer square
maps.

This layer stands on ``arena``, ``maps`` and ``units``.
"""

import difflib
import json
import math
import os
import reprlib
from pathlib import Path
from typing import NoReturn

import gymnasium as gym

from smaclite_jit.arena import place
from smaclite_jit.maps import TERRAINS, Map
from smaclite_jit.units import ATTRIBUTES, MELEE, PLANES, UNITS, UnitType

TARGETER_KWARGS = {
    "STANDARD": (),
    "HEAL": (),  # of healers
    "KAMIKAZE": ("radius",),
    "LASER_BEAM": ("width", "height"),
}
FACTIONS = {"ALLY": "A", "ENEMY": "E"}
POSITIVE = (float, 0.01, 1e6)
NOT_NEGATIVE = (float, 0, 1e6)
UNIT_COUNT = (int, 1, 500)

# The keys of the files. Behind each, what its value must be, as `check` takes it: a type, with
# bounds if it is a number, or the names that it can be.

MAP_KEYS = {
    "name": (str,),
    "num_allied_units": UNIT_COUNT,  # the totals of the groups
    "num_enemy_units": UNIT_COUNT,
    # Objects of x, y, faction (ALLY or ENEMY) and units ({"MARINE": 3}), in the order of the units'
    # ids. A group stands around (x, y) as arena.place puts it.
    "groups": (list,),
    "attack_point": (list,),  # [x, y] of where the enemy goes
    "num_unit_types": (int, 0, 100),  # in the one-hot types that agents see; 0 and 1 mean none
    "ally_has_shields": (bool,),  # whether agents see the shields of their side
    "enemy_has_shields": (bool,),
}
OPTIONAL_MAP_KEYS = {
    "width": (int, 1, 256),  # in cells; 32 if it is left out
    "height": (int, 1, 256),
    # Rows of cells, strings or lists, the south first; _ can be walked on, X and C cannot.
    "terrain": (list,),
    "terrain_preset": (TERRAINS,),  # in place of terrain, 32 x 32
    "unit_type_ids": (dict,),  # {"MARINE": 0, "ZEALOT": 1}: the order of the one-hot types
    "custom_unit_path": (str,),  # the folder of the units that are not standard
    "episode_limit": (int, 1, 100_000),  # steps until truncation; 200 if it is left out
}
# What units.UnitType says of the fields of these names.
UNIT_KEYS = {
    "hp": POSITIVE,
    "armor": NOT_NEGATIVE,
    "damage": NOT_NEGATIVE,
    "cooldown": NOT_NEGATIVE,
    "speed": NOT_NEGATIVE,
    "attack_range": NOT_NEGATIVE,  # or "MELEE"
    "size": POSITIVE,
    "attributes": (list,),
    "valid_targets": (list,),
}
OPTIONAL_UNIT_KEYS = {
    "shield": NOT_NEGATIVE,
    "energy": NOT_NEGATIVE,
    "starting_energy": NOT_NEGATIVE,
    "minimum_scan_range": NOT_NEGATIVE,
    "hp_regen": NOT_NEGATIVE,
    "attacks": (int, 1, 100),
    "bonuses": (dict,),
    "plane": (PLANES,),
    "combat_type": (("DAMAGE", "HEALING"),),
    "targeter": (TARGETER_KWARGS,),
    # {"radius": 2.2} of a KAMIKAZE, {"width": 2.8, "height": 0.3} of a LASER_BEAM.
    "targeter_kwargs": (dict,),
}
CALLED = {
    float: "a number",
    int: "a whole number",
    bool: "true or false",
    str: "a text",
    list: "a list",
    dict: "an object of keys and values",
}


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
    if names:
        return "choose from " + ", ".join(names)
    return "leave it out"


# In the following, `at` is the file and the keys that lead to a value. Messages begin with it.


def check(value, at, kind, low=None, high=None):
    """Return `value`, which must be of the type `kind` or, if that is a collection, one of it."""
    if not isinstance(kind, type):
        if not isinstance(value, str) or value not in kind:
            fail(f"{at} cannot be {reprlib.repr(value)}; {hint(value, kind)}")
        return value
    wanted = CALLED[kind]
    is_right = type(value) is kind or (kind is float and type(value) is int)
    if low is not None:
        wanted += f" from {low:g} to {high:g}"
        is_right = is_right and low <= value <= high  # NaN is not
    if not is_right or value == "":
        fail(f"{at} must be {wanted}, not {reprlib.repr(value)}")
    return value


def check_fields(data, at, required, optional=None):
    """Return the fields of the object `data`: all required keys, those that are optional, no other.

    An optional key that is null is left out.
    """
    keys = required | (optional or {})
    fields = {}
    for key, value in check(data, at, dict).items():
        if key not in keys:
            fail(f"{at} {key} is not a key here; {hint(key, keys)}")
        if value is not None or key in required:
            fields[key] = check(value, f"{at} {key}", *keys[key])
    for key in required:
        if key not in fields:
            fail(f"{at} {key} is missing; add it")
    return fields


def check_names(names, at, known):
    """Return `names`, each of which must be one of `known`, as a tuple. None may be there twice."""
    for name in names:
        check(name, at, known)
    if len(set(names)) < len(names):
        fail(f"{at} has a name twice; leave one out")
    return tuple(names)


def read_json(path):
    """What a JSON file holds."""
    try:
        return json.loads(Path(path).read_bytes())
    except (OSError, TypeError, ValueError, RecursionError) as error:
        fail(f"{path}: cannot be read as a JSON file: {error}")


def load_unit(path):
    """The UnitType of a JSON file."""
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
        check(attribute, f"{at} bonuses", ATTRIBUTES)
        check(bonus, f"{at} bonuses {attribute}", *NOT_NEGATIVE)
    shape_keys = dict.fromkeys(TARGETER_KWARGS[targeter], POSITIVE)
    shape = check_fields(unit.pop("targeter_kwargs", {}), f"{at} targeter_kwargs", shape_keys)
    return UnitType(healing=healing, **unit, **shape)


def find_unit(name, at, folders):
    """The UnitType of this name: a standard one, or one of a file in `folders`."""
    files = [folder / f"{name.removesuffix('.json')}.json" for folder in folders]
    file = next((file for file in files if os.path.isfile(file)), None)
    if file is None and name not in UNITS:
        places = " or a ".join(map(str, files))
        fail(f"{at} {name} is neither a standard unit nor is there a {places}; {hint(name, UNITS)}")
    if file is None:
        return UNITS[name]
    if name in UNITS and name != "HYDRALISK":
        line = f"{at} {name} is a standard unit and {file} is not used; rename both to use it"
        gym.logger.warn("%s", line)
        return UNITS[name]
    return load_unit(file)


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
        is_row = isinstance(row, str | list) and len(row) == width
        if not is_row or not all(cell in ("_", "X", "C") for cell in row):
            wanted = f"a row of {width} cells (the width) of _, X or C"
            fail(f"{at} terrain[{y}] must be {wanted}, not {reprlib.repr(row)}")
    return tuple("".join(row) for row in rows)


def load_groups(data, at, terrain, folders):
    """The groups of a map as a Map has them, and the UnitTypes of their units by name."""
    group_keys = {
        "x": (float, 0, len(terrain[0])),
        "y": (float, 0, len(terrain)),
        "faction": (FACTIONS,),
        "units": (dict,),
    }
    groups = []
    units = {}
    totals = {"ALLY": 0, "ENEMY": 0}
    for i, group in enumerate(data["groups"]):
        here = f"{at} groups[{i}]"
        group = check_fields(group, here, group_keys)
        if not group["units"]:
            fail(f"{here} units is empty; leave the group out")
        for name, count in group["units"].items():
            totals[group["faction"]] += check(count, f"{here} units {name}", *UNIT_COUNT)
            if name not in units:
                units[name] = find_unit(name, f"{here} units", folders)
        side = FACTIONS[group["faction"]]
        groups.append((side, group["x"], group["y"], *group["units"].items()))
    for key, faction in (("num_allied_units", "ALLY"), ("num_enemy_units", "ENEMY")):
        if data[key] != totals[faction]:
            counts = f"{key} is {data[key]} and the {faction} groups have {totals[faction]}"
            fail(f"{at} {counts}; make them equal")
    return tuple(groups), units


def check_placement(groups, units, terrain, at):
    """Every unit must be on the map and clear of the others.

    On the ground its centre must not be in a blocked cell: it would ignore the wall it stands in.
    """
    width = len(terrain[0])
    height = len(terrain)
    placed = []  # (x, y, UnitType, number of the group)
    for number, group in enumerate(groups):
        for name, _, x, y in place([group], units):
            unit = units[name]
            here = f"{at} groups[{number}] puts a {name} at ({x:.2f}, {y:.2f}),"
            if min(x, y, width - x, height - y) < 0.999 * unit.size / 2:
                fail(f"{here} not inside the map of {width} x {height}; move the group")
            if unit.plane == "GROUND" and terrain[int(y)][int(x)] != "_":
                fail(f"{here} in a blocked cell; move the group")
            for other_x, other_y, other, other_number in placed:
                touching = 0.999 * (unit.size + other.size) / 2  # to touch is allowed
                is_near = math.hypot(x - other_x, y - other_y) < touching
                if is_near and unit.plane == other.plane:
                    fail(f"{here} on top of a unit of groups[{other_number}]; move one of them")
            placed.append((x, y, unit, number))


def load_type_ids(data, at, units):
    """The names of units in the order of their one-hot types, () if agents are to see no types."""
    n_types = data["num_unit_types"]
    if n_types <= 1:
        return ()
    type_ids = data.get("unit_type_ids", {})
    ids = type_ids.values()
    if len(ids) != n_types or not all(number in ids for number in range(n_types)):
        wanted = f"give {n_types} units (num_unit_types) the numbers from 0 on"
        fail(f"{at} unit_type_ids must {wanted}, not {reprlib.repr(type_ids)}")
    for name in units:
        if name not in type_ids:
            fail(f"{at} unit_type_ids lacks {name}, which is on the map; add it")
    return tuple(sorted(type_ids, key=type_ids.get))


def load_map(path: str | os.PathLike[str]) -> Map:
    """Read a map, and the units that it needs, from JSON files.

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
        folders = [folders[0] / unit_path, unit_path]
    terrain = load_terrain(data, at)
    groups, units = load_groups(data, at, terrain, folders)
    check_placement(groups, units, terrain, at)
    attack_point = data["attack_point"]
    if len(attack_point) != 2:
        fail(f"{at} attack_point must be [x, y], not {reprlib.repr(attack_point)}")
    for coordinate, size in zip(attack_point, (len(terrain[0]), len(terrain))):
        check(coordinate, f"{at} attack_point", float, 0, size)
    return Map(
        name=data["name"],
        groups=groups,
        attack_point=tuple(attack_point),
        terrain=terrain,
        type_ids=load_type_ids(data, at, units),
        ally_shields=data["ally_has_shields"],
        enemy_shields=data["enemy_has_shields"],
        episode_limit=data.get("episode_limit", 200),
        units=UNITS | units,
    )
