"""How large is Q_tot before training? The mean of |Q_tot| over random play, for scripts of yours.

python benchmark/studies/initial_values.py cleanmarl/qmix.py my_qmix.py
"""

import runpy
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro

from cleanmarl.env_wrappers import make_env

sys.path.append(str(Path(__file__).parent.parent))  # benchmark
from common import add_row, random_actions


@dataclass
class Args:
    scripts: tyro.conf.Positional[tuple[Path, ...]]
    """scripts with a QNetwork and a Mixer"""
    tasks: tuple[str, ...] = ("smaclite:3m", "lbf:Foraging-8x8-2p-2f-v3", "pz:simple_spread_v3")
    """family:name of the environments"""
    seeds: tuple[int, ...] = (1, 2, 3)
    """seeds of the networks and of the play"""
    steps: int = 1000
    """environment steps"""
    csv: Path | None = None
    """a file to which the rows are added"""


@torch.inference_mode()
def initial_value(script, task, seed, steps):
    """Mean |Q_tot| of the actions played at random. `script` is its global variables."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    env_type, env_name = task.split(":")
    env = make_env(env_type, env_name, seed=seed)
    n_agents, obs_dim = env.observation_space["obs"].shape
    n_agents, n_actions = env.observation_space["avail_actions"].shape
    (state_dim,) = env.observation_space["state"].shape
    q_network = script["QNetwork"](obs_dim, n_actions, 64, 1)
    mixer = script["Mixer"](n_agents, state_dim, 64)
    values = []
    obs, _ = env.reset()
    for _ in range(steps):
        actions = random_actions(obs["avail_actions"], rng)
        q_values = q_network(torch.as_tensor(obs["obs"]))  # (n_agents, n_actions)
        q_values = q_values[range(n_agents), actions]
        q_total = mixer(q_values, torch.as_tensor(obs["state"]))
        values.append(abs(q_total.item()))
        obs, _, terminated, truncated, _ = env.step(actions)
        if terminated or truncated:
            obs, _ = env.reset()
    return np.mean(values)


if __name__ == "__main__":
    args = tyro.cli(Args, description=__doc__)
    for path in args.scripts:
        script = runpy.run_path(str(path))
        for task in args.tasks:
            means = [initial_value(script, task, seed, args.steps) for seed in args.seeds]
            row = {"script": path.name, "environment": task}
            for name, statistic in (("mean", np.mean), ("least", min), ("greatest", max)):
                row[name] = f"{statistic(means):.2f}"
            add_row(row, args.csv)
