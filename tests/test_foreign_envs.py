"""Foreign environments are found by name, and checked before they are trusted."""

import importlib.util
import random
import sys
from types import ModuleType

import gymnasium as gym
import numpy as np
import pytest
import torch
from pettingzoo.utils.conversions import aec_to_parallel, parallel_to_aec
from pettingzoo.utils.wrappers import BaseParallelWrapper

from cleanmarl import UsageError, foreign_envs
from cleanmarl.env_wrappers import make_env
from tests.envs import foreign
from tests.envs.clock import Clock
from tests.helpers import REPO, first_actions

CLOCK = ("pz", "clock", "tests.envs")
PROGRAMS = REPO / "tests" / "programs"
HAS_RWARE = importlib.util.find_spec("rware") is not None


def assert_refused(words, make_it):
    """Making it ends in one line that names the argument and has these words."""
    with pytest.raises(UsageError) as error:
        make_it()
    message = str(error.value)
    assert message.startswith("--env-")
    assert "\n" not in message
    for word in words:
        assert word in message


# By name


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("simple_spred_v3", "mpe"), ["--env-name", "simple_spread_v3"]),
        (("pursuit_v4", "sisl"), ["--env-name", "pursuit_v5"]),
        (("pong_v3", "atari"), ["--env-family", 'pip install "pettingzoo[atari]"']),
        (("multiwalker_v9", "sisl"), ["--env-name", "multiwalker_v9", "Discrete"]),
        (("no_such_env", "tests.envs"), ["--env-name", "tests.envs.no_such_env"]),
        (("env", "no_such_package"), ["--env-family", "no_such_package", "mpe"]),
        (("simple_spread_v3", "pettingzoo.mpe"), ["--env-family", "give mpe"]),
        (("x", ""), ["--env-family"]),
        (("x", "../x"), ["--env-family"]),
        (("helpers", "tests"), ["--env-name", "tests.helpers", "parallel_env"]),
        (("tictactoe_v3", "classic"), ["tictactoe_v3", "AEC", "turn_based_aec_to_parallel"]),
        (("turns", "tests.envs"), ["must have a function parallel_env()", "AEC"]),
        (("no_parallel", "tests.envs"), ["must have a function parallel_env()", "aec_to_parallel"]),
        (("continuous", "tests.envs"), ["--env-name", "Discrete", "docs/own_environment.md"]),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_found_or_played_is_one_line(args, words):
    assert_refused(words, lambda: make_env("pz", *args))


def test_a_module_in_the_current_folder_is_found(monkeypatch):
    monkeypatch.chdir(PROGRAMS)
    env = make_env("pz", "simple", "somebodys_envs")
    assert env.reset()[0]["obs"].shape == (3, 8)
    assert str(PROGRAMS) in sys.path  # also when the environment has left the folder


@pytest.mark.parametrize(
    ("env_name", "error", "words"),
    [
        ("needs_package", ModuleNotFoundError, "a_package_that_nobody_has"),
        ("own_module_missing", ModuleNotFoundError, r"tests\.envs\.helprs"),
        ("own_name_missing", ImportError, "cannot import name 'Clocks'"),
    ],
)
def test_what_a_module_of_ones_own_fails_to_import_is_shown(env_name, error, words):
    with pytest.raises(error, match=words):
        make_env("pz", env_name, "tests.envs")


# What the check refuses

REFUSED = [
    ("StateShrinks", ["2 numbers for state() after step 2", "expected 3"]),
    ("StateEmpties", ["0 numbers for state() after the last step", "expected 3"]),
    ("StateLater", ["nan for state() after step 1", "expected finite numbers"]),
    ("ShortMask", ["1 numbers for the action mask of 'agent_0'", "expected 3"]),
    ("OddMask", ["the action mask of 'agent_0'", "expected 0 and 1"]),
    ("RewardVector", ["2 numbers for the reward of 'agent_0'", "expected 1"]),
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
    assert_refused(["clock ", *words], lambda: make(name, check=True))


MADE = [
    ("NoAgents", ["no possible_agents"]),
    ("SeedOnly", ["must have reset(seed=None, options=None)"]),
    ("NoEnvironment", ["must have a function parallel_env() that returns a ParallelEnv"]),
    ("NeedsMap", ["clock needs arguments", "'map_name'", "docs/own_environment.md"]),
    ("SomeSpace", ["Sequence", "'agent_0'", "no fixed size"]),
    ("Graph", ["Graph", "'agent_0'", "no fixed size"]),
]


@pytest.mark.parametrize(("name", "words"), MADE)
def test_some_are_refused_without_the_check(name, words, make):
    assert_refused(words, lambda: make(name))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": 1}, "a dict for state(): expected numbers"),
        ([], "0 numbers for state(): expected some"),
        ([[1], [1, 2]], "a list for state(): expected numbers"),
        (np.array([1, {}]), "an array of object for state(): expected numbers"),
        (np.array([1, np.inf]), "inf for state(): expected finite numbers"),
    ],
)
def test_a_state_must_be_numbers(value, words, make, monkeypatch):
    monkeypatch.setattr(foreign.StateOfSomeType, "value", value)
    assert_refused([words], lambda: make("StateOfSomeType", check=True))


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
    ],
)
def test_the_check_says_nothing_of_good_ones(args, capsys):
    make_env(*args, seed=1, check=True)
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out == ""


