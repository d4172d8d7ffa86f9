"""qmix_lstm: truncated backpropagation through time, against a walk one step at a time."""

import copy

import numpy as np
import pytest
import torch

from cleanmarl.qmix_lstm import QNetwork, compute_td_target, td_loss
from tests.helpers import (
    CLOCK,
    batch_of,
    gradients,
    networks_of,
    random_trajectory,
    run_here,
    words,
)

LSTM = "qmix_lstm"


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    return batch_of(
        LSTM, [random_trajectory(rng, length, terminated=length > 5) for length in (8, 4, 6)]
    )


def step_by_step(q_network, obs):
    """(batch, time, n_agents, obs_dim) -> values of each step, from one call a step and agent."""
    hidden, values = [None] * obs.shape[2], []
    for t in range(obs.shape[1]):
        values.append([])
        for i in range(obs.shape[2]):
            q_values, hidden[i] = q_network(obs[:, t : t + 1, i : i + 1], hidden[i])
            values[-1].append(q_values[:, 0, 0])
        values[-1] = torch.stack(values[-1], dim=1)
    return torch.stack(values, dim=1)


@pytest.mark.parametrize("num_layers", [1, 2])
def test_agents_and_episodes_have_a_hidden_state_each(num_layers):
    torch.manual_seed(0)
    q_network, obs = QNetwork(4, 3, 16, num_layers), torch.randn(5, 7, 3, 4)
    assert torch.allclose(q_network(obs)[0], step_by_step(q_network, obs), atol=1e-6)


def test_gradient_of_one_chunk_is_full_backpropagation(batch):
    networks = networks_of(LSTM)
    q_network, _, mixer, _ = networks
    td_target = torch.randn(batch["reward"].shape)
    td_loss(q_network, mixer, batch, td_target, None)[0].backward()
    expected = copy.deepcopy(networks)
    taken = (
        step_by_step(expected[0], batch["obs"])
        .gather(-1, batch["actions"].unsqueeze(-1))
        .squeeze(-1)
    )
    errors = (td_target - expected[2](taken, batch["states"])) ** 2 * batch["mask"]
    for parameter in (*expected[0].parameters(), *expected[2].parameters()):
        parameter.grad = None
    (errors.sum() / batch["mask"].sum()).backward()
    assert all(
        torch.allclose(a, b, atol=1e-6) for a, b in zip(gradients(networks), gradients(expected))
    )


@pytest.mark.parametrize("tbptt", [1, 3, 4])
def test_chunks_carry_the_hidden_state(batch, tbptt):
    q_network, _, mixer, _ = networks_of(LSTM)
    td_target, hidden, squared_errors = torch.randn(batch["reward"].shape), None, 0
    for start in range(0, 8, tbptt):
        chunk = {key: value[:, start : start + tbptt] for key, value in batch.items()}
        part = td_target[:, start : start + tbptt]
        loss, _, hidden = td_loss(q_network, mixer, chunk, part, hidden)
        squared_errors += loss.item() * chunk["mask"].sum().item()
    unchunked, _, expected = td_loss(q_network, mixer, batch, td_target, None)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(hidden, expected))
    assert squared_errors / batch["mask"].sum().item() == pytest.approx(unchunked.item(), rel=1e-5)


@pytest.mark.parametrize("double_q", [False, True])
def test_target_network_has_seen_the_history_up_to_the_next_observation(batch, double_q):
    q_network, target_q_network, _, target_mixer = networks_of(LSTM)
    history = torch.cat([batch["obs"][:, :1], batch["next_obs"]], dim=1)
    next_q_values = step_by_step(target_q_network, history)[:, 1:]
    choosing = step_by_step(q_network, history)[:, 1:] if double_q else next_q_values
    best = choosing.masked_fill(~batch["next_avail_actions"], -torch.inf).argmax(
        dim=-1, keepdim=True
    )
    q_total = target_mixer(next_q_values.gather(-1, best).squeeze(-1), batch["next_states"])
    expected = batch["reward"] + 0.9 * q_total * ~batch["done"]
    td_target = compute_td_target(q_network, target_q_network, target_mixer, batch, 0.9, double_q)
    assert torch.allclose(td_target[batch["mask"]], expected[batch["mask"]], atol=1e-6)


def test_target_depends_on_the_first_observation(batch):
    q_network, target_q_network, _, target_mixer = networks_of(LSTM)
    networks = (q_network, target_q_network, target_mixer)
    before = compute_td_target(*networks, batch, 0.9, False)
    batch["obs"][:, 0] += 3
    after = compute_td_target(*networks, batch, 0.9, False)
    assert (before != after)[batch["mask"] & ~batch["done"]].float().mean() > 0.5


@pytest.mark.parametrize(("tbptt", "updates_per_round"), [(1, 4), (3, 2), (4, 1), (10, 1)])
def test_one_optimizer_step_for_each_chunk(tmp_path, monkeypatch, tbptt, updates_per_round):
    args = (*CLOCK, "--total-timesteps", 40, "--batch-size", 2, "--tbptt", tbptt)
    program = run_here(LSTM, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    assert program["num_episodes"] == 10
    assert program["num_updates"] == 9 * updates_per_round


def test_a_chunk_longer_than_the_episode_is_the_whole_episode(tmp_path, monkeypatch):
    weights = []
    for tbptt in (4, 10, 3):
        args = (*CLOCK, "--total-timesteps", 40, "--batch-size", 2, "--tbptt", tbptt)
        program = run_here(LSTM, *args, cwd=tmp_path, monkeypatch=monkeypatch)
        weights.append(torch.cat([parameter.flatten() for parameter in program["parameters"]]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def recorded(monkeypatch):
    """Have every pass of an LSTM note how many steps it reads, and whether it has no history."""
    calls = []
    forward = torch.nn.LSTM.forward

    def recording(self, features, hidden=None):
        calls.append((features.shape[1], hidden is None))
        return forward(self, features, hidden)

    monkeypatch.setattr(torch.nn.LSTM, "forward", recording)
    return calls


def test_hidden_state_of_rollouts_and_evaluation_starts_anew_with_each_episode(
    tmp_path, monkeypatch
):
    calls = recorded(monkeypatch)
    args = (
        *CLOCK,
        *words("--total-timesteps 40 --num-eval-ep 3 --batch-size 11 --buffer-size 11"),
    )
    run_here(LSTM, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    # 10 episodes of training, 3 of evaluation
    assert calls == [(1, True), (1, False), (1, False), (1, False)] * 13


def test_hidden_state_of_learning_is_carried_from_chunk_to_chunk(tmp_path, monkeypatch):
    calls = recorded(monkeypatch)
    args = (*CLOCK, "--total-timesteps", 8, "--num-eval-ep", 1, "--batch-size", 2, "--tbptt", 2)
    run_here(LSTM, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    # The target network, and two chunks
    assert [call for call in calls if call[0] > 1] == [(5, True), (2, True), (2, False)]
