"""Maps of your own, from JSON files: ``gym.make("smaclite_jit/custom-v0", map_file="ambush.json")``.

.. code-block:: text

    {
      "name": "ambush",
      "num_allied_units": 4, "num_enemy_units": 9,           the totals of the groups
      "groups": [                                            in the order of the units' ids
        {"x": 5.5, "y": 7, "faction": "ALLY", "units": {"SNIPER": 2}},
        {"x": 10, "y": 4, "faction": "ALLY", "units": {"ZEALOT": 2}},
        {"x": 14, "y": 16, "faction": "ENEMY", "units": {"ZERGLING": 8, "STALKER": 1}}
      ],
      "attack_point": [4, 3],                                where the enemy goes
      "width": 20, "height": 20,                             in cells, 32 when left out
      "terrain": ["XXXXXXXXXXXXXXXXXXXX", "X__________________X", ...],     the southern row, y = 0, first
      "num_unit_types": 4,                                   size of the one-hot unit type that agents see
      "unit_type_ids": {"SNIPER": 0, "ZEALOT": 1, "ZERGLING": 2, "STALKER": 3},     and its order
      "ally_has_shields": true, "enemy_has_shields": true,   whether agents see the shields of each side
      "custom_unit_path": "units",                           where SNIPER.json is, from here; optional
      "episode_limit": 120                                   steps, then it is truncated; optional, 200
    }

``terrain`` has ``height`` rows of ``width`` cells, strings or lists: ``_`` is walkable, ``X`` and ``C`` are not. In its
place, ``"terrain_preset"`` names one of ``maps.TERRAINS``, 32 x 32. A group stands around (x, y) in a square grid,
as ``arena.place`` puts it. Where agents need not see types, ``num_unit_types`` is 0 (1 means the same) and
``unit_type_ids`` may be {}. Units are those of ``units.UNITS`` and, in the folder ``custom_unit_path`` or else the
map's, of files like

.. code-block:: json

    {
      "hp": 60, "armor": 0, "damage": 20, "cooldown": 1.5, "speed": 2.8, "attack_range": 8, "size": 0.75,
      "attributes": ["LIGHT", "BIOLOGICAL"], "valid_targets": ["GROUND", "AIR"],
      "bonuses": {"BIOLOGICAL": 15}, "minimum_scan_range": 8
    }

with distances in cells, times in seconds, ``speed`` in cells per second and ``size`` the diameter; ``attack_range``,
from rim to rim, can be "MELEE". Optional, with the meaning and default that ``units.UnitType`` gives them, are
``shield``, ``energy``, ``starting_energy``, ``attacks``, ``minimum_scan_range``, ``bonuses``, ``plane``, ``hp_regen``,
``combat_type`` ("DAMAGE" or "HEALING"), ``targeter`` ("STANDARD", "HEAL" for those who heal, "KAMIKAZE" or
"LASER_BEAM") and ``targeter_kwargs`` ({"radius": 2.2} of a KAMIKAZE, {"width": 2.8, "height": 0.3} of a LASER_BEAM).

Agents are offered moves only to where x < height and y < width, as in the original: prefer square maps.
"""

import difflib
import json
import os
from pathlib import Path
from reprlib import repr as brief

import numpy as np

from smaclite_jit.arena import place
from smaclite_jit.maps import TERRAINS, Map
from smaclite_jit.units import MELEE, PLANES, UNITS, UnitType

