"""Turn the runs of a suite into tables and figures. From a clone, without any run: --from-csv.

    python benchmark/plot.py smaclite

Writes to benchmark/results: <suite>.csv (learning curves, means over 100 bins of steps), <suite>_runs.csv (one line a
run) and, from these two alone, <suite>.png, <suite>.md (final performance) and <suite>.json, which id-marl-eval reads.
"""

import json
import textwrap
from dataclasses import dataclass
from pathlib import Path

import tyro
from suites import KNOWN, REPO, THRESHOLDS, get_suite, is_finished, read_status, usage_error

try:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np
    import pandas as pd
    from rliable.library import get_interval_estimates
    from scipy.stats import trim_mean
    from tbparse import SummaryReader
except ImportError as error:
    usage_error(f'{error.name} is missing: pip install -e ".[benchmark]"')

BINS = 100
TAGS = {
    "eval/ep_reward": "return",
    "eval/battle_won": "battle_won",
    "rollout/ep_reward": "rollout_return",
}
KEY = ["environment", "label", "seed"]


@dataclass
class Args:
    suite: tyro.conf.Positional[str]
    """smaclite, lbf, mpe or smoke (benchmark/suites.py)"""
    from_csv: bool = False
    """make figure, table and JSON from the CSV files, without looking for runs"""
    envs: tuple[str, ...] = ()
    """draw only these environments, and into --figure; nothing else is written then"""
    figure: Path | None = None
    """another file for the figure (.png, .svg or .pdf)"""
    runs_dir: Path = REPO / "benchmark" / "runs"
    """where the runs are"""
    results_dir: Path = REPO / "benchmark" / "results"
    """where the results go"""


def read_run(folder):
    """A run's event files: means over equal bins of steps. A bin without an evaluation is left out."""
    events = SummaryReader(str(folder / "runs"), extra_columns={"wall_time"}).scalars
    width = events["step"].max() / BINS
    bins = np.ceil(events.step / width).clip(1, BINS).astype(int)
    curve = events[events.tag.isin(TAGS)].pivot_table(
        index=bins, columns="tag", values="value", aggfunc="mean"
    )
    curve = curve.reindex(columns=list(TAGS)).rename(columns=TAGS).dropna(subset="return")
    seconds = events.wall_time.groupby(bins).max() - events.wall_time.min()
    curve.insert(0, "seconds", seconds.reindex(curve.index).round().astype(int))
    curve.insert(0, "step", np.rint(curve.index * width).astype(int))
    return curve


def read_runs(lines, root):
    """All finished runs of a suite: (line, seed) -> (what is known of the run, its curve)."""
    results = {}
    for line in lines:
        folders = {
            int(path.name.removeprefix("seed")): path
            for path in line.folder(root, 0).parent.glob("seed*")
        }
        for seed, folder in sorted(folders.items()):
            if not is_finished(line, folder, seed):
                print(f"{folder} is left out: not finished, or of another command")
                continue
            status, curve = read_status(folder), read_run(folder)
            run = {
                name: status[name]
                for name in ("command", "started", "seconds", "commit", "machine")
            }
            run["packages"] = " ".join(
                f"{name}={version}" for name, version in status["packages"].items()
            )
            run["steps"], run["seconds"] = curve["step"].iloc[-1], round(run["seconds"])
            run["steps_per_second"] = run["steps"] / run["seconds"]
            for metric in ("return", "battle_won"):
                run |= {
                    f"last_{metric}": curve[metric].iloc[-1],
                    f"best_{metric}": curve[metric].max(),
                }
            results[line, seed] = run, curve
    return results


def load(lines, paths):
    """The results that are in the CSV files, without those of commands that are no longer in the suite."""
    if not all(path.exists() for path in paths):
        return {}
    curves, runs = (
        dict(list(pd.read_csv(path, dtype={"commit": str}).groupby(KEY))) for path in paths
    )
    results = {}
    for line in lines:
        for (environment, label, seed), table in runs.items():
            run = table.drop(columns=KEY).iloc[0].to_dict()
            if (environment, label) == (line.environment, line.label) and run[
                "command"
            ] == line.command(seed):
                results[line, seed] = run, curves[environment, label, seed].drop(columns=KEY)
    return results


def save(results, lines, paths):
    """Write the CSV files, in the order of the suite, with few digits."""
    rows = sorted(results, key=lambda key: (lines.index(key[0]), key[1]))
    keys = [
        {"environment": line.environment, "label": line.label, "seed": seed} for line, seed in rows
    ]
    curves = pd.concat([results[row][1].assign(**key) for row, key in zip(rows, keys)])
    runs = pd.DataFrame([key | results[row][0] for row, key in zip(rows, keys)])
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    for table, path in zip((curves, runs), paths):
        columns = [*KEY, *(name for name in table if name not in KEY)]
        table.to_csv(path, columns=columns, index=False, float_format="%.4g", lineterminator="\n")


