"""Evaluate a trained team, and watch it.

    python cleanmarl/evaluate.py runs/<run> --episodes 20
    python cleanmarl/evaluate.py runs/<run> --video battle.mp4

A model file is data. Nothing in it is run, and no code is imported because a model names it, but
for the four scripts: to run your own script or environment, name it on the command line.
"""

import contextlib
import importlib
import importlib.util
import json
import os
import signal
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from gymnasium.error import DependencyNotInstalled
from tqdm import tqdm

from cleanmarl.env_wrappers import UsageError, boolean_flags, make_env
from cleanmarl.rendering.video import FilmedEpisodes, Video

SCRIPTS = ("qmix", "qmix_memefficient", "qmix_multienvs", "qmix_lstm")
PZ_FAMILIES = ("mpe", "atari", "butterfly", "classic", "sisl")  # others are somebody's own modules
SAVED_ARGS = {  # what a model needs of its script's arguments
    "env_type": str,
    "env_name": str,
    "env_family": str,
    "agent_ids": bool,
    "hidden_dim": int,
    "hyper_dim": int,
    "num_layers": int,
}


@dataclass
class Args:
    run: tyro.conf.Positional[str]
    """the folder of a run, runs/..., or a .pt file"""
    episodes: int = 100
    """greedy episodes to play"""
    seed: int = 1000000
    """episode i is reset with seed + i: --seed 1000042 --episodes 1 plays one of them again"""
    best: bool = False
    """take best_model.pt, of the best evaluation in training, instead of model.pt, of its end"""
    script: str = ""
    """your own script, my_qmix.py, if that trained the model; it is imported, so its code runs"""
    env_name: str = ""
    """another map or environment, with observations and actions of the same sizes"""
    env_family: str = ""
    """another PettingZoo family, or your own package, which is imported, so its code runs"""
    video: str = ""
    """film the first episodes: a .mp4 or .gif file"""
    video_episodes: int = 2
    """episodes in the video"""
    render: bool = False
    """show the episodes in a window"""
    json: bool = False
    """print one JSON object instead of the table"""


def check_args(args):
    """Raise a UsageError for an argument that cannot work."""
    bounds = {"episodes": (1, 10**9), "video_episodes": (1, 10**9), "seed": (0, 2**31 - 1)}
    for name, (low, high) in bounds.items():
        value = getattr(args, name)
        if not low <= value <= high:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} {value} is out of range: give one from {low} to {high}")
    if args.render and args.video:
        raise UsageError(
            "--render, --video: an environment is drawn in a window or on pictures; "
            "give one of the two"
        )


# Load


def load_run(run, best=False):
    """Load a model of a run, given its folder or a .pt file.

    Returns the path of the file, and the dictionary that a script has saved there: `script`,
    `args`, `q_network` and `mixer`, and of newer runs `version`. Problems are UsageErrors.
    """
    path = find_model(run, best)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            saved = torch.load(path, map_location="cpu", weights_only=True)
        check_saved(saved)
    except Exception as error:  # whatever a damaged file leads to
        hint = ""
        best_path = path.with_name("best_model.pt")
        if best_path.is_file() and best_path != path:
            hint = f"; try {best_path}"
        problem = "is damaged or no model of these scripts; nothing in it has been run"
        raise UsageError(f"{path} {problem}{hint}") from error
    return path, saved


def find_model(run, best):
    """The path of the model file of a run."""
    if Path(run).is_file():
        return Path(run)
    if not Path(run).is_dir():
        hint = "give the folder that training has left, runs/..., or a .pt file"
        raise UsageError(f"{run}: there is no such run: {hint}")
    model = Path(run, "model.pt")
    best_model = Path(run, "best_model.pt")
    if model.is_file() and not best:
        return model
    if best_model.is_file():
        if not best:
            problem = "no model.pt, the run goes on or was killed: taking best_model.pt"
            print(f"evaluate.py: {problem}", file=sys.stderr)
        return best_model
    names = "best_model.pt" if best else "model.pt or best_model.pt"
    raise UsageError(f"{run} is no run's folder, or nothing is saved yet: it has no {names}")


def check_saved(saved):
    """Raise an error unless this is what a script saves, with sizes that can be built."""
    args = saved["args"]
    weights = saved["q_network"]
    for name, kind in SAVED_ARGS.items():
        if type(args[name]) is not kind:
            raise TypeError(name)
        if kind is int and args[name] <= 0:
            raise ValueError(name)
    max_episode_steps = args.get("max_episode_steps", 10000)
    if type(max_episode_steps) is not int or max_episode_steps <= 0:
        raise ValueError("max_episode_steps")
    for tensor in [*weights.values(), *saved["mixer"].values()]:
        if not isinstance(tensor, torch.Tensor):
            raise TypeError("weights")
    if not isinstance(saved["script"], str) or not weights:
        raise TypeError("script")
    # A damaged size must not fill the memory, or build layers for hours.
    if args["hidden_dim"] * args["num_layers"] > sum(tensor.numel() for tensor in weights.values()):
        raise ValueError("hidden_dim, num_layers")


