"""Acting: each agent explores for itself, epsilon's schedule, and greedy play in evaluation."""

import random

import numpy as np
import pytest
import torch

from cleanmarl.env_wrappers import make_env
from tests.helpers import CLOCK, PZ, SCRIPTS, WEATHER, module, run_here, scalars, words


def test_agents_explore_independently():
    rng = np.random.default_rng(0)
    n = 40_000
    epsilon = 0.6
    q_values = np.broadcast_to([[3.0, 2, 1], [1, 2, 3]], (n, 2, 3))
    avail_actions = np.broadcast_to([[True, True, True], [True, True, False]], (n, 2, 3))
    actions = module("qmix").select_actions(q_values, avail_actions, epsilon, rng)
    joint = np.zeros((3, 3))
    np.add.at(joint, tuple(actions.T), 1 / n)
    expected = np.outer([0.4 + 0.2, 0.2, 0.2], [0.3, 0.4 + 0.3, 0])
    assert np.allclose(joint, expected, atol=0.012)  # 5 standard deviations
    assert joint[:, 2].sum() == 0


@pytest.mark.parametrize("epsilon", [0, 0.3, 1])
def test_only_available_actions(epsilon):
    rng = np.random.default_rng(0)
    q_values = rng.normal(size=(5000, 4, 6))
    avail_actions = rng.random((5000, 4, 6)) < 0.3
    avail_actions[..., 2] = True
    actions = module("qmix").select_actions(q_values, avail_actions, epsilon, rng)[..., None]
    assert np.take_along_axis(avail_actions, actions, axis=-1).all()
    if epsilon == 0:
        taken = np.take_along_axis(q_values, actions, axis=-1)
        assert (taken >= np.where(avail_actions, q_values, -9)).all()


def seed_everything():
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)


@pytest.mark.parametrize("script", ["qmix", "qmix_lstm"])
def test_evaluation_leaves_the_random_numbers_of_training_alone(script):
    m = module(script)
    # Its agents observe numbers of the global generators.
    env = make_env("pz", "dice", "tests.envs", seed=1, max_episode_steps=4)
    q_network = m.QNetwork(5, 2, 16, 1)
    seed_everything()
    metrics = m.evaluate(env, q_network, 3)
    after = (random.random(), np.random.random(), torch.rand(1))
    seed_everything()
    assert after == (random.random(), np.random.random(), torch.rand(1))
    assert metrics == {"eval/ep_reward": 0, "eval/ep_length": 4, "eval/std_ep_reward": 0}


@pytest.mark.parametrize("script", SCRIPTS)
def test_another_evaluation_frequency_is_the_same_training(script, tmp_path, monkeypatch):
    # The environment draws what agents observe from the global generators.
    args = (*PZ, "dice", *words("--max-episode-steps 5 --total-timesteps 200 --batch-size 2"))
    args += words("--exploration-fraction 0.5 --num-eval-ep 2 --eval-steps")
    weights = []
    for eval_steps in (1, 1000):
        program = run_here(script, *args, eval_steps, cwd=tmp_path, monkeypatch=monkeypatch)
        weights.append(torch.cat([parameter.flatten() for parameter in program["parameters"]]))
        assert program["num_updates"] > 20
    assert torch.equal(*weights)


@pytest.mark.parametrize("script", SCRIPTS)
def test_environments_may_seed_the_global_generators(script, tmp_path, monkeypatch):
    # `seeding` is `weather`, and seeds all generators whenever it is made or reset.
    def play(name, seed):
        args = (*PZ, name, *words("--total-timesteps 200 --batch-size 2 --seed"), seed)
        args += words("--exploration-fraction 0.5 --learning-rate 0.01")
        return run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)

    expected = play("weather", 1)
    program = play("seeding", 1)
    other = play("seeding", 2)
    assert program["num_updates"] > 10
    pairs = zip(program["buffer"].episodes, expected["buffer"].episodes, strict=True)
    assert all(torch.equal(one["actions"], same["actions"]) for one, same in pairs)
    for same, one, different in zip(*(run["parameters"] for run in (expected, program, other))):
        assert torch.equal(one, same)
        assert not torch.equal(one, different)
    first_actions = [run["buffer"].episodes[0]["actions"].tolist() for run in (program, other)]
    assert first_actions[0] != first_actions[1]