class Summary:
    """What figure, table and JSON show of a line: its seeds as the rows of matrices of BINS columns."""

    def __init__(self, line, results):
        self.line, self.seeds = line, sorted(seed for other, seed in results if other == line)
        self.runs, curves = zip(*(results[line, seed] for seed in self.seeds))
        self.metric = "battle_won" if curves[0]["battle_won"].notna().all() else "return"
        # A bin without an evaluation repeats the one before, those before the first evaluation repeat the first.
        filled = [c.set_index((c["step"] / c["step"].max() * BINS).round()) for c in curves]
        filled = [curve.reindex(range(1, BINS + 1)).ffill().bfill() for curve in filled]
        self.values = {
            name: np.stack([curve[name] for curve in filled]).astype(float)
            for name in (*TAGS.values(), "seconds")
        }
        self.scores = self.values[self.metric]
        self.steps = np.arange(1, BINS + 1) / BINS * curves[0]["step"].max()

    def reached(self, threshold):
        """Steps and minutes after which each seed has stayed at the threshold for five bins; None if it never has."""
        for scores, seconds in zip(self.scores, self.values["seconds"]):
            stays = (np.lib.stride_tricks.sliding_window_view(scores, 5) >= threshold).all(axis=1)
            yield (
                (self.steps[stays.argmax()], seconds[stays.argmax()] / 60) if stays.any() else None
            )


def estimate(scores, statistic):
    """A statistic over seeds (rows) for each column, and the ends of its 95% stratified bootstrap interval."""
    np.random.seed(
        0
    )  # rliable draws from numpy's global generator: the same scores have the same interval
    points, intervals = get_interval_estimates(
        {"line": scores[:, None]}, lambda sample: statistic(sample[:, 0], axis=0), reps=2000
    )
    return points["line"], *intervals["line"]


def interquartile_mean(scores, axis):
    return trim_mean(scores, 0.25, axis=axis)


def draw(summaries, path):
    """Learning curves: one panel for each environment, one line for each label."""
    names = {
        metric: metric.replace("_", " ").replace("battle won", "battles won")
        for metric in TAGS.values()
    }
    environments = list(dict.fromkeys(summary.line.environment for summary in summaries))
    labels = list(dict.fromkeys(summary.line.label for summary in summaries))
    columns = min(3, len(environments))
    rows = -(-len(environments) // columns)
    size = (0.5 + 4.5 * columns, 4.8 * rows)  # a label may be long: one in a line, or two
    figure, axes = plt.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
    for axis, environment in zip(axes.flat, environments):
        for summary in summaries:
            if summary.line.environment == environment:
                middle, low, high = estimate(summary.scores, interquartile_mean)
                i, label = (
                    labels.index(summary.line.label),
                    f"{summary.line.label}, n = {len(summary.seeds)}",
                )
                label = textwrap.fill(label, 56)
                color, dashes = (
                    f"C{i}",
                    ("-", "--", "-.", ":")[i % 4],
                )  # lines may lie on top of each other
                axis.plot(summary.steps, middle, color=color, linestyle=dashes, label=label)
                axis.fill_between(summary.steps, low, high, color=color, alpha=0.2, linewidth=0)
                axis.set(
                    title=environment,
                    xlabel="environment steps",
                    ylabel=f"{names[summary.metric]} (evaluation)",
                )
        axis.xaxis.set_major_formatter(matplotlib.ticker.EngFormatter(sep=""))
        axis.grid(alpha=0.3)
        axis.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.16), fontsize="small", frameon=False
        )
    for axis in axes.flat[len(environments) :]:
        axis.remove()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def table(suite, lines, summaries):
    """Final performance, commands, and what is missing, in markdown."""
    threshold = THRESHOLDS.get(suite, np.inf)
    rule = (
        f"*Reached*: {threshold:g} or more in five evaluations in a row, at any time"
        if suite in THRESHOLDS
        else "*Reached*: no figure set"
    )
    machines = dict.fromkeys(run["machine"] for summary in summaries for run in summary.runs)
    text = [
        f"# Suite `{suite}`\n",
        f"Written by `python benchmark/plot.py {suite}` from [{suite}.csv]({suite}.csv) and "
        f"[{suite}_runs.csv]({suite}_runs.csv); `python benchmark/run.py {suite}` makes the runs.\n",
        f"![Interquartile mean over the seeds, with 95% stratified bootstrap intervals]({suite}.png)\n",
        "The curves are interquartile means with pointwise intervals: with five seeds, the best and the worst at each "
        "step are left out. The table has plain means of all seeds.\n",
        "Greedy evaluation episodes: the part of the battles won, or the return where there are no battles. An "
        f"evaluation here is the mean over one of {BINS} equal parts of the run; *best* is chosen for each seed. Mean "
        "over seeds [95% stratified bootstrap interval over seeds; too narrow with five seeds or less]. "
        f"{rule}; after how many steps and minutes is the mean over the seeds that have reached it. "
        f"Machine: {'; '.join(machines)}, one thread for each run. The minutes depend on what else ran there, and are "
        "no comparison of lines.\n",
        "| environment | line | seeds | steps | last evaluation | best evaluation | reached | after steps "
        "| after minutes | known figures (other code, other budgets) |",
        "|-|-|-|-|-|-|-|-|-|-|",
    ]
    for summary in summaries:
        line, count = summary.line, len(summary.seeds)
        reached = np.array([after for after in summary.reached(threshold) if after]).reshape(-1, 2)
        cells = [line.environment, line.label, count, f"{summary.steps[-1]:,.0f}"]
        last_and_best = np.stack([summary.scores[:, -1], summary.scores.max(axis=1)], axis=1)
        for mean, low, high in zip(*estimate(last_and_best, np.mean)):
            cells.append(f"{mean:.2f} [{low:.2f}, {high:.2f}]" if count > 1 else f"{mean:.2f}")
        cells.append(f"{len(reached)} of {count} seeds" if suite in THRESHOLDS else "-")
        cells += (
            [f"{reached[:, 0].mean():,.0f}", f"{reached[:, 1].mean():.1f}"]
            if len(reached)
            else ["-", "-"]
        )
        text.append(f"| {' | '.join(map(str, [*cells, KNOWN.get(line.environment, '')]))} |")
    text += [
        "\n## Commands\n",
        "| environment | line | seeds k | command | commit |",
        "|-|-|-|-|-|",
    ]
    for summary in summaries:
        commits = " ".join(dict.fromkeys(run["commit"] for run in summary.runs))
        seeds = " ".join(map(str, summary.seeds))
        cells = (
            summary.line.environment,
            summary.line.label,
            seeds,
            f"`{summary.line.command('k')}`",
            commits,
        )
        text.append(f"| {' | '.join(cells)} |")
    done = {(summary.line, seed) for summary in summaries for seed in summary.seeds}
    missing = {
        line: [str(seed) for seed in line.seeds if (line, seed) not in done] for line in lines
    }
    text += ["\n## Not run\n"]
    text += [
        f"- {line.environment}, {line.label}: seeds {' '.join(seeds)}"
        for line, seeds in missing.items()
        if seeds
    ]
    return "\n".join(text if any(missing.values()) else [*text, "All of the suite was run."]) + "\n"


