"""How fast is smaclite_jit? Single battles and 64 in one call, on one core: a markdown table.

    python benchmark/simulator.py --maps 3m 2s3z MMM 27m_vs_30m

Random available actions; observations, state and available actions are read at every step. Choosing the actions, with
numpy, is part of the time. Rates are medians over rounds in which single and vectorised battles take turns.
"""

import os
import statistics
import sys
import time
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import tyro

import smaclite_jit

# Steps per second of the original smaclite (Python collision avoidance) on a machine of this kind, measured likewise.
ORIGINAL = {"3m": 126, "2s3z": 115, "MMM": 64, "27m_vs_30m": 34}


@dataclass
class Args:
    maps: tuple[str, ...] = tuple(ORIGINAL)
    """maps to time; `all` stands for all of them"""
    num_envs: int = 64
    """battles in one call"""
    seconds: float = 2
    """length of a round"""
    rounds: int = 5
    """rounds for each map"""
    core: int = 0
    """the core to run on, where the system lets a process choose"""


def choose(rng, avail_actions):
    """A random available action for every agent: (..., n_agents, n_actions) -> (..., n_agents)."""
    return np.where(avail_actions, rng.random(avail_actions.shape), -1.0).argmax(axis=-1)


def single_rate(env, rng, seconds):
    """Environment steps per second through gym.make's environment."""
    battle, steps, start = env.unwrapped, 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        _, _, terminated, truncated, _ = env.step(choose(rng, np.array(battle.get_avail_actions())))
        battle.get_state()
        if terminated or truncated:
            env.reset()
        steps += 1
    return steps / elapsed


def vector_rate(envs, rng, seconds):
    """Environment steps per second, summed over the battles of gym.make_vec's environment."""
    obs, steps, start = envs.reset()[0], 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        obs = envs.step(choose(rng, obs["avail_actions"]))[0]
        steps += envs.num_envs
    return steps / elapsed


if __name__ == "__main__":
    args = tyro.cli(Args)
    if unknown := set(args.maps) - {"all", *smaclite_jit.MAPS}:
        sys.exit(
            f"simulator.py: --maps: there is no {' or '.join(unknown)}; choose from {', '.join(smaclite_jit.MAPS)}"
        )
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {args.core})
    print(f"| map | original | smaclite_jit | {args.num_envs} battles in one call | to a single one |\n|-|-|-|-|-|")
    for name in smaclite_jit.MAPS if "all" in args.maps else args.maps:
        env, rng = gym.make(f"smaclite_jit/{name}-v0"), np.random.default_rng(0)
        envs = gym.make_vec(f"smaclite_jit/{name}-v0", args.num_envs, arrays=True)
        env.reset(seed=1), envs.reset(seed=1)
        rounds = [
            (single_rate(env, rng, args.seconds), vector_rate(envs, rng, args.seconds)) for _ in range(args.rounds)
        ]
        single, vector = (statistics.median(rates) for rates in zip(*rounds))
        ratio = statistics.median(v / s for s, v in rounds)
        original = f"{ORIGINAL[name]}" if name in ORIGINAL else "-"
        print(f"| {name} | {original} | {single:,.0f} | {vector:,.0f} | {ratio:.2f} x |", flush=True)
