"""Maps from JSON files equal the same map in Python, and a broken file is explained in one line."""

import copy
import json
import pickle

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.recfunctions import structured_to_unstructured

from smaclite_jit import MAPS, UNITS, MapError, SMACliteEnv, load_map
from smaclite_jit.arena import Arena
from smaclite_jit.maps import TERRAINS
from tests.helpers import REPO

AMBUSH = REPO / "tests" / "maps" / "ambush.json"
FIELD_HOSPITAL = AMBUSH.parent / "field_hospital.json"
SNIPER = json.loads((AMBUSH.parent / "units" / "SNIPER.json").read_text())
SIDES = {"A": "ALLY", "E": "ENEMY"}


def described(m):
    """A Map as the object of its JSON file."""
    totals = dict.fromkeys(SIDES, 0)
    for side, _, _, *counts in m.groups:
        totals[side] += sum(count for _, count in counts)
    presets = [name for name, rows in TERRAINS.items() if rows == m.terrain]
    return {
        "name": m.name,
        "num_allied_units": totals["A"],
        "num_enemy_units": totals["E"],
        "groups": [
            {"x": x, "y": y, "faction": SIDES[side], "units": dict(units)}
            for side, x, y, *units in m.groups
        ],
        "attack_point": list(m.attack_point),
        **({"terrain_preset": presets[0]} if presets else {"terrain": list(m.terrain)}),
        "num_unit_types": len(m.type_ids),
        "unit_type_ids": {name: i for i, name in enumerate(m.type_ids)},
        "ally_has_shields": m.ally_shields,
        "enemy_has_shields": m.enemy_shields,
        "episode_limit": m.episode_limit,
    }


def battlefield(allies, enemies, width=32, height=32, attack_point=(4, 4), **more):
    """The object of a map with two groups, (x, y, units), on open ground."""
    groups = [
        {"x": x, "y": y, "faction": side, "units": units}
        for side, (x, y, units) in (("ALLY", allies), ("ENEMY", enemies))
    ]
    return {
        "name": "battlefield",
        "num_allied_units": sum(allies[2].values()),
        "num_enemy_units": sum(enemies[2].values()),
        "groups": groups,
        "attack_point": list(attack_point),
        "width": width,
        "height": height,
        "terrain": ["_" * width] * height,
        "num_unit_types": 0,
        "unit_type_ids": {},
        "ally_has_shields": True,
        "enemy_has_shields": True,
    } | more


@pytest.fixture
def write(tmp_path):
    """Write a map, and its units, and return the map's path."""

    def writer(data, **units):
        (tmp_path / "units").mkdir(exist_ok=True)
        for name, unit in units.items():
            (tmp_path / "units" / f"{name}.json").write_text(json.dumps(unit))
        if isinstance(data, dict) and units:
            data = {"custom_unit_path": "units"} | data
        (tmp_path / "map.json").write_text(data if isinstance(data, str) else json.dumps(data))
        return tmp_path / "map.json"

    return writer


def play(env, seed, attack=False):
    """Play an episode at random, or with the last available actions: attacks, if possible."""
    rng = np.random.default_rng(seed)
    rewards = []
    over = False
    env.reset(seed=seed)
    inner = env.unwrapped
    while not over:
        available = [np.flatnonzero(row) for row in inner.avail_actions]
        actions = [int(row[-1] if attack else rng.choice(row)) for row in available]
        _, reward, done, truncated, _ = env.step(actions)
        rewards.append(reward)
        over = done or truncated or len(rewards) == inner.episode_limit
        assert np.isfinite(structured_to_unstructured(inner.units)).all()
        assert np.isfinite(inner.obs).all()
        assert np.isfinite(inner.state).all()
        assert np.isfinite(reward)
        assert np.abs(inner.obs).max() <= 1
        assert inner.avail_actions.any(axis=1).all()
    return rewards