def marl_eval(suite, summaries):
    """The nested dictionary that id-marl-eval reads (Gorsane et al., 2022). The runs are the seeds in their order.

    A step holds the mean over a bin. The absolute metric is the best bin: there is no evaluation of ten times the
    length at the end.
    """
    data = {}
    for summary in summaries:
        algorithms = data.setdefault(suite, {}).setdefault(summary.line.environment, {})
        runs = algorithms[summary.line.label.replace(",", "")] = {}
        metrics = ["return", "battle_won"] if summary.metric == "battle_won" else ["return"]
        for i in range(len(summary.seeds)):
            runs[f"run_{i + 1}"] = {
                f"step_{k}": {"step_count": round(step)}
                | {m: [summary.values[m][i, k]] for m in metrics}
                for k, step in enumerate(summary.steps)
            } | {"absolute_metrics": {m: [summary.values[m][i].max()] for m in metrics}}
    return data


if __name__ == "__main__":
    args = tyro.cli(Args, description=__doc__)
    lines, results_dir = get_suite(args.suite), args.results_dir
    paths = [results_dir / f"{args.suite}.csv", results_dir / f"{args.suite}_runs.csv"]
    results = load(lines, paths)
    if not (args.from_csv or args.envs):
        here = read_runs(lines, args.runs_dir / args.suite)
        print(
            f"{len(here)} runs in {args.runs_dir / args.suite}, {len(results.keys() - here)} others in {paths[1]}"
        )
        if results | here:
            save(results | here, lines, paths)
            results = load(lines, paths)  # what --from-csv would see
    if not results:
        usage_error(f"no results yet: python benchmark/run.py {args.suite}")
    summaries = [
        Summary(line, results) for line in lines if any(line == other for other, _ in results)
    ]
    if args.envs:
        summaries = [summary for summary in summaries if summary.line.environment in args.envs]
        if not summaries or not args.figure:
            usage_error("--envs needs environments that have results, and --figure")
    draw(summaries, args.figure or results_dir / f"{args.suite}.png")
    if not args.envs:
        (results_dir / f"{args.suite}.md").write_text(table(args.suite, lines, summaries))
        data = json.dumps(marl_eval(args.suite, summaries), separators=(",", ":"))
        (results_dir / f"{args.suite}.json").write_text(data + "\n")
