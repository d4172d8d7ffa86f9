"""The environments look alike, and keep the rules of the interface in each family."""

import json
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import lbforaging  # noqa: F401 (registers the environments)
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from mpe2 import simple_spread_v3

from cleanmarl import UsageError, foreign_envs
from cleanmarl.env_wrappers import make_env
from tests.envs import foreign
from tests.envs.clock import Clock
from tests.helpers import ENVIRON, REPO, assert_same, first_actions
from tests.policies import random_actions

PROGRAMS = REPO / "tests" / "programs"

LBF = ("lbf", "Foraging-5x5-2p-1f-v3")
SPREAD = ("pz", "simple_spread_v3")
CLOCK = ("pz", "clock", "tests.envs")
SMACLITE = ("smaclite", "MMM")
AMBUSH = str(REPO / "tests" / "maps" / "ambush.json")
SNIPER = str(REPO / "tests" / "maps" / "units" / "SNIPER.json")
EVERY_KIND = [
    LBF,
    ("lbf", "Foraging-2s-8x8-3p-2f-coop-v3"),
    SPREAD,
    ("pz", "simple_speaker_listener_v4"),
    ("pz", "pursuit_v5", "sisl"),
    ("pz", "two_step_game", "tests.envs"),
    CLOCK,
    ("pz", "masked", "tests.envs"),
    ("pz", "rps_v2", "classic"),
    SMACLITE,
    ("smaclite", AMBUSH),
]


def play(env, rng, seed=None):
    """One random episode: all observations and all (reward, terminated, truncated)."""
    obs, _ = env.reset(seed=seed)
    observations = [obs]
    outcomes = []
    over = False
    while not over:
        obs, reward, terminated, truncated, _ = env.step(random_actions(obs["avail_actions"], rng))
        observations.append(obs)
        outcomes.append((reward, terminated, truncated))
        over = terminated or truncated
    return observations, outcomes


def play_on(env, num_steps):
    """All observations and outcomes of `num_steps` steps, with resets in between."""
    observation, _ = env.reset()
    observations = [observation]
    outcomes = []
    for _ in range(num_steps):
        result = env.step(first_actions(observation))
        observation, reward, terminated, truncated, _ = result
        observations.append(observation)
        outcomes.append((reward, terminated, truncated))
        if terminated or truncated:
            observation, _ = env.reset()
            observations.append(observation)
    return observations, outcomes


@pytest.mark.parametrize("args", EVERY_KIND)
@pytest.mark.filterwarnings("ignore")
def test_gymnasium_environment(args):
    env = make_env(*args, seed=3)
    if args[1] not in (
        "masked",
        "clock",
        "simple_speaker_listener_v4",
        "pursuit_v5",
        "MMM",
        AMBUSH,
    ):
        # The checker plays unavailable actions, which these refuse; pursuit is slow.
        check_env(env, skip_render_check=True)
    n_agents, n_actions = env.observation_space["avail_actions"].shape
    assert env.action_space == gym.spaces.MultiDiscrete([n_actions] * n_agents)
    assert env.observation_space["obs"].shape[0] == n_agents
    rng = np.random.default_rng(0)
    obs, _ = env.reset()
    for _ in range(60):
        assert obs in env.observation_space
        assert {key: value.dtype for key, value in obs.items()} == {
            "obs": np.float32,
            "state": np.float32,
            "avail_actions": np.bool_,
        }
        assert obs["avail_actions"].any(axis=1).all()
        obs, reward, terminated, truncated, _ = env.step(random_actions(obs["avail_actions"], rng))
        assert (type(reward), type(terminated), type(truncated)) == (float, bool, bool)
        if terminated or truncated:
            obs, _ = env.reset()
    env.close()


@pytest.mark.parametrize("args", [LBF, SPREAD, CLOCK])
def test_seeds(args):
    def starts(seed, reset_seed=None):
        env = make_env(*args, seed=seed)
        return [env.reset(seed=reset_seed)[0]["state"].tolist(), env.reset()[0]["state"].tolist()]

    assert starts(7) == starts(7) == starts(5, reset_seed=7)
    assert starts(7)[0] != starts(7)[1]  # later episodes go on with the generator
    assert starts(7) != starts(8)


