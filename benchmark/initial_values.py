"""How large is Q_tot before training? The mean of its absolute value over steps of random play, for scripts of yours.

python benchmark/initial_values.py cleanmarl/qmix.py my_qmix.py
"""

import runpy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro

from cleanmarl.env_wrappers import make_env


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


def initial_value(script, task, seed, steps):
    """Mean |Q_tot| of the actions played at random."""
    torch.manual_seed(seed)
    rng, env = np.random.default_rng(seed), make_env(*task.split(":"), seed=seed)
    (n_agents, obs_dim), (state_dim,) = (
        env.observation_space["obs"].shape,
        env.observation_space["state"].shape,
    )
    q_network = script["QNetwork"](obs_dim, int(env.action_space.nvec[0]), 64, 1)
    mixer, values, obs = script["Mixer"](n_agents, state_dim, 64), [], env.reset()[0]
    with torch.inference_mode():
        for _ in range(steps):
            actions = np.where(
                obs["avail_actions"], rng.random(obs["avail_actions"].shape), -1
            ).argmax(axis=1)
            q_values = q_network(torch.as_tensor(obs["obs"]))[range(n_agents), actions]
            values.append(abs(mixer(q_values, torch.as_tensor(obs["state"])).item()))
            obs, _, terminated, truncated, _ = env.step(actions)
            if terminated or truncated:
                obs = env.reset()[0]
    return np.mean(values)


if __name__ == "__main__":
    args = tyro.cli(Args, description=__doc__)
    print("| script | " + " | ".join(args.tasks) + " |\n|-|" + "-|" * len(args.tasks))
    for path in args.scripts:
        script = runpy.run_path(str(path))
        means = [
            [initial_value(script, task, seed, args.steps) for seed in args.seeds]
            for task in args.tasks
        ]
        print(
            f"| {path.name} | "
            + " | ".join(f"{np.mean(m):.2f} ({min(m):.2f} to {max(m):.2f})" for m in means)
            + " |"
        )
