"""The learner: mixing, TD targets by hand, padding, and the lean buffer against the plain one."""

import copy
import itertools

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cleanmarl.qmix import Mixer
from tests.helpers import (
    SCRIPTS,
    WEATHER,
    batch_of,
    episode,
    gradients,
    loss_of,
    module,
    networks_of,
    random_trajectory,
    run_here,
    words,
)

GAMMA = 0.9
# qmix_multienvs learns with qmix.py's functions: see test_same_source.py.
LEARNERS = ("qmix", "qmix_memefficient", "qmix_lstm")


def random_mixer(seed, n_agents, state_dim, scale):
    torch.manual_seed(seed)
    mixer = Mixer(n_agents, state_dim, hyper_dim=8)
    for parameter in mixer.parameters():
        torch.nn.init.normal_(parameter, std=scale)
    return mixer


def hypernetwork_inputs(mixer, states):
    """What the layers of the hypernetwork read of these states."""
    seen = []
    hook = mixer.hyper_w1.register_forward_pre_hook(lambda layer, inputs: seen.extend(inputs))
    mixer(torch.zeros(len(states), mixer.n_agents), states)
    hook.remove()
    return seen[0]


numbers = st.floats(-1e6, 1e6, width=32, allow_subnormal=False)


@settings(deadline=None)
@given(st.lists(numbers, min_size=1, max_size=5), st.data())
def test_the_hypernetwork_tells_different_states_apart(state, data):
    # Scaled, shifted, or changed in one number, by more than float32 rounds.
    change = data.draw(st.sampled_from(["scale", "shift", "one"]))
    number = data.draw(numbers)
    other = np.array(state)
    if change == "scale":
        other *= number
    elif change == "shift":
        other += number
    else:
        other[data.draw(st.integers(0, len(state) - 1))] = number
    size = np.maximum(np.abs(state), np.abs(other))
    assume((np.abs(other - state) > 1e-4 * size + 1e-6).any())
    states = torch.tensor(np.array([state, other]), dtype=torch.float32)
    first, second = hypernetwork_inputs(Mixer(2, len(state), 8), states)
    assert torch.isfinite(first).all()
    assert torch.isfinite(second).all()
    assert not torch.equal(first, second)


DAYS = np.arange(10)
STATES = {
    "one_hot": np.eye(10),
    "number": np.stack([DAYS, 0 * DAYS, 0 * DAYS], axis=1),
    "equal": np.stack([DAYS, DAYS, DAYS], axis=1),
    "offset": np.stack([DAYS, 0 * DAYS + 5000, 0 * DAYS - 5000], axis=1),
}


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("form", STATES)
def test_no_form_of_a_state_hides_what_it_says(form, script):
    # Episodes of one step, paid as the day is, which only the state knows: 0 to 9, variance 8.25.
    states = STATES[form].astype(np.float32)
    stored = []
    for day in DAYS:
        trajectory = random_trajectory(np.random.default_rng(0), 1, state_dim=states.shape[1])
        trajectory["states"][:] = states[day]
        trajectory["reward"][:] = day
        stored.append(trajectory)
    batch = batch_of(script, stored)
    torch.manual_seed(1)
    m = module(script)
    q_network = m.QNetwork(4, 3, 64, 1)
    mixer = m.Mixer(3, states.shape[1], 64)
    networks = (q_network, copy.deepcopy(q_network), mixer, copy.deepcopy(mixer))
    parameters = [*q_network.parameters(), *mixer.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=0.005)
    for _ in range(400):
        loss = loss_of(script, networks, batch)
        m.gradient_step(optimizer, parameters, loss, max_grad_norm=10)
    assert loss < 0.1


