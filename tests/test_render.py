"""Pictures of smaclite_jit's battles."""

import copy
import pickle
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import RenderCollection

from smaclite_jit import MAPS, UNITS, Map, SMACliteEnv, UnitType
from smaclite_jit import battle as b
from smaclite_jit.rendering.renderer import SIDES, STRIP
from tests.helpers import ENVIRON, REPO
from tests.policies import random_actions, scripted


def fought(name="MMM", steps=12, render_mode="rgb_array", seed=1):
    env = SMACliteEnv(name, render_mode=render_mode)
    env.reset(seed=seed)
    for _ in range(steps):
        if env.step(scripted(env))[2]:
            break
    return env


def shows(frame, colour):
    """Whether the map of a frame has pixels of this colour, #rrggbb, or nearly so."""
    rgb = [int(colour[k : k + 2], 16) for k in (1, 3, 5)]
    difference = np.abs(frame[STRIP:-STRIP].astype(int) - rgb).max(axis=-1)
    return (difference < 8).sum() > 20


def test_frames_of_a_fight():
    env = SMACliteEnv("MMM", render_mode="rgb_array")
    env.reset(seed=1)
    frames = [env.render()]
    for _ in range(14):
        env.step(scripted(env))
        frames.append(env.render())
        assert np.array_equal(frames[-1], env.render())  # the same state, the same pixels
    for frame in frames:
        assert frame.shape == (488, 816, 3)
        assert frame.dtype == np.uint8
        for side in SIDES:
            assert shows(frame, side)
    assert len({frame.tobytes() for frame in frames}) == len(frames)
    frames[0][:] = 0  # frames are the caller's
    assert env.render().any()


def test_the_picture_follows_the_state():
    env = SMACliteEnv("2s3z", render_mode="rgb_array")
    env.reset(seed=1)
    first = env.render()
    changes = {
        "hurt": ("hp", 40),
        "without shield": ("shield", 0),
        "further north": ("y", 20),
        "hidden": ("x", 5),
    }
    pictures = [first]
    for field, value in changes.values():
        env.reset()
        env.units[field][0] = value
        pictures.append(env.render())
    env.reset()
    env.units["alive"][0] = False
    pictures.append(env.render())
    assert len({picture.tobytes() for picture in pictures}) == len(changes) + 2
    # The rows of the unit's old place, and of y = 20, where row 24 is the top: north is at the top.
    rows, _ = np.nonzero((pictures[3] != first).any(axis=-1))
    assert rows.min() < STRIP + 7 * env.renderer.cell
    assert rows.max() > STRIP + 7 * env.renderer.cell


@pytest.mark.parametrize("name", MAPS)
def test_every_map(name):
    env = SMACliteEnv(name, render_mode="rgb_array")
    env.reset(seed=2)
    shape = env.render().shape
    assert max(shape[:2]) < 900
    assert not (np.array(shape[:2]) % 2).any()  # videos need that
    for _ in range(3):
        for _ in range(4):
            if env.step(scripted(env))[2]:
                env.reset()
        assert env.render().shape == shape
        assert shows(env.render(), SIDES[0])
        assert shows(env.render(), SIDES[1])


@pytest.mark.parametrize("columns, rows", [(60, 9), (7, 40), (5, 5), (250, 250)])
def test_maps_of_any_size_and_units_of_any_type(columns, rows, monkeypatch):
    archon = UnitType(
        hp=10, shield=350, armor=0, speed=2.8, size=2, attributes=(),
        damage=2, cooldown=0, attack_range=3,
    )  # fmt: skip
    mule = UnitType(
        hp=900, armor=0, speed=3, size=0.02, attributes=(), damage=1, cooldown=1, attack_range=1
    )
    units = UNITS | {"ARCHON": archon, "MULE": mule}
    groups = (
        ("A", 2, 2, ("ARCHON", 1), ("MARINE", 1)),
        ("E", 4, 3.5, ("MULE", 2), ("ZEALOT", 1)),
    )
    terrain = ("_" * columns,) * (rows - 1) + ("X" * columns,)
    monkeypatch.setitem(MAPS, "own", Map("own", groups, (2, 2), terrain, units=units))
    env = SMACliteEnv("own", render_mode="rgb_array")
    env.reset(seed=1)
    for _ in range(4):
        env.step(scripted(env))
        frame = env.render()
    height, width, _ = frame.shape
    assert 400 < width < 1100
    assert 150 < height < 1150
    assert shows(frame, SIDES[0]) or columns == 250  # where a unit is a few pixels
    assert (width > height) == (columns > rows) or columns < 17
    attackers = set()
    for _, events in env.renderer.ticks():
        attackers |= {attacker for _, attacker, _ in events}
    assert 0 in attackers  # the archon: its weapon has no cooldown