# What a key must hold: a type, a range of whole numbers, (lowest, highest) number, or one of a list or dict of names.
MAX_UNITS, SIDE, NUMBER, POSITIVE = 500, range(1, 257), (0, 1e6), (0.01, 1e6)
FACTIONS = {"ALLY": "A", "ENEMY": "E"}
MAP = {
    "name": str,
    "num_allied_units": range(1, MAX_UNITS),
    "num_enemy_units": range(1, MAX_UNITS),
    "groups": list,
}
MAP |= {"attack_point": list, "num_unit_types": range(101), "unit_type_ids": dict}
MAP |= {"ally_has_shields": bool, "enemy_has_shields": bool}
MAP_OPTIONS = {
    "width": SIDE,
    "height": SIDE,
    "terrain": list,
    "terrain_preset": TERRAINS,
    "custom_unit_path": str,
}
MAP_OPTIONS |= {"episode_limit": range(1, 100_001)}
UNIT = {
    "hp": POSITIVE,
    "armor": NUMBER,
    "damage": NUMBER,
    "cooldown": NUMBER,
    "speed": NUMBER,
    "attack_range": NUMBER,
}
UNIT |= {"size": POSITIVE, "attributes": list, "valid_targets": list}
TARGETERS = {"STANDARD": (), "HEAL": (), "KAMIKAZE": ("radius",), "LASER_BEAM": ("width", "height")}
UNIT_OPTIONS = dict.fromkeys(
    ("shield", "energy", "starting_energy", "minimum_scan_range", "hp_regen"), NUMBER
)
UNIT_OPTIONS |= {
    "attacks": range(1, 101),
    "bonuses": dict,
    "plane": PLANES,
    "combat_type": ["DAMAGE", "HEALING"],
}
UNIT_OPTIONS |= {"targeter": TARGETERS, "targeter_kwargs": dict}
ATTRIBUTES = ["LIGHT", "ARMORED", "BIOLOGICAL", "MECHANICAL", "PSIONIC", "MASSIVE", "STRUCTURE"]
TYPES = {str: "a text", list: "a list", dict: "an object of keys and values", bool: "true or false"}


class MapError(ValueError):
    """A file of a map or of a unit that cannot be used.

    The message is one line with the file, the key and what to do.
    """


def hint(name, names):
    """A hint for somebody who wrote `name` and meant one of `names`."""
    known = {other.lower(): other for other in names}
    close = [known[other] for other in difflib.get_close_matches(str(name).lower(), known)]
    return f"did you mean {' or '.join(close)}?" if close else f"choose from {', '.join(names)}"


def fail(line):
    raise MapError(
        "".join(char if char.isprintable() else repr(char)[1:-1] for char in line)
    ) from None


def check(value, at, rule):
    """Return `value`, which must keep to `rule`. `at` says where it is from: the file and the keys that lead there."""
    if isinstance(rule, type):
        good, wanted = isinstance(value, rule) and value != "", TYPES[rule]
    elif isinstance(rule, range):
        good, wanted = (
            type(value) is int and value in rule,
            f"a whole number from {rule[0]} to {rule[-1]}",
        )
    elif isinstance(rule, tuple):
        good = type(value) in (int, float) and rule[0] <= value <= rule[1]  # NaN is not
        wanted = f"a number from {rule[0]:g} to {rule[1]:g}"
    elif not isinstance(value, str) or value not in rule:
        fail(f"{at} cannot be {brief(value)}; {hint(value, rule)}")
    else:
        return value
    return value if good else fail(f"{at} must be {wanted}, not {brief(value)}")


def fields(value, at, rules, options=()):
    """Return `value`, which must be an object with the keys of `rules`, perhaps those of `options`, and no others.

    An option that is null is left out.
    """
    value = {
        key: v for key, v in check(value, at, dict).items() if v is not None or key not in options
    }
    for key in value:
        if key not in rules and key not in options:
            fail(
                f"{at} {key} is not a key here; {hint(key, (*rules, *options)) if rules else 'leave it out'}"
            )
        check(value[key], f"{at} {key}", rules[key] if key in rules else options[key])
    for key in rules:
        if key not in value:
            fail(f"{at} {key} is missing; add it")
    return value


def names(value, at, known):
    if len({check(name, at, known) for name in value}) < len(value):
        fail(f"{at} has a name twice; leave one out")
    return tuple(value)