@pytest.mark.parametrize("args", [LBF, SPREAD, CLOCK])
def test_observations_are_not_overwritten_by_later_steps(args):
    env = make_env(*args, seed=0)
    rng = np.random.default_rng(0)
    obs, _ = env.reset()
    before = {key: value.copy() for key, value in obs.items()}
    for _ in range(3):
        env.step(random_actions(env.reset()[0]["avail_actions"], rng))
    assert all(np.array_equal(obs[key], before[key]) for key in obs)


@pytest.mark.parametrize("args", [LBF, SPREAD, CLOCK])
def test_agent_ids(args):
    (with_ids, _), (without, _) = (
        make_env(*args, agent_ids=ids, seed=1).reset() for ids in (True, False)
    )
    n_agents, obs_dim = without["obs"].shape
    assert np.array_equal(with_ids["obs"][:, :obs_dim], without["obs"])
    assert np.array_equal(with_ids["obs"][:, obs_dim:], np.eye(n_agents))
    assert np.array_equal(with_ids["state"], without["state"])


def test_lbf_against_the_bare_environment():
    env = make_env(*LBF, agent_ids=False)
    rng = np.random.default_rng(0)
    terminations = 0
    truncations = 0
    for seed in range(40):
        bare = gym.make(LBF[1], disable_env_checker=True)
        obs, _ = env.reset(seed=seed)
        bare_obs, _ = bare.reset(seed=seed)
        terminated = truncated = False
        steps = 0
        while not (terminated or truncated):
            assert np.array_equal(obs["obs"], np.stack(bare_obs))
            assert np.array_equal(obs["state"], np.concatenate(bare_obs))
            valid = {(a.value, b.value) for a, b in bare.unwrapped.get_valid_actions()}
            first, second = (np.flatnonzero(row) for row in obs["avail_actions"])
            assert {(a, b) for a in first for b in second} == valid
            actions = random_actions(obs["avail_actions"], rng)
            obs, reward, terminated, truncated, _ = env.step(actions)
            bare_obs, bare_rewards, bare_done, _, _ = bare.step(actions.tolist())
            steps += 1
            assert reward == sum(bare_rewards)
            assert bare_done == (terminated or truncated)
            assert terminated == (bare.unwrapped.field.sum() == 0)
            assert truncated == (steps == 50)
        terminations += terminated
        truncations += truncated
    assert terminations > 5
    assert truncations > 5


def test_lbf_eating_the_last_food_in_the_last_step_terminates():
    env = make_env(*LBF, seed=0)
    for seed in range(1000):
        obs, _ = env.reset(seed=seed)
        can_load = obs["avail_actions"][:, 5]
        if can_load.all():
            break
    for _ in range(49):
        _, _, terminated, truncated, _ = env.step(np.zeros(2, int))
        assert not terminated
        assert not truncated
    _, reward, terminated, _, _ = env.step(np.full(2, 5))
    assert reward == pytest.approx(1)
    assert terminated


def test_lbf_keeps_the_limit_of_the_id():
    spec = gym.spec(LBF[1])
    gym.register(
        "Foraging-short-v3", spec.entry_point, kwargs={**spec.kwargs, "max_episode_steps": 7}
    )
    env = make_env("lbf", "Foraging-short-v3", seed=0)
    env.reset()
    outcomes = [env.step(np.zeros(2, int))[2:4] for _ in range(7)]
    assert outcomes == [(False, False)] * 6 + [(False, True)]


def test_simple_spread_against_the_bare_environment():
    env = make_env(*SPREAD, agent_ids=False)
    bare = simple_spread_v3.parallel_env()
    obs, _ = env.reset(seed=4)
    bare_obs, _ = bare.reset(seed=4)
    rng = np.random.default_rng(0)
    for step in range(25):
        assert np.array_equal(obs["obs"], np.stack(list(bare_obs.values())))
        assert np.array_equal(obs["state"], bare.state())
        assert obs["avail_actions"].all()
        actions = rng.integers(5, size=3)
        obs, reward, terminated, truncated, _ = env.step(actions)
        bare_obs, rewards, _, _, _ = bare.step(dict(zip(bare.possible_agents, actions.tolist())))
        assert reward == pytest.approx(sum(rewards.values()))
        assert (terminated, truncated) == (False, step == 24)
    assert np.array_equal(
        obs["obs"], np.stack(list(bare_obs.values()))
    )  # what a truncated episode bootstraps from