@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 10**6),
    st.integers(1, 6),
    st.integers(1, 9),
    st.floats(0.01, 10),
    st.floats(0.01, 100),
)
def test_mixer_is_monotonic(seed, n_agents, state_dim, weight_scale, input_scale):
    mixer = random_mixer(seed, n_agents, state_dim, weight_scale)
    q_values = (torch.randn(32, n_agents) * input_scale).requires_grad_()
    mixer(q_values, torch.randn(32, state_dim) * input_scale).sum().backward()
    assert (q_values.grad >= 0).all()
    assert (q_values.grad > 0).any()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6))
def test_joint_argmax_is_every_agents_argmax(seed):
    n_agents, n_actions = 3, 4
    mixer = random_mixer(seed, n_agents, 5, 0.5).double()
    q_values, state = torch.randn(n_agents, n_actions).double(), torch.randn(5).double()
    joint_actions = torch.tensor(
        list(itertools.product(range(n_actions), repeat=n_agents))
    )  # (64, n_agents)
    q_total = mixer(
        q_values[torch.arange(n_agents), joint_actions], state.expand(len(joint_actions), -1)
    )
    assert joint_actions[q_total.argmax()].tolist() == q_values.argmax(dim=-1).tolist()
    assert q_total.max() > q_total.min()


@pytest.mark.parametrize("n_agents", [1, 3, 20])
def test_mixer_starts_at_the_scale_of_the_agents_values(n_agents):
    torch.manual_seed(1)
    mixer = Mixer(n_agents, 48, 64)
    q_values, states = torch.rand(1000, n_agents), torch.randn(1000, 48)
    assert 0.5 < mixer(q_values, states).abs().mean() < 2
    # Coordinates of 8, and of 5,000.
    assert mixer(q_values, states * 8).abs().mean() < 8
    assert mixer(q_values, states * 5000).abs().mean() < 120


@pytest.mark.parametrize("state_dim", [1, 2, 30])
def test_mixer_sees_the_state(state_dim):
    mixer, states = random_mixer(0, 3, state_dim, 0.5), torch.randn(2, state_dim)
    assert mixer(torch.ones(2, 3), states).diff().abs() > 1e-3


@pytest.mark.parametrize("script", ["qmix", "qmix_lstm"])
def test_agents_values_start_near_zero(script):
    torch.manual_seed(1)
    obs = torch.randn(10, 6, 3, 30)  # (batch, time, n_agents, obs_dim)
    q_values = module(script).QNetwork(30, 5, 64, 1)(obs)
    q_values = q_values[0] if script == "qmix_lstm" else q_values
    assert 0 < q_values.abs().max() < 0.03


class Table(torch.nn.Module):
    """A Q-network whose values are `scale` times the observation.

    For qmix_lstm it returns a hidden state as well, which it does not use.
    """

    def __init__(self, script, scale):
        super().__init__()
        self.script, self.scale = script, scale

    def forward(self, obs, hidden=None):
        if self.script == "qmix_lstm":
            return self.scale * obs, (torch.zeros(1),)
        return self.scale * obs


def total(q_values, states):
    """A mixer that adds up."""
    return q_values.sum(dim=-1) + states.sum(dim=-1)


def by_hand(done, avail_actions):
    """One agent, two steps; the second one ends the episode. Values are the observations."""
    return {
        "obs": np.array([[[9, 9, 9]], [[1, 5, 3]], [[2, 4, -8]]], np.float32),
        "states": np.array([[9], [10], [20]], np.float32),
        "avail_actions": np.array([[[1, 1, 1]], [[1, 1, 1]], [avail_actions]], np.bool_),
        "actions": np.array([[0], [2]]),
        "reward": np.array([0.5, 0.25], np.float32),
        "done": np.array([False, done]),
    }