def read(path):
    """What a JSON file holds."""

    def once(pairs):
        keys = [key for key, _ in pairs]
        if len(set(keys)) < len(keys):
            fail(f"{path}: {max(keys, key=keys.count)} is there twice in an object; leave one out")
        return dict(pairs)

    try:
        content = Path(path).read_bytes()
    except (OSError, TypeError, ValueError) as error:
        fail(
            f"{path}: cannot be read, give the name of a file: {getattr(error, 'strerror', None) or error}"
        )
    try:
        return json.loads(content, object_pairs_hook=once)
    except MapError:
        raise
    except (ValueError, RecursionError) as error:
        fail(f"{path}: is not JSON; correct it: {error}")


def load_unit(path):
    """The UnitType of a JSON file."""
    at, data = f"{path}:", read(path)
    if isinstance(data, dict) and data.get("attack_range") == "MELEE":
        data["attack_range"] = MELEE
    unit = {"targeter": "STANDARD", "bonuses": {}, **fields(data, at, UNIT, UNIT_OPTIONS)}
    unit["healing"] = unit.pop("combat_type", "DAMAGE") == "HEALING"
    if unit["healing"] != (unit["targeter"] == "HEAL"):
        fail(f"{at} combat_type HEALING and targeter HEAL belong together; give both or neither")
    if unit.get("starting_energy", 0) > unit.get("energy", 0):
        fail(f"{at} starting_energy is more than energy; correct one of them")
    unit["attributes"] = names(unit["attributes"], f"{at} attributes", ATTRIBUTES)
    unit["valid_targets"] = names(unit["valid_targets"], f"{at} valid_targets", PLANES)
    for attribute, more in unit["bonuses"].items():
        check(attribute, f"{at} bonuses", ATTRIBUTES)
        check(more, f"{at} bonuses {attribute}", NUMBER)
    shape = dict.fromkeys(TARGETERS[unit["targeter"]], POSITIVE)
    return UnitType(
        **fields(unit.pop("targeter_kwargs", {}), f"{at} targeter_kwargs", shape), **unit
    )


def find_unit(name, at, units, folder):
    """Make sure that `units` has the unit `name`, from the folder of custom units if need be."""
    if name in units:
        return
    file = folder / f"{name.removesuffix('.json')}.json"
    if not os.path.isfile(file):
        fail(f"{at} {name} is neither a standard unit nor is there a {file}; {hint(name, units)}")
    units[name] = load_unit(file)


def load_terrain(data, at):
    """The rows of cells."""
    width, height = data.get("width", 32), data.get("height", 32)
    if ("terrain" in data) == ("terrain_preset" in data):
        fail(f"{at} terrain or terrain_preset must be there, and not both")
    if "terrain_preset" in data:
        if (width, height) != (32, 32):
            fail(f"{at} terrain_preset is 32 x 32; leave width and height out, or give terrain")
        return TERRAINS[data["terrain_preset"]]
    if len(data["terrain"]) != height:
        fail(
            f"{at} terrain has {len(data['terrain'])} rows and height is {height}; make them equal"
        )
    for y, row in enumerate(data["terrain"]):
        if not isinstance(row, str | list) or len(row) != width:
            fail(f"{at} terrain[{y}] must be a row of {width} cells, the width, not {brief(row)}")
        for cell in row:
            if cell not in ("_", "X", "C"):
                fail(f"{at} terrain[{y}] has a cell {brief(cell)}; use _, X and C")
    return tuple("".join(row) for row in data["terrain"])


