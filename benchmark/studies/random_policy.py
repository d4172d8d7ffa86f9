"""The mean return of agents that draw from their available actions: what learning must beat.

python benchmark/studies/random_policy.py --env-type lbf --env-name Foraging-5x5-2p-1f-v3
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from cleanmarl.env_wrappers import make_env

sys.path.append(str(Path(__file__).parent.parent))  # benchmark
from common import add_row, random_actions


@dataclass
class Args:
    env_type: str = "lbf"
    """family of environments"""
    env_name: str = "Foraging-5x5-2p-1f-v3"
    """environment"""
    env_family: str = "mpe"
    """PettingZoo family"""
    episodes: int = 1000
    """episodes to play"""
    seed: int = 1
    """seed of the environment and of the actions"""
    csv: Path | None = None
    """a file to which the row is added"""


if __name__ == "__main__":
    args = tyro.cli(Args, description=__doc__)
    env = make_env(args.env_type, args.env_name, args.env_family, seed=args.seed)
    rng = np.random.default_rng(args.seed)
    returns = np.zeros(args.episodes)
    for i in range(args.episodes):
        obs, _ = env.reset()
        terminated = truncated = False
        while not (terminated or truncated):
            actions = random_actions(obs["avail_actions"], rng)
            obs, reward, terminated, truncated, _ = env.step(actions)
            returns[i] += reward
    error = 1.96 * returns.std(ddof=1) / args.episodes**0.5
    row = {
        "environment": args.env_name,
        "mean return": f"{returns.mean():.2f}",
        "95 % interval, +-": f"{error:.2f}",
        "episodes": args.episodes,
    }
    add_row(row, args.csv)
