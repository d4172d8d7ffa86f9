"""Train a few hundred steps on environments that others have written, with all four scripts.

    pip install rware "pettingzoo[butterfly,sisl,classic]" supersuit magent2
    python benchmark/foreign.py
    python benchmark/foreign.py --only rware pursuit --steps 2000

Nothing is installed here: an environment whose package is missing is left out, with a line. The
exit code is 1 if a run has failed or a metric is not finite.
"""

import importlib.util
import math
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import tyro
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

REPO = Path(__file__).parent.parent
SCRIPTS = ("qmix", "qmix_memefficient", "qmix_multienvs", "qmix_lstm")
CONNECT_FOUR = """
from pettingzoo.classic import connect_four_v3
from pettingzoo.utils.conversions import turn_based_aec_to_parallel

def parallel_env(**kwargs):
    return turn_based_aec_to_parallel(connect_four_v3.env(**kwargs))
"""
BLACK_DEATH = """
import supersuit
from pettingzoo.butterfly import knights_archers_zombies_v11

def parallel_env(**kwargs):
    return supersuit.black_death_v3(knights_archers_zombies_v11.parallel_env(**kwargs))
"""
BATTLE = """
from functools import partial
from magent2.environments import battle_v4

parallel_env = partial(battle_v4.parallel_env, map_size=12)
"""
ADAPTERS = {  # modules of a package `adapters`
    "connect_four": CONNECT_FOUR,
    "black_death": BLACK_DEATH,
    "battle": BATTLE,
    "rware_env": (REPO / "docs" / "examples" / "rware_env.py").read_text(),
}


@dataclass
class Environment:
    """An environment, and the packages that it needs."""

    env_name: str
    env_family: str
    packages: tuple[str, ...]


ENVIRONMENTS = {
    "kaz": Environment("knights_archers_zombies_v11", "butterfly", ("pygame",)),
    "pursuit": Environment("pursuit_v5", "sisl", ("pygame", "scipy")),
    "battle": Environment("battle", "adapters", ("magent2",)),
    "black_death": Environment("black_death", "adapters", ("supersuit", "pygame")),
    "connect_four": Environment("connect_four", "adapters", ("pygame",)),
    "rware": Environment("rware_env", "adapters", ("rware",)),
}


@dataclass
class Args:
    only: tuple[str, ...] = tuple(ENVIRONMENTS)
    """environments"""
    scripts: tuple[str, ...] = SCRIPTS
    """scripts"""
    steps: int = 600
    """steps of training"""


def write_adapters(folder):
    package = Path(folder, "adapters")
    package.mkdir()
    for name, source in ADAPTERS.items():
        (package / f"{name}.py").write_text(source)


def train(script, environment, steps, folder):
    """Train, and return what is wrong, or "" if nothing is."""
    command = [sys.executable, REPO / "cleanmarl" / f"{script}.py", "--env-type", "pz"]
    command += ["--env-name", environment.env_name, "--env-family", environment.env_family]
    command += ["--total-timesteps", steps, "--batch-size", 2, "--buffer-size", 20]
    command += ["--log-every", 1, "--num-eval-ep", 1, "--max-episode-steps", 100]
    if script == "qmix_multienvs":
        command += ["--num-envs", 2]
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        return f"exit code {done.returncode}\n{done.stderr}"
    (run,) = Path(folder, "runs").iterdir()
    events = EventAccumulator(str(run)).Reload()
    tags = events.Tags()["scalars"]
    for tag in ("eval/ep_reward", "rollout/ep_reward", "train/loss"):
        if tag not in tags:
            return f"no {tag}"
    for tag in tags:
        if not all(math.isfinite(event.value) for event in events.Scalars(tag)):
            return f"{tag} is not finite"
    return ""


def main(args):
    failures = 0
    for name in args.only:
        environment = ENVIRONMENTS[name]
        missing = [
            package for package in environment.packages if not importlib.util.find_spec(package)
        ]
        if missing:
            print(f"{name:14} left out: {', '.join(missing)} not installed")
            continue
        for script in args.scripts:
            with tempfile.TemporaryDirectory() as folder:
                write_adapters(folder)
                start = time.time()
                problem = train(script, environment, args.steps, folder)
            failures += bool(problem)
            print(f"{name:14} {script:20} {time.time() - start:6.1f} s  {problem or 'finite'}")
    sys.exit(failures > 0)


if __name__ == "__main__":
    main(tyro.cli(Args))