def check_placement(groups, units, terrain, at):
    """Every unit must be on the map, clear of the others and, on the ground, not in a wall: it would ignore that."""
    placed, width, height = place(groups, units), len(terrain[0]), len(terrain)
    group_of = [
        i
        for i, (_, _, _, *counts) in enumerate(groups)
        for _, count in counts
        for _ in range(count)
    ]
    x, y = np.array([unit[2:] for unit in placed], float).T
    radius, plane = np.array(
        [(units[name].size / 2, PLANES[units[name].plane]) for name, *_ in placed]
    ).T
    where = [
        f"{at} groups[{i}] puts a {u[0]} at ({u[2]:.2f}, {u[3]:.2f})"
        for i, u in zip(group_of, placed)
    ]
    for i, (name, *_) in enumerate(placed):
        if min(x[i], y[i], width - x[i], height - y[i]) < 0.999 * radius[i]:
            fail(f"{where[i]}, not inside the map of {width} x {height}; move the group")
        if units[name].plane == "GROUND" and terrain[int(y[i])][int(x[i])] != "_":
            fail(f"{where[i]}, in a blocked cell; move the group")
    close = np.hypot(x[:, None] - x, y[:, None] - y) < 0.999 * (
        radius[:, None] + radius
    )  # touching is not
    for i, j in np.argwhere(np.triu(close & (plane[:, None] == plane), 1))[:1]:
        fail(f"{where[j]}, on top of a unit of groups[{group_of[i]}]; move one of the groups")


def load_map(path):
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
        And nothing else, for a file that holds no map that can be played.
    """
    at, data = f"{path}:", fields(read(path), f"{path}:", MAP, MAP_OPTIONS)
    terrain, units, groups, totals = (
        load_terrain(data, at),
        dict(UNITS),
        [],
        dict.fromkeys(FACTIONS, 0),
    )
    folder = Path(path).parent / data.get("custom_unit_path", "")
    inside = (0, len(terrain[0])), (0, len(terrain))
    for i, group in enumerate(data["groups"]):
        here = f"{at} groups[{i}]"
        fields(group, here, {"x": inside[0], "y": inside[1], "faction": FACTIONS, "units": dict})
        for name, count in group["units"].items():
            find_unit(name, f"{here} units", units, folder)
            totals[group["faction"]] += check(count, f"{here} units {name}", range(1, MAX_UNITS))
        if not group["units"]:
            fail(f"{here} units is empty; leave the group out")
        groups.append((FACTIONS[group["faction"]], group["x"], group["y"], *group["units"].items()))
    for key, faction in (("num_allied_units", "ALLY"), ("num_enemy_units", "ENEMY")):
        if data[key] != totals[faction]:
            fail(
                f"{at} {key} is {data[key]} and the {faction} groups have {totals[faction]}; make them equal"
            )
    if sum(totals.values()) > MAX_UNITS:
        fail(
            f"{at} groups have {sum(totals.values())} units; leave some out, {MAX_UNITS} is the limit"
        )
    check_placement(groups, units, terrain, at)

    if len(data["attack_point"]) != 2:
        fail(f"{at} attack_point must be [x, y], not {brief(data['attack_point'])}")
    ids, n_types = data["unit_type_ids"], data["num_unit_types"]
    if n_types > 1 and n_types != len(ids):
        fail(f"{at} num_unit_types is {n_types} and unit_type_ids has {len(ids)}; make them equal")
    for name, index in ids.items():
        find_unit(name, f"{at} unit_type_ids", units, folder)
        check(index, f"{at} unit_type_ids {name}", range(len(ids)))
    if n_types > 1 and len(set(ids.values())) < len(ids):
        fail(
            f"{at} unit_type_ids has a number twice; give every unit another, from 0 to {len(ids) - 1}"
        )
    for name in [name for _, _, _, *counts in groups for name, _ in counts]:
        if n_types > 1 and name not in ids:
            fail(f"{at} unit_type_ids lacks {name}, which is on the map; add it")
    return Map(
        data["name"],
        tuple(groups),
        attack_point=tuple(
            check(v, f"{at} attack_point", limits)
            for v, limits in zip(data["attack_point"], inside)
        ),
        terrain=terrain,
        type_ids=tuple(sorted(ids, key=ids.get)) if n_types > 1 else (),
        ally_shields=data["ally_has_shields"],
        enemy_shields=data["enemy_has_shields"],
        episode_limit=data.get("episode_limit", 200),
        units=units,
    )
