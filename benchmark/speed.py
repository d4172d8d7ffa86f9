"""How fast is everything? Each part is a table.

    python benchmark/speed.py
    python benchmark/speed.py --parts simulator --maps 3m MMM
    python benchmark/speed.py --parts scripts --scripts qmix --tasks lbf:Foraging-8x8-2p-2f-v3
    python benchmark/speed.py --parts threads
    python benchmark/speed.py --parts devices --scripts qmix_multienvs
    python benchmark/speed.py --csv benchmark/results/speed

One core (all for the parts `threads` and `devices`), and a process for each measurement. Measure on
a machine that does nothing else. Rates of many machines drift: compare within one table.
"""

import contextlib
import io
import multiprocessing
import os
import platform
import re
import resource
import runpy
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
from typing import Literal

import gymnasium as gym
import numpy as np
import torch
import tyro
from common import REPO, add_row, cpu_name, random_actions
from suites import SCRIPTS

import smaclite_jit
from cleanmarl.env_wrappers import make_env

# Steps per second of the original smaclite (Python collision avoidance), on a machine of this kind.
ORIGINAL = {"3m": 126, "2s3z": 115, "MMM": 64, "27m_vs_30m": 34}

# How a line of a script's main loop begins (a regular expression): what the time from there on is
# for. Look at it again whenever a loop is rewritten.
PHASES = {
    "# Act": "acting",
    r".* = envs?\.(step|reset)\(": "environment",
    "global_step ": "other",
    "# Remember": "collecting",
    "# Learn": "learning",
    "batch = ": "sampling",
    "td_target = ": "learning",
    "# Log": "logging",
    "# Evaluate": "evaluation",
}
PURPOSES = sorted(set(PHASES.values()))


def alone(one_core, function, *args):
    """What a function returns in a new process, on one core or as it comes."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, stay_on_one_core if one_core else None) as executor:
        return executor.submit(function, *args).result()


def stay_on_one_core():
    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def stepper(env, choose):
    """A function that steps an environment with the actions that `choose` makes of `obs`."""
    obs, _ = env.reset(seed=1)

    def step():
        nonlocal obs
        obs, _, terminated, truncated, _ = env.step(choose(obs))
        if terminated or truncated:
            obs, _ = env.reset()

    return step


def pettingzoo_stepper(env):
    """The same for a parallel environment, with the actions of PettingZoo's documentation."""
    env.reset(seed=1)

    def step():
        env.step({agent: env.action_space(agent).sample() for agent in env.agents})
        if not env.agents:
            env.reset()

    return step


def battle_stepper(name):
    """The same for one battle; observations, state and available actions are read, too."""
    env = gym.make(f"smaclite_jit/{name}-v0")
    rng = np.random.default_rng(0)

    def choose(obs):
        env.unwrapped.get_state()
        return random_actions(env.unwrapped.get_avail_actions(), rng)

    return stepper(env, choose)


def battles_stepper(name, num_envs):
    """The same for many battles in one call."""
    envs = gym.make_vec(f"smaclite_jit/{name}-v0", num_envs)
    rng = np.random.default_rng(0)
    obs, _ = envs.reset(seed=1)

    def step():
        nonlocal obs
        obs, *_ = envs.step(random_actions(obs["avail_actions"], rng))

    return step


def measure(steppers, rounds, seconds):
    """How often a second each of them can be called: (steppers, rounds)."""
    rates = np.zeros((len(steppers), rounds))
    for i in range(rounds):
        for k, step in enumerate(steppers):
            calls = 0
            start = time.perf_counter()
            elapsed = 0
            while elapsed < seconds:
                step()
                calls += 1
                elapsed = time.perf_counter() - start
            rates[k, i] = calls / elapsed
    return rates


def measure_environment(task, rounds, seconds):
    """Steps per second of the environment itself, and as the scripts see it."""
    env_type, env_name = task.split(":")
    rng = np.random.default_rng(0)
    wrapped = make_env(env_type, env_name, seed=1)
    own = make_env(env_type, env_name, seed=1).env
    if env_type == "smaclite":
        bare = battle_stepper(env_name)
    elif env_type == "pz":
        bare = pettingzoo_stepper(own)
    else:
        bare = stepper(own, lambda obs: own.action_space.sample())
    as_seen = stepper(wrapped, lambda obs: random_actions(obs["avail_actions"], rng))
    return np.median(measure([bare, as_seen], rounds, seconds), axis=1)


