"""Exploration: each agent for itself, over available actions only, and epsilon's schedule."""

import random

import numpy as np
import pytest
import torch

from cleanmarl.env_wrappers import make_env
from tests.helpers import CLOCK, SCRIPTS, module, run_here, scalars


@pytest.mark.parametrize("script", SCRIPTS)
def test_agents_explore_independently(script):
    np.random.seed(0)
    n, epsilon = 40_000, 0.6
    q_values = np.broadcast_to([[3.0, 2, 1], [1, 2, 3]], (n, 2, 3))
    avail_actions = np.broadcast_to([[True, True, True], [True, True, False]], (n, 2, 3))
    actions = module(script).select_actions(q_values, avail_actions, epsilon)
    joint = np.zeros((3, 3))
    np.add.at(joint, tuple(actions.T), 1 / n)
    expected = np.outer([0.4 + 0.2, 0.2, 0.2], [0.3, 0.4 + 0.3, 0])
    assert np.allclose(joint, expected, atol=0.012)  # 5 standard deviations
    assert joint[:, 2].sum() == 0


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("epsilon", [0, 0.3, 1])
def test_only_available_actions(script, epsilon):
    np.random.seed(0)
    q_values, avail_actions = np.random.randn(5000, 4, 6), np.random.rand(5000, 4, 6) < 0.3
    avail_actions[..., 2] = True
    actions = module(script).select_actions(q_values, avail_actions, epsilon)[..., None]
    assert np.take_along_axis(avail_actions, actions, axis=-1).all()
    if epsilon == 0:
        assert (
            np.take_along_axis(q_values, actions, axis=-1) >= np.where(avail_actions, q_values, -9)
        ).all()


@pytest.mark.parametrize("script", SCRIPTS)
def test_evaluation_leaves_the_random_numbers_of_training_alone(script):
    env, m = make_env("pz", "clock", "tests.envs", seed=1), module(script)
    q_network = m.QNetwork(8, 3, 16, 1)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    metrics = m.evaluate(env, q_network, 3, torch.device("cpu"))
    after = random.random(), np.random.random(), torch.rand(1)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    assert after == (random.random(), np.random.random(), torch.rand(1))
    assert metrics == {"eval/ep_reward": 10, "eval/ep_length": 4, "eval/std_ep_reward": 0}


@pytest.mark.parametrize("script", SCRIPTS)
def test_epsilon_falls_from_start_to_end(script, tmp_path, monkeypatch):
    args = [
        "--total-timesteps",
        "400",
        "--exploration-fraction",
        "0.5",
        "--start-e",
        "0.8",
        "--end-e",
        "0.1",
    ]
    program = run_here(
        script, *CLOCK, *args, "--log-every", 1, cwd=tmp_path, monkeypatch=monkeypatch
    )
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
