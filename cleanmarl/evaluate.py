"""Evaluate a trained team, and watch it: `python cleanmarl/evaluate.py runs/<run> --video battle.mp4`."""

import contextlib
import importlib
import json
import os
import signal
import sys
from dataclasses import dataclass

import numpy as np
import torch
import tyro
from gymnasium.error import DependencyNotInstalled
from tqdm import tqdm

from cleanmarl.env_wrappers import UsageError, make_env
from cleanmarl.saved import build, find_model, load, load_script
from cleanmarl.video import Episodes, Video

FAMILIES = (
    "mpe",
    "atari",
    "butterfly",
    "classic",
    "sisl",
)  # PettingZoo's: others are modules of somebody's own


@dataclass
class Args:
    run: tyro.conf.Positional[str]
    """the folder of a run, runs/..., or a .pt file"""
    episodes: int = 100
    """greedy episodes to play"""
    seed: int = 1000000
    """episode i is reset with seed + i: --seed 1000042 --episodes 1 plays one of them again"""
    best: bool = False
    """take best_model.pt, from the best evaluation in training, instead of model.pt, from its end"""
    script: str = ""
    """the script that trained the model if it is your own, my_qmix.py; it is imported, so its code runs"""
    env_name: str = ""
    """another map or environment, with observations and actions of the same sizes"""
    env_family: str = ""
    """another PettingZoo family or the package of your own environment; that is imported, so its code runs"""
    video: str = ""
    """film the first episodes: a .mp4 or .gif file"""
    video_episodes: int = 2
    """episodes in the video"""
    render: bool = False
    """show the episodes in a window"""
    json: bool = False
    """print one JSON object instead of the table"""


def describe(values):
    """Mean, standard deviation, 95 % interval of the mean (a bootstrap, always the same; None of one value), values."""
    values, rng = np.array(values, np.float64), np.random.default_rng(0)
    means = [rng.choice(values, len(values)).mean() for _ in range(5000)]
    figures = {"mean": float(values.mean()), "std": float(values.std())}
    interval = np.percentile(means, (2.5, 97.5)).tolist() if len(values) > 1 else None
    return figures | {"interval": interval, "episodes": values.tolist()}


def describe_wins(won):
    """The fraction won, its 95 % interval by Wilson, and the battles."""
    n, p, z = len(won), float(np.mean(won)), 1.96
    centre, half = p + z**2 / (2 * n), z * (p * (1 - p) / n + (z / (2 * n)) ** 2) ** 0.5
    interval = [
        max(0.0, (centre - half) / (1 + z**2 / n)),
        min(1.0, (centre + half) / (1 + z**2 / n)),
    ]
    return {"mean": p, "interval": interval, "episodes": [bool(battle) for battle in won]}


def run(args):
    """Play the episodes. Returns the figures, None if none has ended, and whether Ctrl-C has stopped it."""
    for name, low, high in (
        ("episodes", 1, 10**9),
        ("video_episodes", 1, 10**9),
        ("seed", 0, 2**31 - 1),
    ):
        if not low <= (value := getattr(args, name)) <= high:
            raise UsageError(
                f"--{name.replace('_', '-')} {value} is out of range: give one from {low} to {high}"
            )
    if args.render and args.video:
        raise UsageError(
            "--render, --video: an environment is drawn in a window or on pictures; give one of the two"
        )
    path = find_model(args.run, args.best)
    saved = load(path)
    env_type, agent_ids = saved["args"]["env_type"], saved["args"]["agent_ids"]
    env_name, family = (
        args.env_name or saved["args"]["env_name"],
        args.env_family or saved["args"]["env_family"],
    )
    if env_type == "pz" and family not in FAMILIES and not (args.env_name and args.env_family):
        named = f"environment {env_name!r} of {family!r} is somebody's own: to run its code"
        raise UsageError(f"--env-family: the {named}, give both --env-family and --env-name")
    module = load_script(saved["script"], args.script)
    torch.set_num_threads(
        1
    )  # the networks are so small that a second thread costs more than it brings
    with contextlib.ExitStack() as stack:
        if args.render:
            try:
                importlib.import_module("smaclite_jit.rendering.sprites").start_display()
            except RuntimeError as error:
                raise UsageError(
                    "--render needs a display, and this machine has none: use --video"
                ) from error
        render_mode = "human" if args.render else "rgb_array" if args.video else None
        env = Episodes(
            make_env(env_type, env_name, family, agent_ids, render_mode=render_mode), args.seed
        )
        stack.callback(env.close)
        q_network, video, results = build(module, saved, env, env_name), None, []
        if args.video:
            video = Video(
                args.video, env.metadata["render_fps"] * env.metadata.get("frames_per_step", 1)
            )
            stack.callback(video.close)
        interrupted, filmed = False, min(args.video_episodes, args.episodes)
        try:
            for i in tqdm(range(args.episodes), unit="episode", disable=None):
                env.video = video if i < filmed else None
                results.append(module.evaluate(env, q_network, 1, torch.device("cpu")))
                if env.video is not None:
                    video.hold()
                if env.video is not None and i + 1 == filmed:
                    video.finish()
        except KeyboardInterrupt:
            interrupted = True
            no_video = (
                ", the video is not whole and thrown away"
                if video and len(results) < filmed
                else ""
            )
            print(
                f"evaluate.py: stopped after {len(results)} of {args.episodes} episodes{no_video}",
                file=sys.stderr,
            )
    if not results:
        return None, interrupted
    figures = {
        "model": str(path),
        "script": args.script or saved["script"],
        "env_type": env_type,
        "env_name": env_name,
    }
    figures |= {"seed": args.seed, "num_episodes": len(results)}
    figures["return"] = describe([result["eval/ep_reward"] for result in results])
    figures["length"] = describe([result["eval/ep_length"] for result in results])
    if "eval/battle_won" in results[0]:
        figures["battles_won"] = describe_wins([result["eval/battle_won"] for result in results])
    return figures, interrupted


def table(figures):
    first, n = figures["seed"], figures["num_episodes"]
    lines = [
        f"{figures['model']}, trained by {figures['script']}, on {figures['env_type']} {figures['env_name']}"
    ]
    lines += [f"{n} greedy episodes, seeds {first} to {first + n - 1}"]
    lines += [f"{'':12}{'mean':>10}{'std':>10}   95 % interval of the mean"]
    for name in ("return", "length", "battles_won"):
        if row := figures.get(name):
            std = f"{row['std']:.3f}" if "std" in row else ""
            interval = " to ".join(f"{end:.3f}" for end in row["interval"] or ()) or "-"
            lines.append(f"{name.replace('_', ' '):12}{row['mean']:10.3f}{std:>10}   {interval}")
    return "\n".join(lines)


if __name__ == "__main__":
    args, figures, interrupted = tyro.cli(Args), None, True
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # leaves no half a film either
    try:
        with contextlib.redirect_stdout(
            sys.stderr
        ):  # whatever environments print: stdout is for the figures
            figures, interrupted = run(args)
    except (UsageError, DependencyNotInstalled) as error:
        print(f"evaluate.py: {error}".splitlines()[0], file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        pass
    if figures is not None:
        strict = json.loads(
            json.dumps(figures), parse_constant=lambda name: None
        )  # JSON has no NaN
        print(json.dumps(strict) if args.json else table(figures))
    sys.exit(130 if interrupted else 0)
