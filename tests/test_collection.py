"""What the scripts collect from the environments, looked at in their buffers after a run."""

import numpy as np
import pytest
import torch

from tests.helpers import CLOCK, SCRIPTS, run_here

MASKED = ("--env-type", "pz", "--env-family", "tests.envs", "--env-name", "masked")


def collected(script, episode):
    """obs and next_obs, states and next_states, whatever the buffer."""
    if script == "qmix_memefficient":
        return (
            episode["obs"][:-1],
            episode["obs"][1:],
            episode["states"][:-1],
            episode["states"][1:],
        )
    return episode["obs"], episode["next_obs"], episode["states"], episode["next_states"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_episodes(script, tmp_path, monkeypatch):
    program = run_here(
        script, *CLOCK, "--total-timesteps", 80, cwd=tmp_path, monkeypatch=monkeypatch
    )
    assert len(program["buffer"].episodes) == program["num_episodes"] == 20
    expected = {
        "obs",
        "actions",
        "reward",
        "next_obs",
        "states",
        "next_states",
        "done",
        "next_avail_actions",
    }
    expected -= {"next_obs", "next_states"} if script == "qmix_memefficient" else set()
    noise = set()
    for episode in program["buffer"].episodes:
        assert set(episode) == expected
        obs, next_obs, states, next_states = collected(script, episode)
        # The clock of agents 0 and 2 runs from 0 to 4: the last observation is the one of the truncated episode.
        assert obs[:, [0, 2], 0].tolist() == [[t, t] for t in range(4)]
        assert next_obs[:, [0, 2], 0].tolist() == [[t, t] for t in range(1, 5)]
        assert torch.equal(obs[1:], next_obs[:-1])
        assert torch.equal(states[1:], next_states[:-1])
        assert next_states[-1].any()
        assert episode["reward"].tolist() == [3, 3, 2, 2]
        assert not episode["done"].any()  # truncated
        assert (
            episode["next_avail_actions"][:, 1].tolist()
            == [[True] * 3] + [[True, False, False]] * 3
        )
        assert not episode["actions"][2:, 1].any()  # agent 1 is gone
        assert (episode["actions"][:, 0] < 2).all()  # agent 0 has two actions
        noise.add(float(obs[0, 0, 2]))
    assert len(noise) == 20  # no two episodes, and no two parallel environments, are alike


@pytest.mark.parametrize("script", SCRIPTS)
def test_timeout_is_terminal(script, tmp_path, monkeypatch):
    args = (*CLOCK, "--total-timesteps", 40, "--timeout-is-terminal")
    program = run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    assert {tuple(e["done"].tolist()) for e in program["buffer"].episodes} == {
        (False, False, False, True)
    }


@pytest.mark.parametrize("script", SCRIPTS)
def test_termination(script, tmp_path, monkeypatch):
    program = run_here(
        script, *MASKED, "--total-timesteps", 36, cwd=tmp_path, monkeypatch=monkeypatch
    )
    assert {tuple(e["done"].tolist()) for e in program["buffer"].episodes} == {(False, False, True)}
    assert {tuple(e["actions"].flatten().tolist()) for e in program["buffer"].episodes} == {
        (1,) * 6
    }


@pytest.mark.parametrize(
    ("script", "updates"),
    [("qmix", 9), ("qmix_memefficient", 9), ("qmix_lstm", 9), ("qmix_multienvs", 3 * 5)],
)
def test_number_of_updates(script, updates, tmp_path, monkeypatch):
    # 20 episodes; training starts with the 4th and then every second one: 4, 6, ..., 20.
    args = (*CLOCK, "--total-timesteps", 80, "--batch-size", 4, "--train-freq", 2)
    if script == "qmix_multienvs":
        args = (*args[:-1], 4, "--n-epochs", 3)  # 4, 8, ..., 20, with three batches each
    program = run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    assert program["num_updates"] == updates


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("polyak", [0, 0.25, 1])
def test_target_networks(script, polyak, tmp_path, monkeypatch):
    args = (
        *CLOCK,
        *f"--total-timesteps 16 --batch-size 4 --polyak {polyak} --train-freq 4".split(),
    )
    program = run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    assert program["num_updates"] == {"qmix_multienvs": 2}.get(script, 1)
    torch.manual_seed(1)  # as the run: the networks' first weights
    program["random"].seed(1)
    sizes = (program["obs_dim"], program["n_actions"], 64, 1)
    first = [*program["QNetwork"](*sizes).parameters()]
    first += program["Mixer"](program["n_agents"], program["state_dim"], 64).parameters()
    for start, online, target in zip(first, program["parameters"], program["target_parameters"]):
        assert torch.allclose(target, polyak * online + (1 - polyak) * start, atol=1e-6)
    assert any(
        not torch.equal(start, online) for start, online in zip(first, program["parameters"])
    )


@pytest.mark.parametrize("script", SCRIPTS)
def test_target_update_frequency(script, tmp_path, monkeypatch):
    # An update each from the 4th episode on. Targets are copied every 6 episodes, or every 6 training rounds.
    args = (
        *CLOCK,
        *[
            "--batch-size",
            "4",
            "--polyak",
            "1",
            "--target-network-update-freq",
            "6",
            "--train-freq",
            "1",
        ],
    )
    copied_at = 9 if script == "qmix_multienvs" else 12
    args += ("--num-envs", 1) if script == "qmix_multienvs" else ()
    for episodes in (copied_at - 1, copied_at, copied_at + 4):
        steps = ("--total-timesteps", 4 * episodes)
        program = run_here(script, *args, *steps, cwd=tmp_path, monkeypatch=monkeypatch)
        online, target = (
            torch.cat([parameter.flatten() for parameter in program[name]])
            for name in ("parameters", "target_parameters")
        )
        assert torch.equal(target, online) == (episodes == copied_at)


@pytest.mark.parametrize("script", SCRIPTS)
def test_arguments_reach_the_loop(script, tmp_path, monkeypatch):
    args = (
        *CLOCK,
        *[
            "--total-timesteps",
            "40",
            "--buffer-size",
            "6",
            "--batch-size",
            "5",
            "--normalize-reward",
        ],
    )
    more = "--optimizer RMSprop --learning-rate 0.0123 --hidden-dim 7 --hyper-dim 9 --no-agent-ids"
    args = (*args, *more.split())
    program = run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    assert program["buffer"].normalize_reward
    assert len(program["buffer"].episodes) == 6
    assert isinstance(program["optimizer"], torch.optim.RMSprop)
    assert program["optimizer"].param_groups[0]["lr"] == 0.0123
    assert program["q_network"].head.in_features == 7
    assert program["mixer"].hyper_w2.out_features == 9
    assert program["obs_dim"] == 5


def test_training_starts_as_soon_as_a_batch_is_there(tmp_path, monkeypatch):
    args = (*CLOCK, "--batch-size", 5, "--train-freq", 4)  # after episodes 5, 9, 13...
    updates = []
    for episodes in (4, 5, 8, 9, 13):
        steps = ("--total-timesteps", 4 * episodes)
        updates.append(
            run_here("qmix", *args, *steps, cwd=tmp_path, monkeypatch=monkeypatch)["num_updates"]
        )
    assert updates == [0, 1, 1, 2, 3]


@pytest.mark.parametrize("script", SCRIPTS)
def test_gradient_norm_is_the_one_before_clipping(script, tmp_path, monkeypatch):
    # A clipped SGD step moves the weights by at most learning rate x maximal norm.
    args = (
        *CLOCK,
        *[
            "--total-timesteps",
            "16",
            "--batch-size",
            "4",
            "--optimizer",
            "SGD",
            "--learning-rate",
            "1",
        ],
    )
    args += ("--clip-gradients", 1e-3, "--train-freq", 4, "--polyak", 0)
    program = run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    moves = [
        online - target
        for online, target in zip(program["parameters"], program["target_parameters"])
    ]
    moved = torch.cat([move.flatten() for move in moves]).norm().item()
    assert 1e-4 < moved <= 1e-3 * program["num_updates"] * 1.001
    assert np.mean([grad_norm for _, grad_norm in program["updates"]]) > 1e-2
