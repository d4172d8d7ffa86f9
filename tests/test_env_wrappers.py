"""The environments look alike and keep the rules of SPEC, section 7."""

import json
import random
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import lbforaging  # noqa: F401 (registers the environments)
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from mpe2 import simple_spread_v3

from cleanmarl.env_wrappers import UsageError, end_workers, make_env, make_vector_env
from tests.helpers import ENVIRON, REPO

PROGRAMS = REPO / "tests" / "programs"

LBF = ("lbf", "Foraging-5x5-2p-1f-v3")
SPREAD = ("pz", "simple_spread_v3")
CLOCK = ("pz", "clock", "tests.envs")
SMACLITE = ("smaclite", "MMM")
AMBUSH = str(REPO / "tests" / "maps" / "ambush.json")
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


def random_actions(env, obs, rng):
    return np.array([rng.choice(np.flatnonzero(row)) for row in obs["avail_actions"]])


def assert_same(observation, expected):
    """Two observations are equal to the bit, types included."""
    assert observation.keys() == expected.keys()
    for key, array in expected.items():
        assert observation[key].dtype == array.dtype, key
        np.testing.assert_array_equal(observation[key], array, strict=True, err_msg=key)


def play(env, rng, seed=None):
    """One random episode: all observations and all (reward, terminated, truncated)."""
    obs, _ = env.reset(seed=seed)
    observations = [obs]
    outcomes = []
    while not outcomes or not (outcomes[-1][1] or outcomes[-1][2]):
        obs, *outcome, _ = env.step(random_actions(env, obs, rng))
        observations.append(obs)
        outcomes.append(outcome)
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
        obs, reward, terminated, truncated, _ = env.step(random_actions(env, obs, rng))
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
        env.step(random_actions(env, env.reset()[0], rng))
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
            actions = random_actions(env, obs, rng)
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
    assert outcomes == [[3, False, False], [3, False, False], [2, False, False], [2, False, True]]
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


@pytest.mark.parametrize(
    ("leaves", "outcome"),
    [
        (
            {"agent_0": 1, "agent_1": 3, "agent_2": 2},
            (True, False),
        ),  # all are terminated, one by one
        ({"agent_0": 4, "agent_1": 4, "agent_2": 4}, (True, False)),  # all at the time limit
        ({"agent_0": 4, "agent_1": 4}, (False, True)),  # one is only cut off
        ({}, (False, True)),
    ],
)
def test_termination_and_truncation(leaves, outcome, monkeypatch):
    import tests.envs.clock as clock

    monkeypatch.setattr(clock, "parallel_env", lambda: clock.Clock(leaves=tuple(leaves.items())))
    observations, outcomes = play(
        make_env(*CLOCK, agent_ids=False), np.random.default_rng(0), seed=0
    )
    assert tuple(outcomes[-1][1:]) == outcome
    cut_off = [f"agent_{i}" not in leaves for i in range(3)]
    assert observations[-1]["obs"].any(axis=1).tolist() == cut_off


def test_action_masks_and_actions_that_do_not_start_at_zero():
    env = make_env("pz", "masked", "tests.envs", agent_ids=False)
    observations, outcomes = play(env, np.random.default_rng(0))
    assert [outcome[1:] for outcome in outcomes] == [[False, False], [False, False], [True, False]]
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
        (
            ("smaclite", str(REPO / "tests" / "maps" / "units" / "SNIPER.json")),
            ["--env-name", "SNIPER.json", "name"],
        ),
        (("pz", "simple_spred_v3"), ["--env-name", "simple_spread_v3"]),
        (("pz", "pursuit_v4", "sisl"), ["--env-name", "pursuit_v5"]),
        (("pz", "tictactoe_v3", "classic"), ["--env-name", "tictactoe_v3"]),
        (("pz", "pong_v3", "atari"), ["--env-family", 'pip install "pettingzoo[atari]"']),
        (("pz", "multiwalker_v9", "sisl"), ["--env-name", "multiwalker_v9", "Discrete"]),
        (("pz", "continuous", "tests.envs"), ["--env-name", "continuous", "Discrete"]),
        (("pz", "no_such_env", "tests.envs"), ["--env-name", "tests.envs.no_such_env"]),
        (("pz", "env", "no_such_package"), ["--env-family", "no_such_package", "mpe"]),
        (("pz", "needs_package", "tests.envs"), ["--env-type pz", "a_package_that_nobody_has"]),
        (("pz", "helpers", "tests"), ["--env-name", "tests.helpers", "parallel_env"]),
    ],
)
def test_errors_name_the_argument_and_what_to_do(args, words):
    with pytest.raises(UsageError) as error:
        make_env(*args)
    assert "\n" not in str(error.value)
    assert all(word in str(error.value) for word in words), error.value


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
        actions = random_actions(env, obs, rng)
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


def test_a_module_in_the_current_folder_is_found(monkeypatch):
    monkeypatch.chdir(PROGRAMS)
    env = make_env("pz", "simple", "somebodys_envs")
    assert env.reset()[0]["obs"].shape == (3, 8)


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
        actions = random_actions(env, obs, rng)
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


def test_environments_that_cannot_be_drawn(monkeypatch):
    monkeypatch.chdir(PROGRAMS)
    assert make_env("pz", "simple", "somebodys_envs").metadata["render_modes"] == []
    for env_name, family in (("simple", "somebodys_envs"), ("clock", "tests.envs")):
        with pytest.raises(UsageError, match=f"--env-name: {env_name} cannot be drawn") as error:
            make_env("pz", env_name, family, render_mode="rgb_array")
        assert "\n" not in str(error.value)
    with pytest.raises(TypeError, match="a bug"):
        make_env("pz", "wrong", "somebodys_envs", render_mode="rgb_array")
    with pytest.raises(UsageError, match="render_mode: there is no 'ansi'"):
        make_env(*LBF, render_mode="ansi")


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