ODD = ["SpacesLater", "Goal", "Endless", "WantsSeed", "NoSubclass"]
ODD += ["KeepsAgents", "KeepsTheDead", "CutOffEarly", "MaskBesideBox", "HalvesBesideMask"]


@pytest.mark.parametrize("name", ODD)
def test_odd_ones_that_work(name, make):
    env = make(name, check=True)
    for _ in range(3):
        observation, _ = env.reset()
        for _ in range(4):
            observation, *_ = env.step(first_actions(observation))


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("Waits", "agents have at times no available action, and take action 0"),
        ("Still", "all observations are equal"),
        ("Window", "all observations are equal"),
        ("DrawsLate", "cannot be drawn as 'rgb_array': RuntimeError('no display'); it is played"),
        ("Blind", "some agents observe nothing, such as 'agent_0'"),
        ("LegalMoves", "'legal_moves' looks like an action mask"),
        ("MasksWhoPlays", "an action mask is missing at times: all actions are available then"),
    ],
)
def test_oddities_are_one_line(name, line, make, capsys):
    make(name, check=True)
    captured = capsys.readouterr().err
    assert captured.startswith("warning: clock: ")
    assert line in captured
    assert captured.count("\n") == 1


def one_hot(n_actions):
    return np.arange(n_actions) == 0


@pytest.mark.parametrize("moves", [one_hot, lambda n_actions: np.arange(1, n_actions + 1)])
def test_what_is_no_mask_is_not_taken_for_one(moves, make, monkeypatch, capsys):
    monkeypatch.setattr(foreign.LegalMoves, "moves", moves)
    make("LegalMoves", check=True)
    assert capsys.readouterr().err == ""


def test_the_check_leaves_no_trace():
    def first_numbers(check):
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
        env = make_env("pz", "dice", "tests.envs", seed=5, check=check)
        observation, _ = env.reset()
        return observation["obs"], random.random(), np.random.random(), torch.rand(1).item()

    for one, other in zip(first_numbers(False), first_numbers(True)):
        assert np.array_equal(one, other)


def test_the_first_reset_after_the_check_has_the_seed(make):
    checked, _ = make("Clock", check=True).reset()
    expected, _ = make("Clock").reset()
    assert np.array_equal(checked["state"], expected["state"])


def test_the_check_draws_from_generators_of_its_own(make):
    drawn = []

    class Draws(Clock):
        def step(self, actions):
            drawn.append(np.random.random())
            return super().step(actions)

    np.random.seed(3)
    make(Draws, check=True)
    assert drawn
    assert not set(drawn) & set(np.random.RandomState(3).random(1000))


@pytest.mark.parametrize(("seconds", "num_steps"), [(1000, foreign_envs.CHECK_STEPS), (0, 0)])
def test_the_check_ends(seconds, num_steps, make, monkeypatch):
    monkeypatch.setattr(foreign_envs, "CHECK_SECONDS", seconds)
    steps = []

    class Counts(foreign.Endless):
        def step(self, actions):
            steps.append(actions)
            return super().step(actions)

    make(Counts, check=True)
    assert len(steps) == num_steps


# Every kind of number


