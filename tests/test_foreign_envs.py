"""Foreign environments are checked before they are trusted; nothing is silent, nothing hangs."""

import dataclasses
import importlib.util
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from types import ModuleType

import gymnasium as gym
import numpy as np
import pytest
import torch
from pettingzoo.utils.conversions import aec_to_parallel, parallel_to_aec
from pettingzoo.utils.wrappers import BaseParallelWrapper

import tests.envs.clock
from cleanmarl import env_wrappers
from cleanmarl.env_wrappers import (
    UsageError,
    WorkerDied,
    boolean_flags,
    check_env,
    end_workers,
    make_env,
    make_vector_env,
)
from tests.envs import foreign
from tests.envs.clock import Clock
from tests.helpers import ENVIRON, REPO

CLOCK = ("pz", "clock", "tests.envs")
HAS_RWARE = importlib.util.find_spec("rware") is not None


@pytest.fixture(autouse=True)
def first_limit():
    """The line about the limit comes once a process: let every test be the first."""
    env_wrappers.warn_of_limit.cache_clear()


@pytest.fixture
def make(monkeypatch):
    """Make a team of the foreign environment of that name, or of a class."""

    def make_foreign(parallel_env, **kwargs):
        if isinstance(parallel_env, str):
            parallel_env = getattr(foreign, parallel_env)
        monkeypatch.setattr(tests.envs.clock, "parallel_env", parallel_env)
        return make_env(*CLOCK, **{"seed": 3, **kwargs})

    return make_foreign


def first_actions(observation):
    return observation["avail_actions"].argmax(axis=-1)


def play(env, num_steps):
    """All observations and outcomes of `num_steps` steps, with resets in between."""
    observation, _ = env.reset()
    observations = [observation]
    outcomes = []
    for _ in range(num_steps):
        observation, *outcome, _ = env.step(first_actions(observation))
        observations.append(observation)
        outcomes.append(outcome)
        if outcome[1] or outcome[2]:
            observation, _ = env.reset()
            observations.append(observation)
    return observations, outcomes


# What the check refuses

REFUSED = [
    ("StateShrinks", ["2 numbers for state()", "expected 3"]),
    ("StateLater", ["nan for state()", "expected finite numbers"]),
    ("ShortMask", ["1 numbers for the action mask of 'agent_0'", "expected 3"]),
    ("OddMask", ["the action mask of 'agent_0'", "expected 0 and 1"]),
    ("RewardVector", ["2 numbers for the reward of 'agent_0'", "expected one", "LinearizeReward"]),
    ("RewardText", ["a str for the reward of 'agent_0'", "expected numbers"]),
    ("RewardForStranger", ["a reward to 'bank'", "possible_agents"]),
    ("NotANumber", ["nan for the observation of 'agent_0'", "expected finite numbers"]),
    ("TooLarge", ["the observation of 'agent_0'", "expected finite numbers of float32"]),
    ("ShortObservation", ["1 numbers for the observation of 'agent_0'", "expected 3"]),
    ("MissingObservation", ["no observation to 'agent_2'", "expected one for each of `agents`"]),
    ("NothingAtTheEnd", ["no observation to 'agent_0'", "a last one for each who is cut off"]),
    ("NewAgent", ["'stranger'", "possible_agents"]),
    ("ListOfInfos", ["a list for the infos of step()", "expected a dictionary by agent"]),
    ("FourResults", ["step() that returns 4 values", "expected (observations, rewards,"]),
    ("OnlyObservations", ["reset() that returns a dict", "expected (observations, infos)"]),
    ("NobodyPlays", ["no agents after reset()"]),
    (
        "WrongCategory",
        ["-1", "the observation of 'agent_0'", "expected one of its space Discrete(5)"],
    ),
]


@pytest.mark.parametrize(("name", "words"), REFUSED)
def test_the_check_names_the_agent_and_what_was_expected(name, words, make):
    env = make(name)
    with pytest.raises(UsageError) as error:
        check_env(env)
    message = str(error.value)
    assert message.startswith("--env-name: clock ")
    assert "\n" not in message
    for word in words:
        assert word in message


MADE = [
    ("NoSeed", ["reset(seed=None, options=None)"]),
    ("NoAgents", ["no possible_agents"]),
    ("NoEnvironment", ["no ParallelEnv"]),
    ("SomeSpace", ["Sequence", "'agent_0'", "no fixed size"]),
    ("Graph", ["Graph", "'agent_0'", "no fixed size"]),
]