@pytest.mark.parametrize("name", MAPS)
def test_every_map_survives_being_written_and_read(name, write):
    path = write(described(MAPS[name]))
    ours = Arena(load_map(path))
    theirs = Arena(MAPS[name])
    for key, value in vars(theirs).items():
        if key not in ("battle_map", "rules"):
            assert np.array_equal(getattr(ours, key), value), key
    for key, value in theirs.rules._asdict().items():
        assert np.array_equal(getattr(ours.rules, key), value), key
    assert ours.battle_map == theirs.battle_map
    env = SMACliteEnv(map_file=path)
    assert env.map_name == name
    assert play(env, 5) == play(SMACliteEnv(name), 5)


def test_the_example():
    env = gym.make("smaclite_jit/custom-v0", map_file=str(AMBUSH))
    inner = env.unwrapped
    assert inner.map_name == "ambush"
    assert inner.episode_limit == 120
    assert env.spec.max_episode_steps == 120
    assert (inner.n_agents, inner.n_enemies, inner.n_actions) == (4, 9, 15)
    agents = ["SNIPER"] * 2 + ["ZEALOT"] * 2
    assert inner.arena.unit_names == agents + ["ZERGLING"] * 8 + ["STALKER"]
    assert inner.arena.kinds["type_id"].tolist() == [0, 0, 1, 1, *[2] * 8, 3]
    assert inner.arena.rules.damage[0].tolist() == [*[35] * 12, 20]
    assert not inner.arena.walkable[9, 11]
    assert inner.arena.walkable[9, 12]
    assert sum(play(env, 1)) > 0
    assert "SNIPER" not in UNITS


def test_the_example_is_copied_and_made_again():
    env = gym.make("smaclite_jit/custom-v0", map_file=str(AMBUSH))
    for other in (copy.deepcopy(env), pickle.loads(pickle.dumps(env)), gym.make(env.spec)):
        assert play(other, 3) == play(env, 3)
        assert other.spec.max_episode_steps == 120


def test_the_limit_of_the_file_truncates(write):
    path = write(
        battlefield((4, 4, {"MARINE": 1}), (28, 28, {"SPINE_CRAWLER": 1}), episode_limit=7)
    )
    env = gym.make("smaclite_jit/custom-v0", map_file=path)
    env.reset(seed=0)
    assert [env.step([1])[3] for _ in range(7)] == [False] * 6 + [True]


def test_render_mode_gets_to_the_environment(monkeypatch):
    given_modes = []

    def init(self, map_name="3m", map_file=None, render_mode=None):
        given_modes.append(render_mode)
        self.episode_limit = 1

    monkeypatch.setattr(SMACliteEnv, "__init__", init)
    gym.make("smaclite_jit/custom-v0", map_file="any", render_mode="rgb_array")
    assert given_modes == ["rgb_array"]


@pytest.fixture
def field_hospital():
    """Agents 0 and 1; a nurse 2 with the zealot 3, and far behind a nurse 4, who sees nobody."""
    env = SMACliteEnv(map_file=FIELD_HOSPITAL)
    assert env.arena.unit_names == ["MARINE", "MARINE", "NURSE", "ZEALOT", "NURSE"]
    env.reset(seed=0)
    return env


def test_a_ground_healer_of_the_enemy_heals_itself(field_hospital):
    env = field_hospital
    where = env.units["x"][[2, 4]].copy()
    env.units["hp"][[2, 4]] = 40
    env.step([1, 1])
    assert env.units["target"].tolist() == [-1, -1, 2, -1, 4]
    assert env.units["hp"].tolist() == [45, 45, 40 + 8 * 0.5625, 100, 40 + 8 * 0.5625]
    energy = 50 + 8 * 0.03515625 - 2  # two points are 6 hp, of which 1.5 stay in the pool
    assert env.units["energy"][[2, 4]].tolist() == [energy] * 2
    assert env.units["heal_pool"][[2, 4]].tolist() == [1.5] * 2
    assert env.units["x"][[2, 4]].tolist() == where.tolist()  # whoever heals stands still
    env.step([1, 1])
    assert env.units["target"][[2, 4]].tolist() == [2, 4]  # kept
    env.units["hp"][4] = 60
    env.step([1, 1])
    assert env.units["target"][4] == -1
    assert env.units["x"][4] < where[1]