def load_script(name, path=""):
    """The module of one of the four scripts by its name, or of the user's own at `path`."""
    if not path:
        if name in SCRIPTS:
            return importlib.import_module(f"cleanmarl.{name}")
        problem = f"the model is from {name!r}, none of ours: to run its code, give its path"
        raise UsageError(f"--script: {problem}")
    spec = importlib.util.spec_from_file_location("script_of_the_run", path)
    if spec is None or not Path(path).is_file():
        raise UsageError(f"--script: {path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    sys.path.insert(0, str(Path(path).parent))  # as for a program
    spec.loader.exec_module(module)
    if not (hasattr(module, "QNetwork") and hasattr(module, "evaluate")):
        raise UsageError(f"--script: {path} must have QNetwork and evaluate, as our scripts have")
    return module


def build_q_network(module, saved, env, env_name):
    """Build the trained Q-network for an environment.

    Raises a UsageError if the model is for another script, or for an environment of other sizes.
    """
    n_agents, obs_dim = env.observation_space["obs"].shape
    n_actions = int(env.action_space.nvec[0])
    try:
        q_network = module.QNetwork(
            obs_dim, n_actions, saved["args"]["hidden_dim"], saved["args"]["num_layers"]
        )
    except Exception as error:  # the user's own may raise anything
        call = "QNetwork(obs_dim, n_actions, hidden_dim, num_layers)"
        raise UsageError(f"--script: its {call} cannot be made: {error}") from error
    weights = q_network.state_dict()
    dimensions = {name: weight.ndim for name, weight in weights.items()}
    saved_dimensions = {name: weight.ndim for name, weight in saved["q_network"].items()}
    if dimensions != saved_dimensions:
        problem = "its Q-network is not built like the model's: give the script that trained it"
        raise UsageError(f"--script: {problem}")

    saved_sizes = {}  # a size here: the size that the model has in its place
    for name, weight in weights.items():
        for size, saved_size in zip(weight.shape, saved["q_network"][name].shape):
            if size != saved_size:
                saved_sizes[size] = saved_size
    if not saved_sizes:
        q_network.load_state_dict(saved["q_network"])
        return q_network
    if obs_dim not in saved_sizes and n_actions not in saved_sizes:
        problem = "its Q-network has other sizes than the model's: give the script that trained it"
        raise UsageError(f"--script: {problem}")
    saved_obs_dim = saved_sizes.get(obs_dim, obs_dim)
    saved_n_actions = saved_sizes.get(n_actions, n_actions)
    model = f"{count_agents(saved)} agents, {saved_obs_dim} observations and {saved_n_actions}"
    environment = f"{n_agents} agents, {obs_dim} observations and {n_actions}"
    raise UsageError(
        f"--env-name: the model is for {model} actions, {env_name} has {environment} actions"
    )


def count_agents(saved):
    """For how many agents the model is, by its mixer, or "?" if that is not ours."""
    for name in ("hyper_w1.bias", "w1.bias"):  # the second in copies of older scripts
        if name in saved["mixer"]:
            return saved["mixer"][name].numel() // saved["args"]["hyper_dim"] or "?"
    return "?"


# Play


def run(args):
    """Load the model and play its episodes.

    Returns the figures, None if no episode has ended, and whether Ctrl-C has stopped it.
    """
    check_args(args)
    path, saved = load_run(args.run, args.best)
    env_type = saved["args"]["env_type"]
    env_name = args.env_name or saved["args"]["env_name"]
    env_family = args.env_family or saved["args"]["env_family"]
    is_named = args.env_name and args.env_family
    if env_type == "pz" and env_family not in PZ_FAMILIES and not is_named:
        raise UsageError(
            f"--env-family: the environment {env_name!r} of {env_family!r} is somebody's own: "
            "to run its code, give both --env-family and --env-name"
        )
    module = load_script(saved["script"], args.script)
    torch.set_num_threads(1)  # the networks are so small that a second thread costs more
    render_mode = None
    if args.render:
        render_mode = "human"
        require_display()
    elif args.video:
        render_mode = "rgb_array"
    with contextlib.ExitStack() as stack:
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        env = make_env(
            env_type,
            env_name,
            env_family,
            saved["args"]["agent_ids"],
            args.seed,
            render_mode,
            saved["args"].get("max_episode_steps", 10000),  # older models have none
        )
        env = FilmedEpisodes(env, args.seed, handlers)
        stack.callback(env.close)
        q_network = build_q_network(module, saved, env, env_name)
        video = None
        if args.video:
            fps = env.metadata["render_fps"] * env.metadata.get("frames_per_step", 1)
            video = Video(args.video, fps)
            stack.callback(video.close)
        results, interrupted = play(args, module, q_network, env, video)
    if not results:
        return None, interrupted
    figures = {
        "model": str(path),
        "script": args.script or saved["script"],
        "env_type": env_type,
        "env_name": env_name,
        "seed": args.seed,
        "num_episodes": len(results),
        "return": describe([result["eval/ep_reward"] for result in results]),
        "length": describe([result["eval/ep_length"] for result in results]),
    }
    if "eval/battle_won" in results[0]:
        figures["battles_won"] = describe_wins([result["eval/battle_won"] for result in results])
    return figures, interrupted


def require_display():
    window = importlib.import_module("cleanmarl.rendering.window")  # needs pygame
    try:
        window.start_display()
    except RuntimeError as error:
        problem = "needs a display, and this machine has none: use --video"
        raise UsageError(f"--render {problem}") from error


def play(args, module, q_network, env, video):
    """Play the episodes, the first ones for the video.

    Returns the metrics of each episode, and whether Ctrl-C has stopped it.
    """
    num_filmed = min(args.video_episodes, args.episodes) if video else 0
    results = []
    try:
        for i in tqdm(range(args.episodes), unit="episode", disable=None):
            env.video = video if i < num_filmed else None
            results.append(module.evaluate(env, q_network, 1, torch.device("cpu")))
            if i < num_filmed:
                video.hold()
            if i + 1 == num_filmed:
                video.finish()
    except KeyboardInterrupt:
        message = f"stopped after {len(results)} of {args.episodes} episodes"
        if len(results) < num_filmed:
            message += ", the video is not whole and thrown away"
        print(f"evaluate.py: {message}", file=sys.stderr)
        return results, True
    return results, False


# Print


def describe(values):
    """Mean, standard deviation, 95 % interval of the mean, and the values.

    The interval is a bootstrap's, always the same for the same values; None for a single value.
    """
    values = np.array(values, np.float64)
    interval = None
    if len(values) > 1:
        rng = np.random.default_rng(0)
        means = [rng.choice(values, len(values)).mean() for _ in range(5000)]
        interval = np.percentile(means, (2.5, 97.5)).tolist()
    return {
        "mean": float(values.mean()),
        "std": float(values.std()),
        "interval": interval,
        "episodes": values.tolist(),
    }


def describe_wins(won):
    """The fraction won, its 95 % interval by Wilson, and the battles."""
    n = len(won)
    p = float(np.mean(won))
    z = 1.96
    centre = p + z**2 / (2 * n)
    half_width = z * (p * (1 - p) / n + (z / (2 * n)) ** 2) ** 0.5
    low = (centre - half_width) / (1 + z**2 / n)
    high = (centre + half_width) / (1 + z**2 / n)
    return {
        "mean": p,
        "interval": [max(0.0, low), min(1.0, high)],
        "episodes": [bool(battle) for battle in won],
    }


def table(figures):
    """The figures as text, a row each for return, length and battles won."""
    first_seed = figures["seed"]
    last_seed = first_seed + figures["num_episodes"] - 1
    played = f"on {figures['env_type']} {figures['env_name']}"
    lines = [
        f"{figures['model']}, trained by {figures['script']}, {played}",
        f"{figures['num_episodes']} greedy episodes, seeds {first_seed} to {last_seed}",
        f"{'':12}{'mean':>10}{'std':>10}   95 % interval of the mean",
    ]
    for name in ("return", "length", "battles_won"):
        if name not in figures:
            continue
        row = figures[name]
        std = ""
        if "std" in row:
            std = f"{row['std']:.3f}"
        interval = "-"
        if row["interval"] is not None:
            low, high = row["interval"]
            interval = f"{low:.3f} to {high:.3f}"
        lines.append(f"{name.replace('_', ' '):12}{row['mean']:10.3f}{std:>10}   {interval}")
    return "\n".join(lines)


if __name__ == "__main__":
    args = tyro.cli(Args, args=boolean_flags(Args))
    figures = None
    interrupted = True
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # leaves no half a video either
    try:
        # stdout is for the figures: what scripts and environments print goes to stderr.
        with contextlib.redirect_stdout(sys.stderr):
            figures, interrupted = run(args)
    except (UsageError, DependencyNotInstalled) as error:
        print(f"evaluate.py: {error}".splitlines()[0], file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        pass  # before the first episode
    if figures is not None and args.json:
        # JSON has no NaN: it is null.
        figures = json.loads(json.dumps(figures), parse_constant=lambda name: None)
        print(json.dumps(figures))
    elif figures is not None:
        print(table(figures))
    sys.exit(130 if interrupted else 0)