@pytest.mark.parametrize(("name", "words"), MADE)
def test_some_are_refused_when_they_are_made(name, words, make):
    with pytest.raises(UsageError) as error:
        make(name)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": 1}, "a dict for state(): expected numbers"),
        ([], "0 numbers for state(): expected at least 1"),
        ([[1], [1, 2]], "a list for state(): expected numbers"),
        (np.array([1, np.inf]), "inf for state(): expected finite numbers"),
    ],
)
def test_a_state_must_be_numbers(value, words, make, monkeypatch):
    monkeypatch.setattr(foreign.StateOfSomeType, "value", value)
    with pytest.raises(UsageError) as error:
        make("StateOfSomeType")
    assert words in str(error.value)


@pytest.mark.parametrize("name", ["StateShrinks", "ShortMask", "ShortObservation"])
def test_wrong_sizes_are_errors_in_training_too(name, make):
    with pytest.raises(UsageError, match="expected"):
        play(make(name), 10)


# What it lets pass, and what it says then


@pytest.mark.parametrize(
    "args",
    [
        CLOCK,
        ("pz", "masked", "tests.envs"),
        ("pz", "two_step_game", "tests.envs"),
        ("pz", "simple_spread_v3"),
        ("pz", "simple_speaker_listener_v4"),
        ("pz", "rps_v2", "classic"),
        ("lbf", "Foraging-5x5-2p-1f-v3"),
        ("smaclite", "3m"),
    ],
)
def test_the_check_says_nothing_of_good_ones(args, capsys):
    check_env(make_env(*args, seed=1))
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out == ""


@pytest.mark.parametrize(
    "name", ["RewardOfOne", "SpacesLater", "Goal", "Endless", "WantsSeed", "NoSubclass"]
)
def test_odd_ones_that_work(name, make):
    env = make(name)
    check_env(env)
    play(env, 10)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("Waits", "'agent_0' and 2 others have at times no available action, and takes action 0"),
        ("Still", "all observations are equal"),
        ("Window", "all observations are equal"),
        ("Refuses", "all observations are equal"),
    ],
)
def test_oddities_are_one_line(name, line, make, capsys):
    check_env(make(name))
    captured = capsys.readouterr().err
    assert captured.startswith("warning: clock: ")
    assert line in captured
    assert captured.count("\n") == 1


def test_the_check_leaves_no_trace():
    def episode(checked):
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
        env = make_env("pz", "dice", "tests.envs", seed=5)
        inside = env.env
        if checked:
            check_env(env)
        assert env.env is inside
        observations = [observation["obs"] for observation in play(env, 3)[0]]
        return np.array(observations), random.random(), np.random.random(), torch.rand(1).item()

    for one, other in zip(episode(False), episode(True)):
        assert np.array_equal(one, other)


def test_the_first_reset_after_the_check_has_the_seed(make):
    checked = make("Clock")
    check_env(checked)
    expected, _ = make("Clock").reset()
    assert np.array_equal(checked.reset()[0]["state"], expected["state"])


def test_the_check_draws_from_generators_of_its_own(monkeypatch, make):
    drawn = []

    class Draws(Clock):
        def step(self, actions):
            drawn.append(np.random.random())
            return super().step(actions)

    np.random.seed(3)
    check_env(make(Draws))
    assert drawn
    assert not set(drawn) & set(np.random.RandomState(3).random(1000))


def test_the_check_ends(make, monkeypatch):
    env = make("Endless")
    check_env(env)
    assert env.env.t == env_wrappers.CHECK_STEPS
    monkeypatch.setattr(env_wrappers, "CHECK_SECONDS", 0)
    check_env(env)
    assert env.env.t == 1


# A bug keeps its own traceback


def test_a_bug_in_state_is_shown(make):
    with pytest.raises(AttributeError, match="stat"):
        make("StateBug")
    with pytest.raises(NotImplementedError, match="the board"):
        make("StateCallsNothing")


class Wrapped(BaseParallelWrapper):
    """A wrapper with a bug in `state()`, which PettingZoo's __getattr__ meets."""

    def state(self):
        return self.stat


