"""What the scripts collect and learn: their buffers and weights after a run."""

import copy
from collections import defaultdict

import numpy as np
import pytest
import torch

from cleanmarl.env_wrappers import make_env
from tests.helpers import CLOCK, PZ, SCRIPTS, WEATHER, module, run_here, scalars, words

MASKED = (*PZ, "masked")
# How the names of the weights begin that there is one of for each of `num_layers`.
LAYERS = {
    "qmix": ("body.2.weight", "body.4.weight", "body.6.weight", "body.8.weight"),
    "qmix_lstm": "lstm.weight_ih",
}


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
    args = (*CLOCK, "--total-timesteps", 80)
    program = run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    assert program["num_episodes"] == 20
    assert len(program["buffer"].episodes) == 20
    expected = set(words("obs actions reward states done next_avail_actions"))
    if script != "qmix_memefficient":
        expected |= {"next_obs", "next_states"}
    noise = set()
    for episode in program["buffer"].episodes:
        assert set(episode) == expected
        obs, next_obs, states, next_states = collected(script, episode)
        # The clock of agents 0 and 2 runs from 0 to 4, the last observation before the cut.
        assert obs[:, [0, 2], 0].tolist() == [[t, t] for t in range(4)]
        assert next_obs[:, [0, 2], 0].tolist() == [[t, t] for t in range(1, 5)]
        assert torch.equal(obs[1:], next_obs[:-1])
        assert torch.equal(states[1:], next_states[:-1])
        assert next_states[-1].any()
        assert episode["reward"].tolist() == [3, 3, 2, 2]
        assert not episode["done"].any()  # truncated
        avail_actions = episode["next_avail_actions"][:, 1].tolist()
        assert avail_actions == [[True] * 3] + [[True, False, False]] * 3
        assert not episode["actions"][2:, 1].any()  # agent 1 is gone
        assert (episode["actions"][:, 0] < 2).all()  # agent 0 has two actions
        noise.add(float(obs[0, 0, 2]))
    assert len(noise) == 20  # no two episodes, and no two parallel environments, are alike


def starts(episodes):
    return {tuple(episode["obs"][0].ravel().tolist()) for episode in episodes}


@pytest.mark.parametrize("script", ["qmix", "qmix_multienvs"])
def test_environment_i_has_the_seed_of_the_run_plus_i(script, tmp_path, monkeypatch):
    args = (*WEATHER, "--total-timesteps", 80, "--seed", 5)
    program = run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    for i in range(getattr(program["args"], "num_envs", 1)):
        first_obs, _ = make_env("pz", "weather", "tests.envs", seed=5 + i).reset()
        assert tuple(first_obs["obs"].ravel().tolist()) in starts(program["buffer"].episodes)


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_step_is_stored_with_what_belongs_to_it(script, tmp_path, monkeypatch):
    # An agent's noise tells all steps of all environments apart, and its pay tells its action.
    args = (*WEATHER, "--total-timesteps", 80)
    program = run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    lengths = set()
    for episode in program["buffer"].episodes:
        obs, next_obs, states, next_states = collected(script, episode)
        lengths.add(len(obs))
        # The state is the observations in a row, without padding and ids.
        for seen, state in ((obs, states), (next_obs, next_states)):
            assert torch.equal(seen[:-1, 0, :3], state[:-1, :3])
        assert torch.equal(next_obs[-1, 0, :3], next_states[-1, :3])
        assert next_obs[:, :, 0].amax(dim=1)[:-1].tolist() == list(range(1, len(obs)))
        assert episode["reward"].dtype == torch.float32
        assert not episode["done"][:-1].any()
        playing = torch.arange(len(obs))[:, None] < torch.tensor([99, 2, 99])
        weights = ((1 + episode["actions"].long()) * playing).sum(dim=1)
        pay = episode["reward"] / weights
        assert torch.allclose(pay, pay[0])
    assert lengths == {2, 3, 4, 5, 6}


