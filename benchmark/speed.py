"""How fast and how large is everything? Each part is a markdown table. One core, one process for each measurement.

    python benchmark/speed.py
    python benchmark/speed.py --parts simulator --maps 3m MMM
    python benchmark/speed.py --parts scripts --scripts qmix --tasks lbf:Foraging-8x8-2p-2f-v3

Measure on a machine that does nothing else. Rates of many machines drift: compare within one table.
"""

import copy
import importlib
import multiprocessing
import os
import platform
import re
import resource
import runpy
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import torch
import tyro
from suites import REPO, SCRIPTS, usage_error

import smaclite_jit
from cleanmarl.env_wrappers import make_env

PARTS = ("environments", "simulator", "scripts", "updates", "replay")
# Steps per second of the original smaclite (Python collision avoidance) on a machine of this kind, measured likewise.
ORIGINAL = {"3m": 126, "2s3z": 115, "MMM": 64, "27m_vs_30m": 34}
# The first of these words that a line of the main loop contains tells what the line is for.
PURPOSES = {
    "evaluation": ("evaluate(",),
    "environment": ("env.step(", "env.reset(", "envs.step(", "envs.reset("),
    "sampling": ("buffer.sample(",),
    "learning": (
        "td_target",
        "loss",
        "optimizer",
        "backward(",
        "grad",
        "isfinite",
        "soft_update(",
        "chunk",
    ),
    "logging": ("writer", "progress", "metrics", "rollout"),
    "acting": ("q_network(", "avail_actions = ", "select_actions(", "inference_mode", "epsilon"),
    "collecting": ("episode", "buffer.add("),
}


@dataclass
class Args:
    parts: tuple[str, ...] = PARTS
    """environments, simulator, scripts, updates, replay: only these tables"""
    tasks: tuple[str, ...] = (
        "smaclite:3m",
        "smaclite:MMM",
        "lbf:Foraging-8x8-2p-2f-v3",
        "pz:simple_spread_v3",
    )
    """family:name, of the tables of environments and scripts"""
    scripts: tuple[str, ...] = SCRIPTS
    """of the table of scripts"""
    maps: tuple[str, ...] = tuple(smaclite_jit.MAPS)
    """of the simulator's table"""
    replay_maps: tuple[str, ...] = ("3m", "MMM", "corridor", "27m_vs_30m")
    """of the table of replay buffers"""
    steps: int = 20000
    """environment steps of a script"""
    num_envs: int = 64
    """battles in one call"""
    seconds: float = 1
    """length of a round of the simulator or an environment"""
    rounds: int = 3
    """rounds; the median counts"""
    core: int = 0
    """the core to run on, where the system lets a process choose"""


def alone(core, function, *args):
    """What a function returns in a new process of its own, on one core and with one torch thread."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), prepare, (core,)) as executor:
        return executor.submit(function, *args).result()


def prepare(core):
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def rate(step, count, seconds):
    """How often a second `step`, which counts for `count`, can be called."""
    calls, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        step()
        calls += 1
    return calls * count / elapsed


def choose(rng, avail_actions):
    """A random available action for every agent: (..., n_agents, n_actions) -> (..., n_agents)."""
    return np.where(avail_actions, rng.random(avail_actions.shape), -1.0).argmax(axis=-1)


def bare_stepper(env_type, env_name):
    """A step of the environment itself under a random policy as its package's documentation has it."""
    env = make_env(env_type, env_name, "mpe", seed=1).unwrapped.env
    env.reset(seed=1)

    def step_pettingzoo():
        env.step({agent: env.action_space(agent).sample() for agent in env.agents})
        if not env.agents:
            env.reset()

    def step_gymnasium():
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()

    if env_type == "smaclite":
        return single_stepper(env_name)
    return step_pettingzoo if env_type == "pz" else step_gymnasium