@pytest.mark.parametrize("name", ["Clock", "StateIsData", "NoState"])
@pytest.mark.filterwarnings("ignore")
def test_what_has_no_state(name, make):
    env_class = getattr(foreign, name)
    for parallel_env in (
        env_class,
        lambda: BaseParallelWrapper(env_class()),
        lambda: aec_to_parallel(parallel_to_aec(env_class())),
    ):
        try:
            env = make(parallel_env)
        except AssertionError:  # the conversions want what is parallelizable
            continue
        assert not env.has_state
        assert env.observation_space["state"].shape == (12,)


def test_a_bug_in_the_state_of_a_wrapper_is_shown(make):
    with pytest.raises(AttributeError, match="stat"):
        make(lambda: Wrapped(Clock()))


def test_a_missing_module_of_ones_own_is_shown():
    with pytest.raises(ModuleNotFoundError, match=r"tests\.envs\.helprs"):
        make_env("pz", "own_module_missing", "tests.envs")


def test_no_advice_to_install_what_nobody_knows():
    with pytest.raises(UsageError) as error:
        make_env("pz", "needs_package", "tests.envs")
    assert "a_package_that_nobody_has" in str(error.value)
    assert "needs_package.py, line 3" in str(error.value)
    assert "pip install" not in str(error.value)


@pytest.mark.parametrize("where", ["reset", "step"])
def test_an_environment_cannot_end_the_program(where, make, monkeypatch):
    monkeypatch.setattr(foreign.Exits, "where", where)
    with pytest.raises(RuntimeError, match=r"called sys\.exit\(\)"):
        play(make("Exits"), 3)


def test_exit_codes_of_the_programs_own_handlers_pass(make):
    class Stopped(Clock):
        def step(self, actions):
            raise SystemExit(143)  # what a handler of SIGTERM raises in the middle of a step

    with pytest.raises(SystemExit) as stop:
        play(make(Stopped), 1)
    assert stop.value.code == 143


def test_errors_while_closing_are_only_shown(make, monkeypatch, capsys):
    monkeypatch.setattr(foreign.Exits, "where", "close")
    env = make("Exits")
    env.close()
    shown = capsys.readouterr().err
    assert "has failed to close" in shown
    assert "sys.exit()" in shown  # its traceback
    env.close()
    assert capsys.readouterr().err == ""


# Messages


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (
            ("pz", "tictactoe_v3", "classic"),
            ["is only an AEC environment", "turn_based_aec_to_parallel"],
        ),
        (("pz", "turns", "tests.envs"), ["must have a function parallel_env()", "AEC"]),
        (("pz", "no_parallel", "tests.envs"), ["is an AEC environment", "aec_to_parallel"]),
        (
            ("pz", "continuous", "tests.envs"),
            ["Discrete", "continuous=False", "docs/environments.md"],
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_messages(args, words):
    with pytest.raises(UsageError) as error:
        make_env(*args)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_atari_without_its_games(monkeypatch):
    def no_rom(*args, **kwargs):
        raise OSError("rom pong is not installed. Please install roms using AutoROM tool")

    monkeypatch.setattr("pettingzoo.make", no_rom)
    with pytest.raises(UsageError, match=r"--env-family atari: .* AutoROM"):
        make_env("pz", "pong_v3", "atari")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Window", "it has no render_mode 'rgb_array'"),
        ("Refuses", "ValueError: no pictures today"),
        ("Clock", "it takes no render_mode"),
    ],
)
def test_films_that_cannot_be(name, words, make):
    with pytest.raises(UsageError) as error:
        make(name, render_mode="rgb_array")
    assert str(error.value).startswith("--env-name: clock cannot be drawn, ")
    assert words in str(error.value)


def test_a_bug_in_drawing_is_shown(make):
    make("Misdraws")  # nothing is drawn in training
    for render_mode in ("rgb_array", "human"):
        with pytest.raises(AttributeError, match="windows"):
            make("Misdraws", render_mode=render_mode)


# What is played


def test_the_same_is_observed_in_training_and_in_a_film(make):
    training, _ = play(make("Pictures"), 4)
    filming, _ = play(make("Pictures", render_mode="rgb_array"), 4)
    assert training[0]["obs"].any()
    for one, other in zip(training, filming):
        assert np.array_equal(one["obs"], other["obs"])


def test_only_films_are_rendered(make):
    env = make("Pictures")
    env.reset()
    assert env.render() is None


