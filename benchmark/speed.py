"""How fast are the scripts? Bare environment, script end to end and one update, in one process on one core.

    python benchmark/speed.py --env-type lbf --env-name Foraging-8x8-2p-2f-v3

The script runs with its default arguments. Its rate counts everything between its first and last step, evaluation
and logging included; the split comes from looking, every 10 ms, at the line of the main loop that is being executed.
"""

import copy
import importlib
import os
import runpy
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import torch
import tyro

from cleanmarl.env_wrappers import make_env

SCRIPTS = Path(__file__).parent.parent / "cleanmarl"
# The first of these words that a line of the main loop contains tells what the line is for.
PURPOSES = {
    "evaluation": ("evaluate(",),
    "environment": ("env.step(", "env.reset(", "envs.step(", "envs.reset("),
    "sampling": ("buffer.sample(",),
    "learning": (
        "td_target",
        "td_loss(",
        "optimizer",
        "backward(",
        "grad",
        "isfinite",
        "soft_update(",
        "loss",
        "chunk",
    ),
    "logging": ("writer", "progress", "metrics", "rollout"),
    "acting": ("q_network(", "avail_actions = ", "select_actions(", "inference_mode", "epsilon"),
    "collecting": ("episode", "buffer.add("),
}


@dataclass
class Args:
    script: str = "qmix"
    """script to time: qmix, qmix_memefficient, qmix_multienvs or qmix_lstm"""
    env_type: str = "lbf"
    """family of environments"""
    env_name: str = "Foraging-8x8-2p-2f-v3"
    """environment"""
    env_family: str = "mpe"
    """PettingZoo family"""
    steps: int = 20000
    """environment steps of each measurement"""
    core: int = 0
    """the core to run on, where the system lets a process choose"""


def bare_rate(args):
    """Steps per second of the environment itself under the random policy of its package's documentation."""
    env = make_env(args.env_type, args.env_name, args.env_family, seed=1).env
    start = time.perf_counter()
    env.reset(seed=1)
    for _ in range(args.steps):
        if args.env_type == "pz":
            env.step({agent: env.action_space(agent).sample() for agent in env.agents})
            over = not env.agents
        else:
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            over = terminated or truncated
        if over:
            env.reset()
    return args.steps / (time.perf_counter() - start)


def watch(path, counts):
    """A signal handler that counts what the main loop of the script at `path` is busy with."""
    lines = path.read_text().splitlines()

    def handler(_, frame):
        while frame and not (frame.f_code.co_filename == str(path) and frame.f_code.co_name == "<module>"):
            frame = frame.f_back
        if frame and "progress" in frame.f_globals:
            line = lines[frame.f_lineno - 1]
            counts[next((name for name, words in PURPOSES.items() if any(w in line for w in words)), "other")] += 1

    return handler


def script_rate(args):
    """Steps per second of a script with default arguments, and the share of its time for each purpose."""
    path, counts = SCRIPTS / f"{args.script}.py", Counter()
    sys.argv = [path.name, "--env-type", args.env_type, "--env-name", args.env_name, "--env-family", args.env_family]
    sys.argv += ["--total-timesteps", str(args.steps)]
    signal.signal(signal.SIGALRM, watch(path, counts))
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        program = runpy.run_path(str(path), run_name="__main__")
        rate = args.steps / (time.time() - program["start_time"])
        signal.setitimer(signal.ITIMER_REAL, 0)
    return rate, {name: count / counts.total() for name, count in counts.most_common()}


def update_time(script, batch_size=10, length=60, n_agents=3, obs_dim=30, state_dim=48, n_actions=9):
    """Median seconds of one update at this size: TD target, loss, gradient, optimizer and target networks."""
    m, defaults = importlib.import_module(f"cleanmarl.{script}"), SimpleNamespace(gamma=0.99, double_q=False)
    q_network, mixer = m.QNetwork(obs_dim, n_actions, 64, 1), m.Mixer(n_agents, state_dim, 64)
    target_q_network, target_mixer = copy.deepcopy(q_network), copy.deepcopy(mixer)
    parameters = [*q_network.parameters(), *mixer.parameters()]
    target_parameters = [*target_q_network.parameters(), *target_mixer.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=0.0005, fused=True)
    soft_update = m.get_ema_multi_avg_fn(0.99)
    rows = length + (script == "qmix_memefficient")
    batch = {
        "obs": torch.randn(batch_size, rows, n_agents, obs_dim),
        "next_obs": torch.randn(batch_size, rows, n_agents, obs_dim),
        "states": torch.randn(batch_size, rows, state_dim),
        "next_states": torch.randn(batch_size, rows, state_dim),
        "actions": torch.randint(n_actions, (batch_size, length, n_agents)),
        "reward": torch.randn(batch_size, length),
        "done": torch.zeros(batch_size, length, dtype=torch.bool),
        "next_avail_actions": torch.rand(batch_size, length, n_agents, n_actions) < 0.7,
        "mask": torch.ones(batch_size, length, dtype=torch.bool),
    }
    if script == "qmix_memefficient":
        batch |= {key: value[:, :-1] for key, value in batch.items() if value.shape[1] == rows}
    if script != "qmix_lstm":
        batch = {key: value.flatten(0, 1) for key, value in batch.items()}
    seconds = []
    for _ in range(300):
        start = time.perf_counter()
        td_target = m.compute_td_target(q_network, target_q_network, target_mixer, batch, defaults)
        hidden = [None] if script == "qmix_lstm" else []
        loss = m.td_loss(q_network, mixer, batch, td_target, *hidden)
        optimizer.zero_grad()
        (loss[0] if script == "qmix_lstm" else loss).backward()
        torch.nn.utils.clip_grad_norm_(parameters, torch.inf)
        optimizer.step()
        soft_update(target_parameters, parameters, None)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


if __name__ == "__main__":
    args = tyro.cli(Args)
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {args.core})
    before = bare_rate(args)
    rate, split = script_rate(args)
    bare = (before + bare_rate(args)) / 2  # before and after: the speed of many machines drifts
    print(f"{args.script} on {args.env_name}, {args.steps} steps on one core")
    print(f"  bare environment, random policy  {bare:8.0f} steps/s")
    print(f"  script, default arguments        {rate:8.0f} steps/s = {rate / bare:.2f} of the bare rate")
    print("  " + ", ".join(f"{name} {share:.0%}" for name, share in split.items()))
    print(f"  one update, 10 episodes x 60 steps x 3 agents: {update_time(args.script) * 1000:.1f} ms")