def single_stepper(name):
    """A step of one battle; observations, state and available actions are read, too."""
    env, rng = gym.make(f"smaclite_jit/{name}-v0"), np.random.default_rng(0)
    env.reset(seed=1)
    battle = env.unwrapped

    def step():
        _, _, terminated, truncated, _ = env.step(choose(rng, np.array(battle.get_avail_actions())))
        battle.get_state()
        if terminated or truncated:
            env.reset()

    return step


def vector_stepper(name, num_envs):
    """A step of many battles in one call."""
    envs, rng = (
        gym.make_vec(f"smaclite_jit/{name}-v0", num_envs, arrays=True),
        np.random.default_rng(0),
    )
    obs = envs.reset(seed=1)[0]

    def step():
        nonlocal obs
        obs = envs.step(choose(rng, obs["avail_actions"]))[0]

    return step


def wrapped_stepper(env_type, env_name):
    """A step of the environment as the scripts see it, with actions that are available."""
    env, rng = make_env(env_type, env_name, "mpe", seed=1), np.random.default_rng(0)
    obs = env.reset()[0]

    def step():
        nonlocal obs
        obs, _, terminated, truncated, _ = env.step(choose(rng, obs["avail_actions"]))
        if terminated or truncated:
            obs = env.reset()[0]

    return step


def measure_environment(args, task):
    env_type, env_name = task.split(":")
    steppers = bare_stepper(env_type, env_name), wrapped_stepper(env_type, env_name)
    rounds = [[rate(step, 1, args.seconds) for step in steppers] for _ in range(args.rounds)]
    return [statistics.median(column) for column in zip(*rounds)]


def measure_simulator(args, name):
    steppers = (single_stepper(name), 1), (vector_stepper(name, args.num_envs), args.num_envs)
    rounds = [
        [rate(step, count, args.seconds) for step, count in steppers] for _ in range(args.rounds)
    ]
    return [
        *(statistics.median(column) for column in zip(*rounds)),
        statistics.median(b / a for a, b in rounds),
    ]


def watch(path, counts):
    """A signal handler that counts what the main loop of the script at `path` is busy with."""
    lines = path.read_text().splitlines()

    def handler(_, frame):
        while frame and not (
            frame.f_code.co_filename == str(path) and frame.f_code.co_name == "<module>"
        ):
            frame = frame.f_back
        if frame and "progress" in frame.f_globals:
            line = lines[frame.f_lineno - 1]
            counts[
                next(
                    (name for name, words in PURPOSES.items() if any(w in line for w in words)),
                    "other",
                )
            ] += 1

    return handler


def run_script(script, task, *arguments):
    """A script's main program, in this process: its global variables, and where the time of its loop went."""
    path, counts = REPO / "cleanmarl" / f"{script}.py", Counter()
    env_type, env_name = task.split(":")
    sys.argv = [path.name, "--env-type", env_type, "--env-name", env_name, *map(str, arguments)]
    signal.signal(signal.SIGALRM, watch(path, counts))
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as sys.stderr:
        os.chdir(folder)
        sys.stdout = sys.stderr
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        program = runpy.run_path(str(path), run_name="__main__")
        signal.setitimer(signal.ITIMER_REAL, 0)
        program["seconds"] = time.time() - program["start_time"]
        os.chdir("/")
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    return program, counts


def measure_script(args, script, task):
    """Steps per second with default arguments, evaluation and logging included; peak MB; shares of time."""
    program, counts = run_script(script, task, "--total-timesteps", args.steps)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        2**20 if sys.platform == "darwin" else 2**10
    )
    shares = ", ".join(
        f"{name} {count / counts.total():.0%}" for name, count in counts.most_common()
    )
    return program["global_step"] / program["seconds"], peak, shares


def measure_replay(script, name):
    """Bytes of the replay buffer for each environment step, after random play without learning."""
    never = 10**9
    arguments = (
        "--total-timesteps",
        2000,
        "--start-e",
        1,
        "--end-e",
        1,
        "--train-freq",
        never,
        "--num-eval-ep",
        1,
    )
    buffer = run_script(script, f"smaclite:{name}", *arguments, "--eval-steps", never)[0]["buffer"]
    size = sum(tensor.nbytes for episode in buffer.episodes for tensor in episode.values())
    return size / sum(len(episode["reward"]) for episode in buffer.episodes)


