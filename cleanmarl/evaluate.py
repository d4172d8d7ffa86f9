"""Evaluate a trained team, and watch it.

    python cleanmarl/evaluate.py runs/<run> --episodes 20
    python cleanmarl/evaluate.py runs/qmix__smaclite__3m__*
    python cleanmarl/evaluate.py runs/<run> --video battle.mp4

Several runs make one table over their seeds.

A model file is data. Nothing in it is run, and no code is imported because a model names it, but
for the four scripts: to run your own script or environment, name it on the command line. A copy of
a script in the folder of a run is not run either.
"""

import contextlib
import importlib
import json
import math
import random
import runpy
import signal
import sys
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import tyro
from scipy import stats
from tqdm import tqdm

from cleanmarl import SCRIPTS, UsageError, __version__, plain_arguments
from cleanmarl.env_wrappers import make_env
from cleanmarl.foreign_envs import FAMILIES

FEWEST = 5  # episodes with an interval: fewer say too little
FEWEST_RUNS = 3
# Arguments in which runs of one table may differ.
APART = "seed exp_name log_every eval_steps num_eval_ep use_wnb wnb_project wnb_entity".split()


@dataclass
class Args:
    runs: tyro.conf.Positional[tuple[str, ...]]
    """the folder of a run, runs/..., or a .pt file; of several runs, which differ in their seed"""
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
    if min(args.episodes, args.video_episodes) < 1:
        raise UsageError("--episodes, --video-episodes: give 1 or more")
    if not 0 <= args.seed < 2**31:
        raise UsageError(f"--seed {args.seed} is out of range: give one from 0 to {2**31 - 1}")
    if not args.runs:
        raise UsageError("give the folder of a run, runs/...")
    if len(args.runs) > 1 and (args.render or args.video):
        raise UsageError("--render, --video: give one run")
    if args.render and args.video:
        raise UsageError("--render, --video: give one of the two, a window or a film")


# Load


