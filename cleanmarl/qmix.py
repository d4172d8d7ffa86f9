"""QMIX with feed-forward agents, in one environment.

    python cleanmarl/qmix.py --env-type smaclite --env-name 3m

Paper: Rashid et al., 2018, https://arxiv.org/abs/1803.11485. docs/qmix.md explains this file.
In the shapes below, (...) is any leading dimensions: none when acting, (steps,) in a batch.
"""

import contextlib
import copy
import errno
import io
import math
import os
import pickle
import random
import signal
import sys
import time
from collections import defaultdict, deque
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch
import tyro
from gymnasium.wrappers.utils import RunningMeanStd
from torch import nn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from cleanmarl import (
    UsageError,
    __version__,
    ignore,
    keep_random_state,
    on_signals,
    plain_arguments,
    play_command,
    say_at_the_end,
    stop,
    write_whole,
)
from cleanmarl.env_wrappers import make_env


@dataclass
class Args:
    # Environment
    env_type: str = "smaclite"
    """family of environments: smaclite, pz (PettingZoo) or lbf (Level-Based Foraging)"""
    env_name: str = "3m"
    """map or environment: 3m, simple_spread_v3, Foraging-2s-10x10-4p-2f-v3..."""
    env_family: str = "mpe"
    """PettingZoo family (mpe, sisl, butterfly...) or the package of your own environment"""
    agent_ids: bool = True
    """append each agent's one-hot id to its observation"""
    # Learning
    buffer_size: int = 5000
    """episodes in the replay buffer"""
    total_timesteps: int = 1_000_000
    """environment steps in training"""
    gamma: float = 0.99
    """discount factor"""
    train_freq: int = 1
    """train every this many episodes"""
    optimizer: str = "Adam"
    """a class of torch.optim"""
    learning_rate: float = 0.0005
    """learning rate of the optimizer"""
    batch_size: int = 10
    """episodes per batch"""
    # Exploration
    start_e: float = 1
    """first epsilon of the exploration"""
    end_e: float = 0.025
    """last epsilon of the exploration"""
    exploration_fraction: float = 0.05
    """fraction of total_timesteps over which epsilon falls"""
    # Networks and target networks
    hidden_dim: int = 64
    """hidden width of the Q-network"""
    hyper_dim: int = 64
    """hidden width of the hypernetwork and the mixer"""
    num_layers: int = 1
    """hidden layers of the Q-network, after the first"""
    target_network_update_freq: int = 1
    """update the target networks every this many episodes"""
    polyak: float = 0.01
    """soft update coefficient: target <- polyak * online + (1 - polyak) * target"""
    # Rewards and gradients
    normalize_reward: bool = False
    """standardise rewards by the mean and std of every reward stored so far"""
    clip_gradients: float = -1
    """maximal gradient norm; no clipping if not positive"""
    # Logging and evaluation
    log_every: int = 10
    """log rollout and training statistics every this many episodes"""
    eval_steps: int = 50
    """evaluate every this many episodes, and at the end"""
    num_eval_ep: int = 5
    """evaluation episodes"""
    use_wnb: bool = False
    """log to Weights & Biases too"""
    wnb_project: str = ""
    """Weights & Biases project"""
    wnb_entity: str = ""
    """Weights & Biases entity"""
    # Run
    device: str = "cpu"
    """cpu, gpu (or cuda, cuda:1) or mps"""
    seed: int = 1
    """seed of the run"""
    # Ours; with these defaults the algorithm stays as it is
    double_q: bool = False
    """choose the next action by the online network, value it by the target network (Double DQN)"""
    timeout_is_terminal: bool = False
    """the time limit ends the task: do not bootstrap from a truncated episode"""
    max_episode_steps: int = 10000
    """truncate an episode that has not ended by itself after this many steps"""
    load_model: str = ""
    """start from the weights of a run, its folder or a .pt file; everything else starts anew"""
    save_model: bool = True
    """save weights and arguments: best_model.pt at the best evaluation, model.pt at the end"""
    exp_name: str = ""
    """heads the name of the run's folder, and is its group in W&B; by default the script's name"""


def scale_init(layer, scale, bias):
    """Shrink the initial weights of a linear layer, and set its bias."""
    layer.weight.data.mul_(scale)
    layer.bias.data.fill_(bias)


