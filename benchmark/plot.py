"""Turn the runs of a suite into tables and figures. From a clone, without any run: --from-csv.

    python benchmark/plot.py smaclite

Writes to benchmark/results: <suite>.csv (learning curves, means over 100 bins of steps),
<suite>_runs.csv (one line a run) and, from these two alone, <suite>.png, <suite>.md (final
performance) and <suite>.json, which id-marl-eval reads.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import curves
import numpy as np
import tyro
from common import REPO, usage_error
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from suites import KNOWN, SUITES

METRIC_NAMES = {"return": "return", "battle_won": "battles won"}
DASHES = ("-", "--", "-.", ":")

HEAD = """\
# Suite `{suite}`

![Interquartile mean over the seeds, with 95% stratified bootstrap intervals]({suite}.png)

"""
COMPARISON = """\
Interquartile mean over the seeds of the last 5 % of each run [95% interval], and steps until 0.9 \
of the battles or 0.8 of the food are reached.

"""
EXPLANATION = """\
Written by `python benchmark/plot.py {suite}` from [{suite}.csv]({suite}.csv) and \
[{suite}_runs.csv]({suite}_runs.csv); `python benchmark/run.py {suite}` makes the runs.

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
    suite: tyro.conf.Positional[Literal[tuple(SUITES)]]
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