def test_padding_and_an_agent_that_leaves():
    env = make_env(*CLOCK, agent_ids=True, seed=0)
    observations, outcomes = play(env, np.random.default_rng(0))
    # Agent 1 is out after 2 of 4 steps; the reward is the sum over those who are in.
    assert outcomes == [(3, False, False), (3, False, False), (2, False, False), (2, False, True)]
    for t, obs in enumerate(observations):
        gone = t >= 2
        features = obs["obs"][:, :5]
        ids = obs["obs"][:, 5:]
        assert np.array_equal(ids, np.eye(3))
        assert features[:, 0].tolist() == [t, 0 if gone else t, t]
        assert features[:, 1].tolist() == [1, 0 if gone else 2, 3]
        assert not features[0, 3:].any()  # padding
        assert features[1].any() != gone
        assert obs["avail_actions"].tolist() == [
            [True, True, False],
            [True, not gone, not gone],
            [True] * 3,
        ]
        assert np.array_equal(
            obs["state"], np.concatenate([features[0, :3], features[1, :4], features[2]])
        )


def test_a_flag_of_all_agents(make):
    """RLlib has one, and agents that have theirs False until the end."""

    class OfAll(foreign.Endless):
        def step(self, actions):
            observations, rewards, terminations, truncations, infos = super().step(actions)
            terminations["__all__"] = self.t == 3
            return observations, rewards, terminations, truncations, infos

    env = make(OfAll)
    observation, _ = env.reset()
    ends = []
    for _ in range(3):
        observation, _, terminated, truncated, _ = env.step(first_actions(observation))
        ends.append((terminated, truncated))
    assert ends == [(False, False), (False, False), (True, False)]


@pytest.mark.parametrize(
    ("leaves", "outcome"),
    [
        # All are terminated, one by one.
        ({"agent_0": 1, "agent_1": 3, "agent_2": 2}, (True, False)),
        # All at the time limit.
        ({"agent_0": 4, "agent_1": 4, "agent_2": 4}, (True, False)),
        # One is only cut off.
        ({"agent_0": 4, "agent_1": 4}, (False, True)),
        ({}, (False, True)),
    ],
)
def test_termination_and_truncation(leaves, outcome, make):
    env = make(lambda: Clock(leaves=tuple(leaves.items())), agent_ids=False)
    observations, outcomes = play(env, np.random.default_rng(0))
    assert outcomes[-1][1:] == outcome
    cut_off = [f"agent_{i}" not in leaves for i in range(3)]
    assert observations[-1]["obs"].any(axis=1).tolist() == cut_off


def test_action_masks_and_actions_that_do_not_start_at_zero():
    env = make_env("pz", "masked", "tests.envs", agent_ids=False)
    observations, outcomes = play(env, np.random.default_rng(0))
    assert [outcome[1:] for outcome in outcomes] == [(False, False), (False, False), (True, False)]
    for t, obs in enumerate(observations[:-1]):
        assert obs["avail_actions"].tolist() == [[False, True, False]] * 2
        assert np.array_equal(obs["obs"], np.eye(4)[[t, t]])  # a Discrete observation is one-hot
        assert np.array_equal(obs["state"], obs["obs"].ravel())


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("pzz", "simple_spread_v3"), ["--env-type", "pzz", "try pz"]),
        (("lbf", "Foraging-5x5-2p-1f-v9"), ["--env-name", "Foraging-5x5-2p-1f-v3"]),
        (("lbf", "CartPole-v1"), ["--env-name", "CartPole-v1"]),
        (("smaclite", "3mm"), ["--env-name", "3mm", "3m"]),
        (("smaclite", "MMM3"), ["--env-name", "MMM2"]),
        (("smaclite", "no/such.json"), ["--env-name", "no/such.json"]),
        (("smaclite", SNIPER), ["--env-name", "SNIPER.json", "name"]),
        (("smaclite_upstream", "3m"), ["--env-type smaclite_upstream", "pip install", "smaclite"]),
    ],
)
def test_errors_name_the_argument_and_what_to_do(args, words):
    with pytest.raises(UsageError) as error:
        make_env(*args)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_smaclite_against_the_bare_environment():
    env = make_env("smaclite", "MMM", seed=4)
    bare = gym.make("smaclite_jit/MMM-v0")
    obs, _ = env.reset()
    expected, _ = bare.reset(seed=4)
    rng = np.random.default_rng(0)
    over = False
    while not over:
        assert np.array_equal(obs["obs"], np.column_stack((np.stack(expected), np.eye(10))))
        assert np.array_equal(obs["state"], bare.unwrapped.get_state())
        assert np.array_equal(obs["avail_actions"], np.stack(bare.unwrapped.get_avail_actions()))
        actions = random_actions(obs["avail_actions"], rng)
        obs, *outcome, info = env.step(actions)
        expected, *expected_outcome, expected_info = bare.step(actions)
        assert (outcome, info) == (expected_outcome, expected_info)
        over = outcome[1] or outcome[2]