def test_a_ground_healer_of_the_enemy_picks_whoever_has_the_least_health(field_hospital):
    env = field_hospital
    env.units["hp"][[2, 3]] = (40, 39)
    env.step([1, 1])
    assert env.units["target"][2] == 3
    assert env.units["hp"][[2, 3]].tolist() == [40, 39 + 8 * 0.5625]


def test_a_ground_healer_of_the_enemy_walks_at_the_pace_of_the_others(field_hospital):
    """The zealot's 3.15 is more than a nurse's 3: collision avoidance keeps to the nurse's own."""
    env = field_hospital
    env.step([1, 1])
    assert env.units["vx"][[2, 4]] == pytest.approx([-3, -3], abs=1e-3)


def test_a_healer_that_cannot_move_does_not_want_to(write):
    """A unit that passes it takes the whole share of avoiding it."""
    m = battlefield((4, 16, {"MARINE": 1}), (20, 16.2, {"SHRINE": 1}), attack_point=(9, 16))
    m["groups"].append({"x": 21.5, "y": 16, "faction": "ENEMY", "units": {"ZEALOT": 1}})
    m["num_enemy_units"] = 2
    nurse = json.loads((AMBUSH.parent / "units" / "NURSE.json").read_text())
    shrine = nurse | {"speed": 0, "size": 1}
    env = SMACliteEnv(map_file=write(m, SHRINE=shrine))
    env.reset(seed=0)
    path = []
    for _ in range(2):
        env.step([1])
        path += [env.units["x"][2], env.units["y"][2]]
    assert path == pytest.approx([20.688, 15.737, 19.646, 15.227], abs=1e-3)


@pytest.mark.parametrize(
    ("attack_point", "path"),
    [((20, 8), [20.288, 17.130, 20.361, 15.592]), ((18, 8), [19.698, 17.272, 19.433, 17.272])],
)
def test_a_unit_in_line_with_a_corner_that_it_touches(attack_point, path, write):
    """One leg of the velocity obstacle is nan there; the other one still counts."""
    rows = ["_" * 32] * 14 + ["_" * 16 + "X" * 4 + "_" * 12] * 3 + ["_" * 32] * 15
    allies = (1, 1, {"MARINE": 1})
    m = battlefield(allies, (20, 17.3, {"ZEALOT": 1}), attack_point=attack_point, terrain=rows)
    env = SMACliteEnv(map_file=write(m))
    env.reset(seed=0)
    walked = []
    for _ in range(2):
        env.step([1])
        walked += [env.units["x"][1], env.units["y"][1]]
    assert walked == pytest.approx(path, abs=1e-3)


def test_no_file_and_no_map():
    for make in (gym.make, gym.make_vec):
        with pytest.raises(TypeError, match=r"missing 1 required .* argument: 'map_file'"):
            make("smaclite_jit/custom-v0")
    with pytest.raises(
        ValueError, match=r"^there is no map '3s_vs_6z'; did you mean 3s_vs_5z or .*$"
    ):
        SMACliteEnv("3s_vs_6z")


def test_order_of_the_unit_types(write):
    data = battlefield((4, 4, {"MARINE": 1, "ZEALOT": 1}), (12, 4, {"STALKER": 1}))
    path = write(
        data | {"num_unit_types": 3, "unit_type_ids": {"STALKER": 2, "MARINE": 1, "ZEALOT": 0}}
    )
    assert load_map(path).type_ids == ("ZEALOT", "MARINE", "STALKER")
    env = SMACliteEnv(map_file=path)
    env.reset(seed=0)
    assert [row[-3:].tolist() for row in env.get_obs()] == [[0, 1, 0], [1, 0, 0]]
    for ids in ({"MARINE": 0}, {"MARINE": 0, "ZEALOT": 0}):
        path = write(data | {"num_unit_types": 1, "unit_type_ids": ids, "width": None})
        assert load_map(path).type_ids == ()


