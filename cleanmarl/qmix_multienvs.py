"""QMIX (Rashid et al., 2018, https://arxiv.org/abs/1803.11485): parallel environments, feed-forward agents."""

import copy
import importlib
import random
import sys
import time
from collections import defaultdict, deque
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
import tyro
from gymnasium.wrappers.utils import RunningMeanStd
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.optim.swa_utils import get_ema_multi_avg_fn
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from cleanmarl.env_wrappers import UsageError, end_workers, make_env, make_vector_env


@dataclass
class Args:
    env_type: str = "smaclite"
    """family of environments: smaclite, pz (PettingZoo) or lbf (Level-Based Foraging)"""
    env_name: str = "MMM"
    """map or environment: 3m, simple_spread_v3, Foraging-2s-10x10-4p-2f-v3..."""
    env_family: str = "mpe"
    """PettingZoo family (mpe, sisl, butterfly...) or the package of your own environment"""
    num_envs: int = 4
    """parallel environments"""
    agent_ids: bool = True
    """append each agent's one-hot id to its observation"""
    buffer_size: int = 5000
    """episodes in the replay buffer"""
    total_timesteps: int = 1000000
    """environment steps in training"""
    gamma: float = 0.99
    """discount factor"""
    train_freq: int = 2
    """train every this many episodes"""
    optimizer: str = "Adam"
    """a class of torch.optim"""
    learning_rate: float = 0.0005
    """learning rate of the optimizer"""
    batch_size: int = 32
    """episodes per batch"""
    start_e: float = 1
    """first epsilon of the exploration"""
    end_e: float = 0.025
    """last epsilon of the exploration"""
    exploration_fraction: float = 0.05
    """fraction of total_timesteps over which epsilon falls"""
    hidden_dim: int = 64
    """hidden width of the Q-network"""
    hyper_dim: int = 64
    """hidden width of the hypernetwork and the mixer"""
    num_layers: int = 1
    """hidden layers of the Q-network, after the first"""
    target_network_update_freq: int = 1
    """update the target networks every this many training rounds"""
    polyak: float = 0.005
    """soft update coefficient: target <- polyak * online + (1 - polyak) * target"""
    normalize_reward: bool = False
    """standardise rewards by the mean and std of every reward stored so far"""
    clip_gradients: float = -1
    """maximal gradient norm; no clipping if not positive"""
    n_epochs: int = 2
    """batches sampled, and updates made, in each training round"""
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
    device: str = "cpu"
    """cpu, gpu (or cuda, cuda:1) or mps"""
    seed: int = 1
    """seed of the run"""
    double_q: bool = False
    """choose the next action by the online network, value it by the target network (Double DQN)"""
    timeout_is_terminal: bool = False
    """the time limit ends the task: do not bootstrap from a truncated episode"""
    save_model: bool = True
    """keep weights and arguments in the run's folder: the best evaluation's, and the last, also when interrupted"""


class QNetwork(nn.Module):
    """Q_i(o_i, .), one set of weights for all agents: (..., obs_dim) -> (..., n_actions)."""

    def __init__(self, obs_dim, n_actions, hidden_dim, num_layers):
        super().__init__()
        self.body = nn.ModuleList(
            nn.Linear(size, hidden_dim) for size in [obs_dim, *[hidden_dim] * num_layers]
        )
        self.head = nn.Linear(hidden_dim, n_actions)
        self.head.weight.data.mul_(0.01)  # values start near 0
        self.head.bias.data.zero_()

    def forward(self, obs):
        for layer in self.body:
            obs = layer(obs).relu()
        return self.head(obs)


class Mixer(nn.Module):
    """Q_tot = ELU(q W1(s) + b1(s)) . w2(s) + V(s), the paper's figure 2: (..., n_agents), (..., state_dim) -> (...)."""

    def __init__(self, n_agents, state_dim, hyper_dim):
        super().__init__()
        self.norm = (
            nn.LayerNorm(state_dim, elementwise_affine=False) if state_dim > 2 else nn.Identity()
        )
        self.w1, self.b1 = (
            nn.Linear(state_dim, n_agents * hyper_dim),
            nn.Linear(state_dim, hyper_dim),
        )
        self.w2, self.w1_shape = nn.Linear(state_dim, hyper_dim), (n_agents, hyper_dim)
        self.v = nn.Sequential(nn.Linear(state_dim, hyper_dim), nn.ReLU(), nn.Linear(hyper_dim, 1))
        # Start Q_tot at the scale of the agents' values: torch's defaults start it up to a thousand times larger.
        for layer, bias in (
            (self.w1, 1 / n_agents),
            (self.b1, 0),
            (self.w2, 1 / hyper_dim),
            (self.v[-1], 0),
        ):
            layer.weight.data.mul_(0.1)
            layer.bias.data.fill_(bias)

    def forward(self, q_values, states):
        states = self.norm(states)
        w1, w2 = (
            self.w1(states).abs().unflatten(-1, self.w1_shape),
            self.w2(states).abs(),
        )  # so Q_tot is monotonic in q
        hidden = nn.functional.elu(
            (q_values.unsqueeze(-1) * w1).sum(dim=-2) + self.b1(states)
        )  # (..., hyper_dim)
        return (hidden * w2).sum(dim=-1) + self.v(states).squeeze(-1)


