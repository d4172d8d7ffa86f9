"""How fast and how large is everything? Each part is a table.

    python benchmark/speed.py
    python benchmark/speed.py --parts simulator --maps 3m MMM
    python benchmark/speed.py --parts scripts --scripts qmix --tasks lbf:Foraging-8x8-2p-2f-v3
    python benchmark/speed.py --parts threads
    python benchmark/speed.py --parts devices --scripts qmix_multienvs
    python benchmark/speed.py --csv benchmark/results/speed

One core (all for the parts `threads` and `devices`), and a process for each measurement. Measure on
a machine that does nothing else. Rates of many machines drift: compare within one table.
"""

import ast
import contextlib
import copy
import faulthandler
import importlib
import io
import math
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
import traceback
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import torch
import tyro
from machine import cpu_name
from policies import random_actions
from suites import REPO, SCRIPTS, usage_error
from table import Table

import smaclite_jit
from cleanmarl.env_wrappers import make_env

# Steps per second of the original smaclite (Python collision avoidance), on a machine of this kind.
ORIGINAL = {"3m": 126, "2s3z": 115, "MMM": 64, "27m_vs_30m": 34}

# What a line of a script's main loop is for: what the comment at the head of its phase says, but
# for lines with a call that belongs elsewhere. Look at both again whenever a loop is rewritten.
PHASES = {
    "# Act": "acting",
    "# Remember": "collecting",
    "# Learn": "learning",
    "# Move the target networks": "learning",
    "# Log": "logging",
    "# Evaluate": "evaluation",
}
CALLS = {
    "env.step(": "environment",
    "env.reset(": "environment",
    "envs.step(": "environment",
    "envs.reset(": "environment",
    "buffer.sample(": "sampling",
    "buffer.add(": "collecting",
}
PURPOSES = sorted({*PHASES.values(), *CALLS.values(), "other"})


@dataclass
class Args:
    parts: tuple[str, ...] = ("environments", "simulator", "scripts", "updates", "replay", "calls")
    """only these tables; `threads`, which takes all cores and an hour, and `devices` are there for
    the asking"""
    tasks: tuple[str, ...] = (
        "smaclite:3m",
        "smaclite:MMM",
        "lbf:Foraging-8x8-2p-2f-v3",
        "pz:simple_spread_v3",
    )
    """family:name, of the tables of environments, scripts and devices"""
    scripts: tuple[str, ...] = SCRIPTS
    """of the tables of scripts, updates, calls, threads and devices"""
    maps: tuple[str, ...] = tuple(smaclite_jit.MAPS)
    """of the simulator's table"""
    replay_maps: tuple[str, ...] = ("3m", "MMM", "corridor", "27m_vs_30m")
    """of the table of replay buffers"""
    thread_tasks: tuple[str, ...] = (
        "smaclite:3m",
        "smaclite:2s3z",
        "smaclite:MMM",
        "smaclite:27m_vs_30m",
        "lbf:Foraging-8x8-2p-2f-v3",
        "pz:simple_spread_v3",
    )
    """of the table of threads"""
    num_threads: tuple[int, ...] = (1, 0)
    """of the table of threads; 0 is as many as torch takes by itself"""
    devices: tuple[str, ...] = ("cpu", "cuda")
    """of the table of devices: what the scripts take as --device"""
    steps: int = 20000
    """environment steps of a script, in the tables of scripts, threads and devices"""
    num_envs: int = 64
    """battles in one call"""
    seconds: float = 1
    """length of a round of the simulator or an environment"""
    rounds: int = 3
    """rounds; the median counts"""
    core: int = 0
    """the core to run on, where the system lets a process choose"""
    csv: Path | None = None
    """how the names of CSV files begin: the rows of each part are added to <csv>_<part>.csv"""