@pytest.mark.parametrize("name", ["MMM", "2s3z", "1c3s5z", "bane_vs_bane", "2s_vs_1sc"])
def test_ticks_play_the_last_step_again(name):
    env = SMACliteEnv(name, render_mode="rgb_array")
    env.reset(seed=3)
    kinds = env.arena.kinds
    healed = 0
    done = False
    assert env.renderer.ticks() == []
    while not done and env.renderer.steps < 30:
        before = env.units.copy()
        done = env.step(scripted(env))[2]
        ticks = env.renderer.ticks()
        assert len(ticks) == b.TICKS
        assert np.array_equal(ticks[-1][0], env.units)
        for after, events in ticks:
            now = [(i, j) for age, i, j in events if age == 0]
            spread = [i for i, _ in now if kinds["targeter"][i] in (b.KAMIKAZE, b.LASER)]
            hurt = np.flatnonzero(
                (after["hp"] + after["shield"] < before["hp"] + before["shield"])
                & (after["hp"] > 0)
            )
            assert set(hurt) <= {j for _, j in now} or spread
            for i, j in now:
                if kinds["targeter"][i] == b.HEAL:
                    assert kinds["enemy"][i] == kinds["enemy"][j]
                    healed += 1
                else:
                    assert kinds["enemy"][i] != kinds["enemy"][j]
                    assert after["cooldown"][i] == kinds["weapon_cooldown"][i]
            before = after
    assert (healed > 0) == (name == "MMM")


def test_pictures_of_the_ticks():
    env = gym.make("smaclite_jit/MMM-v0", render_mode="rgb_array").unwrapped
    assert env.metadata["frames_per_step"] * env.metadata["render_fps"] == 16
    env.reset(seed=1)
    first = env.render_ticks()
    assert len(first) == 1
    assert np.array_equal(first[0], env.render())
    for step in range(12):
        env.step(scripted(env))
        if step == 5:
            continue  # not every step has to be looked at
        frames = env.render_ticks()
        assert len(frames) == b.TICKS
        assert {frame.shape for frame in frames} == {(488, 816, 3)}
        assert {frame.dtype for frame in frames} == {np.dtype(np.uint8)}
        assert len({frame.tobytes() for frame in frames}) == len(frames)
        assert np.array_equal(frames[-1], env.render())
        assert np.array_equal(frames, env.render_ticks())
    with pytest.raises(ValueError, match="render_mode"):
        SMACliteEnv("3m").render_ticks()


def test_the_range_of_a_selected_unit():
    env = fought("3m", steps=2)
    renderer = env.renderer
    plain = env.render()
    drawn = {}  # unit -> the picture with its range
    assert renderer.selected is None
    for renderer.selected in (1, 4):
        drawn[renderer.selected] = env.render()
        changed = np.argwhere((drawn[renderer.selected] != plain).any(axis=-1))
        middle = (changed.min(axis=0) + changed.max(axis=0)) / 2
        kind = env.arena.kinds[renderer.selected]
        reach = (kind["attack_range"] + kind["radius"]) * renderer.cell
        unit = env.units[renderer.selected]
        at = (
            STRIP + (renderer.top - unit["y"]) * renderer.cell,
            (unit["x"] - renderer.left) * renderer.cell,
        )
        assert middle == pytest.approx(at, abs=2)
        assert (changed.max(axis=0) - changed.min(axis=0)) / 2 == pytest.approx(reach, abs=3)
    assert (drawn[1] != drawn[4]).any()
    for renderer.selected in (None, 99, -1):
        assert np.array_equal(env.render(), plain)
    renderer.selected = None
    env.units["alive"][1] = False
    dead = env.render()
    renderer.selected = 1
    assert np.array_equal(env.render(), dead)