def load_run(run, best=False):
    """The path of a run's model file, and the dictionary that a script has saved there."""
    path = Path(run)
    if path.is_dir():
        path = path / ("best_model.pt" if best else "model.pt")
    if not path.is_file():
        hint = "give a .pt file, or a run's folder; with --best if the run has not ended"
        raise UsageError(f"{path}: there is no such model: {hint}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one line is enough
            saved = torch.load(path, map_location="cpu", weights_only=True)
        check_saved(saved)
    except Exception as error:  # whatever a damaged file leads to
        problem = "is damaged or no model of these scripts (0.2.0 or later)"
        raise UsageError(f"{path} {problem}; nothing in it has been run") from error
    return path, saved


def check_saved(saved):
    """Raise an error unless this is what a script saves, with sizes that can be built."""
    args = saved["args"]
    words = [saved["script"], saved["version"]]
    words += [args["env_type"], args["env_name"], args["env_family"]]
    sizes = [args["hidden_dim"], args["num_layers"], args["max_episode_steps"]]
    are_words = all(isinstance(word, str) for word in words)
    are_sizes = all(isinstance(size, int) and size > 0 for size in sizes)
    if not (are_words and are_sizes and isinstance(args["agent_ids"], bool)):
        raise ValueError("arguments")
    # A damaged size must not fill the memory, or build layers for hours.
    num_weights = sum(weight.numel() for weight in saved["q_network"].values())
    if args["hidden_dim"] * args["num_layers"] > num_weights:
        raise ValueError("hidden_dim, num_layers")
    # Our scripts save no nan. Sparse tensors and those of the device `meta` raise an error here.
    if not all(weight.isfinite().all() for weight in saved["q_network"].values()):
        raise ValueError("weights")


def what_was_trained(saved):
    """The script and its arguments, written out, but for those that may differ in a table."""
    arguments = {name: value for name, value in saved["args"].items() if name not in APART}
    return {name: repr(value) for name, value in {"script": saved["script"], **arguments}.items()}


def check_same(loaded):
    """Raise a UsageError unless the models, (path, saved) each, differ in their seed alone.

    The copies of their script are compared too.
    """
    first_path, first = loaded[0]
    expected = what_was_trained(first)
    for path, saved in loaded[1:]:
        trained = what_was_trained(saved)
        for name in expected | trained:
            if expected.get(name) != trained.get(name):
                problem = f"{name!r} is {expected.get(name)} in {first_path}"
                problem += f" and {trained.get(name)} in {path}"
                raise UsageError(f"{problem}: give runs that differ in their seed alone")
    copies = [path.parent / f"{saved['script']}.py" for path, saved in loaded]
    copies = [copy for copy in copies if copy.is_file()]  # older runs have none
    for copy in copies[1:]:
        if copy.read_bytes() != copies[0].read_bytes():
            raise UsageError(f"{copy} differs from {copies[0]}: give runs of one version")


def load_script(name, path=""):
    """The module of one of the four scripts by its name, or of the user's own at `path`."""
    if not path:
        if name in SCRIPTS:
            return importlib.import_module(f"cleanmarl.{name}")
        problem = f"the model is from {name!r}, none of ours: to run its code, give its path"
        raise UsageError(f"--script: {problem}")
    if Path(path).suffix != ".py" or not Path(path).is_file():
        raise UsageError(f"--script: {path} is no Python file")
    sys.path.insert(0, str(Path(path).parent))  # as for a program
    module = SimpleNamespace(**runpy.run_path(path, run_name="script_of_the_run"))
    if not (hasattr(module, "QNetwork") and hasattr(module, "evaluate")):
        raise UsageError(f"--script: {path} must have QNetwork and evaluate, as our scripts have")
    return module


def build_q_network(module, saved, env):
    """Build the trained Q-network. Raises a UsageError if it does not fit script or environment."""
    _, obs_dim = env.observation_space["obs"].shape
    _, n_actions = env.observation_space["avail_actions"].shape
    args = saved["args"]
    try:
        q_network = module.QNetwork(obs_dim, n_actions, args["hidden_dim"], args["num_layers"])
        q_network.load_state_dict(saved["q_network"])
    except Exception as error:  # the user's own may raise anything
        reason = f"{type(error).__name__}: {error}".splitlines()[-1].strip()
        model = "the model"
        if saved["version"] != __version__:
            model += f" of version {saved['version']!r} (this is {__version__})"
        problem = f"{model} does not fit the script, or {obs_dim} observations and {n_actions}"
        raise UsageError(f"--script, --env-name: {problem} actions: {reason!r}") from error
    return q_network


# Play


def run(args):
    """Load the model and play its episodes. Returns the figures, None if no episode has ended."""
    check_args(args)
    path, saved = load_run(args.runs[0], args.best)
    trained = saved["args"]
    env_type = trained["env_type"]
    env_name = args.env_name or trained["env_name"]
    env_family = args.env_family or trained["env_family"]
    agent_ids = trained["agent_ids"]
    max_steps = trained["max_episode_steps"]
    is_own = env_type == "pz" and env_family not in FAMILIES
    if is_own and not (args.env_name and args.env_family):
        problem = f"{env_name!r} of {env_family!r} is somebody's own: to run its code, give both"
        raise UsageError(f"--env-family, --env-name: {problem}")
    module = load_script(saved["script"], args.script)
    torch.set_num_threads(1)  # the networks are so small that a second thread costs more
    render_mode = None
    if args.render:
        from cleanmarl.rendering.window import require_display

        require_display()
        render_mode = "human"
    elif args.video:
        render_mode = "rgb_array"
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    env = make_env(env_type, env_name, env_family, agent_ids, args.seed, render_mode, max_steps)
    for number, handler in handlers.items():
        signal.signal(number, handler)  # an environment may install its own
    try:
        q_network = build_q_network(module, saved, env)
        if args.video:
            from cleanmarl.rendering.video import FilmedEpisodes

            env = FilmedEpisodes(env, args.video, min(args.video_episodes, args.episodes))
        results = play(args, module, q_network, env)
    finally:
        with contextlib.suppress(Exception, SystemExit):  # an error above comes first
            env.close()
    if not results:
        return None
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
    if any("eval/battle_won" in result for result in results):
        # One that does not tell is not won.
        won = [result.get("eval/battle_won", 0) for result in results]
        figures["battles_won"] = describe_wins(won)
    return figures


def run_several(args):
    """Play the runs one after the other. Returns the figures of those that are whole, or None."""
    check_args(args)
    check_same([load_run(path, args.best) for path in args.runs])
    played = []
    with contextlib.suppress(KeyboardInterrupt):  # while an environment is made
        for path in args.runs:
            figures = run(replace(args, runs=(path,)))
            if figures is None or figures["num_episodes"] < args.episodes:
                break
            played.append(figures)
    return over_runs(played) if played else None


def play(args, module, q_network, env):
    """Play the episodes, until Ctrl-C. Returns the metrics of each."""
    results = []
    try:
        for i in tqdm(range(args.episodes), unit="episode", disable=None):
            # Each episode has a seed of its own, so that it can be played again.
            seed = args.seed + i
            env.unwrapped.next_seed = seed
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)
            results.append(module.evaluate(env, q_network, 1))
    except KeyboardInterrupt:
        message = f"stopped after {len(results)} of {args.episodes} episodes"
        if args.video and len(results) < args.video_episodes:
            message += ", the video is not whole and thrown away"
        print(f"evaluate.py: {message}", file=sys.stderr)
    return results


