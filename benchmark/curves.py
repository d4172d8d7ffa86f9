"""The learning curves of a suite: from event files, to and from CSV files, and over seeds."""

import json
import re

import numpy as np
import pandas as pd
from rliable import metrics
from rliable.library import get_interval_estimates
from run import is_finished, is_same_script, read_status
from suites import THRESHOLDS
from tbparse import SummaryReader

BINS = 100  # equal parts of the steps of a run
REPS = 2000  # samples of a bootstrap
TAGS = {
    "eval/ep_reward": "return",
    "eval/battle_won": "battle_won",
    "rollout/ep_reward": "rollout_return",
}
KEY = ["environment", "label", "seed"]


def read_events(folder):
    """The curve in the event files below a folder, and the version of cleanmarl."""
    reader = SummaryReader(str(folder / "runs"), extra_columns={"wall_time"})
    events = reader.scalars
    texts = reader.text
    version = None  # of a script that does not say it
    if not texts.empty and (texts.tag == "version").any():
        version = texts.value[texts.tag == "version"].iloc[0]
    return bin_events(events, events["step"].max() / BINS), version


def bin_events(events, width):
    """Means over bins of `width` steps. A bin without an evaluation is left out."""
    bins = np.ceil(events.step / width).clip(1, BINS).astype(int)
    curve = events[events.tag.isin(TAGS)].pivot_table(
        index=bins, columns="tag", values="value", aggfunc="mean"
    )
    curve = curve.reindex(columns=list(TAGS)).rename(columns=TAGS).dropna(subset="return")
    seconds = events.wall_time.groupby(bins).max() - events.wall_time.min()
    curve.insert(0, "seconds", seconds.reindex(curve.index).round().astype(int))
    curve.insert(0, "step", np.rint(curve.index * width).astype(int))
    return curve


def describe_run(status, version, curve, evaluation):
    """What is known of a run: a line of <suite>_runs.csv."""
    packages = [f"{name}={number}" for name, number in status["packages"].items()]
    steps = curve["step"].iloc[-1]
    run = {
        "command": status["command"],
        "started": status["started"],
        "seconds": round(status["seconds"]),
        "commit": status["commit"],
        "version": version,
        "script_hash": status.get("script_hash"),
        "machine": status["machine"],
        "packages": " ".join(packages),
        "steps": steps,
        "steps_per_second": steps / max(1, curve["seconds"].iloc[-1]),
    }
    for metric in ("return", "battle_won"):
        run[f"last_{metric}"] = curve[metric].iloc[-1]
        run[f"best_{metric}"] = curve[metric].max()
    for model in ("final", "best"):
        for metric in ("return", "battle_won"):
            run[f"{model}_model_{metric}"] = evaluation.get(model, {}).get(metric)
    return run


def read_runs(lines, root):
    """All finished runs of a suite: (line, seed) -> (what is known of the run, its curve)."""
    results = {}
    for line in lines:
        folders = line.folder(root, 0).parent.glob("seed*[0-9]")
        for seed in sorted(int(folder.name.removeprefix("seed")) for folder in folders):
            folder = line.folder(root, seed)
            if not is_finished(line, folder, seed):
                print(f"{folder} is left out: not finished, or of another command or script")
                continue
            curve, version = read_events(folder)
            evaluation = {}  # of runs from before there was one
            if (folder / "evaluation.json").exists():
                evaluation = json.loads((folder / "evaluation.json").read_text())
            run = describe_run(read_status(folder), version, curve, evaluation)
            results[line, seed] = (run, curve)
    return results


def load(lines, curves_csv, runs_csv):
    """The results in the CSV files, without those of commands that have left the suite.

    Those of a text that is in no commit count as long as it is the script's.
    """
    if not (curves_csv.exists() and runs_csv.exists()):
        return {}
    curves = dict(list(pd.read_csv(curves_csv).groupby(KEY)))
    runs = pd.read_csv(runs_csv, dtype={"commit": str, "version": str, "script_hash": str})
    results = {}
    for line in lines:
        of_line = runs[(runs.environment == line.environment) & (runs.label == line.label)]
        for _, row in of_line.sort_values("seed").iterrows():
            if row.command == line.command(row.seed) and is_known(row, line):
                curve = curves[line.environment, line.label, row.seed]
                run = row.drop(KEY).to_dict()
                results[line, row.seed] = (run, curve.drop(columns=KEY))
    return results


def is_known(row, line):
    """Whether the text of a run's script is in a commit, or is the present one."""
    known_hash = row.get("script_hash")
    if pd.isna(known_hash) or re.fullmatch("[0-9a-f]{12}", row.commit):
        return True
    return is_same_script(line.path, known_hash)


def save(results, lines, curves_csv, runs_csv):
    """Write the CSV files, in the order of the suite, with few digits."""
    curves = []
    runs = []
    for line, seed in sorted(results, key=lambda key: (lines.index(key[0]), key[1])):
        key = {"environment": line.environment, "label": line.label, "seed": seed}
        run, curve = results[line, seed]
        runs.append(key | run)
        curves.append(curve.assign(**key))
    curves_csv.parent.mkdir(parents=True, exist_ok=True)
    for table, path in ((pd.concat(curves), curves_csv), (pd.DataFrame(runs), runs_csv)):
        columns = [*KEY, *table.columns.drop(KEY)]
        table.to_csv(path, columns=columns, index=False, float_format="%.4g", lineterminator="\n")