KINDS = {
    "int": int,
    "float": float,
    "bool": bool,
    "numpy scalar": np.float32,
    "numpy bool": np.bool_,
    "array": np.array,
    "array of one": lambda value: np.array([value], np.float32),
    "array of objects": lambda value: np.array(value, object),
    "flat iterator": lambda value: np.array([value]).flat,
    "list of one": lambda value: [value],
    "tuple of one": lambda value: (value,),
    "tensor": torch.tensor,
    "tensor of one": lambda value: torch.tensor([value]),
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_rewards_and_flags_of_every_kind(kind, make, capsys):
    class Kinds(foreign.StepResults):
        def change(self, values):
            return {agent: kind(value) for agent, value in values.items()}

        rewards = change
        terminations = change
        truncations = change

    env = make(Kinds, check=True)
    observation, _ = env.reset()
    outcomes = []
    for _ in range(4):
        observation, *outcome, _ = env.step(first_actions(observation))
        outcomes.append(tuple(outcome))
    assert outcomes == [(3, False, False), (3, False, False), (2, False, False), (2, False, True)]
    assert {type(reward) for reward, _, _ in outcomes} == {float}
    assert capsys.readouterr().err == ""


ROWS = {
    "list": list,
    "tuple": tuple,
    "bools": lambda row: np.array(row, np.bool_),
    "floats": lambda row: np.array(row, np.float64),
    "objects": lambda row: np.array(row, object),
    "flat iterator": lambda row: np.array(row).flat,
    "tensor": torch.tensor,
}


def test_rewards_of_small_integers_do_not_overflow():
    assert foreign_envs.add([np.int8(100), np.int8(100)]) == 200


@pytest.mark.parametrize("kind", ROWS.values(), ids=ROWS)
def test_masks_and_states_of_every_kind(kind, make):
    class Kinds(foreign.Goal):
        mask = kind([1, 0, 1])

        def state(self):
            return kind([1, 0, 1, 0])

    observation, _ = make(Kinds, check=True).reset()
    assert observation["avail_actions"].tolist() == [[True, False, True]] * 2
    assert observation["state"].tolist() == [1, 0, 1, 0]


BOX = gym.spaces.Box(0, 9, (2,), np.float32)
SIX = gym.spaces.Discrete(6, start=1)
PAIR = gym.spaces.MultiDiscrete([3, 2])
NESTED = gym.spaces.Dict(place=gym.spaces.Dict(x=SIX), view=gym.spaces.Tuple([BOX, PAIR]))
ONE_OF = gym.spaces.OneOf([SIX, BOX])
OBSERVATIONS = []  # space, the observation of 2, the row that is observed
for number in (2, np.int8(2), np.array(2), np.array([2]), 2.0, np.float32(2), torch.tensor(2), [2]):
    OBSERVATIONS.append((SIX, number, [0, 1, 0, 0, 0, 0]))
for kind in (list, tuple, np.array, np.float32, ROWS["flat iterator"], ROWS["tensor"]):
    OBSERVATIONS.append((BOX, kind([2, 5]), [2, 5]))
    OBSERVATIONS.append((PAIR, kind([2, 0]), [0, 0, 1, 1, 0]))
    OBSERVATIONS.append((gym.spaces.MultiBinary(2), kind([0, 1]), [0, 1]))
OBSERVATIONS += [
    (gym.spaces.Discrete(2), True, [0, 1]),
    (gym.spaces.Discrete(2, dtype=np.int32), 1, [0, 1]),
    (gym.spaces.Discrete(2, dtype=np.int8), np.int8(1), [0, 1]),
    (gym.spaces.Discrete(2), np.True_, [0, 1]),
    (gym.spaces.Box(0, 9, ()), 2, [2]),
    (gym.spaces.Tuple([SIX, BOX]), (2, [2, 5]), [0, 1, 0, 0, 0, 0, 2, 5]),
    (
        NESTED,
        {"view": (np.array([2, 5]), np.array([2, 0])), "place": {"x": 2}},
        [0, 1, 0, 0, 0, 0, 2, 5, 0, 0, 1, 1, 0],
    ),
    (ONE_OF, (0, 2), [0, 0, 1, 0, 0, 0, 0]),
    (ONE_OF, (1, np.array([2, 5])), [1, 2, 5, 2, 2, 2, 2]),  # gymnasium repeats the first number
]


@pytest.mark.parametrize(("space", "value", "row"), OBSERVATIONS)
def test_observations_of_every_kind(space, value, row, make, monkeypatch):
    class Shows(foreign.SomeSpace):
        def observe(self, agents):
            return dict.fromkeys(agents, value)

    monkeypatch.setattr(foreign.SomeSpace, "space", space)
    observation, _ = make(Shows, agent_ids=False, check=True).reset()
    assert observation["obs"].tolist() == [row] * 3


INTEGERS = gym.spaces.Box(0, 9, (2,), np.int8)


def test_numbers_in_a_dictionary_are_not_cut_to_the_dtype_of_their_space(make, monkeypatch):
    monkeypatch.setattr(foreign.SomeSpace, "space", gym.spaces.Dict(a=INTEGERS, b=SIX))

    class Halves(foreign.SomeSpace):
        def observe(self, agents):
            return {agent: {"a": [0.5, 2.5], "b": 1} for agent in agents}

    observation, _ = make(Halves, agent_ids=False, check=True).reset()
    assert observation["obs"].tolist() == [[0.5, 2.5, 1, 0, 0, 0, 0, 0]] * 3


def test_no_category_in_a_dictionary(make, monkeypatch):
    monkeypatch.setattr(foreign.SomeSpace, "space", gym.spaces.Dict(a=BOX, last_action=SIX))

    class NoActionYet(foreign.SomeSpace):
        def observe(self, agents):
            return {agent: {"a": [1, 2], "last_action": 0} for agent in agents}

    assert_refused(["the observation of 'agent_0'"], lambda: make(NoActionYet, check=True))


@pytest.mark.parametrize("value", [2.5, np.nan, [2, 2], "2"])
def test_no_category(value, make, monkeypatch):
    monkeypatch.setattr(foreign.WrongCategory, "observe", lambda env, agents: {"agent_0": value})
    assert_refused(["the observation of 'agent_0'"], lambda: make("WrongCategory", check=True))


# A bug keeps its own traceback


def test_a_bug_in_state_is_shown(make):
    with pytest.raises(AttributeError, match="stat"):
        make("StateBug")


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


class Around:
    """A wrapper that is no subclass of PettingZoo's, with a state() if it is given one."""

    def __init__(self, env, state):
        self.unwrapped = env
        for name in ("possible_agents", "reset", "step", "observation_space", "action_space"):
            setattr(self, name, getattr(env, name))
        if state is not None:
            self.state = state

    @property
    def agents(self):
        return self.unwrapped.agents


class HasState(Clock):
    def state(self):
        return np.ones(2)


@pytest.mark.parametrize(("state", "size"), [(lambda: np.ones(7), 7), (None, 12)])
def test_the_state_is_that_of_the_outer_wrapper(state, size, make):
    env = make(lambda: Around(HasState(), state), check=True)
    assert env.observation_space["state"].shape == (size,)


def test_numbers_beside_a_mask_are_not_cut_to_the_dtype_of_their_space(make):
    for name in ("MaskBesideBox", "HalvesBesideMask"):
        observation, _ = make(name, agent_ids=False).reset()
        assert observation["obs"].tolist() == [[0.5, 0.5]] * 2


def test_a_bug_in_the_state_of_a_wrapper_is_shown(make):
    with pytest.raises(AttributeError, match="stat"):
        make(lambda: Wrapped(Clock()))


@pytest.mark.parametrize(
    ("where", "check"),
    [
        ("constructor", False),
        ("constructor", True),
        ("reset", False),
        ("reset", True),
        ("step", True),  # which the check plays
    ],
)
def test_an_environment_cannot_end_the_program(where, check, make, monkeypatch):
    monkeypatch.setattr(foreign.Exits, "where", where)
    with pytest.raises(RuntimeError, match=r"called sys\.exit\(\)"):
        make("Exits", check=check)


def test_errors_while_closing_are_only_shown(make, monkeypatch, capsys):
    monkeypatch.setattr(foreign.Exits, "where", "close")
    env = make("Exits")
    env.close()
    shown = capsys.readouterr().err
    assert "has failed to close" in shown
    assert "sys.exit()" in shown  # its traceback
    env.close()


# Pictures


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Window", "'rgb_array'"),  # it has another one
        ("Refuses", "ValueError('no pictures today')"),
        ("Clock", "unexpected keyword argument"),
        ("Misdraws", "windows"),  # a bug where it makes its window
        ("DrawsLate", "RuntimeError('no display')"),
    ],
)
def test_films_that_cannot_be(name, words, make):
    message = "--env-name: clock cannot be drawn as 'rgb_array'"
    assert_refused([message, words], lambda: make(name, render_mode="rgb_array"))
    make(name)  # nothing is drawn in training


