"""Turn runs into tables and figures: runs of your own, or those of a suite.

    python benchmark/plot.py runs/ --beside MMM
    python benchmark/plot.py smaclite
    python benchmark/plot.py mine --suites my_suites.py

Of your own runs, pooled over seeds, it writes into my_results: curves.png, curves.csv, results.md,
and each of its tables in LaTeX (booktabs): results.tex and others.

Of a suite it writes to benchmark/results, and to my_results with --suites: <suite>.csv (learning
curves, means over 100 bins of steps), <suite>_runs.csv (one line a run) and, from these two alone,
<suite>.png, <suite>.md (final performance) and <suite>.json, which id-marl-eval reads. From a
clone, without any run: --from-csv.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import curves
import numpy as np
import own_runs
import pandas as pd
import tyro
from common import REPO, usage_error
from figures import draw, markdown, with_interval
from run import read_suites
from suites import KNOWN

HEAD = """\
# Suite `{suite}`

![Interquartile mean over the seeds, with 95% stratified bootstrap intervals]({suite}.png)

"""
COMPARISON = """\
Interquartile mean over the seeds of the last 5 % of each run [95% interval], and steps until what \
is worth reaching (`THRESHOLDS` in `benchmark/suites.py`) is reached.

"""
EXPLANATION = """\
Written by `python benchmark/plot.py {words}` from [{suite}.csv]({suite}.csv) and \
[{suite}_runs.csv]({suite}_runs.csv); `python benchmark/run.py {words}` makes the runs.

The curves are interquartile means over the seeds with pointwise 95% stratified bootstrap \
intervals, which are too narrow with five seeds or less. With five seeds the interquartile mean \
leaves out the best and the worst at each step; with three it is the mean. The table below has \
plain means over the seeds [95% interval].

Greedy evaluation episodes: the part of the battles won, or the return where there are no \
battles. A run has 100 equal parts, and an evaluation here is the mean over one of them; a part \
without any has that of the part before. *Last 5 %* is the mean over the last five, *best \
evaluation* is chosen for each seed. *100 episodes*: what `cleanmarl/evaluate.py` gives, of \
`model.pt` and of `best_model.pt`. *Reached*: the figure in brackets or more in five evaluations \
in a row, at any time; steps and minutes are means over the seeds that have reached it. Machine: \
{machines}, one thread for each run. The minutes depend on what else ran there, and are no \
comparison of lines.