WALL_ROW = "_" * 16 + "X" + "_" * 15
WALL = [WALL_ROW] * 31 + ["X" + WALL_ROW[1:]]  # from south to north, and the cell (0, 31)
SCOUT = SNIPER | {"plane": "AIR", "speed": 6, "attack_range": "MELEE"}
STRIDER = SNIPER | {"plane": "COLOSSUS", "size": 3, "targeter": "LASER_BEAM"}
STRIDER |= {"targeter_kwargs": {"width": 3, "height": 1}, "valid_targets": ["GROUND", "COLOSSUS"]}
NURSE = SNIPER | {
    "damage": 0,
    "cooldown": 0.5,
    "combat_type": "HEALING",
    "targeter": "HEAL",
    "energy": 50,
}
BOMBER = SCOUT | {"targeter": "KAMIKAZE", "targeter_kwargs": {"radius": 3}}
PLAYABLE = {
    "one against one": battlefield((4, 4, {"MARINE": 1}), (9, 4, {"ZEALOT": 1})),
    "wide": battlefield((4, 4, {"MARINE": 3}), (12, 4, {"ZEALOT": 3}), 48, 8),
    "wide, in the east": battlefield(
        (36, 4, {"MARINE": 3}), (44, 4, {"ZEALOT": 3}), 48, 8, (36, 4)
    ),
    "high": battlefield((4, 4, {"MARINE": 3}), (4, 12, {"ZEALOT": 3}), 8, 48),
    "no shields seen": battlefield(
        (4, 4, {"STALKER": 3}), (12, 4, {"ZEALOT": 4}), ally_has_shields=False
    ),
    "always ready": battlefield((4, 4, {"GATLING": 2}), (12, 4, {"GATLING": 3})),
    "over the wall": battlefield(
        (14, 4, {"SCOUT": 4, "MARINE": 2}), (20, 4, {"BOMBER": 3, "SCOUT": 1}), terrain=WALL
    ),
    "striders": battlefield(
        (10, 4, {"STRIDER": 2}), (22, 4, {"STRIDER": 2, "ZEALOT": 2}), terrain=WALL
    ),
    "healers only": battlefield((4, 4, {"NURSE": 3, "MEDIVAC": 1}), (10, 4, {"MARINE": 2})),
    "healers first": battlefield(
        (4, 4, {"MEDIVAC": 1, "NURSE": 2, "MARINE": 5}), (12, 4, {"ZEALOT": 2, "NURSE": 1})
    ),
    "on the attack point": battlefield((9, 4, {"MARINE": 1}), (4, 4, {"MARAUDER": 1})),
    "unarmed": battlefield((4, 4, {"POST": 2}), (9, 4, {"POST": 1, "MARINE": 1})),
}


@pytest.mark.parametrize("name", PLAYABLE)
def test_unusual_maps_are_played(name, write):
    customs = {"SCOUT": SCOUT, "STRIDER": STRIDER, "NURSE": NURSE, "BOMBER": BOMBER}
    customs |= {
        "GATLING": SNIPER | {"cooldown": 0, "damage": 1},
        "POST": SNIPER | {"valid_targets": [], "speed": 0},
    }
    env = SMACliteEnv(map_file=write(PLAYABLE[name], **customs))
    assert env.arena.walkable.shape == (PLAYABLE[name]["height"], PLAYABLE[name]["width"])
    assert env.get_obs()[0].shape == (env.obs_size,)
    for seed in range(3):
        play(env, seed, attack=seed == 2)


def test_every_ally_can_be_healed_when_healers_come_first(write):
    data = battlefield((4, 4, {"MEDIVAC": 2, "MARINE": 3}), (20, 20, {"ZEALOT": 1}))
    env = SMACliteEnv(map_file=write(data))
    env.reset(seed=0)
    assert env.n_actions == 6 + 5
    targets = [row[6:].tolist() for row in env.get_avail_actions()]
    assert targets == [[0, 0, 1, 1, 1]] * 2 + [[0] * 5] * 3