class ReplayBuffer:
    """The last `buffer_size` episodes, each a dictionary of tensors with one row a step."""

    def __init__(self, buffer_size, normalize_reward, device):
        self.episodes, self.normalize_reward, self.device = (
            deque(maxlen=buffer_size),
            normalize_reward,
            device,
        )
        self.reward_stats = RunningMeanStd(epsilon=0.0)

    def add(self, episode):
        """Store an episode, a dictionary of lists. In a full buffer it takes the place of the oldest."""
        self.episodes.append(
            {key: torch.as_tensor(np.array(values)) for key, values in episode.items()}
        )
        self.reward_stats.update(np.array(episode["reward"], np.float64))

    def sample(self, batch_size):
        """Sample different episodes: tensors (batch, time, ...), padded with zeros, and their `mask` (batch, time)."""
        episodes = random.sample(self.episodes, batch_size)
        batch = {
            key: pad_sequence([episode[key] for episode in episodes], batch_first=True)
            for key in episodes[0]
        }
        batch["mask"] = pad_sequence(
            [torch.ones_like(e["reward"]).bool() for e in episodes], batch_first=True
        )
        if self.normalize_reward:
            batch["reward"] = (batch["reward"] - self.reward_stats.mean) / (
                self.reward_stats.var**0.5 + 1e-6
            )
        return {key: value.to(self.device) for key, value in batch.items()}


def select_actions(q_values, avail_actions, epsilon=0.0):
    """Epsilon-greedy over available actions, each agent for itself: (..., n_agents, n_actions) -> (..., n_agents)."""
    if epsilon > 0:
        explore = np.random.random((*q_values.shape[:-1], 1)) < epsilon  # (..., n_agents, 1)
        q_values = np.where(explore, np.random.random(q_values.shape), q_values)
    return np.where(avail_actions, q_values, -np.inf).argmax(axis=-1)


@torch.no_grad()
def compute_td_target(q_network, target_q_network, target_mixer, batch, args):
    """The paper's equation 6, (...). Truncation is not `done`: it bootstraps from the last observation."""
    next_q_values = target_q_network(batch["next_obs"])  # (..., n_agents, n_actions)
    choosing_q_values = q_network(batch["next_obs"]) if args.double_q else next_q_values
    next_actions = choosing_q_values.where(batch["next_avail_actions"], -torch.inf).argmax(
        dim=-1, keepdim=True
    )
    next_q_values = next_q_values.gather(-1, next_actions).squeeze(-1)  # (..., n_agents)
    next_q_total = target_mixer(next_q_values, batch["next_states"])  # (...)
    return batch["reward"] + args.gamma * next_q_total.masked_fill(batch["done"], 0)


def td_loss(q_network, mixer, batch, td_target):
    """Mean squared TD error over the steps of the batch."""
    q_values = q_network(batch["obs"])  # (..., n_agents, n_actions)
    q_values = q_values.gather(-1, batch["actions"].unsqueeze(-1)).squeeze(-1)  # (..., n_agents)
    q_total = mixer(q_values, batch["states"])  # (...)
    return (td_target - q_total).square().mean()


@torch.inference_mode()
def evaluate(env, q_network, num_episodes, device):
    """Play greedy episodes. Returns the metrics of the group `eval`."""
    stats = defaultdict(list)
    for _ in range(num_episodes):
        (obs, _), rewards, terminated, truncated = env.reset(), [], False, False
        while not (terminated or truncated):
            q_values = q_network(torch.as_tensor(obs["obs"], device=device)).cpu().numpy()
            obs, reward, terminated, truncated, info = env.step(
                select_actions(q_values, obs["avail_actions"])
            )
            rewards.append(reward)
        stats["eval/ep_reward"].append(sum(rewards))
        stats["eval/ep_length"].append(len(rewards))
        if "battle_won" in info:
            stats["eval/battle_won"].append(info["battle_won"])
    stats["eval/std_ep_reward"] = np.std(stats["eval/ep_reward"])
    return {tag: np.mean(values) for tag, values in stats.items()}