def won_nothing(run):
    """What is known of a run, with a 0 where 100 episodes of a model have told of no victory."""
    silent = {}
    for model in ("final_model", "best_model"):
        told = run.get(f"{model}_battle_won")
        if pd.isna(told) and not pd.isna(run.get(f"{model}_return")):
            silent[f"{model}_battle_won"] = 0.0
    return run | silent


class Summary:
    """What figure, table and JSON show of a line: matrices (seeds, bins)."""

    def __init__(self, line, results, bins=BINS):
        self.line = line
        self.bins = bins  # fewer in a curve that was cut off
        self.seeds = sorted(seed for other, seed in results if other == line)
        self.runs = [results[line, seed][0] for seed in self.seeds]
        curves = [results[line, seed][1] for seed in self.seeds]
        last_step = curves[0]["step"].max()
        self.steps = np.arange(1, bins + 1) / bins * last_step  # (bins,), the ends of the bins
        has_battles = any(curve["battle_won"].notna().any() for curve in curves)
        if has_battles:  # an environment may tell victories only
            curves = [curve.fillna({"battle_won": 0}) for curve in curves]
            self.runs = [won_nothing(run) for run in self.runs]
        # A bin without an evaluation repeats the one before. Those before the first are nan.
        filled = []
        for curve in curves:
            index = (curve["step"] / curve["step"].max() * bins).round()
            filled.append(curve.set_index(index).reindex(range(1, bins + 1)).ffill())
        self.values = {}  # column of the curves -> matrix
        for name in (*TAGS.values(), "seconds"):
            self.values[name] = np.stack([curve[name] for curve in filled]).astype(float)
        self.metric = "battle_won" if has_battles else "return"
        self.scores = self.values[self.metric]
        self.threshold = THRESHOLDS.get(line.environment)  # what is worth reaching

    def last_part(self):
        """The mean over the last 5 % of each run: (seeds,)."""
        return np.nanmean(self.scores[:, -max(1, self.bins // 20) :], axis=1)

    def best_part(self):
        """The best bin of each run: (seeds,)."""
        return np.nanmax(self.scores, axis=1)

    def model_scores(self, model):
        """What 100 episodes gave, of the `final` or the `best` model of each seed: (seeds,).

        nan for runs from before there were such episodes.
        """
        name = f"{model}_model_{self.metric}"
        return np.array([run.get(name, np.nan) for run in self.runs], float)

    def reached(self):
        """Where seeds first stay at the threshold for five bins: rows of (steps, minutes)."""
        rows = []
        for scores, seconds in zip(self.scores, self.values["seconds"]):
            windows = np.lib.stride_tricks.sliding_window_view(scores, 5)
            stays = (windows >= self.threshold).all(axis=1)
            if stays.any():
                first = stays.argmax()
                rows.append((self.steps[first], seconds[first] / 60))
        return np.array(rows).reshape(-1, 2)


def interquartile_mean(scores, axis):
    """The mean without the lowest and the highest quarter, ten times as fast as scipy's."""
    left_out = scores.shape[axis] // 4
    middle = np.arange(left_out, scores.shape[axis] - left_out)
    return np.sort(scores, axis=axis).take(middle, axis=axis).mean(axis=axis)


def estimate(scores, statistic):
    """A statistic over the rows of a matrix, and the ends of its 95% bootstrap interval."""
    # rliable draws from numpy's global generator: the same scores have the same interval.
    np.random.seed(0)
    # It draws numbers of rows, so that all columns have the same seeds: drawn for each column, the
    # ends of the interval would jump where the scores do not change.
    rows = np.arange(len(scores))[:, None]
    points, intervals = get_interval_estimates(
        {"line": rows}, lambda sample: statistic(scores[sample[:, 0]], axis=0), reps=REPS
    )
    low, high = intervals["line"]
    return points["line"], low, high


def improvement(scores, others):
    """How probable it is that a run beats one of the others, and the ends of the 95% interval.

    The mean over the tasks of matrices (seeds, tasks). A tie counts half.
    """
    np.random.seed(0)
    points, intervals = get_interval_estimates(
        {"pair": [scores, others]}, probability_of_improvement, reps=REPS
    )
    (low,), (high,) = intervals["pair"]
    return points["pair"][0], low, high


def probability_of_improvement(scores, others):
    """What rliable's function of this name gives, several hundred times as fast: (1,)."""
    difference = scores[:, None] - others  # (seeds, seeds of the others, tasks)
    wins = (difference > 0) + 0.5 * (difference == 0)
    return wins.mean(keepdims=True)[0, 0]


def aggregate(scores):
    """rliable's aggregates of a matrix (seeds, tasks): name -> value, ends of the 95% interval."""
    statistics = {
        "IQM": metrics.aggregate_iqm,
        "mean": metrics.aggregate_mean,
        "median": metrics.aggregate_median,
    }
    np.random.seed(0)
    points, intervals = get_interval_estimates(
        {"line": scores},
        lambda sample: np.array([statistic(sample) for statistic in statistics.values()]),
        reps=REPS,
    )
    low, high = intervals["line"]
    return {name: (points["line"][i], low[i], high[i]) for i, name in enumerate(statistics)}