def test_custom_maps_are_cut_off_at_their_limit():
    env = make_env("smaclite", AMBUSH, seed=4)
    obs, _ = env.reset()
    steps = 0
    over = False
    while not over:
        obs, _, terminated, over, info = env.step(obs["avail_actions"].argmax(axis=1))
        steps += 1
        assert not terminated or not info["battle_won"]
        over |= terminated
    assert steps <= json.loads(Path(AMBUSH).read_text())["episode_limit"]


def test_the_original_smaclite_is_used_through_the_same_wrapper(monkeypatch):
    monkeypatch.syspath_prepend(PROGRAMS / "stand_ins")
    env = make_env("smaclite_upstream", "MMM", seed=2)
    ours = make_env("smaclite", "MMM", seed=2)
    assert env.env.spec.id == "smaclite/MMM-v0"
    assert env.env.spec.max_episode_steps == 150
    assert_same(env.reset(seed=2)[0], ours.reset(seed=2)[0])
    with pytest.raises(UsageError, match="--env-name: there is no map '3m'; choose from MMM"):
        make_env("smaclite_upstream", "3m")
    sys.modules.pop("smaclite")
    gym.registry.pop("smaclite/MMM-v0")


# What PettingZoo's environments look like


def test_a_dictionary_beside_the_mask_is_observed_whole(make):
    observation, _ = make("Goal", agent_ids=False).reset()
    assert observation["obs"].tolist() == [[7, 7, 1, 1]] * 2  # the keys are sorted
    observation, _ = make("GoalAlone", agent_ids=False).reset()
    assert observation["obs"].tolist() == [[4, 4]] * 2


def test_an_agent_that_waits_has_action_0(make):
    observations, _ = play_on(make("Waits"), 2)
    for t, observation in enumerate(observations[:2]):
        own = [2, 3, 3]
        expected = np.arange(3) < (np.array(own) if t else np.ones(3))[:, None]
        assert np.array_equal(observation["avail_actions"], expected)


def test_integers_are_not_cut_to_the_dtype_of_the_space(make):
    class Halves(foreign.SomeSpace):
        space = gym.spaces.Box(0, 9, (2,), np.int64)

        def observe(self, agents):
            return dict.fromkeys(agents, np.array([0.5, self.t]))

    observation, _ = make(Halves, agent_ids=False).reset()
    assert observation["obs"].tolist() == [[0.5, 0]] * 3


def test_every_reset_has_a_seed(make):
    envs = [make("WantsSeed", seed=seed) for seed in (3, 3, 4)]
    for env in envs:
        play_on(env, 12)
    seeds = [env.env.seeds for env in envs]
    assert seeds[0] == seeds[1]
    assert seeds[0][:2] == [3, 3]  # to find the sizes, and the first episode
    assert len(set(seeds[0][1:])) == len(seeds[0][1:])  # later ones are drawn
    assert not set(seeds[0]) & set(seeds[2])
    assert make("WantsSeed", seed=None).reset()


@pytest.mark.parametrize("name", ["StateShrinks", "ShortMask", "ShortObservation"])
def test_wrong_sizes_are_errors_in_training_too(name, make):
    # Without the check, and not stretched to the size that is expected.
    with pytest.raises(ValueError, match="reshape"):
        play_on(make(name), 10)


@pytest.mark.parametrize("where", ["reset", "step"])
def test_an_environment_cannot_end_the_program(where, make, monkeypatch):
    env = make("Exits")
    monkeypatch.setattr(foreign.Exits, "where", where)
    with pytest.raises(RuntimeError, match=r"called sys\.exit\(\)"):
        play_on(env, 3)


@pytest.mark.parametrize("code", [129, 130, 143])  # of SIGHUP, SIGINT and SIGTERM
def test_exit_codes_of_the_programs_own_handlers_pass(code, make):
    class Stopped(Clock):
        def step(self, actions):
            raise SystemExit(code)  # what a handler raises in the middle of a step

    with pytest.raises(SystemExit) as stop:
        play_on(make(Stopped), 1)
    assert stop.value.code == code


# What the last infos tell