GOOD = battlefield((4, 4, {"SNIPER": 2}), (12, 4, {"ZEALOT": 1}))
GROUP = GOOD["groups"][0]
# What is changed in GOOD, and what the line must hold.
BROKEN_MAPS = [
    ("{", "cannot be read as a JSON file"),
    ("[" * 100_000, "cannot be read as a JSON file"),
    ('{"name": "a", "name": "b"}', "num_allied_units is missing"),
    ([], "must be an object"),
    (None, "must be an object"),
    ({"name": 3}, "name must be a text"),
    ({"name": ""}, "name must be a text"),
    ({"nmae": "a"}, "nmae is not a key here; did you mean name?"),
    ({"new\nline": "a"}, r"new\nline is not a key"),
    ({"num_allied_units": 3}, "num_allied_units is 3 and the ALLY groups have 2"),
    ({"num_allied_units": True}, "num_allied_units must be a whole number"),
    ({"num_allied_units": 2.0}, "num_allied_units must be a whole number"),
    ({"num_enemy_units": 0}, "num_enemy_units must be a whole number from 1"),
    ({"groups": {}}, "groups must be a list"),
    ({"groups": []}, "num_allied_units is 2 and the ALLY groups have 0"),
    ({"groups": [7]}, "groups[0] must be an object"),
    ({"groups": [{"x": 4}]}, "groups[0] y is missing"),
    ({"groups": [GROUP | {"x": "4"}]}, "groups[0] x must be a number from 0 to 32, not '4'"),
    ({"groups": [GROUP | {"x": float("nan")}]}, "groups[0] x must be a number"),
    ({"groups": [GROUP | {"y": float("inf")}]}, "groups[0] y must be a number"),
    ({"groups": [GROUP | {"y": 10**400}]}, "groups[0] y must be a number"),
    ({"groups": [GROUP | {"y": -1}]}, "groups[0] y must be a number from 0"),
    (
        {"groups": [GROUP | {"faction": "ALY"}]},
        "groups[0] faction cannot be 'ALY'; did you mean ALLY?",
    ),
    ({"groups": [GROUP | {"faction": []}]}, "groups[0] faction cannot be []"),
    ({"groups": [GROUP | {"units": {}}]}, "groups[0] units is empty"),
    ({"groups": [GROUP | {"units": ["MARINE"]}]}, "groups[0] units must be an object"),
    ({"groups": [GROUP | {"units": {"MARNE": 1}}]}, "MARNE.json; did you mean MARINE or"),
    ({"groups": [GROUP | {"units": {"marine": 1}}]}, "marine.json; did you mean MARINE?"),
    ({"groups": [GROUP | {"units": {"\0": 1}}]}, "groups[0] units \\x00 is neither"),
    ({"groups": [GROUP | {"units": {"\ud800": 1}}]}, "groups[0] units \\ud800 is neither"),
    ({"groups": [GROUP | {"units": {"A" * 5000: 1}}]}, "is neither a standard unit"),
    (
        {"groups": [GROUP | {"units": {"MARINE": 0}}]},
        "groups[0] units MARINE must be a whole number from 1",
    ),
    (
        {"groups": [GROUP | {"units": {"MARINE": 10**9}}]},
        "groups[0] units MARINE must be a whole number from 1",
    ),
    (
        {"groups": [GROUP | {"x": 0.5}, GOOD["groups"][1]]},
        "groups[0] puts a SNIPER at (0.12, 3.97), not inside",
    ),
    (
        {"groups": [GROUP, GOOD["groups"][1] | {"x": 4.4}]},
        "groups[1] puts a ZEALOT at (4.40, 4.00), on top of",
    ),
    (
        {"groups": [GROUP, GROUP, GOOD["groups"][1]], "num_allied_units": 4},
        "groups[1] puts a SNIPER at",
    ),
    (
        {"terrain": ["_" * 32] * 3 + ["XXXX" + "_" * 28] * 29},
        "groups[0] puts a SNIPER at (3.62, 3.97), in a blocked",
    ),
    ({"terrain": ["_" * 32] * 31}, "terrain has 31 rows and height is 32"),
    ({"terrain": ["_" * 31] * 32}, "terrain[0] must be a row of 32 cells"),
    ({"terrain": [["_"] * 32] * 31 + [["_"] * 31 + ["__"]]}, "terrain[31] must be a row of 32"),
    ({"terrain": ["_" * 31 + "x"] * 32}, "must be a row of 32 cells (the width) of _, X or C"),
    ({"terrain": [[None] * 32] * 32}, "terrain[0] must be a row"),
    ({"terrain": [5] * 32}, "terrain[0] must be a row"),
    ({"terrain": "_" * 32}, "terrain must be a list"),
    ({"terrain_preset": "SIMPLE"}, "terrain or terrain_preset must be there, and not both"),
    ({"terrain": ...}, "terrain or terrain_preset must be there, and not both"),
    (
        {"terrain": ..., "terrain_preset": "SIMPEL"},
        "terrain_preset cannot be 'SIMPEL'; did you mean SIMPLE?",
    ),
    ({"terrain": ..., "terrain_preset": "SIMPLE", "width": 40}, "terrain_preset is 32 x 32"),
    ({"width": 0}, "width must be a whole number from 1 to 256"),
    ({"height": 10**6}, "height must be a whole number from 1 to 256"),
    ({"attack_point": [1]}, "attack_point must be [x, y]"),
    ({"attack_point": [1, 33]}, "attack_point must be a number from 0 to 32, not 33"),
    ({"attack_point": [None, 3]}, "attack_point must be a number"),
    ({"num_unit_types": 2}, "unit_type_ids must give 2 units (num_unit_types) the numbers"),
    ({"num_unit_types": 2, "unit_type_ids": ...}, "unit_type_ids must give 2 units"),
    (
        {"num_unit_types": 2, "unit_type_ids": {"SNIPER": 0, "ZEALOT": 2}},
        "unit_type_ids must give 2 units",
    ),
    (
        {"num_unit_types": 2, "unit_type_ids": {"SNIPER": 1, "ZEALOT": 1}},
        "unit_type_ids must give 2 units",
    ),
    (
        {"num_unit_types": 2, "unit_type_ids": {"SNIPER": 1, "MARINE": 0}},
        "unit_type_ids lacks ZEALOT",
    ),
    (
        {"num_unit_types": 2, "unit_type_ids": {"SNIPER": 1, "ZEALTO": 0}},
        "unit_type_ids lacks ZEALOT",
    ),
    ({"ally_has_shields": 1}, "ally_has_shields must be true or false, not 1"),
    ({"enemy_has_shields": ...}, "enemy_has_shields is missing"),
    ({"custom_unit_path": ["units"]}, "custom_unit_path must be a text"),
    ({"custom_unit_path": "nowhere"}, "groups[0] units SNIPER is neither a standard unit nor"),
    ({"episode_limit": 0}, "episode_limit must be a whole number from 1"),
]