def update_time(
    script, batch_size=10, length=60, n_agents=3, obs_dim=30, state_dim=48, n_actions=9
):
    """Median seconds of one update at this size: TD target, loss, gradient, optimizer and target networks."""
    m, defaults = (
        importlib.import_module(f"cleanmarl.{script}"),
        SimpleNamespace(gamma=0.99, double_q=False),
    )
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
    for _ in range(100):
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


def row(*cells):
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def header(title, *columns):
    print(f"\n### {title}\n")
    row(*columns)
    print("|" + "-|" * len(columns), flush=True)


if __name__ == "__main__":
    args = tyro.cli(Args, description=__doc__)
    for option, wanted, known in (
        ("--parts", args.parts, PARTS),
        ("--scripts", args.scripts, SCRIPTS),
        ("--maps", args.maps + args.replay_maps, smaclite_jit.MAPS),
    ):
        if unknown := [name for name in wanted if name not in known]:
            usage_error(f"{option}: there is no {unknown[0]}; choose from {', '.join(known)}")
    if wrong := [task for task in args.tasks if not re.fullmatch("(smaclite|lbf|pz):.+", task)]:
        usage_error(
            f"--tasks {wrong[0]}: give it as family:name, for example smaclite:3m or lbf:Foraging-8x8-2p-2f-v3"
        )

    cpu = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        cpu = dict(re.findall(r"^(.+?)\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)).get(
            "model name", cpu
        )
    print(
        f"One core of {cpu}, Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}"
    )
    if "environments" in args.parts:
        header("Environments, steps per second", "environment", "bare", "as the scripts see it")
        for task in args.tasks:
            row(
                task,
                *(f"{value:,.0f}" for value in alone(args.core, measure_environment, args, task)),
            )
    if "simulator" in args.parts:
        title = (
            f"smaclite_jit, steps per second, median of {args.rounds} rounds of {args.seconds:g} s"
        )
        header(
            title, "map", "original", "one battle", f"{args.num_envs} battles in one call", "to one"
        )
        for name in args.maps:
            single, vector, ratio = alone(args.core, measure_simulator, args, name)
            row(name, ORIGINAL.get(name, ""), f"{single:,.0f}", f"{vector:,.0f}", f"{ratio:.2f} x")
    if "scripts" in args.parts:
        title = f"Scripts with default arguments, the first {args.steps:,d} steps"
        header(
            title,
            "script",
            "environment",
            "steps per second",
            "peak memory, main process",
            "where the time goes",
        )
        for task in args.tasks:
            for script in args.scripts:
                speed, peak, shares = alone(args.core, measure_script, args, script, task)
                row(script, task, f"{speed:,.0f}", f"{peak:,.0f} MB", shares)
    if "updates" in args.parts:
        header(
            "One update: 10 episodes x 60 steps x 3 agents, 30 numbers an observation, 48 a state",
            "script",
            "time",
        )
        for script in args.scripts:
            row(script, f"{alone(args.core, update_time, script) * 1000:.1f} ms")
    if "replay" in args.parts:
        names = "qmix", "qmix_memefficient"
        columns = "map", *names, "to qmix", "5,000 episodes of the greatest length"
        header("Replay buffer, bytes for each environment step", *columns)
        for name in args.replay_maps:
            sizes = [alone(args.core, measure_replay, script, name) for script in names]
            limit = gym.spec(f"smaclite_jit/{name}-v0").max_episode_steps
            full = " / ".join(f"{size * 5000 * limit / 1e9:.1f}" for size in sizes)
            row(
                name,
                *(f"{size:,.0f}" for size in sizes),
                f"{sizes[1] / sizes[0]:.2f} x",
                f"{full} GB",
            )