def environments(args):
    for task in args.tasks:
        bare, wrapped = alone(True, measure_environment, task, args.rounds, args.seconds)
        yield {"environment": task, "bare": round(bare), "as the scripts see it": round(wrapped)}


def measure_simulator(name, num_envs, rounds, seconds):
    """Steps per second of one battle and of many in one call, and the ratio of these."""
    one, many = measure([battle_stepper(name), battles_stepper(name, num_envs)], rounds, seconds)
    many = many * num_envs
    return np.median(one), np.median(many), np.median(many / one)


def simulator(args):
    for name in args.maps:
        rates = alone(True, measure_simulator, name, args.num_envs, args.rounds, args.seconds)
        one, many, ratio = rates
        yield {
            "map": name,
            "original": ORIGINAL.get(name, ""),
            "one battle": round(one),
            f"{args.num_envs} battles in one call": round(many),
            "to one": f"{ratio:.2f}",
        }


def with_laps(source):
    """The source of a script, with a call of `lap` before each line of its loop that PHASES has."""
    setup, loop = re.split(r"(?=^ +while global_step)", source, flags=re.MULTILINE)
    for beginning, purpose in PHASES.items():
        line = re.compile(rf"^( +)(?={beginning})", re.MULTILINE)
        loop = line.sub(rf"\1lap({purpose!r})\n\1", loop)
    return setup + loop


def measure_script(script, task, steps, words=(), threads=None):
    """Run a script in this process, in a folder that is thrown away; `words` are more arguments.

    Returns what the tables have of it. The speed includes evaluation and logging. With `threads` it
    has that many from start to end.
    """
    wanted = []  # numbers of threads that the script would take
    if threads is not None:
        cores = torch.get_num_threads()
        torch.set_num_threads(threads)
        torch.get_num_threads = lambda: cores  # the script decides as it would by itself
        torch.set_num_threads = wanted.append  # the script cannot change it
    seconds = Counter()
    purpose = None
    since = None

    def lap(next_purpose):
        nonlocal purpose, since
        now = time.perf_counter()
        if purpose is not None:
            seconds[purpose] += now - since
        purpose = next_purpose
        since = now

    env_type, env_name = task.split(":")
    sys.argv = [f"{script}.py", "--env-type", env_type, "--env-name", env_name]
    sys.argv += ["--total-timesteps", str(steps), *words]
    output = io.StringIO()
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(output),
    ):
        os.chdir(folder)
        copy_with_laps = Path(folder, f"{script}.py")
        copy_with_laps.write_text(with_laps((REPO / "cleanmarl" / f"{script}.py").read_text()))
        try:
            program = runpy.run_path(str(copy_with_laps), {"lap": lap}, run_name="__main__")
        except SystemExit as stop:
            last_line = output.getvalue().strip().rpartition("\n")[-1]
            raise RuntimeError(last_line or f"{script}.py ended: {stop}") from stop
        finally:
            os.chdir("/")
    whole = time.perf_counter() - program["start_time"]
    if program["num_updates"] == 0:
        raise RuntimeError(f"{script}.py has no update in {steps} steps of {task}: raise --steps")
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, kB on Linux
    return SimpleNamespace(
        speed=program["global_step"] / whole,
        shares={f"{name} %": round(100 * seconds[name] / seconds.total()) for name in PURPOSES},
        megabytes=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit),
        update=1000 * seconds["learning"] / program["num_updates"],  # milliseconds
        observations=program["batch"]["actions"].numel(),  # in the last batch
        wanted=max(wanted[-2:], default=None),  # for the last batch; after it one is set again
    )


def scripts(args):
    for task in args.tasks:
        for script in args.scripts:
            run = alone(True, measure_script, script, task, args.steps)
            row = {
                "script": script,
                "environment": task,
                "steps/s": round(run.speed),
                "peak MB, main process": run.megabytes,
            }
            yield row | run.shares


def devices(args):
    for task in args.tasks:
        for script in args.scripts:
            row = {"script": script, "environment": task}
            speeds = []
            for device in args.devices:
                run = alone(False, measure_script, script, task, args.steps, ["--device", device])
                row[f"steps/s, {device}"] = round(run.speed)
                speeds.append(run.speed)
            row["speed-up of the run"] = f"{speeds[-1] / speeds[0]:.2f}"
            yield row | run.shares  # of the last


