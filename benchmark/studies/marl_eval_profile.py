"""Draw marl-eval's performance profile of a suite, over the tasks where all of its lines were run.

    pip install --no-deps id-marl-eval seaborn colorcet colorama
    python benchmark/studies/marl_eval_profile.py tasks

Reads benchmark/results/<suite>.json and writes <suite>_profile.png beside it. A score is the mean
return over the last 5 % of a run, normalised to the task's greatest and smallest return (Gorsane et
al., 2022). It is not their absolute metric, that of the best model: this would not show that a team
has unlearnt its task. Bands are rliable's, 95% stratified bootstrap intervals. It prints the scores
of all seeds. (marl-eval pins a pandas that is older than ours: --no-deps.)
"""

import json
import sys
from pathlib import Path

import numpy as np
from marl_eval.plotting_tools.plotting import performance_profiles
from marl_eval.utils import data_processing_utils as processing

RESULTS = Path(__file__).parent.parent / "results"


def complete_tasks(tasks):
    """The tasks that have all lines with equally many seeds: marl-eval wants that."""
    labels = {label for algorithms in tasks.values() for label in algorithms}
    num_seeds = max(len(runs) for algorithms in tasks.values() for runs in algorithms.values())
    complete = {}
    for name, algorithms in tasks.items():
        seeds = [len(algorithms.get(label, ())) for label in labels]
        if seeds == [num_seeds] * len(labels):
            complete[name] = algorithms
    return complete


def compare_last_part(run):
    """Let marl-eval compare the mean return over the last 5 % of a run.

    marl-eval wants the same metrics in all tasks, and only some have battles to win.
    """
    for step in run.values():
        step.pop("battle_won", None)
    *steps, _ = run.values()  # the last are the absolute metrics
    num_last = len(steps) // 20
    last_returns = [step["return"] for step in steps[-num_last:]]
    run["absolute_metrics"]["return"] = [np.mean(last_returns)]


def main(suite):
    tasks = complete_tasks(json.loads((RESULTS / f"{suite}.json").read_text())[suite])
    for algorithms in tasks.values():
        for runs in algorithms.values():
            for run in runs.values():
                compare_last_part(run)
    processed = processing.data_process_pipeline({suite: tasks}, metrics_to_normalize=["return"])
    scores, _ = processing.create_matrices_for_rliable(processed, suite, ["return"])
    figure = performance_profiles(scores, "return", metrics_to_normalize=["return"])
    figure.savefig(RESULTS / f"{suite}_profile.png", dpi=150, bbox_inches="tight")
    for label, of_runs in scores["mean_norm_return"].items():  # (seed, task)
        for name, of_seeds in zip(tasks, of_runs.T):
            print(f"{name}, {label}: {np.round(of_seeds, 2)}")


if __name__ == "__main__":
    main(sys.argv[1])