# Several environments that step together


@pytest.fixture
def make_envs():
    """`make_vector_env`, with the processes ended at the end."""
    made = []

    def make(*args, agent_ids=True, seed=3, num_envs=3):
        env_type, env_name, env_family = (*args, "mpe")[:3]
        made.append(make_vector_env(env_type, env_name, env_family, agent_ids, seed, num_envs))
        return made[-1]

    yield make
    for envs in made:
        end_workers(envs)


def one_of(observations, i):
    """The observation of environment i."""
    return {key: values[i] for key, values in observations.items()}


@pytest.mark.parametrize("agent_ids", [True, False])
@pytest.mark.parametrize(
    ("args", "num_steps"),
    [(("smaclite", "3m"), 150), (SMACLITE, 250), (("smaclite", AMBUSH), 100), (LBF, 110),
     (SPREAD, 60), (CLOCK, 10)],
)  # fmt: skip
def test_a_vector_environment_does_what_single_ones_do(args, num_steps, agent_ids, make_envs):
    envs = make_envs(*args, agent_ids=agent_ids)
    singles = [make_env(*args, agent_ids=agent_ids, seed=3 + i) for i in range(3)]
    assert envs.num_envs == 3
    observations, _ = envs.reset()
    for i, env in enumerate(singles):
        assert_same(one_of(observations, i), env.reset()[0])
    rng = np.random.default_rng(0)
    ends = 0
    for _ in range(num_steps):
        actions = [
            random_actions(env, one_of(observations, i), rng) for i, env in enumerate(singles)
        ]
        observations, rewards, terminations, truncations, infos = envs.step(np.array(actions))
        assert observations in envs.observation_space
        for i, env in enumerate(singles):
            expected, reward, terminated, truncated, info = env.step(actions[i])
            assert rewards[i] == reward
            assert terminations[i] == terminated
            assert truncations[i] == truncated
            if terminated or truncated:
                ends += 1
                assert_same(infos["final_obs"][i], expected)
                if args[0] == "smaclite":
                    assert infos["final_info"]["battle_won"][i] == info["battle_won"]
                expected, _ = env.reset()
            assert_same(one_of(observations, i), expected)
    assert ends >= 3
    # A reset in the middle, with a seed.
    observations, _ = envs.reset(seed=8)
    for i, env in enumerate(singles):
        assert_same(one_of(observations, i), env.reset(seed=8 + i)[0])


@pytest.mark.parametrize("args", [("smaclite", "3m"), SPREAD])
def test_spaces_of_a_vector_environment_have_the_ids(args, make_envs):
    envs = make_envs(*args)
    without = make_envs(*args, agent_ids=False)
    n_agents, obs_dim = without.single_observation_space["obs"].shape
    assert envs.single_observation_space["obs"].shape == (n_agents, obs_dim + n_agents)
    assert envs.observation_space["obs"].shape == (3, n_agents, obs_dim + n_agents)
    assert without.observation_space["obs"].shape == (3, n_agents, obs_dim)
    assert envs.observation_space["obs"].dtype == np.float32
    for key in ("state", "avail_actions"):
        assert envs.observation_space[key] == without.observation_space[key]


def test_vector_observations_are_not_overwritten_by_later_steps(make_envs):
    envs = make_envs(*SMACLITE)
    observations, _ = envs.reset()
    before = {key: values.copy() for key, values in observations.items()}
    latest = observations
    for _ in range(5):
        last_available = latest["avail_actions"].shape[-1] - 1
        last_available -= latest["avail_actions"][..., ::-1].argmax(axis=-1)
        latest, *_ = envs.step(last_available)
    assert_same(observations, before)
    assert not np.array_equal(latest["obs"], before["obs"])


def test_every_worker_has_generators_of_its_own(make_envs):
    envs = make_envs("pz", "dice", "tests.envs", agent_ids=False)
    observations, _ = envs.reset()
    for i in range(3):
        seed = int(np.random.SeedSequence([3, i + 1]).generate_state(1)[0])
        python = random.Random(seed)
        numpy = np.random.RandomState(seed)
        pytorch = torch.Generator().manual_seed(seed)
        for _ in range(2):  # the wrapper's own reset, and the one above
            numbers = [python.random(), numpy.random(), torch.rand(1, generator=pytorch).item()]
        assert observations["obs"][i, 0].tolist() == np.float32(numbers).tolist()
    assert len(np.unique(observations["obs"])) == 9


def test_workers_end_at_once():
    envs = make_vector_env("pz", "clock", "tests.envs", True, 3, 3)
    envs.reset()
    envs.processes[1].kill()
    envs.processes[1].join(timeout=30)
    end_workers(envs)
    for process in envs.processes:
        process.join(timeout=30)
        assert not process.is_alive()
    assert envs.closed


def test_ending_workers_is_harmless_where_there_are_none(make_envs):
    envs = make_envs(*SMACLITE)
    observations, _ = envs.reset()
    end_workers(envs)
    envs.step(observations["avail_actions"].argmax(axis=-1))


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("pzz", "simple_spread_v3"), "--env-type: there is no 'pzz'; try pz"),
        (("smaclite", "3mm"), "--env-name: there is no map '3mm'"),
        (("lbf", "Foraging-5x5-2p-1f-v9"), "Foraging-5x5-2p-1f-v3"),
    ],
)
def test_errors_of_a_vector_environment(args, words, make_envs):
    with pytest.raises(UsageError) as error:
        make_envs(*args)
    assert words in str(error.value)