@pytest.mark.parametrize(("change", "message"), BROKEN_MAPS)
def test_what_is_wrong_with_a_map_is_said_in_a_line(change, message, write):
    data = change
    if isinstance(change, dict):
        data = {key: value for key, value in (GOOD | change).items() if value is not ...}
    path = write(data if data is not None else "null", SNIPER=SNIPER)
    with pytest.raises(MapError) as error:
        load_map(path)
    line = str(error.value)
    assert line.startswith(f"{path}: ")
    assert message in line
    assert line.isprintable()


BROKEN_UNITS = [
    ([], "must be an object"),
    ({"hp": 0}, "hp must be a number from 0.01"),
    ({"hp": ...}, "hp is missing"),
    ({"size": -1}, "size must be a number from 0.01"),
    ({"armor": -1}, "armor must be a number from 0"),
    ({"damage": "20"}, "damage must be a number"),
    ({"cooldown": float("nan")}, "cooldown must be a number"),
    ({"speed": None}, "speed must be a number"),
    ({"attack_range": "MELE"}, "attack_range must be a number"),
    ({"atacks": 2}, "atacks is not a key here; did you mean attacks"),
    ({"attacks": 0}, "attacks must be a whole number from 1"),
    ({"attacks": 1.5}, "attacks must be a whole number"),
    ({"attributes": "LIGHT"}, "attributes must be a list"),
    ({"attributes": ["LIGTH"]}, "attributes cannot be 'LIGTH'; did you mean LIGHT?"),
    ({"attributes": ["LIGHT", "LIGHT"]}, "attributes has a name twice"),
    (
        {"valid_targets": ["WATER"]},
        "valid_targets cannot be 'WATER'; choose from GROUND, AIR, COLOSSUS",
    ),
    ({"valid_targets": ["AIR", "AIR"]}, "valid_targets has a name twice"),
    ({"bonuses": {"LIGHT": -1}}, "bonuses LIGHT must be a number from 0"),
    ({"bonuses": {"LIHGT": 1}}, "bonuses cannot be 'LIHGT'"),
    ({"plane": "SKY"}, "plane cannot be 'SKY'"),
    ({"combat_type": "HEALING"}, "combat_type HEALING and targeter HEAL belong together"),
    ({"targeter": "HEAL"}, "combat_type HEALING and targeter HEAL belong together"),
    ({"combat_type": "HEAL"}, "combat_type cannot be 'HEAL'; did you mean HEALING?"),
    ({"targeter": "LASER"}, "targeter cannot be 'LASER'; did you mean LASER_BEAM?"),
    ({"targeter": "KAMIKAZE"}, "targeter_kwargs radius is missing"),
    (
        {"targeter": "KAMIKAZE", "targeter_kwargs": {"radius": 0}},
        "targeter_kwargs radius must be a number from 0.01",
    ),
    (
        {"targeter": "LASER_BEAM", "targeter_kwargs": {"width": 1}},
        "targeter_kwargs height is missing",
    ),
    ({"targeter_kwargs": {"radius": 1}}, "targeter_kwargs radius is not a key here; leave it out"),
    ({"energy": 10, "starting_energy": 20}, "starting_energy is more than energy"),
]