@pytest.mark.parametrize("script", LEARNERS)
@pytest.mark.parametrize(
    ("done", "avail_actions", "double_q", "last"),
    [
        # Terminated: nothing follows.
        (True, (1, 1, 1), False, 0.25),
        # Truncated: bootstraps from the last observation.
        (False, (1, 1, 1), False, 0.25 + GAMMA * (2 * 4 + 20)),
        # The best action is not available.
        (False, (1, 0, 1), False, 0.25 + GAMMA * (2 * 2 + 20)),
        # The online network prefers the third action...
        (False, (1, 1, 1), True, 0.25 + GAMMA * (2 * -8 + 20)),
        # ...and, of those available, the first one.
        (False, (1, 1, 0), True, 0.25 + GAMMA * (2 * 2 + 20)),
    ],
)
def test_td_target_by_hand(script, done, avail_actions, double_q, last):
    batch = batch_of(script, [by_hand(done, avail_actions)])
    online = Table(script, -1)
    target = Table(script, 2)
    td_target = module(script).compute_td_target(online, target, total, batch, GAMMA, double_q)
    first_best = 1 if double_q else 5
    expected = torch.tensor([0.5 + GAMMA * (2 * first_best + 10), last])
    assert torch.allclose(td_target.ravel(), expected)


@pytest.mark.parametrize("script", LEARNERS)
def test_td_target_of_the_last_step_before_another_episode_or_padding(script):
    longer = random_trajectory(np.random.default_rng(0), 5, n_agents=1, obs_dim=3, state_dim=1)
    batch = batch_of(script, [by_hand(False, (1, 1, 1)), longer])
    if script == "qmix_lstm":
        assert batch["mask"].tolist() == [[True] * 2 + [False] * 3, [True] * 5]
    else:
        assert "mask" not in batch
        assert {len(rows) for rows in batch.values()} == {7}
    td_target = module(script).compute_td_target(
        Table(script, -1), Table(script, 2), total, batch, GAMMA, False
    )
    expected = torch.tensor([0.5 + GAMMA * 20, 0.25 + GAMMA * 28])
    assert torch.allclose(td_target.ravel()[:2], expected)


@pytest.mark.parametrize("script", LEARNERS)
def test_loss_by_hand(script):
    batch = batch_of(script, [by_hand(True, (1, 1, 1))])
    td_target = torch.tensor([20.0, 10.0]).view_as(batch["reward"])
    hidden = [None] if script == "qmix_lstm" else []
    loss, q_total, *_ = module(script).td_loss(Table(script, 1), total, batch, td_target, *hidden)
    # Q_tot of the actions taken: 9 + state 9, and 3 + state 10.
    assert loss == pytest.approx(((20 - 18) ** 2 + (10 - 13) ** 2) / 2)
    assert q_total == pytest.approx((18 + 13) / 2)


def trajectories(lengths=(7, 3, 5, 1)):
    rng = np.random.default_rng(3)
    return [
        random_trajectory(rng, length, terminated=i % 2 == 0) for i, length in enumerate(lengths)
    ]