def test_exploration_has_another_generator_than_an_environment_of_its_seed(tmp_path, monkeypatch):
    args = (*CLOCK, *words("--total-timesteps 1 --seed 3"))
    program = run_here("qmix", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    drawn = np.random.default_rng(3).random(1000)
    assert not set(program["rng"].random(100)) & set(drawn)


@pytest.mark.parametrize("script", ["qmix", "qmix_multienvs"])
def test_epsilon_falls_from_start_to_end(script, tmp_path, monkeypatch):
    args = (*CLOCK, *words("--total-timesteps 400 --exploration-fraction 0.5 --log-every 1"))
    args += words("--start-e 0.8 --end-e 0.1")
    program = run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    num_envs = program["args"].num_envs if script == "qmix_multienvs" else 1
    epsilons = dict(scalars(tmp_path)["rollout/epsilon"])
    for step, epsilon in epsilons.items():
        acted_at = step - num_envs  # the step counter when the last actions were chosen
        assert epsilon == pytest.approx(0.8 - 0.7 * min(acted_at / 200, 1), abs=1e-6)
    assert min(epsilons) <= 16
    assert np.allclose([epsilon for step, epsilon in epsilons.items() if step > 204], 0.1)


def test_exploration_fraction_zero_starts_at_the_end(tmp_path, monkeypatch):
    args = ("--total-timesteps", 40, "--exploration-fraction", 0, "--log-every", 1)
    run_here("qmix", *CLOCK, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    assert {value for _, value in scalars(tmp_path)["rollout/epsilon"]} == {np.float32(0.025)}


def greedy_actions(script, q_network, episode):
    """The best available action of each agent in each step of an episode, (time, n_agents)."""
    obs = episode["obs"][: len(episode["actions"])]
    q_values = q_network(obs[None])[0][0] if script == "qmix_lstm" else q_network(obs)
    # In the first step everything is available that is in the second: nobody has left yet.
    following = episode["next_avail_actions"]
    avail_actions = torch.cat([following[:1], following[:-1]])
    return q_values.where(avail_actions, -torch.inf).argmax(dim=-1)


@pytest.mark.parametrize("script", ["qmix", "qmix_multienvs", "qmix_lstm"])
def test_with_epsilon_zero_the_team_acts_by_the_online_network(script, tmp_path, monkeypatch):
    # One training round, after the second episode; the target networks stay as they were.
    args = (*WEATHER, *words("--total-timesteps 160 --start-e 0 --end-e 0"))
    args += words("--batch-size 2 --train-freq 1000 --polyak 0 --learning-rate 0.05")
    program = run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    going_on = getattr(program["args"], "num_envs", 0)  # when the networks changed
    episodes = list(program["buffer"].episodes)[2 + going_on :]
    assert len(episodes) > 10
    by_target = []
    for episode in episodes:
        actions = episode["actions"].long()
        assert torch.equal(actions, greedy_actions(script, program["q_network"], episode))
        target_actions = greedy_actions(script, program["target_q_network"], episode)
        by_target.append(torch.equal(actions, target_actions))
    assert not all(by_target)


def test_with_epsilon_one_the_team_takes_every_available_action(tmp_path, monkeypatch):
    args = (*WEATHER, *words("--total-timesteps 160 --start-e 1 --end-e 1"))
    program = run_here("qmix", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    actions = torch.cat([episode["actions"][:2] for episode in program["buffer"].episodes])
    assert [actions[:, i].unique().tolist() for i in range(3)] == [[0, 1], [0, 1, 2], [0, 1, 2]]


def test_evaluation_is_of_the_online_network(tmp_path, monkeypatch):
    # One evaluation, at the end. The target network has other weights, and plays otherwise.
    args = (*WEATHER, *words("--total-timesteps 80 --batch-size 2 --polyak 0 --num-eval-ep 7"))
    args += words("--learning-rate 0.05 --eval-steps 1000 --seed 4")
    program = run_here("qmix", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    figures = []
    for name in ("q_network", "target_q_network"):
        env = make_env("pz", "weather", "tests.envs", seed=4 + 1)
        metrics = module("qmix").evaluate(env, program[name], 7)
        figures.append({tag: [(80, pytest.approx(value))] for tag, value in metrics.items()})
    logged = scalars(tmp_path)
    logged = {tag: logged[tag] for tag in figures[0]}
    assert logged == figures[0]
    assert logged != figures[1]


@pytest.mark.parametrize("script", ["qmix", "qmix_lstm"])
def test_evaluation_is_the_mean_of_its_episodes(script):
    m = module(script)
    torch.manual_seed(0)
    q_network = m.QNetwork(8, 3, 16, 1)
    together = m.evaluate(make_env("pz", "weather", "tests.envs", seed=3), q_network, 6)
    env = make_env("pz", "weather", "tests.envs", seed=3)
    alone = [m.evaluate(env, q_network, 1) for _ in range(6)]
    returns = [metrics["eval/ep_reward"] for metrics in alone]
    lengths = [metrics["eval/ep_length"] for metrics in alone]
    assert len(set(returns)) == 6
    assert together == {
        "eval/ep_reward": pytest.approx(np.mean(returns)),
        "eval/std_ep_reward": pytest.approx(np.std(returns)),
        "eval/ep_length": pytest.approx(np.mean(lengths)),
    }