@pytest.mark.parametrize(("change", "message"), BROKEN_UNITS)
def test_what_is_wrong_with_a_unit_is_said_in_a_line(change, message, write):
    unit = change
    if isinstance(change, dict):
        unit = {key: value for key, value in (SNIPER | change).items() if value is not ...}
    path = write(GOOD, SNIPER=unit)
    with pytest.raises(MapError) as error:
        load_map(path)
    line = str(error.value)
    assert line.startswith(f"{path.parent / 'units' / 'SNIPER.json'}: ")
    assert message in line
    assert line.isprintable()


@pytest.mark.parametrize(
    "path", ["nowhere.json", "", REPO, 3, None, "a\0b", "a\nb", "a" * 5000, "\ud800"]
)
def test_what_cannot_be_read_at_all(path):
    with pytest.raises(MapError, match="cannot be read as a JSON file: ") as error:
        load_map(path)
    assert str(error.value).isprintable()


def test_a_standard_unit_keeps_its_name(write):
    path = write(battlefield((4, 4, {"MARINE": 1}), (9, 4, {"MARINE": 1})), MARINE=SNIPER)
    with pytest.warns(UserWarning, match="MARINE is a standard unit and .* is not used; rename"):
        units = load_map(path).units
    assert units["MARINE"] is UNITS["MARINE"]