def draw(summaries, path):
    """Learning curves: one panel for each environment, one line for each label, one legend."""
    environments = list(dict.fromkeys(summary.line.environment for summary in summaries))
    labels = list(dict.fromkeys(summary.line.label for summary in summaries))
    n_columns = min(4, len(environments))
    n_rows = -(-len(environments) // n_columns)  # rounded up
    size = (max(3.4 * n_columns, 6), 2.9 * n_rows + 0.2 * len(labels))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False).flatten()
    for panel in panels[len(environments) :]:
        panel.remove()
    drawn = {}  # by label, a line of one of the panels
    for panel, environment in zip(panels, environments):
        panel.set_title(environment)
        for summary in summaries:
            if summary.line.environment != environment:
                continue
            i = labels.index(summary.line.label)
            middle, low, high = curves.estimate(summary.scores, curves.interquartile_mean)
            # Lines may lie on top of each other, so they differ in their dashes too.
            style = {"color": f"C{i}", "linestyle": DASHES[i % len(DASHES)]}
            (drawn[summary.line.label],) = panel.plot(summary.steps, middle, **style)
            panel.fill_between(summary.steps, low, high, color=f"C{i}", alpha=0.2, linewidth=0)
            panel.set_ylabel(METRIC_NAMES[summary.metric])
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
        panel.grid(alpha=0.3)
    figure.supxlabel("environment steps")
    n_legend_columns = 1 if max(map(len, labels)) > 30 else len(labels)
    place = "outside upper center"
    figure.legend(drawn.values(), drawn, loc=place, ncols=n_legend_columns, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def make_page(suite, lines, summaries):
    """Final performance, commands, and what is missing, in markdown."""
    machines = dict.fromkeys(run["machine"] for summary in summaries for run in summary.runs)
    page = HEAD.format(suite=suite)
    environments = {line.environment for line in lines}
    labels = {line.label for line in lines}
    if len(environments) > 1 and len(lines) == len(environments) * len(labels):
        page += COMPARISON + comparison(summaries) + "\n"
    page += EXPLANATION.format(suite=suite, machines="; ".join(machines))
    page += markdown([results_of(summary) for summary in summaries])
    page += "\n## Commands\n\n"
    page += markdown([commands_of(summary) for summary in summaries])
    return page + "\n## Not run\n\n" + missing_runs(lines, summaries)


def markdown(rows):
    """A table of dictionaries that have the same keys."""
    head = list(rows[0])
    table = ["| " + " | ".join(head) + " |", "|" + "-|" * len(head)]
    for row in rows:
        table.append("| " + " | ".join(map(str, row.values())) + " |")
    return "\n".join(table) + "\n"


def comparison(summaries):
    """Tasks down; across, for each label, the last 5 % and the steps to what is worth reaching."""
    labels = list(dict.fromkeys(summary.line.label for summary in summaries))
    rows = {}  # of the environments
    for summary in summaries:
        environment = summary.line.environment
        if environment not in rows:
            columns = [*labels, *[f"steps, {label}" for label in labels]]
            rows[environment] = {"task": environment, **dict.fromkeys(columns, "-")}
        label = summary.line.label
        rows[environment][label] = with_interval(summary.last_part(), curves.interquartile_mean)
        if summary.threshold is not None and len(summary.reached()):
            # The mean of the seeds that have reached it.
            rows[environment][f"steps, {label}"] = f"{summary.reached()[:, 0].mean():,.0f}"
    return markdown(list(rows.values()))


def with_interval(scores, statistic):
    """A statistic over the seeds [its interval, if there are several]."""
    middle, low, high = (value[0] for value in curves.estimate(scores[:, None], statistic))
    interval = f" [{low:.2f}, {high:.2f}]" if len(scores) > 1 else ""
    return f"{middle:.2f}{interval}"


def results_of(summary):
    """A row of the table of results."""
    row = {
        "environment": summary.line.environment,
        "line": summary.line.label,
        "seeds": len(summary.seeds),
        "steps": f"{summary.steps[-1]:,.0f}",
        "last 5 %": with_interval(summary.last_part(), np.mean),
        "best evaluation": with_interval(summary.scores.max(axis=1), np.mean),
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
        runs = {}
        for i, of_run in enumerate(summary.runs):
            run = {}
            for k, step in enumerate(summary.steps):
                run[f"step_{k}"] = {"step_count": round(step)}
                for metric in metrics:
                    run[f"step_{k}"][metric] = [summary.values[metric][i, k]]
            run["absolute_metrics"] = {}
            for metric in metrics:
                best = of_run.get(f"best_model_{metric}", np.nan)
                if np.isnan(best):
                    best = summary.values[metric][i].max()
                run["absolute_metrics"][metric] = [best]
            runs[f"run_{i + 1}"] = run
        algorithms = environments.setdefault(summary.line.environment, {})
        algorithms[summary.line.label.replace(",", "")] = runs
    return {suite: environments}


def main(args):
    lines = SUITES[args.suite]
    curves_csv = args.results_dir / f"{args.suite}.csv"
    runs_csv = args.results_dir / f"{args.suite}_runs.csv"
    results = curves.load(lines, curves_csv, runs_csv)
    if not (args.from_csv or args.envs):
        runs_dir = args.runs_dir / args.suite
        here = curves.read_runs(lines, runs_dir)
        others = results.keys() - here
        print(f"{len(here)} runs in {runs_dir}, {len(others)} others in {runs_csv}")
        results |= here
        if results:
            curves.save(results, lines, curves_csv, runs_csv)
            results = curves.load(lines, curves_csv, runs_csv)  # what --from-csv would see
    if not results:
        usage_error(f"no results yet: python benchmark/run.py {args.suite}")

    with_results = {line for line, _ in results}
    summaries = [curves.Summary(line, results) for line in lines if line in with_results]
    if args.envs:
        chosen = [summary for summary in summaries if summary.line.environment in args.envs]
        if not chosen or not args.figure:
            usage_error("--envs needs environments that have results, and --figure")
        draw(chosen, args.figure)
        return
    draw(summaries, args.figure or args.results_dir / f"{args.suite}.png")
    page = make_page(args.suite, lines, summaries)
    (args.results_dir / f"{args.suite}.md").write_text(page)
    data = json.dumps(marl_eval(args.suite, summaries), separators=(",", ":")) + "\n"
    (args.results_dir / f"{args.suite}.json").write_text(data)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