def test_pictures_between_two_ticks():
    env = fought()
    (units, events), (later, _) = env.renderer.ticks()[-2:]
    middle = units.copy()
    for field in ("x", "y"):
        middle[field] = (units[field] + later[field]) / 2
    assert env.renderer.draw(middle, events).get_size() == env.render().shape[1::-1]


def test_rendering_does_not_change_the_battle():
    plain = SMACliteEnv("MMM")
    rendered = SMACliteEnv("MMM", render_mode="rgb_array")
    for seed in range(2):
        plain.reset(seed=seed)
        rendered.reset(seed=seed)
        rng = np.random.default_rng(seed)
        for step in range(25):
            actions = random_actions(plain.get_avail_actions(), rng)
            ours = plain.step(actions)
            theirs = rendered.step(actions)
            if step % 3:
                rendered.render()
            assert np.array_equal(ours[0], theirs[0])
            assert ours[1:] == theirs[1:]
            assert np.array_equal(plain.units, rendered.units)
            assert np.array_equal(plain.rng_state, rendered.rng_state)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_rendered_battle_can_be_copied(copied):
    env = fought()
    env.render()
    other = copied(env)
    for _ in range(3):
        assert np.array_equal(env.render(), other.render())
        actions = scripted(env)
        env.step(actions)
        other.step(actions)
    env.reset()
    assert (env.render() != other.render()).any()  # a copy draws its own battle


@pytest.mark.filterwarnings("ignore")
def test_gymnasium(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")  # the check goes through all modes
    check_env(gym.make("smaclite_jit/MMM-v0", render_mode="rgb_array").unwrapped)
    env = RenderCollection(gym.make("smaclite_jit/MMM-v0", render_mode="rgb_array"))
    env.reset(seed=1)
    env.step([1] * 10)
    assert [frame.shape for frame in env.render()] == [(488, 816, 3)] * 2
    env.close()
    env.close()


def test_render_modes():
    env = SMACliteEnv("3m")
    with pytest.warns(UserWarning, match="render_mode='rgb_array'"):
        assert env.render() is None
    env.close()
    with pytest.raises(ValueError, match="it can be None, 'human' or 'rgb_array'"):
        SMACliteEnv("3m", render_mode="ansi")


def run_program(name, **environment):
    """Run a file of tests/programs, without a display but for what `environment` has."""
    environ = {
        variable: value
        for variable, value in ENVIRON.items()
        if "DISPLAY" not in variable and not variable.startswith("SDL")
    }
    command = [sys.executable, str(REPO / "tests" / "programs" / f"{name}.py")]
    return subprocess.run(
        command, env=environ | environment, capture_output=True, text=True, timeout=300
    )


def test_pygame_is_imported_for_rendering_only():
    done = run_program("render_on_demand")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""


def test_rendering_without_pygame():
    done = run_program("render_without_pygame")
    assert "DependencyNotInstalled" in done.stderr.splitlines()[-1]
    assert "pip install pygame-ce" in done.stderr.splitlines()[-1]


def test_human_mode():
    done = run_program("render_human", SDL_VIDEODRIVER="dummy")
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="other systems always have a display"
)
def test_human_mode_without_a_display():
    done = run_program("render_human_without_display")
    last_line = done.stderr.splitlines()[-1]
    assert last_line.startswith("RuntimeError: ")
    assert 'use render_mode="rgb_array"' in last_line


def test_pictures_without_a_display():
    done = run_program("render_array_without_display")
    assert done.returncode == 0
    assert done.stderr == ""