def test_a_file_of_a_hydralisk_is_used(write):
    """The original has no hydralisk: there it is a unit like any other of a file."""
    data = battlefield((4, 4, {"HYDRALISK": 1}), (9, 4, {"MARINE": 1}))
    assert load_map(write(data)).units == UNITS
    hydralisk = load_map(write(data, HYDRALISK=SNIPER | {"hp": 77})).units["HYDRALISK"]
    assert hydralisk.hp == 77
    assert UNITS["HYDRALISK"].hp == 90


def test_a_folder_of_units_may_be_relative_to_the_working_directory(write, tmp_path, monkeypatch):
    path = write(GOOD, SNIPER=SNIPER | {"hp": 50})
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "units").mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    (elsewhere / "units" / "SNIPER.json").write_text(json.dumps(SNIPER | {"hp": 70}))
    assert load_map(path).units["SNIPER"].hp == 50  # the map's folder comes first
    (tmp_path / "units" / "SNIPER.json").unlink()
    assert load_map(path).units["SNIPER"].hp == 70
    (elsewhere / "units" / "SNIPER.json").unlink()
    with pytest.raises(MapError) as error:
        load_map(path)
    files = f"a {tmp_path / 'units' / 'SNIPER.json'} or a units/SNIPER.json; "
    assert files in str(error.value)


@pytest.mark.parametrize("n_types", [0, 1])
def test_ids_of_types_that_nobody_sees_may_be_left_out(n_types, write):
    data = {key: value for key, value in GOOD.items() if key != "unit_type_ids"}
    path = write(data | {"num_unit_types": n_types}, SNIPER=SNIPER)
    assert load_map(path).type_ids == ()


def test_a_hero(write):
    hero = SNIPER | {"attributes": ["HEROIC"], "bonuses": {"HEROIC": 7}}
    path = write(battlefield((4, 4, {"HERO": 1}), (9, 4, {"HERO": 1})), HERO=hero)
    env = SMACliteEnv(map_file=path)
    assert env.arena.rules.damage[0].tolist() == [27, 27]


def test_a_file_may_begin_with_a_byte_order_mark(write):
    path = write(GOOD, SNIPER=SNIPER)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_map(path).name == "battlefield"


words = st.sampled_from(
    ["name", "groups", "units", "x", "MARINE", "SNIPER", "ALLY", "SIMPLE", "_", "X", "../units"]
)
atoms = st.none() | st.booleans() | st.integers() | st.floats() | words | st.text(max_size=5)
junk = st.recursive(
    atoms,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=8,
)


def places(data, path=()):
    """All the paths of keys and indices that lead into an object."""
    below = ()
    if isinstance(data, dict):
        below = data.items()
    if isinstance(data, list):
        below = enumerate(data)
    found = [path] if path else []
    for key, value in below:
        found += places(value, (*path, key))
    return found


EXAMPLE = json.loads(AMBUSH.read_text())


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_no_file_whatsoever_raises_anything_else(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "junk"
    (folder / "units").mkdir(parents=True, exist_ok=True)
    for file, original in (("units/SNIPER.json", SNIPER), ("map.json", EXAMPLE)):
        changed = copy.deepcopy(original)
        for _ in range(data.draw(st.integers(0, 2))):
            *above, last = data.draw(st.sampled_from(places(changed) or [("name",)]))
            place = changed
            for key in above:
                place = place[key]
            if data.draw(st.booleans()):
                place[last] = data.draw(junk)
            elif isinstance(place, dict):
                place.pop(last, None)
            else:
                place.pop(last)
        if data.draw(st.integers(0, 9)) == 0:
            changed = data.draw(junk)
        (folder / file).write_text(json.dumps(changed), "utf-8")
    try:
        load_map(folder / "map.json")
    except MapError as error:
        assert str(error).isprintable()
        return
    env = SMACliteEnv(map_file=folder / "map.json")  # what is accepted is played
    env.reset(seed=0)
    for _ in range(3):
        env.step([int(np.flatnonzero(row)[-1]) for row in env.avail_actions])
    assert np.isfinite(structured_to_unstructured(env.units)).all()