# Print


def describe(values, fewest=FEWEST, ddof=0):
    """Mean, deviation, values, and the mean's 95 % interval by Student's t.

    The deviation is that of the values, with `ddof` 1 that of what they are a sample of.
    """
    values = np.array(values, np.float64)
    interval = None
    if len(values) >= fewest:
        half_width = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
        interval = [float(values.mean() - half_width), float(values.mean() + half_width)]
    mean = float(values.mean())
    std = float(values.std(ddof=ddof)) if len(values) > ddof else math.nan
    return {"mean": mean, "std": std, "interval": interval, "episodes": values.tolist()}


def describe_wins(won):
    """The fraction won, its 95 % interval by Wilson, and the battles."""
    battles = [bool(battle) for battle in won]
    interval = None
    if len(battles) >= FEWEST:
        test = stats.binomtest(sum(battles), len(battles))
        interval = list(test.proportion_ci(0.95, method="wilson"))
    return {"mean": float(np.mean(battles)), "interval": interval, "episodes": battles}


def over_runs(played):
    """The figures of several runs, and of the means of the runs: their mean over the runs."""
    same = ("script", "env_type", "env_name", "seed", "num_episodes")
    figures = {"num_runs": len(played), **{name: played[0][name] for name in same}}
    for name in ("return", "length", "battles_won"):
        if any(name in of_run for of_run in played):
            means = [of_run[name]["mean"] if name in of_run else 0 for of_run in played]
            row = describe(means, FEWEST_RUNS, ddof=1)
            row["runs"] = row.pop("episodes")
            figures[name] = row
    return {**figures, "runs": played}


def heading(figures):
    """What was played: the end of the first line, and the second line, of a table."""
    first_seed = figures["seed"]
    last_seed = first_seed + figures["num_episodes"] - 1
    trained = f"trained by {figures['script']}, on {figures['env_type']} {figures['env_name']}"
    episodes = f"{figures['num_episodes']} greedy episodes"
    if "runs" in figures:
        episodes += " each"
    return trained, f"{episodes}, seeds {first_seed} to {last_seed}"


def table(figures):
    """The figures as text, a row each for return, length and battles won."""
    trained, episodes = heading(figures)
    lines = [
        f"{figures['model']}, {trained}",
        episodes,
        f"{'':12}{'mean':>10}{'std':>10}   95 % interval of the mean",
    ]
    for name, row in rows_of(figures).items():
        std = f"{row['std']:.3f}" if "std" in row else ""
        lines.append(f"{name.replace('_', ' '):12}{row['mean']:10.3f}{std:>10}   {interval(row)}")
    return "\n".join(lines)


def table_over_runs(figures):
    """The figures of several runs as text, a column each for return, length and battles won."""
    trained, episodes = heading(figures)
    rows = rows_of(figures)
    lines = [f"{figures['num_runs']} runs, {trained}", episodes]
    lines.append(" " * 8 + "".join(f"{name.replace('_', ' '):>18}" for name in rows) + "   run")
    for i, of_run in enumerate(figures["runs"]):
        cells = "".join(f"{row['runs'][i]:18.3f}" for row in rows.values())
        lines.append(f"{'':8}{cells}   {of_run['model']}")
    for name in ("mean", "std"):
        lines.append(f"{name:8}" + "".join(f"{row[name]:18.3f}" for row in rows.values()))
    lines.append("95 %    " + "".join(f"{interval(row):>18}" for row in rows.values()))
    return "\n".join(lines)


def rows_of(figures):
    """The figures that have a mean."""
    return {name: row for name, row in figures.items() if isinstance(row, dict)}


def interval(row):
    """The 95 % interval of a mean in words."""
    return "{:.3f} to {:.3f}".format(*row["interval"]) if row["interval"] else "-"


if __name__ == "__main__":
    args = tyro.cli(Args, args=plain_arguments(sys.argv[1:]))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # leaves no half a video either
    are_several = len(args.runs) > 1
    try:
        # stdout is for the figures: what scripts and environments print goes to stderr.
        with contextlib.redirect_stdout(sys.stderr):
            figures = run_several(args) if are_several else run(args)
    except UsageError as error:
        print(f"evaluate.py: {error}".splitlines()[0], file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        figures = None
    if figures is not None and args.json:
        # JSON has no NaN: it is null.
        figures = json.loads(json.dumps(figures), parse_constant=lambda name: None)
        print(json.dumps(figures))
    elif figures is not None:
        print(table_over_runs(figures) if are_several else table(figures))
    is_whole = figures is not None and figures["num_episodes"] == args.episodes
    if is_whole and are_several:
        is_whole = figures["num_runs"] == len(args.runs)
    sys.exit(0 if is_whole else 130)