def test_a_dictionary_beside_the_mask_is_observed_whole(make):
    observation, _ = make("Goal", agent_ids=False).reset()
    assert observation["obs"].tolist() == [[7, 7, 1, 1]] * 2  # the keys are sorted
    observation, _ = make("GoalAlone", agent_ids=False).reset()
    assert observation["obs"].tolist() == [[4, 4]] * 2


def test_who_waits_has_action_0(make):
    observations, _ = play(make("Waits"), 2)
    for t, observation in enumerate(observations[:2]):
        own = [2, 3, 3]
        expected = np.arange(3) < (np.array(own) if t else np.ones(3))[:, None]
        assert np.array_equal(observation["avail_actions"], expected)


def test_rewards_of_one_number_are_numbers(make):
    _, outcomes = play(make("RewardOfOne"), 4)
    assert [reward for reward, *_ in outcomes] == [3, 3, 2, 2]
    assert {type(reward) for reward, *_ in outcomes} == {float}


def test_every_reset_has_a_seed(make):
    envs = [make("WantsSeed", seed=seed) for seed in (3, 3, 4)]
    for env in envs:
        play(env, 12)
    seeds = [env.env.seeds for env in envs]
    assert seeds[0] == seeds[1]
    assert seeds[0][:2] == [3, 3]  # to find the sizes, and the first episode
    assert len(set(seeds[0][1:])) == len(seeds[0][1:])  # later ones are drawn
    assert not set(seeds[0]) & set(seeds[2])
    assert make("WantsSeed", seed=None).reset()


def test_integers_are_not_cut_to_the_dtype_of_the_space(make):
    class Halves(foreign.SomeSpace):
        space = gym.spaces.Box(0, 9, (2,), np.int64)

        def observe(self, agents):
            return dict.fromkeys(agents, np.array([0.5, self.t]))

    observation, _ = make(Halves, agent_ids=False).reset()
    assert observation["obs"].tolist() == [[0.5, 0]] * 3


# --max-episode-steps


def test_an_endless_episode_is_truncated(make, capsys):
    env = make("Endless", max_episode_steps=5)
    observations, outcomes = play(env, 11)
    assert [outcome[1:] for outcome in outcomes] == ([[False, False]] * 4 + [[False, True]]) * 2 + [
        [False, False]
    ]
    assert observations[5]["obs"][:, 0].tolist() == [5, 5, 5]  # the last observation, of all
    shown = capsys.readouterr().err
    assert "not ended after 5 steps" in shown
    assert "--max-episode-steps" in shown
    assert shown.count("warning") == 1