def test_what_could_not_draw_is_closed_before_another_is_made(make, monkeypatch):
    monkeypatch.setattr(foreign.DrawsLate, "closed", 0)
    make("DrawsLate")
    assert foreign.DrawsLate.closed == 1


def test_what_has_no_pictures_is_closed_before_another_is_made(make):
    closed = []

    class Closes(foreign.Window):
        def close(self):
            closed.append(self.render_mode)

    make(Closes)
    assert closed == ["rgb_array"]


def test_what_takes_no_render_mode_has_none(monkeypatch):
    monkeypatch.chdir(PROGRAMS)
    assert make_env("pz", "simple", "somebodys_envs").metadata["render_modes"] == []


def test_the_same_is_observed_in_training_and_in_a_film(make):
    training = make("Pictures")
    filming = make("Pictures", render_mode="rgb_array")
    one, _ = training.reset()
    assert one["obs"].any()
    other, _ = filming.reset()
    for _ in range(4):
        assert np.array_equal(one["obs"], other["obs"])
        one, *_ = training.step(first_actions(one))
        other, *_ = filming.step(first_actions(other))


def test_only_films_are_rendered(make):
    env = make("Pictures")
    env.reset()
    assert env.render() is None


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
    env = make_env(*adapter, agent_ids=False, seed=1, check=True)
    assert env.action_space.nvec.tolist() == [5, 5]
    limit = 5 if isinstance(env.env.env.unwrapped, Warehouses) else 500
    observation, _ = env.reset()
    for step in range(1, limit + 1):
        observation, _, terminated, truncated, _ = env.step(first_actions(observation))
        assert (terminated, truncated) == (False, step == limit)
    assert capsys.readouterr().err == ""