def alone(core, function, *args):
    """What a function returns in a new process, on one core and with one torch thread.

    With `core` None it has all cores, and as many threads as torch takes by itself.
    """
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, prepare, (core,)) as executor:
        return executor.submit(function, *args).result()


def prepare(core):
    # With faulthandler, signal handlers have a stack of their own. Without, sampling qmix_lstm.py
    # ended with a corrupted heap on a machine with AVX-512; we have not found why.
    faulthandler.enable()
    if core is None:
        return
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


# Environments and the simulator


def rate(step, seconds):
    """How often a second `step` can be called."""
    calls = 0
    start = time.perf_counter()
    elapsed = 0
    while elapsed < seconds:
        step()
        calls += 1
        elapsed = time.perf_counter() - start
    return calls / elapsed


def pettingzoo_stepper(env):
    """A step of a parallel environment under the random policy of PettingZoo's documentation."""

    def step():
        env.step({agent: env.action_space(agent).sample() for agent in env.agents})
        if not env.agents:
            env.reset()

    env.reset(seed=1)
    return step


def gymnasium_stepper(env):
    """A step of an environment under the random policy of gymnasium's documentation."""

    def step():
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()

    env.reset(seed=1)
    return step


def battle_stepper(name):
    """A step of one battle; observations, state and available actions are read, too."""
    env = gym.make(f"smaclite_jit/{name}-v0")
    battle = env.unwrapped
    rng = np.random.default_rng(0)

    def step():
        avail_actions = np.array(battle.get_avail_actions())
        _, _, terminated, truncated, _ = env.step(random_actions(avail_actions, rng))
        battle.get_state()
        if terminated or truncated:
            env.reset()

    env.reset(seed=1)
    return step


def battles_stepper(name, num_envs):
    """A step of many battles in one call."""
    envs = gym.make_vec(f"smaclite_jit/{name}-v0", num_envs, arrays=True)
    rng = np.random.default_rng(0)
    obs, _ = envs.reset(seed=1)

    def step():
        nonlocal obs
        obs, *_ = envs.step(random_actions(obs["avail_actions"], rng))

    return step


def wrapped_stepper(env_type, env_name):
    """A step of the environment as the scripts see it, with actions that are available."""
    env = make_env(env_type, env_name, "mpe", seed=1)
    rng = np.random.default_rng(0)
    obs, _ = env.reset()

    def step():
        nonlocal obs
        obs, _, terminated, truncated, _ = env.step(random_actions(obs["avail_actions"], rng))
        if terminated or truncated:
            obs, _ = env.reset()

    return step


def measure_environment(task, rounds, seconds):
    """Steps per second of the environment itself, and as the scripts see it."""
    env_type, env_name = task.split(":")
    if env_type == "smaclite":
        bare = battle_stepper(env_name)
    elif env_type == "pz":
        bare = pettingzoo_stepper(make_env(env_type, env_name, "mpe", seed=1).env)
    else:
        bare = gymnasium_stepper(make_env(env_type, env_name, seed=1).env)
    wrapped = wrapped_stepper(env_type, env_name)
    bare_rates = []
    wrapped_rates = []
    for _ in range(rounds):
        bare_rates.append(rate(bare, seconds))
        wrapped_rates.append(rate(wrapped, seconds))
    return statistics.median(bare_rates), statistics.median(wrapped_rates)


def measure_simulator(name, num_envs, rounds, seconds):
    """Steps per second of one battle and of many in one call, and the ratio of these."""
    one = battle_stepper(name)
    many = battles_stepper(name, num_envs)
    one_rates = []
    many_rates = []
    ratios = []
    for _ in range(rounds):
        one_rates.append(rate(one, seconds))
        many_rates.append(num_envs * rate(many, seconds))
        ratios.append(many_rates[-1] / one_rates[-1])
    return statistics.median(one_rates), statistics.median(many_rates), statistics.median(ratios)


# Scripts