def check_args(args):
    """Raise a UsageError for an argument that cannot work. Returns the torch device."""
    bounds = {
        f.name: (1, torch.inf) if f.type is int else (0, 1)
        for f in fields(args)
        if f.type in (int, float)
    }
    bounds |= {"batch_size": (1, args.buffer_size), "clip_gradients": (-torch.inf, torch.inf)}
    bounds |= {"learning_rate": (1e-12, 1e3), "seed": (0, 2**31 - 1)}
    for name, (low, high) in bounds.items():
        if not low <= (value := getattr(args, name)) <= high:
            raise UsageError(
                f"--{name.replace('_', '-')} {value} is out of range: give one from {low} to {high}"
            )
    try:
        problem = f"--device {args.device} is not available here: use cpu"
        device = torch.device("cuda" if args.device == "gpu" else args.device)
        parameter = nn.Parameter(torch.zeros(1, device=device))
        (parameter * parameter.item()).sum().backward()
        problem = f"--optimizer {args.optimizer} cannot train these networks: use Adam, AdamW, RMSprop or SGD"
        getattr(torch.optim, args.optimizer)([parameter], lr=args.learning_rate).step()
    except Exception as error:
        raise UsageError(problem) from error
    return device


if __name__ == "__main__":
    args, script = tyro.cli(Args), Path(__file__).stem
    try:
        device = check_args(args)
        random.seed(args.seed), np.random.seed(args.seed), torch.manual_seed(args.seed)
        env_args = (args.env_type, args.env_name, args.env_family, args.agent_ids)
        eval_env = make_env(*env_args, seed=args.seed + args.num_envs)
        envs = make_vector_env(*env_args, seed=args.seed, num_envs=args.num_envs)
        run_name = (
            f"{script}__{args.env_type}__{Path(args.env_name).name}__{args.seed}__{time.time_ns()}"
        )
        if args.use_wnb:
            wnb = {
                "project": args.wnb_project or None,
                "entity": args.wnb_entity or None,
                "name": run_name,
            }
            try:
                importlib.import_module("wandb").init(
                    config=vars(args), sync_tensorboard=True, **wnb
                )
            except Exception as error:
                raise UsageError(
                    f"--use-wnb (pip install wandb? wandb login? WANDB_MODE=offline?): {error}"
                ) from error
    except UsageError as error:
        print(f"{script}.py: {error}".splitlines()[0], file=sys.stderr)
        sys.exit(2)
    if device.type == "cpu":
        torch.set_num_threads(
            1
        )  # the networks are so small that a second thread costs more than it brings
    n_agents, obs_dim = eval_env.observation_space["obs"].shape
    (state_dim,), n_actions = (
        eval_env.observation_space["state"].shape,
        int(eval_env.action_space.nvec[0]),
    )

    q_network = QNetwork(obs_dim, n_actions, args.hidden_dim, args.num_layers).to(device)
    mixer = Mixer(n_agents, state_dim, args.hyper_dim).to(device)
    target_q_network, target_mixer = copy.deepcopy(q_network), copy.deepcopy(mixer)
    parameters = [*q_network.parameters(), *mixer.parameters()]
    target_parameters = [*target_q_network.parameters(), *target_mixer.parameters()]
    fused = (
        {"fused": True} if args.optimizer in ("Adam", "AdamW", "SGD") else {}
    )  # one kernel for all parameters
    optimizer = getattr(torch.optim, args.optimizer)(parameters, lr=args.learning_rate, **fused)
    soft_update = get_ema_multi_avg_fn(
        1 - args.polyak
    )  # target <- polyak * online + (1 - polyak) * target
    buffer = ReplayBuffer(args.buffer_size, args.normalize_reward, device)
    saved = {
        "script": script,
        "args": vars(args),
        "q_network": q_network.state_dict(),
        "mixer": mixer.state_dict(),
    }
    writer = SummaryWriter(f"runs/{run_name}", flush_secs=10)
    writer.add_text(
        "arguments",
        "|argument|value|\n|-|-|\n" + "\n".join(f"|{k}|{v}|" for k, v in vars(args).items()),
    )

    start_time, exploration_steps, best_reward = (
        time.time(),
        args.exploration_fraction * args.total_timesteps,
        -np.inf,
    )
    global_step = num_episodes = num_updates = last_eval = 0
    episodes, rollout, train = (
        [defaultdict(list) for _ in range(args.num_envs)],
        defaultdict(list),
        {},
    )
    progress = tqdm(total=args.total_timesteps, unit="step")
    try:
        obs, _ = envs.reset(seed=args.seed)
        while global_step < args.total_timesteps:
            epsilon = np.interp(global_step, (0, exploration_steps), (args.start_e, args.end_e))
            with torch.inference_mode():
                q_values = q_network(torch.as_tensor(obs["obs"], device=device)).cpu().numpy()
            actions = select_actions(q_values, obs["avail_actions"], epsilon)
            next_obs, rewards, terminations, truncations, infos = envs.step(actions)
            global_step += args.num_envs
            progress.update(args.num_envs)
            for i, episode in enumerate(episodes):
                over = (
                    terminations[i] or truncations[i]
                )  # then next_obs already belongs to the next episode
                last_obs = (
                    infos["final_obs"][i]
                    if over
                    else {key: value[i] for key, value in next_obs.items()}
                )
                episode["obs"].append(obs["obs"][i])  # (n_agents, obs_dim)
                episode["actions"].append(actions[i])  # (n_agents,)
                episode["reward"].append(np.float32(rewards[i]))
                episode["next_obs"].append(last_obs["obs"])
                episode["states"].append(obs["state"][i])  # (state_dim,)
                episode["next_states"].append(last_obs["state"])
                episode["done"].append(
                    terminations[i] or (truncations[i] and args.timeout_is_terminal)
                )
                episode["next_avail_actions"].append(
                    last_obs["avail_actions"]
                )  # (n_agents, n_actions)
            obs = next_obs
            for i in np.flatnonzero(terminations | truncations):
                buffer.add(episodes[i])
                num_episodes += 1
                rollout["rollout/ep_reward"].append(sum(episodes[i]["reward"]))
                rollout["rollout/ep_length"].append(len(episodes[i]["reward"]))
                if "battle_won" in infos["final_info"]:
                    rollout["rollout/battle_won"].append(infos["final_info"]["battle_won"][i])
                episodes[i] = defaultdict(list)
                if (
                    num_episodes >= args.batch_size
                    and (num_episodes - args.batch_size) % args.train_freq == 0
                ):
                    train = defaultdict(list)
                    for _ in range(args.n_epochs):
                        batch = buffer.sample(args.batch_size)
                        batch = {
                            key: value[batch["mask"]] for key, value in batch.items()
                        }  # (steps, ...): no padding
                        td_target = compute_td_target(
                            q_network, target_q_network, target_mixer, batch, args
                        )
                        loss = td_loss(q_network, mixer, batch, td_target)
                        optimizer.zero_grad()
                        loss.backward()
                        grad_norm = nn.utils.clip_grad_norm_(
                            parameters, max(args.clip_gradients, 0) or torch.inf
                        )
                        if not torch.isfinite(loss + grad_norm):
                            sys.exit(
                                f"{script}.py: loss is not finite: lower --learning-rate or set --clip-gradients"
                            )
                        optimizer.step()
                        num_updates += 1
                        train["train/loss"].append(loss.item())
                        train["train/grads"].append(grad_norm.item())
                    if num_updates // args.n_epochs % args.target_network_update_freq == 0:
                        soft_update(target_parameters, parameters, None)

            metrics, finished = {}, global_step >= args.total_timesteps
            if len(rollout["rollout/ep_reward"]) >= args.log_every or (
                finished and rollout["rollout/ep_reward"]
            ):
                metrics = {tag: np.mean(values) for tag, values in (rollout | train).items()}
                progress.set_postfix({tag[8:]: metrics[tag] for tag in rollout}, refresh=False)
                metrics |= {"rollout/epsilon": epsilon, "rollout/num_episodes": num_episodes}
                metrics |= {
                    "train/num_updates": num_updates,
                    "time/sps": global_step / (time.time() - start_time),
                }
                rollout.clear()
            if num_episodes - last_eval >= args.eval_steps or finished:
                last_eval, eval_metrics = (
                    num_episodes,
                    evaluate(eval_env, q_network, args.num_eval_ep, device),
                )
                progress.write(
                    f"step {global_step:9,d}  {'  '.join(f'{k} {v:.2f}' for k, v in eval_metrics.items())}"
                )
                metrics |= eval_metrics
                if args.save_model and eval_metrics["eval/ep_reward"] >= best_reward:
                    best_reward = eval_metrics["eval/ep_reward"]
                    torch.save(saved, f"runs/{run_name}/best_model.tmp")  # renamed when it is whole
                    Path(f"runs/{run_name}/best_model.tmp").replace(
                        f"runs/{run_name}/best_model.pt"
                    )
            for tag, value in metrics.items():
                writer.add_scalar(tag, value, global_step)
    except KeyboardInterrupt:
        sys.exit(130)
    except (EOFError, ConnectionError):
        sys.exit(
            f"{script}.py: a worker process died (out of memory, or killed?): try a smaller --num-envs"
        )
    finally:
        progress.close()
        if args.save_model:
            torch.save(saved, f"runs/{run_name}/model.pt")
        writer.close()
        end_workers(envs)