@pytest.mark.parametrize(
    ("args", "own_limit"),
    [
        (("smaclite", "3m"), 60),
        (("lbf", "Foraging-5x5-2p-1f-v3"), 50),
        (("pz", "simple_spread_v3"), 25),
        (("pz", "pursuit_v5", "sisl"), 500),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_the_longest_episode_is_known(args, own_limit, capsys):
    assert make_env(*args).max_episode_steps == own_limit
    env = make_env(*args, seed=1, max_episode_steps=3)
    assert env.max_episode_steps == 3
    _, outcomes = play(env, 3)
    assert outcomes[-1][1:] == [False, True]
    assert capsys.readouterr().err.count("warning") == 1


def test_environments_own_limits_come_first(capsys):
    env = make_env(*CLOCK, max_episode_steps=4)
    play(env, 8)
    assert make_env(*CLOCK).max_episode_steps == 10000  # it does not tell its own
    assert capsys.readouterr().err == ""


# Several environments


@pytest.fixture
def make_envs():
    made = []

    def make(*args, **kwargs):
        args = (*args, "mpe")[:3]
        made.append(make_vector_env(*args, agent_ids=True, seed=3, num_envs=2, **kwargs))
        return made[-1]

    yield make
    for envs in made:
        end_workers(envs)


@pytest.mark.parametrize(
    ("args", "limit"), [(("smaclite", "3m"), 3), (("lbf", "Foraging-5x5-2p-1f-v3"), 3), (CLOCK, 1)]
)
def test_vector_environments_truncate(args, limit, make_envs, capsys):
    envs = make_envs(*args, max_episode_steps=limit)
    observations, _ = envs.reset()
    for step in range(1, 3 * limit + 1):
        observations, _, terminations, truncations, _ = envs.step(first_actions(observations))
        assert truncations.tolist() == [step % limit == 0] * 2
        assert not terminations.any()
    shown = capsys.readouterr().err
    assert f"not ended after {limit} steps" in shown
    assert shown.count("warning") == 1


def test_own_limits_are_not_reported(make_envs, capsys):
    assert make_envs("smaclite", "3m").step_limit == np.inf
    envs = make_envs("lbf", "Foraging-5x5-2p-1f-v3")
    envs.reset()
    for _ in range(50):
        _, _, _, truncations, _ = envs.step(np.zeros((2, 2), int))
    assert truncations.all()
    assert capsys.readouterr().err == ""


def test_no_two_processes_draw_the_same(make_envs):
    np.random.seed(3)
    envs = make_envs("pz", "dice", "tests.envs")
    observations, _ = envs.reset()
    drawn = []
    for _ in range(20):
        drawn.append(observations["obs"][:, 0, 1])
        observations, *_ = envs.step(np.zeros((2, 2), int))
    main = np.random.RandomState(3).random(2000).astype(np.float32)
    assert len(np.unique(drawn)) == 40
    assert not np.isin(drawn, main).any()


def test_the_main_process_keeps_its_generators(make_envs):
    np.random.seed(3)
    make_envs(*CLOCK)  # gymnasium makes one environment here too
    assert np.random.random() == np.random.RandomState(3).random()


def gone(processes):
    return not any(process.is_alive() for process in processes)


def test_deaf_workers_are_killed():
    envs = make_vector_env("pz", "deaf", "tests.envs", True, 3, 2)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # this process has made one too
    envs.reset()
    for _ in range(9):
        envs.step(np.zeros((2, 3), int))
    envs.step_async(np.zeros((2, 3), int))
    start = time.monotonic()
    end_workers(envs)
    assert time.monotonic() - start < 30
    assert gone(envs.processes)
    end_workers(envs)


def test_workers_leave_signals_to_the_main_process(make_envs):
    envs = make_envs(*CLOCK)
    observations, _ = envs.reset()
    for process in envs.processes:
        os.kill(process.pid, signal.SIGTERM)
        os.kill(process.pid, signal.SIGINT)
    envs.step(first_actions(observations))
    assert not gone(envs.processes)


@pytest.mark.parametrize("how", ["close", "delete", "end of the program"])
def test_no_way_leaves_a_process_behind(how):
    program = f"""
import multiprocessing
import numpy as np
from cleanmarl.env_wrappers import make_vector_env

if __name__ == "__main__":
    envs = make_vector_env("pz", "deaf", "tests.envs", True, 3, 2)
    envs.reset()
    for _ in range(9):
        envs.step(np.zeros((2, 3), int))
    print(*[process.pid for process in envs.processes], flush=True)
    envs.step_async(np.zeros((2, 3), int))
    if {how == "close"}:
        envs.close()
        assert not multiprocessing.active_children()
    if {how == "delete"}:
        del envs
"""
    done = subprocess.run(
        [sys.executable, "-c", program], env=ENVIRON, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    for pid in done.stdout.split():
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


@pytest.mark.parametrize("command", ["reset", "step"])
def test_a_dead_worker_has_an_error_of_its_own(command, make_envs):
    envs = make_envs(*CLOCK)
    observations, _ = envs.reset()
    envs.processes[1].kill()
    envs.processes[1].join(timeout=30)
    with pytest.raises(WorkerDied, match=r"a worker process died .* --num-envs"):
        if command == "reset":
            envs.reset()
        else:
            envs.step(first_actions(observations))


@pytest.mark.filterwarnings("ignore:.*")
def test_a_workers_own_error_is_no_dead_worker(make_envs):
    envs = make_envs("pz", "connecting", "tests.envs")
    observations, _ = envs.reset()
    with pytest.raises(RuntimeError, match="the game server has closed") as error:
        envs.step(first_actions(observations))
    assert not isinstance(error.value, WorkerDied)


@pytest.mark.filterwarnings("ignore:.*")
def test_errors_that_cannot_be_sent_arrive_all_the_same(make_envs):
    envs = make_envs("pz", "troubled", "tests.envs")
    observations, _ = envs.reset()
    with pytest.raises(RuntimeError, match="OwnError: a bug with a lock"):
        for _ in range(6):
            observations, *_ = envs.step(first_actions(observations))


# Command lines


@dataclass
class Args:
    """Some arguments."""

    run: str = ""
    double_q: bool = False
    agent_ids: bool = True
    seed: int = 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("--double_q=True", "--double-q"),
        ("--double-q True", "--double-q"),
        ("--double-q", "--double-q"),
        ("--double-q=1", "--double-q"),
        ("--double-q yes", "--double-q"),
        ("--agent-ids False", "--no-agent-ids"),
        ("--agent_ids=false", "--no-agent-ids"),
        ("--agent-ids=no --seed 0", "--no-agent-ids --seed 0"),
        ("--no-agent-ids", "--no-agent-ids"),
        ("--double-q runs/x", "--double-q runs/x"),
        ("--double-q --seed 1", "--double-q --seed 1"),
        ("--double-q=perhaps", "--double-q=perhaps"),
        ("--seed=1 --run true", "--seed=1 --run true"),
        ("", ""),
    ],
)
def test_booleans_as_sweep_tools_write_them(given, expected, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["qmix.py", *given.split()])
    assert boolean_flags(Args) == expected.split()


def test_booleans_of_classes_whose_types_are_words(monkeypatch):
    args_class = dataclasses.make_dataclass("Args", [("best", "bool", False)])
    monkeypatch.setattr(sys, "argv", ["evaluate.py", "--best=True"])
    assert boolean_flags(args_class) == ["--best"]


# Level-Based Foraging


@pytest.mark.parametrize(
    ("env_name", "players", "width", "food"),
    [("Foraging-grid-5x5-2p-1f-v3", 2, 11, 1), ("Foraging-grid-2s-8x8-3p-2f-coop-v3", 3, 5, 2)],
)
@pytest.mark.filterwarnings("ignore")
def test_grid_observations_of_lbf(env_name, players, width, food):
    env = make_env("lbf", env_name, agent_ids=False, seed=1)
    observations, _ = play(env, 60)
    grids = observations[0]["obs"].reshape(players, 3, width, width)
    assert grids.shape == (players, 3, width, width)
    for grid in grids:
        assert grid[0, width // 2, width // 2] > 0  # everybody is in the middle of its own grid
    assert env.env.unwrapped.field.shape in ((5, 5), (8, 8))
    assert env.env.unwrapped.max_num_food == food
    assert env.env.unwrapped.force_coop == ("coop" in env_name)
    assert env.max_episode_steps == 50


@pytest.mark.parametrize(
    "env_name",
    [
        "Foraging-grid-5x5-2p-1f-v9",
        "Foraging-grid-2p-v3",
        "Foraging-grid-5x5-0p-1f-v3",
        "Foraging-grid-5x5-30p-1f-v3",  # more players than cells
    ],
)
def test_grids_that_do_not_exist(env_name):
    with pytest.raises(UsageError, match="--env-name: there is no"):
        make_env("lbf", env_name)


# The adapter of the docs


class Warehouses(gym.Env):
    """What rware's environments look like: lists, and `done` at the time limit."""

    metadata = {"render_modes": ["rgb_array"]}
    n_agents = 2
    observation_space = gym.spaces.Tuple([gym.spaces.Box(0, 1, (3,))] * 2)
    action_space = gym.spaces.Tuple([gym.spaces.Discrete(5)] * 2)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def observe(self):
        return [np.full(3, self.t / 9, np.float32), np.zeros(3, np.float32)]

    def reset(self, seed=None, options=None):
        self.t = 0
        return self.observe(), {}

    def step(self, actions):
        assert len(actions) == 2
        self.t += 1
        return self.observe(), [1.0, 0.5], self.t == 5, False, {}


@pytest.fixture
def adapter(monkeypatch):
    """The adapter of rware, on a stand-in where rware is not installed."""
    if not HAS_RWARE:
        gym.register("rware-tiny-2ag-v2", Warehouses)
        monkeypatch.setitem(sys.modules, "rware", ModuleType("rware"))
    monkeypatch.chdir(REPO)
    yield ("pz", "rware_env", "docs.examples")
    sys.modules.pop("docs.examples.rware_env", None)
    if not HAS_RWARE:
        gym.registry.pop("rware-tiny-2ag-v2")


def test_the_adapter_of_rware(adapter, capsys):
    env = make_env(*adapter, agent_ids=False, seed=1)
    check_env(env)
    assert env.action_space.nvec.tolist() == [5, 5]
    limit = 5 if isinstance(env.env.env.unwrapped, Warehouses) else 500
    _, outcomes = play(env, limit)
    assert [outcome[1:] for outcome in outcomes] == [[False, False]] * (limit - 1) + [[False, True]]
    assert capsys.readouterr().err == ""