def test_the_last_infos_of_an_episode_are_kept(make):
    env = make("TellsSuccess")
    observation, _ = env.reset()
    infos = []
    for _ in range(4):
        observation, *_, info = env.step(first_actions(observation))
        infos.append(info)
    assert infos[:3] == [{}] * 3
    # Of the two agents that are left: who falls before the end has not seen the victory.
    expected = {"battle_won": True, "is_success": 1.0, "cost": 1.0, "step_limit": False}
    assert infos[3] == expected
    assert infos[3]["battle_won"] is True


@pytest.mark.parametrize(
    ("infos", "info"),
    [
        ({"a": {"battle_won": True}, "b": {"battle_won": False}}, {"battle_won": False}),
        ({"a": {"battle_won": 1, "is_success": 0}}, {"battle_won": True, "is_success": 0}),
        ({"a": {"is_success": True}, "b": {}, "c": None}, {"battle_won": True, "is_success": 1}),
        ({"a": {"n": 1}, "b": {"n": np.float32(2)}, "all": 3}, {"n": 1.5}),
        ({"a": {"name": "1", "list": [1], "array": np.ones(1), "none": None}}, {}),
    ],
)
def test_what_a_team_is_told(infos, info):
    assert foreign_envs.sum_up(infos) == info


# The longest episode


def test_an_endless_episode_is_truncated(make, capsys):
    env = make("Endless", max_episode_steps=5)
    observations, outcomes = play_on(env, 11)
    five_steps = [(False, False)] * 4 + [(False, True)]
    assert [outcome[1:] for outcome in outcomes] == 2 * five_steps + [(False, False)]
    assert observations[5]["obs"][:, 0].tolist() == [5, 5, 5]  # the last observation, of all
    shown = capsys.readouterr().err
    assert "truncated" in shown
    assert "--max-episode-steps" in shown
    assert shown.count("warning") == 1