@pytest.mark.parametrize(("n_actions", "dtype"), [(256, torch.uint8), (300, torch.int16)])
def test_the_lean_buffer_stores_actions_in_the_smallest_numbers_that_hold_them(
    n_actions, dtype, tmp_path, monkeypatch
):
    args = (
        *PZ,
        f"actions_{n_actions}",
        *words("--total-timesteps 400 --batch-size 90 --start-e 1"),
    )
    args = (*args, *words("--end-e 1 --buffer-size 100"))
    program = run_here("qmix_memefficient", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    actions = torch.cat([episode["actions"] for episode in program["buffer"].episodes])
    assert actions.dtype == dtype
    assert actions.min().item() >= 0
    assert n_actions - 20 < actions.max().item() < n_actions


@pytest.mark.parametrize("script", ["qmix", "qmix_multienvs"])
def test_timeout_is_terminal(script, tmp_path, monkeypatch):
    args = (*CLOCK, "--total-timesteps", 40, "--timeout-is-terminal")
    program = run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    done = {tuple(episode["done"].tolist()) for episode in program["buffer"].episodes}
    assert done == {(False, False, False, True)}


@pytest.mark.parametrize("script", ["qmix", "qmix_multienvs"])
def test_termination(script, tmp_path, monkeypatch):
    args = (*MASKED, "--total-timesteps", 36)
    program = run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    episodes = program["buffer"].episodes
    assert {tuple(episode["done"].tolist()) for episode in episodes} == {(False, False, True)}
    actions = {tuple(episode["actions"].flatten().tolist()) for episode in episodes}
    assert actions == {(1,) * 6}


@pytest.mark.parametrize(
    ("script", "updates"),
    [("qmix", 9), ("qmix_multienvs", 3 * 5)],
)
def test_number_of_updates(script, updates, tmp_path, monkeypatch):
    # 20 episodes; training starts with the 4th and then every second one: 4, 6, ..., 20.
    args = (*CLOCK, "--total-timesteps", 80, "--batch-size", 4, "--train-freq", 2)
    if script == "qmix_multienvs":
        args = (*args[:-1], 4, "--n-epochs", 3)  # 4, 8, ..., 20, with three batches each
    program = run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    assert program["num_updates"] == updates


@pytest.mark.parametrize(
    ("script", "polyak"), [("qmix", 0), ("qmix", 0.25), ("qmix", 1), ("qmix_multienvs", 0.25)]
)
def test_target_networks(script, polyak, tmp_path, monkeypatch):
    args = f"--total-timesteps 16 --batch-size 4 --polyak {polyak} --train-freq 4".split()
    program = run_here(script, *CLOCK, *args, cwd=tmp_path, monkeypatch=monkeypatch)
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


@pytest.mark.parametrize("script", ["qmix", "qmix_multienvs"])
def test_target_update_frequency(script, tmp_path, monkeypatch):
    # An update each from the 4th episode on. Targets are copied every 6 episodes or rounds.
    args = (*CLOCK, *words("--batch-size 4 --polyak 1 --train-freq 1"))
    args += ("--target-network-update-freq", 6)
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


@pytest.mark.parametrize("script", ["qmix", "qmix_lstm"])
def test_arguments_reach_the_loop(script, tmp_path, monkeypatch):
    args = (*CLOCK, *words("--total-timesteps 40 --buffer-size 6 --batch-size 5"))
    args += ("--normalize-reward", "--no-agent-ids")
    args += words("--optimizer RMSprop --learning-rate 0.0123")
    args += words("--hidden-dim 7 --hyper-dim 9 --num-layers 3")
    program = run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    assert program["buffer"].normalize_reward
    assert len(program["buffer"].episodes) == 6
    assert isinstance(program["optimizer"], torch.optim.RMSprop)
    assert program["optimizer"].param_groups[0]["lr"] == 0.0123
    assert program["q_network"].head.in_features == 7
    assert program["mixer"].hyper_w2.out_features == 9
    layers = [name for name in program["q_network"].state_dict() if name.startswith(LAYERS[script])]
    assert len(layers) == 3
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


def test_double_q_makes_a_difference(tmp_path, monkeypatch):
    # With targets that never move, the two networks soon prefer other actions.
    args = (*WEATHER, *words("--total-timesteps 80 --batch-size 2 --polyak 0 --learning-rate 0.05"))
    weights = []
    for double_q in ("--no-double-q", "--double-q"):
        program = run_here("qmix", *args, double_q, cwd=tmp_path, monkeypatch=monkeypatch)
        weights.append(torch.cat([parameter.flatten() for parameter in program["parameters"]]))
    assert not torch.equal(*weights)


def test_gradient_norm_is_the_one_before_clipping(tmp_path, monkeypatch):
    # A clipped SGD step moves the weights by at most learning rate x maximal norm.
    args = (*CLOCK, *words("--total-timesteps 16 --batch-size 4 --optimizer SGD"))
    args += words("--learning-rate 1 --clip-gradients 1e-3 --train-freq 4 --polyak 0")
    program = run_here("qmix", *args, cwd=tmp_path, monkeypatch=monkeypatch)
    pairs = zip(program["parameters"], program["target_parameters"])
    moves = [online - target for online, target in pairs]
    moved = torch.cat([move.flatten() for move in moves]).norm().item()
    assert 1e-4 < moved <= 1e-3 * program["num_updates"] * 1.001
    assert np.mean(program["train_metrics"]["grads"]) > 1e-2


# The learner of a run, written a second time


def chunks(script, batch, td_target, tbptt):
    """What each optimizer step of a batch learns from."""
    if script != "qmix_lstm":
        return [(batch, td_target)]
    parts = []
    for start in range(0, td_target.shape[1], tbptt):
        steps = slice(start, start + tbptt)
        parts.append(({key: rows[:, steps] for key, rows in batch.items()}, td_target[:, steps]))
    return parts


class Apart:
    """Learns from the episodes of a run once more, apart from its loop, by plain gradient descent.

    `rounds` are the episodes so far, the losses and the gradient norms of each training round.
    """

    def __init__(self, script, program):
        args = self.args = program["args"]
        self.script = script
        self.module = module(script)
        self.rng = np.random.default_rng([args.seed, 1])
        torch.manual_seed(args.seed)
        sizes = (program["obs_dim"], program["n_actions"], args.hidden_dim, args.num_layers)
        self.q_network = self.module.QNetwork(*sizes)
        self.mixer = self.module.Mixer(program["n_agents"], program["state_dim"], args.hyper_dim)
        self.first = copy.deepcopy([*self.q_network.parameters(), *self.mixer.parameters()])
        self.target_q_network = copy.deepcopy(self.q_network)
        self.target_mixer = copy.deepcopy(self.mixer)
        self.online = [*self.q_network.parameters(), *self.mixer.parameters()]
        self.target = [*self.target_q_network.parameters(), *self.target_mixer.parameters()]
        self.buffer = self.module.ReplayBuffer(
            args.buffer_size, args.normalize_reward, torch.device("cpu")
        )
        self.rounds = []
        for number, episode in enumerate(program["buffer"].episodes, start=1):
            self.buffer.episodes.append(episode)
            self.buffer.reward_stats.update(episode["reward"].double().numpy())
            after_first_batch = number - args.batch_size
            trains = after_first_batch >= 0 and after_first_batch % args.train_freq == 0
            if trains:
                self.train(number)
            # The unit is the episode, and in qmix_multienvs the training round.
            count = number
            if script == "qmix_multienvs":
                count = len(self.rounds) if trains else 1
            if count % args.target_network_update_freq == 0:
                self.move_targets()

    def train(self, number):
        metrics = defaultdict(list)
        for _ in range(getattr(self.args, "n_epochs", 1)):
            batch = self.buffer.sample(self.args.batch_size, self.rng)
            networks = (self.q_network, self.target_q_network, self.target_mixer)
            td_target = self.module.compute_td_target(
                *networks, batch, self.args.gamma, self.args.double_q
            )
            hidden = None
            for part, part_target in chunks(
                self.script, batch, td_target, getattr(self.args, "tbptt", None)
            ):
                inputs = (self.q_network, self.mixer, part, part_target)
                real = torch.ones_like(part_target, dtype=torch.bool)
                if self.script == "qmix_lstm":
                    loss, q_total, hidden = self.module.td_loss(*inputs, hidden)
                    hidden = tuple(state.detach() for state in hidden)
                    real = part["mask"]
                else:
                    loss, q_total = self.module.td_loss(*inputs)
                metrics["train/loss"].append(loss.item())
                metrics["train/q_total"].append(q_total.item())
                metrics["train/td_target"].append(part_target[real].mean().item())
                metrics["train/grads"].append(self.descend(loss))
        self.rounds.append((number, metrics))

    @torch.no_grad()
    def move_targets(self):
        polyak = self.args.polyak
        for target, online in zip(self.target, self.online):
            target.copy_(polyak * online + (1 - polyak) * target)

    def descend(self, loss):
        gradients = torch.autograd.grad(loss, self.online)
        norm = torch.cat([gradient.flatten() for gradient in gradients]).norm().item()
        scale = 1
        if 0 < self.args.clip_gradients < norm:
            scale = self.args.clip_gradients / norm
        with torch.no_grad():
            for parameter, gradient in zip(self.online, gradients):
                parameter -= self.args.learning_rate * scale * gradient
        return norm


PLAIN = (
    "--batch-size 3 --train-freq 1 --polyak 0.1 --learning-rate 0.003 --clip-gradients 0 --seed 2"
)
# Every number differs from the others and from its default, so that none can stand for another.
SPECIAL = """--batch-size 4 --train-freq 3 --target-network-update-freq 2 --polyak 0.3 --double-q
    --normalize-reward --clip-gradients 0.3 --learning-rate 0.5 --gamma 0.9 --seed 7
    --hidden-dim 24 --hyper-dim 16 --num-layers 2"""
OF_ITS_OWN = {"qmix_lstm": "--tbptt 2", "qmix_multienvs": "--n-epochs 4"}


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("args", [PLAIN, SPECIAL], ids=["plain", "special"])
def test_the_weights_are_those_of_a_learner_apart(script, args, tmp_path, monkeypatch):
    args = (*WEATHER, *args.split(), *OF_ITS_OWN.get(script, "").split())
    # Without exploration, whose random numbers come from the generator of the replay.
    args += words("--total-timesteps 120 --optimizer SGD --log-every 2 --start-e 0 --end-e 0")
    program = run_here(script, *args, cwd=tmp_path, monkeypatch=monkeypatch)
    logged = scalars(tmp_path)
    apart = Apart(script, program)
    pairs = zip(program["parameters"], program["target_parameters"], strict=True)
    for i, (online, target) in enumerate(pairs):
        start = apart.first[i]
        moved = (apart.online[i] - start).norm()
        assert moved > 3e-5
        assert (apart.target[i] - apart.online[i]).norm() > 0.02 * moved
        assert (online - apart.online[i]).norm() < 0.01 * moved
        assert (target - apart.target[i]).norm() < 0.01 * moved
    assert program["num_updates"] == sum(len(metrics["train/loss"]) for _, metrics in apart.rounds)

    # What is logged is the mean of the latest round.
    episodes = dict(logged["rollout/num_episodes"])
    assert len(logged["train/loss"]) >= 8
    for step, updates in logged["train/num_updates"]:
        so_far = [metrics for number, metrics in apart.rounds if number <= episodes[step]]
        assert updates == sum(len(metrics["train/loss"]) for metrics in so_far)
        for tag, values in so_far[-1].items() if so_far else ():
            assert dict(logged[tag])[step] == pytest.approx(np.mean(values), rel=1e-3, abs=1e-6)