def purposes_of_lines(source):
    """What each line of a script's main loop is for: number of the line -> purpose."""
    lines = source.splitlines()
    purposes = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.While) and "global_step" in ast.unparse(node.test):
            purpose = "other"
            for number in range(node.lineno, node.end_lineno + 1):
                line = lines[number - 1]
                for comment, phase in PHASES.items():
                    if re.match(rf" *{comment}\b", line):
                        purpose = phase
                purposes[number] = purpose
                for call, belongs_to in CALLS.items():
                    if call in line:
                        purposes[number] = belongs_to
    return purposes


def sampler(path, counts):
    """A signal handler that adds up the seconds of what the loop of the script at `path` does."""
    purposes = purposes_of_lines(path.read_text())
    last = time.perf_counter()

    def handler(_, frame):
        # Python hears of a signal when a call of torch is over, and of several as if of one.
        nonlocal last
        now = time.perf_counter()
        elapsed = now - last
        last = now
        # From what was interrupted up to the line of the main program that has called it.
        while frame is not None:
            code = frame.f_code
            if code.co_filename == str(path) and code.co_name == "<module>":
                break
            frame = frame.f_back
        if frame is None:
            return
        if frame.f_lineno is None:  # Python has a few instructions that belong to no line
            counts["other"] += elapsed
        elif frame.f_lineno in purposes:
            counts[purposes[frame.f_lineno]] += elapsed

    return handler


def run_script(script, task, *arguments):
    """Run a script in this process, in a folder that is thrown away.

    Returns its global variables, its seconds, and how many of them its main loop took for what.
    """
    path = REPO / "cleanmarl" / f"{script}.py"
    env_type, env_name = task.split(":")
    sys.argv = [path.name, "--env-type", env_type, "--env-name", env_name, *map(str, arguments)]
    counts = Counter()
    signal.signal(signal.SIGALRM, sampler(path, counts))
    output = io.StringIO()
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(output),
    ):
        os.chdir(folder)
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        try:
            program = runpy.run_path(str(path), run_name="__main__")
        except SystemExit as stop:
            last_line = output.getvalue().strip().rpartition("\n")[-1]
            raise RuntimeError(last_line or f"{path.name} ended: {stop}") from stop
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            os.chdir("/")
        seconds = time.time() - program["start_time"]
    return program, seconds, counts