"""


@dataclass
class Args:
    what: tyro.conf.Positional[tuple[str, ...]]
    """a suite, or runs of your own: their folders, folders above them, or event files"""
    # Runs of your own
    beside: tuple[str, ...] = ()
    """tasks whose published lines stand beside your runs, for example MMM"""
    label: dict[str, str] = field(default_factory=dict)
    """pairs of a label and what to write for it: --label my_qmix "Our mixer" """
    until: float = math.inf
    """leave out all that comes after this many steps"""
    statistic: Literal["iqm", "mean"] = "iqm"
    """over the seeds: interquartile mean, which is the mean of three, or mean"""
    # Suites
    suites: Path | None = None
    """a file of your own suites, instead of benchmark/suites.py; it is run"""
    from_csv: bool = False
    """make figure, table and JSON from the CSV files, without looking for runs"""
    envs: tuple[str, ...] = ()
    """draw only these environments of a suite, and into --figure; nothing else is written then"""
    # Files
    figure: Path | None = None
    """another file for the figure (.png, .svg or .pdf)"""
    runs_dir: Path = REPO / "benchmark" / "runs"
    """where the runs of suites are"""
    results_dir: Path | None = None
    """where the results go, if not to benchmark/results or, of your own, to my_results"""


def make_page(suite, words, lines, summaries):
    """Final performance, commands, and what is missing, in markdown."""
    machines = dict.fromkeys(run["machine"] for summary in summaries for run in summary.runs)
    page = HEAD.format(suite=suite)
    environments = {line.environment for line in lines}
    labels = {line.label for line in lines}
    if len(environments) > 1 and len(lines) == len(environments) * len(labels):
        page += COMPARISON + comparison(summaries) + "\n"
    page += EXPLANATION.format(suite=suite, words=words, machines="; ".join(machines))
    page += markdown([results_of(summary) for summary in summaries])
    page += "\n## Commands\n\n"
    page += markdown([commands_of(summary) for summary in summaries])
    return page + "\n## Not run\n\n" + missing_runs(lines, summaries)


def comparison(summaries):
    """Tasks down; across, for each label, the last 5 % and the steps to what is worth reaching."""
    labels = list(dict.fromkeys(summary.line.label for summary in summaries))
    tasks = {}
    for summary in summaries:
        tasks.setdefault(summary.line.environment, []).append(summary)
    columns = [*labels, *[f"steps, {label}" for label in labels]]
    rows = []
    for task, of_task in tasks.items():
        row = {"task": task, **dict.fromkeys(columns, "-")}
        for summary in of_task:
            label = summary.line.label
            row[label] = with_interval(summary.last_part(), curves.interquartile_mean)
            if summary.threshold is not None and len(summary.reached()):
                # The mean of the seeds that have reached it.
                row[f"steps, {label}"] = f"{summary.reached()[:, 0].mean():,.0f}"
        versions = [versions_of(summary) for summary in of_task]
        row["version"] = " / ".join(versions if len(set(versions)) > 1 else versions[:1])
        rows.append(row)
    return markdown(rows)


def versions_of(summary):
    """The versions of cleanmarl that have made the runs of a line."""
    versions = [run.get("version") for run in summary.runs]
    return " ".join(dict.fromkeys("-" if pd.isna(version) else version for version in versions))


def results_of(summary):
    """A row of the table of results."""
    row = {
        "environment": summary.line.environment,
        "line": summary.line.label,
        "seeds": len(summary.seeds),
        "steps": f"{summary.steps[-1]:,.0f}",
        "last 5 %": with_interval(summary.last_part(), np.mean),
        "best evaluation": with_interval(summary.best_part(), np.mean),
        "100 episodes, final / best model": "-",
        "reached": "-",
        "after steps": "-",
        "after minutes": "-",
        "known figures (other code, other budgets)": KNOWN.get(summary.line.environment, ""),
    }
    final = summary.model_scores("final")
    best = summary.model_scores("best")
    if not np.isnan(final).any():
        row["100 episodes, final / best model"] = f"{final.mean():.2f} / {best.mean():.2f}"
    if summary.threshold is not None:
        after = summary.reached()
        row["reached"] = f"{len(after)} of {len(summary.seeds)} seeds ({summary.threshold:g})"
        if len(after):
            steps, minutes = after.mean(axis=0)
            row["after steps"] = f"{steps:,.0f}"
            row["after minutes"] = f"{minutes:.1f}"
    return row


def commands_of(summary):
    """A row of the table of commands."""
    commits = dict.fromkeys(run["commit"] for run in summary.runs)
    return {
        "environment": summary.line.environment,
        "line": summary.line.label,
        "seeds k": " ".join(map(str, summary.seeds)),
        "command": f"`{summary.line.command('k')}`",
        "commit": " ".join(commits),
        "version": versions_of(summary),
    }


def missing_runs(lines, summaries):
    """The seeds of the suite that have no run, a list in markdown."""
    seeds_of = {summary.line: summary.seeds for summary in summaries}
    text = ""
    for line in lines:
        missing = [str(seed) for seed in line.seeds if seed not in seeds_of.get(line, [])]
        if missing:
            text += f"- {line.environment}, {line.label}: seeds {' '.join(missing)}\n"
    return text or "All of the suite was run.\n"


def marl_eval(suite, summaries):
    """The nested dictionary that id-marl-eval reads (Gorsane et al., 2022).

    suite -> environment -> line -> run_1, run_2... (the seeds in their order) -> step_0,
    step_1... A step holds the mean over a bin. The absolute metric is that of the best model, over
    100 episodes; of older runs, which have none, it is the best bin.
    """
    environments = {}
    for summary in summaries:
        metrics = ["return"]
        if summary.metric == "battle_won":
            metrics.append("battle_won")
        values = {}
        for metric in metrics:  # no value may be missing, so the first one is repeated backwards
            values[metric] = pd.DataFrame(summary.values[metric]).bfill(axis=1).to_numpy()
        runs = {}
        for i, of_run in enumerate(summary.runs):
            run = {}
            for k, step in enumerate(summary.steps):
                run[f"step_{k}"] = {"step_count": round(step)}
                for metric in metrics:
                    run[f"step_{k}"][metric] = [values[metric][i, k]]
            run["absolute_metrics"] = {}
            for metric in metrics:
                best = of_run.get(f"best_model_{metric}", np.nan)
                if np.isnan(best):
                    best = values[metric][i].max()
                run["absolute_metrics"][metric] = [best]
            runs[f"run_{i + 1}"] = run
        algorithms = environments.setdefault(summary.line.environment, {})
        algorithms[summary.line.label.replace(",", "")] = runs
    return {suite: environments}


def write_suite(args, suite, lines):
    """Figure, page, CSV and JSON of a suite."""
    results_dir = args.results_dir or REPO / "benchmark" / "results"
    words = suite
    if args.suites:
        results_dir = args.results_dir or Path("my_results")
        words = f"{suite} --suites {args.suites}"
    curves_csv = results_dir / f"{suite}.csv"
    runs_csv = results_dir / f"{suite}_runs.csv"
    results = curves.load(lines, curves_csv, runs_csv)
    if not (args.from_csv or args.envs):
        runs_dir = args.runs_dir / suite
        here = curves.read_runs(lines, runs_dir)
        others = results.keys() - here
        print(f"{len(here)} runs in {runs_dir}, {len(others)} others in {runs_csv}")
        results |= here
        if results:
            curves.save(results, lines, curves_csv, runs_csv)
            results = curves.load(lines, curves_csv, runs_csv)  # what --from-csv would see
    if not results:
        usage_error(f"no results yet: python benchmark/run.py {words}")

    with_results = {line for line, _ in results}
    summaries = [curves.Summary(line, results) for line in lines if line in with_results]
    if args.envs:
        chosen = [summary for summary in summaries if summary.line.environment in args.envs]
        if not chosen or not args.figure:
            usage_error("--envs needs environments that have results, and --figure")
        draw(chosen, args.figure)
        print(f"Written: {args.figure}")
        return
    figure = args.figure or results_dir / f"{suite}.png"
    draw(summaries, figure)
    page = make_page(suite, words, lines, summaries)
    (results_dir / f"{suite}.md").write_text(page)
    data = json.dumps(marl_eval(suite, summaries), separators=(",", ":")) + "\n"
    (results_dir / f"{suite}.json").write_text(data)
    names = f"{suite}.csv, {suite}_runs.csv, {suite}.md, {suite}.json"
    if args.from_csv:
        names = f"{suite}.md, {suite}.json"
    print(f"Written: {figure}, and in {results_dir} {names}")


def main(args):
    suites = read_suites(args.suites)
    if len(args.what) == 1 and args.what[0] in suites:
        if args.beside or args.label or args.until < math.inf or args.statistic != "iqm":
            hint = f"give their folder, benchmark/runs/{args.what[0]}"
            names = "--beside, --label, --until and --statistic"
            usage_error(f"{names} are for runs of your own: {hint}")
        write_suite(args, args.what[0], suites[args.what[0]])
        return
    for path in args.what:
        if not Path(path).exists():
            usage_error(f"{path} is no folder, no file, and no suite: {', '.join(suites)}")
    if not args.what:
        usage_error(f"give the folders of runs, or a suite: {', '.join(suites)}")
    own_runs.write(args)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