@pytest.mark.parametrize("double_q", [False, True])
def test_lean_buffer_gives_the_same_loss_and_gradient(double_q):
    networks = networks_of("qmix")
    losses, grads = [], []
    for script in ("qmix", "qmix_memefficient"):
        script_networks = copy.deepcopy(networks)
        loss = loss_of(script, script_networks, batch_of(script, trajectories()), GAMMA, double_q)
        loss.backward()
        losses.append(loss.item())
        grads.append(gradients(script_networks))
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*grads))
    assert all(grad.abs().max() > 0 for grad in grads[0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("double_q", [False, True])
@pytest.mark.parametrize("script", LEARNERS)
def test_a_gpu_gives_the_same_loss_and_gradient(script, double_q):
    batch = batch_of(script, trajectories())
    gpu_batch = {key: value.cuda() for key, value in batch.items()}
    networks = networks_of(script)
    gpu_networks = [copy.deepcopy(network).cuda() for network in networks]
    loss = loss_of(script, networks, batch, GAMMA, double_q)
    gpu_loss = loss_of(script, gpu_networks, gpu_batch, GAMMA, double_q)
    loss.backward()
    gpu_loss.backward()
    assert gpu_loss.item() == pytest.approx(loss.item(), rel=1e-3)
    # cuDNN's LSTM multiplies with fewer digits.
    for grad, gpu_grad in zip(gradients(networks), gradients(gpu_networks), strict=True):
        assert torch.allclose(grad, gpu_grad.cpu(), rtol=0, atol=1e-2 * grad.abs().max().item())


@pytest.mark.parametrize("script", SCRIPTS)
def test_episodes_and_batches_are_on_the_device(script):
    # On the device "meta" tensors have sizes and no numbers.
    buffer = module(script).ReplayBuffer(4, True, torch.device("meta"))
    for trajectory in trajectories():
        buffer.add(episode(script, trajectory))
    batch = buffer.sample(3, np.random.default_rng(0))
    stored = buffer.episodes[0]
    assert {rows.device.type for rows in [*stored.values(), *batch.values()]} == {"meta"}
    if script != "qmix_lstm":  # whose mask has to have numbers
        networks = [network.to("meta") for network in networks_of(script)]
        assert loss_of(script, networks, batch, GAMMA, True).device.type == "meta"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_run_on_a_gpu(script, tmp_path, monkeypatch):
    args = (*WEATHER, *words("--total-timesteps 160 --batch-size 2 --device cuda"))
    program = run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    assert program["num_updates"] > 0
    assert program["buffer"].episodes[0]["obs"].is_cuda
    pairs = zip(program["q_network"].parameters(), program["acting_q_network"].parameters())
    assert all(torch.equal(online.cpu(), acting) for online, acting in pairs)


@pytest.mark.parametrize("script", LEARNERS)
def test_a_batch_is_the_steps_of_its_episodes(script):
    stored = trajectories()
    batch = batch_of(script, stored)
    if script == "qmix_lstm":
        batch = {key: rows[batch["mask"]] for key, rows in batch.items() if key != "mask"}
    expected = {
        "obs": [trajectory["obs"][:-1] for trajectory in stored],
        "next_obs": [trajectory["obs"][1:] for trajectory in stored],
        "states": [trajectory["states"][:-1] for trajectory in stored],
        "next_states": [trajectory["states"][1:] for trajectory in stored],
        "actions": [trajectory["actions"] for trajectory in stored],
        "reward": [trajectory["reward"] for trajectory in stored],
        "done": [trajectory["done"] for trajectory in stored],
        "next_avail_actions": [trajectory["avail_actions"][1:] for trajectory in stored],
    }
    assert set(batch) == set(expected)
    for key, parts in expected.items():
        assert torch.equal(batch[key], torch.as_tensor(np.concatenate(parts))), key


def test_padding_changes_nothing():
    networks = networks_of("qmix_lstm")
    batch = batch_of("qmix_lstm", trajectories())
    results = []
    for filling in (None, 0, 1000):
        padded = {}
        for key, value in batch.items():
            rows = torch.full_like(value[:, :4], 0 if key in ("mask", "actions") else filling or 0)
            padded[key] = value if filling is None else torch.cat([value, rows], 1)
        own = copy.deepcopy(networks)
        loss = loss_of("qmix_lstm", own, padded)
        loss.backward()
        results.append([loss.detach(), *gradients(own)])
    for result in results[1:]:
        assert all(torch.allclose(a, b, atol=1e-6, rtol=1e-5) for a, b in zip(results[0], result))


@pytest.mark.parametrize("script", LEARNERS)
def test_loss_ignores_what_is_behind_the_end_of_an_episode(script):
    # Alone or beside a longer episode, an episode has the same squared errors.
    networks, (long, short, *_) = networks_of(script), trajectories()
    groups = ([long], [short], [long, short])
    losses = [loss_of(script, networks, batch_of(script, group)).item() for group in groups]
    assert losses[2] == pytest.approx((7 * losses[0] + 3 * losses[1]) / 10, rel=1e-5)


@pytest.mark.parametrize("script", LEARNERS)
def test_buffer_keeps_the_newest_episodes_and_samples_without_replacement(script):
    buffer = module(script).ReplayBuffer(4, False, torch.device("cpu"))
    for number in range(7):
        trajectory = random_trajectory(np.random.default_rng(number), 1)
        trajectory["reward"][:] = number
        buffer.add(episode(script, trajectory))
    rng = np.random.default_rng(0)
    assert sorted(buffer.sample(4, rng)["reward"].ravel().tolist()) == [3, 4, 5, 6]
    draws = [buffer.sample(2, rng)["reward"].ravel().tolist() for _ in range(400)]
    assert all(a != b for a, b in draws)
    counts = np.bincount(np.array(draws, int).ravel())[3:]
    assert counts.min() > 140  # 200 expected, standard deviation 10


@pytest.mark.parametrize("script", LEARNERS)
def test_normalized_rewards(script):
    buffer = module(script).ReplayBuffer(2, True, torch.device("cpu"))
    rng = np.random.default_rng(0)
    stored = [random_trajectory(rng, 6) for _ in range(5)]
    for trajectory in stored:
        trajectory["reward"] = trajectory["reward"] * 30 + 7
        buffer.add(episode(script, trajectory))
    rewards = np.concatenate([trajectory["reward"] for trajectory in stored]).astype(np.float64)
    newest = np.stack([trajectory["reward"] for trajectory in stored[-2:]])
    expected = (newest - rewards.mean()) / (rewards.std() + 1e-6)
    sampled = buffer.sample(2, rng)["reward"]
    assert np.allclose(np.sort(sampled, axis=None), np.sort(expected, axis=None), atol=1e-5)


@pytest.mark.parametrize("script", LEARNERS)
def test_equal_rewards_stay_as_they_are_until_they_differ(script):
    # A cost of each step, which the mean would take away.
    buffer = module(script).ReplayBuffer(4, True, torch.device("cpu"))
    rewards = {1: [-0.5] * 3, 2: [-0.5] * 3, 3: [-0.5, -0.5, 1]}
    for number, values in rewards.items():
        trajectory = random_trajectory(np.random.default_rng(number), 3)
        trajectory["reward"][:] = values
        buffer.add(episode(script, trajectory))
        sampled = buffer.sample(number, np.random.default_rng(0))["reward"].unique().tolist()
        if number < 3:
            assert sampled == [-0.5]
    assert sampled == pytest.approx([-1 / 8**0.5, 8**0.5], rel=1e-3)


@pytest.mark.parametrize("script", LEARNERS)
def test_rewards_that_differ_by_rounding_stay_as_they_are(script):
    # A cost of a step, as a float32 clock measures it.
    buffer = module(script).ReplayBuffer(4, True, torch.device("cpu"))
    trajectory = random_trajectory(np.random.default_rng(0), 100)
    trajectory["reward"] = -0.1 + np.linspace(-1e-7, 1e-7, 100, dtype=np.float32)
    buffer.add(episode(script, trajectory))
    sampled = buffer.sample(1, np.random.default_rng(0))["reward"].ravel()
    assert torch.equal(sampled, torch.as_tensor(trajectory["reward"]))


def test_lean_buffer_stores_about_half(tmp_path, monkeypatch):
    per_step = {}
    for script in ("qmix", "qmix_memefficient"):
        args = ("--env-type", "pz", "--env-family", "tests.envs", "--env-name", "wide")
        program = run_here(
            script, *args, "--total-timesteps", 100, cwd=tmp_path, monkeypatch=monkeypatch
        )
        episodes = program["buffer"].episodes
        size = sum(value.nbytes for e in episodes for value in e.values())
        per_step[script] = size / sum(len(e["reward"]) for e in episodes)
        assert {value.dtype for value in episodes[0].values()} >= {torch.float32, torch.bool}
    assert per_step["qmix_memefficient"] <= 0.55 * per_step["qmix"]