def measure_script(script, task, steps, device="cpu"):
    """Steps per second with default arguments, evaluation and logging included.

    Also the peak memory in MB, and the parts of the time, those of PURPOSES in percent.
    """
    arguments = ("--total-timesteps", steps, "--device", device)
    program, seconds, counts = run_script(script, task, *arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10  # kB on Linux
    if sys.platform == "darwin":
        peak = peak / 2**10  # bytes there
    total = counts.total() or 1  # of a run so short that there was no signal
    shares = [round(100 * counts[purpose] / total) for purpose in PURPOSES]
    return program["global_step"] / seconds, peak, shares


def measure_threads(script, task, steps, num_threads):
    """Steps per second and seconds an update, with a number of threads from start to end.

    Also the size of the last batch, in observations, and the threads that the script would take.
    """
    cores = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    torch.get_num_threads = lambda: cores  # the script decides as it would by itself
    wanted = []
    torch.set_num_threads = wanted.append  # the script cannot change it
    arguments = ("--total-timesteps", steps, "--num-eval-ep", 1)
    program, seconds, counts = run_script(script, task, *arguments)
    if program["num_updates"] == 0:
        raise RuntimeError(f"{script}.py has no update in {steps} steps of {task}: raise --steps")
    observations = program["batch"]["actions"].numel()
    speed = program["global_step"] / seconds
    return speed, counts["learning"] / program["num_updates"], observations, wanted[-1]


def measure_replay(script, name):
    """Bytes of the replay buffer for each environment step, after random play without learning."""
    never = 10**9
    at_random = f"--total-timesteps 2000 --start-e 1 --end-e 1 --train-freq {never}"
    no_evaluation = f"--eval-steps {never} --num-eval-ep 1"
    words = f"{at_random} {no_evaluation}".split()
    program, _, _ = run_script(script, f"smaclite:{name}", *words)
    size = 0
    steps = 0
    for episode in program["buffer"].episodes:
        size += sum(tensor.nbytes for tensor in episode.values())
        steps += len(episode["reward"])
    return size / steps


def make_learner(script, length):
    """What an update of 3m needs: networks, optimizer, and 10 random episodes as a batch."""
    batch_size = 10
    n_agents = 3
    obs_dim = 33
    state_dim = 48
    n_actions = 9
    m = importlib.import_module(f"cleanmarl.{script}")
    q_network = m.QNetwork(obs_dim, n_actions, 64, 1)
    mixer = m.Mixer(n_agents, state_dim, 64)
    target_q_network = copy.deepcopy(q_network)
    target_mixer = copy.deepcopy(mixer)
    parameters = [*q_network.parameters(), *mixer.parameters()]
    shape = (batch_size, length) if script == "qmix_lstm" else (batch_size * length,)
    batch = {
        "obs": torch.randn(*shape, n_agents, obs_dim),
        "next_obs": torch.randn(*shape, n_agents, obs_dim),
        "states": torch.randn(*shape, state_dim),
        "next_states": torch.randn(*shape, state_dim),
        "actions": torch.randint(n_actions, (*shape, n_agents)),
        "reward": torch.randn(*shape),
        "done": torch.zeros(*shape, dtype=torch.bool),
        "next_avail_actions": torch.rand(*shape, n_agents, n_actions) < 0.7,
        "mask": torch.ones(*shape, dtype=torch.bool),  # the LSTM's
    }
    return SimpleNamespace(
        module=m,
        q_network=q_network,
        mixer=mixer,
        target_q_network=target_q_network,
        target_mixer=target_mixer,
        parameters=parameters,
        target_parameters=[*target_q_network.parameters(), *target_mixer.parameters()],
        optimizer=torch.optim.Adam(parameters, lr=0.0005, fused=True),
        batch=batch,
        args=SimpleNamespace(gamma=0.99, double_q=False),
    )


def compute_td_target(learner):
    networks = (learner.q_network, learner.target_q_network, learner.target_mixer)
    return learner.module.compute_td_target(*networks, learner.batch, learner.args)


def compute_loss(learner, td_target):
    if learner.module.__name__.endswith("lstm"):
        return learner.module.td_loss(
            learner.q_network, learner.mixer, learner.batch, td_target, None
        )[0]
    return learner.module.td_loss(learner.q_network, learner.mixer, learner.batch, td_target)


def measure_update(script):
    """Median seconds of one update: TD target, loss, gradient, optimizer and target networks."""
    learner = make_learner(script, length=60)
    seconds = []
    for _ in range(100):
        start = time.perf_counter()
        loss = compute_loss(learner, compute_td_target(learner))
        learner.module.gradient_step(learner.optimizer, learner.parameters, loss, math.inf)
        learner.module.soft_update(learner.target_parameters, learner.parameters, 0.01)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def measure_calls(script):
    """Where the time of a small update goes: part of it -> (calls of torch, median seconds).

    Without sampling, and of `gradient_step` without `zero_grad` and the check for nan.
    """
    learner = make_learner(script, length=17)
    calls = {}
    seconds = defaultdict(list)

    @contextlib.contextmanager
    def measured(part, update):
        if update == 1:  # update 0 makes the optimizer's state
            with torch.profiler.profile() as profiler:
                yield
            operators = [event.name for event in profiler.events()]
            calls[part] = sum(name.startswith("aten::") for name in operators)
        else:
            start = time.perf_counter()
            yield
            seconds[part].append(time.perf_counter() - start)

    for i in range(300):
        learner.optimizer.zero_grad()
        with measured("TD target", i):
            td_target = compute_td_target(learner)
        with measured("loss", i):
            loss = compute_loss(learner, td_target)
        with measured("backward", i):
            loss.backward()
        with measured("gradient norm", i):
            torch.nn.utils.clip_grad_norm_(learner.parameters, math.inf)
        with measured("optimizer", i):
            learner.optimizer.step()
        with measured("target networks", i):
            learner.module.soft_update(learner.target_parameters, learner.parameters, 0.01)
    return {part: (calls[part], statistics.median(times)) for part, times in seconds.items()}


# Tables


def begin_table(args, part, title, *columns):
    print(f"\n### {title}\n")
    path = None
    if args.csv is not None:
        path = Path(f"{args.csv}_{part}.csv")
    return Table(columns, path)


def print_environments(args):
    columns = ["environment", "bare", "as the scripts see it"]
    table = begin_table(args, "environments", "Environments, steps per second", *columns)
    for task in args.tasks:
        bare, wrapped = alone(args.core, measure_environment, task, args.rounds, args.seconds)
        table.add(task, round(bare), round(wrapped))


def print_simulator(args):
    rounds = f"median of {args.rounds} rounds of {args.seconds:g} s"
    title = f"smaclite_jit, steps per second, {rounds}"
    columns = ["map", "original", "one battle", f"{args.num_envs} battles in one call", "to one"]
    table = begin_table(args, "simulator", title, *columns)
    for name in args.maps:
        one, many, ratio = alone(
            args.core, measure_simulator, name, args.num_envs, args.rounds, args.seconds
        )
        table.add(name, ORIGINAL.get(name, ""), round(one), round(many), f"{ratio:.2f}")


def print_scripts(args):
    title = f"Scripts with default arguments, the first {args.steps:,d} steps"
    columns = ["script", "environment", "steps/s", "peak MB, main process"]
    columns += [f"{purpose} %" for purpose in PURPOSES]
    table = begin_table(args, "scripts", title, *columns)
    for task in args.tasks:
        for script in args.scripts:
            speed, peak, shares = alone(args.core, measure_script, script, task, args.steps)
            table.add(script, task, round(speed), round(peak), *shares)


def print_updates(args):
    size = "10 episodes x 60 steps x 3 agents, 33 numbers an observation, 48 a state"
    table = begin_table(args, "updates", f"One update: {size}", "script", "ms")
    for script in args.scripts:
        seconds = alone(args.core, measure_update, script)
        table.add(script, f"{seconds * 1000:.1f}")


def print_calls(args):
    title = "A small update: 10 episodes x 17 steps x 3 agents"
    table = begin_table(args, "calls", title, "script", "part", "calls of torch", "ms")
    for script in args.scripts:
        parts = alone(args.core, measure_calls, script)
        for part, (calls, seconds) in parts.items():
            table.add(script, part, calls, f"{seconds * 1000:.2f}")
        calls, seconds = (sum(values) for values in zip(*parts.values()))
        table.add(script, "in all", calls, f"{seconds * 1000:.2f}")


def print_threads(args):
    cores = alone(None, torch.get_num_threads)
    counts = list(dict.fromkeys(threads or cores for threads in args.num_threads))
    names = [f"{threads} thread" if threads == 1 else f"{threads} threads" for threads in counts]
    columns = ["script", "environment", "observations a batch"]
    columns += [f"steps/s, {name}" for name in names]
    columns += ["speed-up of the run"]
    columns += [f"ms an update, {name}" for name in names]
    columns += ["speed-up of the update", "the script takes"]
    title = "Scripts with a number of threads from start to end, with default arguments"
    table = begin_table(args, "threads", title, *columns)
    for task in args.thread_tasks:
        for script in args.scripts:
            speeds = defaultdict(list)
            updates = defaultdict(list)
            for _ in range(args.rounds):
                for threads in counts:
                    speed, update, observations, wanted = alone(
                        None, measure_threads, script, task, args.steps, threads
                    )
                    speeds[threads].append(speed)
                    updates[threads].append(update * 1000)
            speeds = [statistics.median(speeds[threads]) for threads in counts]
            updates = [statistics.median(updates[threads]) for threads in counts]
            table.add(
                script,
                task,
                observations,
                *[round(speed) for speed in speeds],
                f"{speeds[-1] / speeds[0]:.2f}",
                *[f"{update:.1f}" for update in updates],
                f"{updates[0] / updates[-1]:.2f}",
                wanted,
            )


def print_devices(args):
    title = f"Scripts on devices, with default arguments, the first {args.steps:,d} steps"
    columns = ["script", "environment"]
    columns += [f"steps/s, {device}" for device in args.devices]
    columns += ["speed-up of the run"]
    columns += [f"{purpose} %" for purpose in PURPOSES]  # of the last
    table = begin_table(args, "devices", title, *columns)
    for task in args.tasks:
        for script in args.scripts:
            speeds = []
            for device in args.devices:
                speed, _, shares = alone(None, measure_script, script, task, args.steps, device)
                speeds.append(speed)
            ratio = f"{speeds[-1] / speeds[0]:.2f}"
            table.add(script, task, *[round(speed) for speed in speeds], ratio, *shares)


def print_replay(args):
    title = "Replay buffer, bytes for each environment step, and GB of 5,000 longest episodes"
    columns = ["map", "qmix", "qmix_memefficient", "to qmix", "GB, qmix", "GB, qmix_memefficient"]
    table = begin_table(args, "replay", title, *columns)
    for name in args.replay_maps:
        plain = alone(args.core, measure_replay, "qmix", name)
        lean = alone(args.core, measure_replay, "qmix_memefficient", name)
        steps = 5000 * gym.spec(f"smaclite_jit/{name}-v0").max_episode_steps
        gigabytes = [f"{size * steps / 1e9:.1f}" for size in (plain, lean)]
        table.add(name, round(plain), round(lean), f"{lean / plain:.2f}", *gigabytes)


PARTS = {
    "environments": print_environments,
    "simulator": print_simulator,
    "scripts": print_scripts,
    "updates": print_updates,
    "replay": print_replay,
    "calls": print_calls,
    "threads": print_threads,
    "devices": print_devices,
}


def check_names(option, names, known):
    for name in names:
        if name not in known:
            usage_error(f"{option}: there is no {name}; choose from {', '.join(known)}")


def check_devices(devices):
    for device in devices:
        try:
            torch.zeros(1, device=device)
        except (RuntimeError, AssertionError):  # the latter where torch is a build for the CPU
            usage_error(f"--devices {device} is not available here: leave it out")


if __name__ == "__main__":
    args = tyro.cli(Args, description=__doc__)
    check_names("--parts", args.parts, PARTS)
    check_names("--scripts", args.scripts, SCRIPTS)
    check_names("--maps", args.maps + args.replay_maps, smaclite_jit.MAPS)
    if "devices" in args.parts:
        check_devices(args.devices)
    for task in args.tasks + args.thread_tasks:
        if not re.fullmatch("(smaclite|lbf|pz):.+", task):
            example = "smaclite:3m or lbf:Foraging-8x8-2p-2f-v3"
            usage_error(
                f"--tasks, --thread-tasks {task}: give it as family:name, for example {example}"
            )

    versions = f"torch {torch.__version__}, numpy {np.__version__}"
    print(f"{cpu_name()}, Python {platform.python_version()}, {versions}")
    failed = []
    for part, print_table in PARTS.items():
        if part in args.parts:
            try:
                print_table(args)
            except Exception:  # the other tables are worth having
                traceback.print_exc()
                failed.append(part)
    if failed:
        sys.exit(f"speed.py: failed: {', '.join(failed)}")