class QNetwork(nn.Module):
    """Q_i(o_i, .), one set of weights for all agents: (..., obs_dim) -> (..., n_actions)."""

    def __init__(self, obs_dim, n_actions, hidden_dim, num_layers):
        super().__init__()
        layers = [nn.Linear(obs_dim, hidden_dim), nn.ReLU()]
        for _ in range(num_layers):
            layers += [nn.Linear(hidden_dim, hidden_dim), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(hidden_dim, n_actions)
        scale_init(self.head, 0.01, bias=0)  # values start near 0

    def forward(self, obs):
        return self.head(self.body(obs))


class Mixer(nn.Module):
    """Q_tot from the agents' values: (..., n_agents), (..., state_dim) -> (...).

    The paper's figure 2: Q_tot = ELU(q W1(s) + b1(s)) . w2(s) + V(s). A hypernetwork makes W1, b1,
    w2 and V of the state s. No entry of W1 and w2 is negative, so Q_tot never falls as a q rises.
    """

    def __init__(self, n_agents, state_dim, hyper_dim):
        super().__init__()
        self.n_agents = n_agents
        self.hyper_dim = hyper_dim
        self.hyper_w1 = nn.Linear(state_dim, n_agents * hyper_dim)
        self.hyper_b1 = nn.Linear(state_dim, hyper_dim)
        self.hyper_w2 = nn.Linear(state_dim, hyper_dim)
        self.hyper_v = nn.Sequential(
            nn.Linear(state_dim, hyper_dim),
            nn.ReLU(),
            nn.Linear(hyper_dim, 1),
        )
        # Start at the scale of the agents' values: torch's defaults start Q_tot up to 1000x larger.
        scale_init(self.hyper_w1, 0.1, bias=1 / n_agents)
        scale_init(self.hyper_b1, 0.1, bias=0)
        scale_init(self.hyper_w2, 0.1, bias=1 / hyper_dim)
        scale_init(self.hyper_v[-1], 0.1, bias=0)

    def forward(self, q_values, states):
        # symlog: large numbers become small, and different states stay different.
        states = states.sign() * states.abs().log1p()
        w1 = self.hyper_w1(states).abs()
        w1 = w1.unflatten(-1, (self.n_agents, self.hyper_dim))  # (..., n_agents, hyper_dim)
        b1 = self.hyper_b1(states)  # (..., hyper_dim)
        w2 = self.hyper_w2(states).abs()  # (..., hyper_dim)
        v = self.hyper_v(states).squeeze(-1)  # (...)
        # q W1 as a sum of products: faster than thousands of tiny matrix products.
        weighted = (q_values.unsqueeze(-1) * w1).sum(dim=-2)  # (..., hyper_dim)
        hidden = nn.functional.elu(weighted + b1)
        return (hidden * w2).sum(dim=-1) + v


class ReplayBuffer:
    """The last `buffer_size` episodes, each a dictionary of tensors with one row a step."""

    def __init__(self, buffer_size, normalize_reward, device):
        self.episodes = deque(maxlen=buffer_size)
        self.normalize_reward = normalize_reward
        self.reward_stats = RunningMeanStd(epsilon=0.0)  # epsilon is its initial count
        self.device = device

    def add(self, episode):
        """Store an episode, a dictionary of lists. In a full buffer it replaces the oldest."""
        tensors = {}
        for key, values in episode.items():
            array = np.array(values)
            if not np.isfinite(array).all():
                name = key.removeprefix("next_")
                sys.exit(f"{Path(__file__).name}: not finite: {name} of the environment")
            tensors[key] = torch.as_tensor(array, device=self.device)
        self.episodes.append(tensors)
        self.reward_stats.update(np.array(episode["reward"], np.float64))

    def sample(self, batch_size, rng):
        """Sample different episodes. A batch is their steps, one after the other: (steps, ...)."""
        indices = rng.choice(len(self.episodes), batch_size, replace=False)
        episodes = [self.episodes[i] for i in indices]
        batch = {}
        for key in episodes[0]:
            batch[key] = torch.cat([episode[key] for episode in episodes])
        mean = self.reward_stats.mean
        std = self.reward_stats.var**0.5
        # Rewards that are equal, but for rounding, stay as they are: their deviation is no scale.
        if self.normalize_reward and std > 1e-3 * abs(mean):
            batch["reward"] = (batch["reward"] - mean) / (std + 1e-6)
        return batch


def select_actions(q_values, avail_actions, epsilon=0.0, rng=None):
    """Epsilon-greedy over available actions: (..., n_agents, n_actions) -> (..., n_agents)."""
    if epsilon > 0:
        # Each agent explores for itself: the best of random values is a random available action.
        explore = rng.random((*q_values.shape[:-1], 1)) < epsilon  # (..., n_agents, 1)
        random_values = rng.random(q_values.shape)
        q_values = np.where(explore, random_values, q_values)
    return np.where(avail_actions, q_values, -np.inf).argmax(axis=-1)


@torch.no_grad()
def compute_td_target(q_network, target_q_network, target_mixer, batch, gamma, double_q):
    """The target y of the paper's equation 6, for every step of the batch: (...).

    `done` is termination: a truncated episode bootstraps from its last observation, unless
    --timeout-is-terminal. With `double_q` the online network chooses the next action.
    """
    next_q_values = target_q_network(batch["next_obs"])  # (..., n_agents, n_actions)
    choosing_q_values = next_q_values
    if double_q:
        choosing_q_values = q_network(batch["next_obs"])
    choosing_q_values = choosing_q_values.where(batch["next_avail_actions"], -torch.inf)
    next_actions = choosing_q_values.argmax(dim=-1, keepdim=True)  # (..., n_agents, 1)
    next_q_values = next_q_values.gather(-1, next_actions).squeeze(-1)  # (..., n_agents)
    next_q_total = target_mixer(next_q_values, batch["next_states"])  # (...)
    return batch["reward"] + gamma * next_q_total.masked_fill(batch["done"], 0)


def td_loss(q_network, mixer, batch, td_target):
    """Mean squared TD error and mean Q_tot of the steps of the batch."""
    q_values = q_network(batch["obs"])  # (..., n_agents, n_actions)
    q_values = q_values.gather(-1, batch["actions"].unsqueeze(-1)).squeeze(-1)  # (..., n_agents)
    q_total = mixer(q_values, batch["states"])  # (...)
    loss = (td_target - q_total).square().mean()
    return loss, q_total.mean()


def gradient_step(optimizer, parameters, loss, max_grad_norm):
    """One step of the optimizer. Returns the loss, and the gradient's norm before clipping."""
    optimizer.zero_grad()
    loss.backward()
    grad_norm = nn.utils.clip_grad_norm_(parameters, max_grad_norm).item()
    loss = loss.item()
    # Before the step: a nan would spread to all weights, and be saved.
    if not (math.isfinite(loss) and math.isfinite(grad_norm)):
        hint = "lower --learning-rate or set --clip-gradients"
        sys.exit(f"{Path(__file__).name}: loss is not finite: {hint}")
    optimizer.step()
    return loss, grad_norm


@torch.no_grad()
def soft_update(target_parameters, parameters, polyak):
    """target <- polyak * online + (1 - polyak) * target, in place."""
    for target, online in zip(target_parameters, parameters):
        target.lerp_(online, polyak)


@keep_random_state()  # so that more or fewer evaluations leave the training as it is
@torch.inference_mode()
def evaluate(env, q_network, num_episodes):
    """Play greedy episodes. Returns the metrics of the group `eval`."""
    returns = []
    lengths = []
    battles_won = []  # on SMAClite
    for _ in range(num_episodes):
        rewards = []
        terminated = truncated = False
        obs, _ = env.reset()
        while not (terminated or truncated):
            agent_obs = torch.as_tensor(obs["obs"])  # (n_agents, obs_dim)
            q_values = q_network(agent_obs).numpy()
            actions = select_actions(q_values, obs["avail_actions"])
            obs, reward, terminated, truncated, info = env.step(actions)
            rewards.append(reward)
        returns.append(sum(rewards))
        lengths.append(len(rewards))
        if "battle_won" in info:
            battles_won.append(info["battle_won"])
    metrics = {"eval/ep_reward": np.mean(returns), "eval/ep_length": np.mean(lengths)}
    if battles_won:
        metrics["eval/battle_won"] = sum(battles_won) / num_episodes  # not told: not won
    metrics["eval/std_ep_reward"] = np.std(returns)
    return metrics


def check_args(args):
    """Raise a UsageError for an argument that is out of range, or a folder that is read-only."""
    bounds = {
        "buffer_size": (1, sys.maxsize),
        "total_timesteps": (1, math.inf),
        "gamma": (0, 1),
        "train_freq": (1, math.inf),
        "learning_rate": (1e-12, 1e3),  # neither 0 nor inf
        "batch_size": (1, args.buffer_size),
        "start_e": (0, 1),
        "end_e": (0, 1),
        "exploration_fraction": (0, 1),
        "hidden_dim": (1, 16384),
        "hyper_dim": (1, 16384),
        "num_layers": (1, 1000),
        "target_network_update_freq": (1, math.inf),
        "polyak": (0, 1),
        "log_every": (1, math.inf),
        "eval_steps": (1, math.inf),
        "num_eval_ep": (1, math.inf),
        "seed": (0, 2**31 - 1),
        "max_episode_steps": (1, math.inf),
    }
    for name, (low, high) in bounds.items():
        value = getattr(args, name)
        if not low <= value <= high:
            flag = "--" + name.replace("_", "-")
            raise UsageError(f"{flag} {value} is out of range: give one from {low} to {high}")
    folder = Path("runs") if Path("runs").exists() else Path()
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise UsageError(f"{folder.absolute()} is no folder that can be written: start elsewhere")


def load_weights(path, q_network, mixer):
    """Load the weights that a run has saved; `path` is its folder or a .pt file."""
    try:
        file = Path(path, "model.pt") if Path(path).is_dir() else path
        saved = torch.load(file, map_location="cpu", weights_only=True)
        if saved["version"].startswith("0.2."):
            raise ValueError(f"of version {saved['version']}, whose mixer reads another state")
        q_network.load_state_dict(saved["q_network"])
        mixer.load_state_dict(saved["mixer"])
        if not all(w.isfinite().all() for w in [*q_network.parameters(), *mixer.parameters()]):
            raise ValueError("nan or inf among the weights")
    except pickle.UnpicklingError:
        fail(f"--load-model {path} is damaged or holds code, none of which has been run")
    except Exception as error:
        # torch's last line names a layer and both sizes.
        reason = f"{type(error).__name__}: {error}".splitlines()[-1].strip()
        hint = "give the folder of a run of this script, or its .pt file"
        fail(f"--load-model {path} has no weights that fit: {hint} ({reason})")


def report_memory(buffer, episode_limit, total_timesteps):
    """Say how large the buffer becomes, by its first episode, and warn if memory is too short."""
    episode = buffer.episodes[0]
    # A tensor takes about 650 bytes beside its numbers.
    episode_bytes = sum(tensor.nbytes + 650 for tensor in episode.values())
    step_bytes = episode_bytes / len(episode["reward"])
    size = step_bytes * min(buffer.episodes.maxlen * episode_limit, total_timesteps)
    free = psutil.virtual_memory().available
    if episode["reward"].is_cuda:
        free, _ = torch.cuda.mem_get_info(episode["reward"].device)
    largest = f"up to {size / 1e6:,.0f} MB"
    tqdm.write(f"replay buffer: {step_bytes:,.0f} bytes a step, {largest}", file=sys.stderr)
    if size > free:
        hint = "lower --buffer-size or use qmix_memefficient.py"
        problem = f"only {free / 1e6:,.0f} MB of memory are free"
        tqdm.write(f"warning: {problem}: {hint}", file=sys.stderr)


def report_short_run(args, episode_limit):
    """Warn if the steps may end before there is a batch, in tasks that have a time limit."""
    batch_steps = args.batch_size * episode_limit
    if args.total_timesteps < batch_steps and episode_limit < Args.max_episode_steps:
        problem = f"--total-timesteps {args.total_timesteps} may end before there is a batch"
        reason = f"{args.batch_size} episodes of up to {episode_limit} steps"
        tqdm.write(f"warning: {problem} to learn from: {reason}", file=sys.stderr)


def fail(message):
    """End the program with one line on stderr."""
    print(f"{Path(__file__).name}: {message}".splitlines()[0], file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    on_signals(signal.SIG_DFL)  # no traceback of a compiler that is interrupted
    args = tyro.cli(Args, description=__doc__, args=plain_arguments(sys.argv[1:]))
    script = Path(__file__).stem
    runs = Path("runs").absolute()  # an environment may go to another folder
    # Acting is too small for more than one thread, and so is learning from a batch of fewer than
    # 4,000 observations. A process that an environment forks would wait for a second one for ever.
    num_threads = torch.get_num_threads()  # all cores, or OMP_NUM_THREADS
    torch.set_num_threads(1)

    # Bad input ends the program here, with one line, before a folder is made.
    try:
        device = torch.device("cuda" if args.device == "gpu" else args.device)
        torch.zeros(1, device=device).item()
    except Exception:
        fail(f"--device {args.device} is not available here: use cpu")
    try:
        check_args(args)
        random.seed(args.seed)  # for environments that draw from the global generators
        np.random.seed(args.seed)
        torch.manual_seed(args.seed)
        env_args = {
            "env_type": args.env_type,
            "env_name": args.env_name,
            "env_family": args.env_family,
            "agent_ids": args.agent_ids,
            "max_episode_steps": args.max_episode_steps,
        }
        eval_env = make_env(**env_args, seed=args.seed + 1, check=True)
        env = make_env(**env_args, seed=args.seed)
    except UsageError as error:
        fail(error)

    episode_limit = eval_env.unwrapped.max_episode_steps
    report_short_run(args, episode_limit)

    # A generator of the run's own: environments may seed the global ones. From the seed alone NumPy
    # would make the generator that the environment has.
    rng = np.random.default_rng([args.seed, 1])  # of exploration and replay
    torch.manual_seed(args.seed)  # again, for the initial weights: environments may have drawn

    # Networks
    n_agents, obs_dim = eval_env.observation_space["obs"].shape
    _, n_actions = eval_env.observation_space["avail_actions"].shape
    (state_dim,) = eval_env.observation_space["state"].shape
    q_network = QNetwork(obs_dim, n_actions, args.hidden_dim, args.num_layers).to(device)
    mixer = Mixer(n_agents, state_dim, args.hyper_dim).to(device)
    if args.load_model:
        load_weights(args.load_model, q_network, mixer)
    target_q_network = copy.deepcopy(q_network)
    target_mixer = copy.deepcopy(mixer)
    # The team acts on the CPU: for these few rows a GPU takes longer.
    acting_q_network = q_network
    if device.type != "cpu":
        acting_q_network = copy.deepcopy(q_network).cpu()
    parameters = [*q_network.parameters(), *mixer.parameters()]
    target_parameters = [*target_q_network.parameters(), *target_mixer.parameters()]
    # fused: one kernel for all parameters, which is several times faster in networks this small
    fused = {"fused": True} if args.optimizer in ("Adam", "AdamW", "SGD") else {}
    try:
        optimizer = getattr(torch.optim, args.optimizer)(parameters, lr=args.learning_rate, **fused)
        optimizer.step()  # nothing yet, but LBFGS cannot be called like this
    except Exception:
        problem = f"--optimizer {args.optimizer} cannot train these networks"
        fail(f"{problem}: use Adam, AdamW, RMSprop or SGD")
    # With inf, clip_grad_norm_ only measures.
    max_grad_norm = args.clip_gradients if args.clip_gradients > 0 else math.inf
    buffer = ReplayBuffer(args.buffer_size, args.normalize_reward, device)

    # The run's folder and its metrics
    env_name = Path(args.env_name).name  # a map can be the path of a file
    exp_name = args.exp_name or script
    run_name = f"{exp_name}__{args.env_type}__{env_name}__{args.seed}__{time.time_ns()}"
    if args.use_wnb:
        import wandb

        wandb.init(
            project=args.wnb_project or None,
            entity=args.wnb_entity or None,
            name=run_name,
            group=exp_name,
            config=vars(args),
            sync_tensorboard=True,
        )
    run_dir = runs / run_name
    run_dir.mkdir(parents=True)
    # What has trained, whatever becomes of the script. A full disk is one line here.
    write_whole(run_dir / Path(__file__).name, Path(__file__).read_bytes())
    writer = SummaryWriter(str(run_dir), flush_secs=10)
    rows = "\n".join(f"|{name}|{value}|" for name, value in vars(args).items())
    writer.add_text("arguments", f"|argument|value|\n|-|-|\n{rows}")
    writer.add_text("version", __version__)

    def save(file_name):
        """Save weights and arguments."""
        model = {
            "script": script,
            "version": __version__,
            "args": vars(args),
            "q_network": q_network.state_dict(),
            "mixer": mixer.state_dict(),
        }
        file = io.BytesIO()  # in a file, torch would make a RuntimeError of a full disk
        torch.save(model, file)
        write_whole(run_dir / file_name, file.getvalue())

    start_time = time.perf_counter()
    exploration_steps = args.exploration_fraction * args.total_timesteps
    global_step = 0
    num_episodes = 0
    num_updates = 0
    last_eval = 0  # num_episodes at the last evaluation
    score_tag = "eval/ep_reward"  # the measure of the best model, where there are no battles
    score = -math.inf  # of the last evaluation
    best_score = -math.inf
    train_metrics = {}  # lists, with a number of each update in the latest training round
    returns = []  # of the episodes since the last log
    lengths = []
    battles_won = []
    finished = False
    episode = defaultdict(list)
    # disable=None: no bar where stderr is no terminal, only the lines of the evaluations
    progress = tqdm(total=args.total_timesteps, unit="step", disable=None)
    try:
        obs, _ = env.reset()
        on_signals(stop)  # after the environments, which may install handlers
        while global_step < args.total_timesteps:
            # Act
            epsilon = np.interp(global_step, (0, exploration_steps), (args.start_e, args.end_e))
            with torch.inference_mode():
                agent_obs = torch.as_tensor(obs["obs"])  # (n_agents, obs_dim)
                q_values = acting_q_network(agent_obs).numpy()
            actions = select_actions(q_values, obs["avail_actions"], epsilon, rng)
            next_obs, reward, terminated, truncated, info = env.step(actions)
            global_step += 1
            progress.update()

            # Remember. A time limit only cuts an episode off: its last step bootstraps.
            done = terminated or (truncated and args.timeout_is_terminal)
            episode["obs"].append(obs["obs"])  # (n_agents, obs_dim)
            episode["actions"].append(actions)  # (n_agents,)
            episode["reward"].append(np.float32(reward))  # or the loss becomes float64
            episode["next_obs"].append(next_obs["obs"])
            episode["states"].append(obs["state"])  # (state_dim,)
            episode["next_states"].append(next_obs["state"])
            episode["done"].append(done)
            episode["next_avail_actions"].append(next_obs["avail_actions"])  # (n_agents, n_actions)
            obs = next_obs

            if terminated or truncated:
                buffer.add(episode)
                num_episodes += 1
                if num_episodes == 1:
                    report_memory(buffer, episode_limit, args.total_timesteps)
                returns.append(sum(map(float, episode["reward"])))
                lengths.append(len(episode["reward"]))
                if "battle_won" in info:
                    battles_won.append(info["battle_won"])
                episode = defaultdict(list)
                obs, _ = env.reset()
                on_signals(stop)  # again: an environment may have replaced or swallowed it

                # Learn, as soon as the buffer holds a batch and then every train_freq episodes
                has_batch = num_episodes >= args.batch_size
                if has_batch and (num_episodes - args.batch_size) % args.train_freq == 0:
                    train_metrics = defaultdict(list)
                    batch = buffer.sample(args.batch_size, rng)
                    if device.type == "cpu" and batch["actions"].numel() >= 4000:
                        torch.set_num_threads(num_threads)  # here all cores pay
                    td_target = compute_td_target(
                        q_network,
                        target_q_network,
                        target_mixer,
                        batch,
                        args.gamma,
                        args.double_q,
                    )
                    loss, q_total = td_loss(q_network, mixer, batch, td_target)
                    loss, grad_norm = gradient_step(optimizer, parameters, loss, max_grad_norm)
                    train_metrics["train/loss"].append(loss)
                    train_metrics["train/grads"].append(grad_norm)
                    train_metrics["train/q_total"].append(q_total.item())
                    train_metrics["train/td_target"].append(td_target.mean().item())
                    num_updates += 1
                    torch.set_num_threads(1)
                    if acting_q_network is not q_network:
                        acting_q_network.load_state_dict(q_network.state_dict())

                # Move the target networks
                if num_episodes % args.target_network_update_freq == 0:
                    soft_update(target_parameters, parameters, args.polyak)

            # Log
            finished = global_step >= args.total_timesteps
            if len(returns) >= args.log_every or (finished and returns):
                writer.add_scalar("rollout/ep_reward", np.mean(returns), global_step)
                writer.add_scalar("rollout/ep_length", np.mean(lengths), global_step)
                writer.add_scalar("rollout/epsilon", epsilon, global_step)
                writer.add_scalar("rollout/num_episodes", num_episodes, global_step)
                shown = {"ep_reward": np.mean(returns), "ep_length": np.mean(lengths)}
                if battles_won or score_tag == "eval/battle_won":
                    shown["battle_won"] = sum(battles_won) / len(returns)
                    writer.add_scalar("rollout/battle_won", shown["battle_won"], global_step)
                progress.set_postfix(shown, refresh=False)
                for tag, values in train_metrics.items():
                    writer.add_scalar(tag, np.mean(values), global_step)
                writer.add_scalar("train/num_updates", num_updates, global_step)
                steps_per_second = global_step / (time.perf_counter() - start_time)
                writer.add_scalar("time/sps", steps_per_second, global_step)
                returns.clear()
                lengths.clear()
                battles_won.clear()

            # Evaluate
            if num_episodes - last_eval >= args.eval_steps or finished:
                metrics = evaluate(eval_env, acting_q_network, args.num_eval_ep)
                last_eval = num_episodes
                if "eval/battle_won" in metrics and score_tag != "eval/battle_won":
                    score_tag = "eval/battle_won"
                    best_score = -math.inf  # a return until now
                metrics.setdefault(score_tag, 0)  # some environments tell victories only
                for tag, value in metrics.items():
                    writer.add_scalar(tag, value, global_step)
                # float32, so that rounding errors decide no tie
                score = np.float32(metrics[score_tag])
                line = f"step {global_step:9,d}  reward {metrics['eval/ep_reward']:.2f}"
                line += f"  length {metrics['eval/ep_length']:.1f}"
                if "eval/battle_won" in metrics:
                    line += f"  won {metrics['eval/battle_won']:.2f}"
                steps_per_second = global_step / (time.perf_counter() - start_time)
                progress.write(f"{line}  {steps_per_second:,.0f} steps/s")
                sys.stdout.flush()  # a file has the line at once
                if score >= best_score:  # the later one wins a tie
                    if args.save_model:
                        save("best_model.pt")
                    best_score = score
        writer.flush()  # here a full disk is still an error
        on_signals(ignore)  # from here on nothing must cut the saving off
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):  # an environment's own
            raise
        sys.exit(f"{script}.py: {run_dir} cannot be written: {error.strerror}")
    finally:
        on_signals(ignore)
        progress.close()
        try:
            if args.save_model:
                save("model.pt")
        finally:
            with contextlib.suppress(OSError):
                writer.close()
            lines = []
            if best_score > -math.inf:
                scores = f"{score:.2f} in the last evaluation, {best_score:.2f} in the best"
                lines.append(f"{score_tag} {scores}")
            if num_updates == 0:
                ended = f"{num_episodes} of --batch-size {args.batch_size} episodes ended"
                lines.append(f"no update: {ended}")
            # The final team may have learnt more since, or its file may be missing.
            has_final = (run_dir / "model.pt").exists()
            has_best = (run_dir / "best_model.pt").exists()
            is_best = has_final and last_eval == num_episodes and score == best_score
            if num_updates > 0 and (has_final or has_best):
                play = play_command(run_dir, __file__, args, best=has_best and not is_best)
                lines.append(f"the better team: {play}")
            say_at_the_end(lines)
            on_signals(signal.SIG_DFL)  # nothing is left to lose
            env.close()
            eval_env.close()