def threads(args):
    names = {}
    for number in args.num_threads:
        names[number] = "1 thread" if number == 1 else f"{number} threads"
    for task in args.tasks:
        for script in args.scripts:
            runs = defaultdict(list)
            for _ in range(args.rounds):
                for number in names:
                    run = alone(False, measure_script, script, task, args.steps, (), number)
                    runs[number].append(run)
            speeds = []
            updates = []
            for number in names:
                speeds.append(statistics.median(run.speed for run in runs[number]))
                updates.append(statistics.median(run.update for run in runs[number]))
            row = {"script": script, "environment": task, "observations a batch": run.observations}
            for name, speed in zip(names.values(), speeds):
                row[f"steps/s, {name}"] = round(speed)
            row["speed-up of the run"] = f"{speeds[-1] / speeds[0]:.2f}"
            for name, update in zip(names.values(), updates):
                row[f"ms an update, {name}"] = f"{update:.1f}"
            row["speed-up of the update"] = f"{updates[0] / updates[-1]:.2f}"
            row["the script takes"] = run.wanted
            yield row


def updates(args):
    for script in args.scripts:
        # Batches of 24 episodes x 25 steps x 3 agents; the LSTM goes through them in one chunk.
        words = ["--batch-size", "24"] + (["--tbptt", "25"] if script == "qmix_lstm" else [])
        run = alone(True, measure_script, script, "pz:simple_spread_v3", 3000, words)
        yield {"script": script, "ms": f"{run.update:.1f}"}


# Name -> title, and a function that yields the rows.
PARTS = {
    "environments": ("Environments, steps per second", environments),
    "simulator": ("smaclite_jit, steps per second", simulator),
    "scripts": ("Scripts with default arguments", scripts),
    "updates": ("One update on simple_spread_v3, 24 episodes x 25 steps x 3 agents", updates),
    "threads": ("Scripts with a number of threads from start to end", threads),
    "devices": ("Scripts on devices", devices),
}


@dataclass
class Args:
    parts: tuple[Literal[tuple(PARTS)], ...] = ("environments", "simulator", "scripts", "updates")
    """only these tables; `threads`, which takes all cores and an hour, and `devices` are there for
    the asking"""
    tasks: tuple[str, ...] = (
        "smaclite:3m",
        "smaclite:MMM",
        "lbf:Foraging-8x8-2p-2f-v3",
        "pz:simple_spread_v3",
    )
    """family:name, of the tables of environments, scripts, threads and devices"""
    scripts: tuple[Literal[SCRIPTS], ...] = SCRIPTS
    """of the tables of scripts, updates, threads and devices"""
    maps: tuple[Literal[tuple(smaclite_jit.MAPS)], ...] = tuple(smaclite_jit.MAPS)
    """of the simulator's table"""
    num_threads: tuple[int, ...] = (1, os.cpu_count())
    """of the table of threads"""
    devices: tuple[str, ...] = ("cpu", "cuda")
    """of the table of devices: what the scripts take as --device"""
    steps: int = 20000
    """environment steps of a script, in the tables of scripts, threads and devices"""
    num_envs: int = 64
    """battles in one call"""
    seconds: float = 1
    """length of a round of the simulator or an environment"""
    rounds: int = 3
    """rounds of the simulator, an environment or a number of threads; the median counts"""
    csv: Path | None = None
    """how the names of CSV files begin: the rows of each part are added to <csv>_<part>.csv"""


if __name__ == "__main__":
    args = tyro.cli(Args, description=__doc__)
    versions = f"torch {torch.__version__}, numpy {np.__version__}"
    print(f"{cpu_name()}, Python {platform.python_version()}, {versions}")
    failed = []
    for part, (title, make_rows) in PARTS.items():
        if part not in args.parts:
            continue
        print(f"\n{title}:")
        try:
            for row in make_rows(args):
                add_row(row, args.csv and Path(f"{args.csv}_{part}.csv"))
        except Exception:  # the other tables are worth having
            traceback.print_exc()
            failed.append(part)
    if failed:
        sys.exit(f"speed.py: failed: {', '.join(failed)}")