@pytest.mark.parametrize(
    ("args", "own_limit", "lines"),
    [
        (("smaclite", "3m"), 60, 0),  # where the limit is known, nothing is said
        (("lbf", "Foraging-5x5-2p-1f-v3"), 50, 0),
        (("pz", "simple_spread_v3"), 25, 1),
        (("pz", "pursuit_v5", "sisl"), 500, 1),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_the_longest_episode_is_known(args, own_limit, lines, capsys):
    assert make_env(*args).max_episode_steps == own_limit
    env = make_env(*args, seed=1, max_episode_steps=3)
    assert env.max_episode_steps == 3
    _, outcomes = play_on(env, 3)
    assert outcomes[-1][1:] == (False, True)
    assert capsys.readouterr().err.count("warning") == lines


def test_environments_own_limits_come_first(capsys):
    env = make_env(*CLOCK, max_episode_steps=4)
    play_on(env, 8)
    assert make_env(*CLOCK).max_episode_steps == 10000  # it does not tell its own
    assert capsys.readouterr().err == ""


# Pictures


PURSUIT = ("pz", "pursuit_v5", "sisl")
FPS = {LBF: 5, SPREAD: 10, PURSUIT: 5, SMACLITE: 2, ("smaclite", AMBUSH): 2}


@pytest.mark.parametrize(("args", "fps"), FPS.items())
@pytest.mark.filterwarnings("ignore")
def test_pictures_of_every_family(args, fps):
    env = make_env(*args, render_mode="rgb_array")
    plain = make_env(*args)
    rng = np.random.default_rng(0)
    assert env.render_mode == "rgb_array"
    assert plain.render_mode is None
    for made in (env, plain):
        assert {"human", "rgb_array"} <= set(made.metadata["render_modes"])
        assert made.metadata["render_fps"] == fps
    obs, _ = env.reset(seed=3)
    plain.reset(seed=3)
    frames = [env.render()]
    assert plain.render() is None
    for _ in range(4):
        actions = random_actions(obs["avail_actions"], rng)
        obs, *outcome, _ = env.step(actions)
        expected, *expected_outcome, _ = plain.step(actions)
        assert_same(obs, expected)  # drawing changes nothing
        assert outcome == expected_outcome
        frames.append(env.render())
        assert np.array_equal(frames[-1], env.render())
    for frame in frames:
        assert frame.shape == (*frames[0].shape[:2], 3)
        assert frame.dtype == np.uint8
        assert min(frame.shape[:2]) > 300
    assert len({frame.tobytes() for frame in frames}) > 2
    env.close()
    plain.close()


def test_pictures_of_lbf():
    env = make_env(*LBF, render_mode="rgb_array")
    game = env.env.unwrapped
    with pytest.raises(gym.error.ResetNeeded):
        env.render()
    env.reset(seed=0)
    first = env.render()
    row, column = np.argwhere(game.field)[0]
    assert first.shape == (5 * 96 + 28, 5 * 96, 3)

    def colours(frame, row, column):
        return {
            tuple(pixel)
            for pixel in frame[28 + 96 * row :, 96 * column :][:96, :96].reshape(-1, 3).tolist()
        }

    red = (224, 74, 68)
    green = (93, 255, 134)
    yellow = (255, 216, 74)
    blue = (74, 163, 255)
    assert red in colours(first, row, column)
    game.field[row, column] += 1
    assert (env.render() != first).any()  # another level
    game.field[row, column] = game.players[0].level + game.players[1].level  # both are needed
    game.players[0].position = (row, column - 1)
    game.players[1].position = (row - 1, column)
    game._gen_valid_moves()
    beside = env.render()
    assert blue in colours(beside, row, column - 1)
    assert yellow not in colours(beside, row, column - 1)
    env.step([5, 0])
    alone = env.render()
    assert yellow in colours(alone, row, column - 1)
    assert yellow not in colours(alone, row - 1, column)
    assert red in colours(alone, row, column)
    _, reward, terminated, _, _ = env.step([5, 5])
    eaten = env.render()
    assert reward > 0
    assert terminated
    assert yellow in colours(eaten, row - 1, column)
    assert red not in colours(eaten, row, column)
    assert green in colours(eaten, row, column)
    env.reset(seed=0)
    assert np.array_equal(env.render(), first)


def test_agents_that_share_a_cell_are_drawn_side_by_side():
    env = make_env("lbf", "Foraging-5x5-3p-1f-v3", render_mode="rgb_array")
    env.reset(seed=0)
    game = env.env.unwrapped
    game.field[:] = 0
    game.field[4, 4] = 1
    # The first two want the same cell, so both stay, and the third enters the second's.
    places = [(0, 0), (0, 2), (1, 2)]
    for player, place in zip(game.players, places):
        player.position = place
    game._gen_valid_moves()
    env.step([4, 3, 1])
    assert [player.position for player in game.players] == [(0, 0), (0, 2), (0, 2)]
    cell = env.render()[28:124, 2 * 96 : 3 * 96].astype(int)
    for half, colour in ((cell[:, :48], (255, 138, 60)), (cell[:, 48:], (197, 139, 255))):
        assert (half == colour).all(axis=-1).sum() > 300


@pytest.mark.parametrize("size", [4, 19, 70])
def test_pictures_of_lbf_of_any_size(size):
    spec = gym.spec("Foraging-2s-10x10-4p-2f-v3")
    if "Foraging-resized-v3" in gym.registry:
        gym.registry.pop("Foraging-resized-v3")
    gym.register(
        "Foraging-resized-v3", spec.entry_point, kwargs={**spec.kwargs, "field_size": (size, size)}
    )
    env = make_env("lbf", "Foraging-resized-v3", render_mode="rgb_array")
    env.reset(seed=0)
    frame = env.render()
    assert 400 <= max(frame.shape) <= 700
    assert not (np.array(frame.shape[:2]) % 2).any()


@pytest.mark.parametrize("args", [LBF, SPREAD, SMACLITE])
def test_gymnasium_collects_the_pictures(args):
    env = gym.wrappers.RenderCollection(make_env(*args, render_mode="rgb_array"))
    env.reset(seed=1)
    env.step([0] * len(env.action_space.nvec) if args != SMACLITE else [1] * 10)
    assert len(env.render()) == 2


def run_program(name, **environment):
    """Run a file of tests/programs in a process that knows of no display."""
    environ = {}
    for variable, value in ENVIRON.items():
        if "DISPLAY" not in variable and not variable.startswith("SDL"):
            environ[variable] = value
    return subprocess.run(
        [sys.executable, str(PROGRAMS / name)],
        env=environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_window_of_lbf():
    done = run_program("lbf_window.py", SDL_VIDEODRIVER="dummy")
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="other systems always have a display"
)
def test_lbf_without_a_display():
    done = run_program("lbf_without_display.py")
    last_line = done.stderr.splitlines()[-1]
    assert last_line.startswith("RuntimeError: "), done.stderr
    assert 'use render_mode="rgb_array"' in last_line
    assert done.stdout == ""  # nor does pygame greet
