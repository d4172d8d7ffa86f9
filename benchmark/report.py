"""What plot.py writes of a suite: learning curves, a page with tables, and data for marl-eval."""

import textwrap

import numpy as np
from curves import BINS, estimate
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from scipy.stats import trim_mean
from suites import KNOWN, THRESHOLDS

METRIC_NAMES = {"return": "return", "battle_won": "battles won"}
DASHES = ("-", "--", "-.", ":")

HEAD = """\
# Suite `{suite}`

Written by `python benchmark/plot.py {suite}` from [{suite}.csv]({suite}.csv) and \
[{suite}_runs.csv]({suite}_runs.csv); `python benchmark/run.py {suite}` makes the runs.

![Interquartile mean over the seeds, with 95% stratified bootstrap intervals]({suite}.png)

The curves are interquartile means with pointwise intervals: with five seeds, the best and the \
worst at each step are left out. The table has plain means of all seeds.

Greedy evaluation episodes: the part of the battles won, or the return where there are no \
battles. An evaluation here is the mean over one of {bins} equal parts of the run; *best* is \
chosen for each seed. Mean over seeds [95% stratified bootstrap interval over seeds; too narrow \
with five seeds or less]. {rule}; after how many steps and minutes is the mean over the seeds \
that have reached it. Machine: {machines}, one thread for each run. The minutes depend on what \
else ran there, and are no comparison of lines.

| environment | line | seeds | steps | last evaluation | best evaluation | reached | after steps \
| after minutes | known figures (other code, other budgets) |
|-|-|-|-|-|-|-|-|-|-|
"""


def interquartile_mean(scores, axis):
    return trim_mean(scores, 0.25, axis=axis)


def draw(summaries, path):
    """Learning curves: one panel for each environment, one line for each label."""
    environments = list(dict.fromkeys(summary.line.environment for summary in summaries))
    labels = list(dict.fromkeys(summary.line.label for summary in summaries))
    n_columns = min(3, len(environments))
    n_rows = -(-len(environments) // n_columns)  # rounded up
    size = (0.5 + 4.5 * n_columns, 4.8 * n_rows)  # room for a long label below a panel
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False).flatten()
    for panel in panels[len(environments) :]:
        panel.remove()
    for panel, environment in zip(panels, environments):
        panel.set_title(environment)
        panel.set_xlabel("environment steps")
        for summary in summaries:
            if summary.line.environment != environment:
                continue
            i = labels.index(summary.line.label)
            style = {
                "color": f"C{i}",
                "linestyle": DASHES[i % len(DASHES)],  # lines may lie on top of each other
                "label": textwrap.fill(f"{summary.line.label}, n = {len(summary.seeds)}", 56),
            }
            middle, low, high = estimate(summary.scores, interquartile_mean)
            panel.plot(summary.steps, middle, **style)
            panel.fill_between(
                summary.steps, low, high, color=style["color"], alpha=0.2, linewidth=0
            )
            panel.set_ylabel(f"{METRIC_NAMES[summary.metric]} (evaluation)")
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
        panel.grid(alpha=0.3)
        panel.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.16), fontsize="small", frameon=False
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def table(suite, lines, summaries):
    """Final performance, commands, and what is missing, in markdown."""
    machines = {}  # in the order in which they appear
    for summary in summaries:
        for run in summary.runs:
            machines[run["machine"]] = True
    rule = "*Reached*: no figure set"
    if suite in THRESHOLDS:
        threshold = THRESHOLDS[suite]
        rule = f"*Reached*: {threshold:g} or more in five evaluations in a row, at any time"
    text = HEAD.format(suite=suite, bins=BINS, rule=rule, machines="; ".join(machines))
    for summary in summaries:
        text += markdown_row(result_cells(suite, summary))
    text += "\n## Commands\n\n"
    text += markdown_row(["environment", "line", "seeds k", "command", "commit"])
    text += "|-|-|-|-|-|\n"
    for summary in summaries:
        text += markdown_row(command_cells(summary))
    text += "\n## Not run\n\n"
    return text + (missing_runs(lines, summaries) or "All of the suite was run.\n")


def markdown_row(cells):
    return "| " + " | ".join(map(str, cells)) + " |\n"


def result_cells(suite, summary):
    count = len(summary.seeds)
    cells = [
        summary.line.environment,
        summary.line.label,
        count,
        f"{summary.steps[-1]:,.0f}",
    ]
    last_and_best = np.stack([summary.scores[:, -1], summary.scores.max(axis=1)], axis=1)
    for mean, low, high in zip(*estimate(last_and_best, np.mean)):
        interval = f" [{low:.2f}, {high:.2f}]" if count > 1 else ""
        cells.append(f"{mean:.2f}{interval}")
    after = []  # the steps and minutes of the seeds that have reached the threshold
    reached = "-"
    if suite in THRESHOLDS:
        after = summary.reached(THRESHOLDS[suite])
        reached = f"{len(after)} of {count} seeds"
    cells.append(reached)
    if len(after):
        steps, minutes = after.mean(axis=0)
        cells += [f"{steps:,.0f}", f"{minutes:.1f}"]
    else:
        cells += ["-", "-"]
    cells.append(KNOWN.get(summary.line.environment, ""))
    return cells


def command_cells(summary):
    commits = dict.fromkeys(run["commit"] for run in summary.runs)
    return [
        summary.line.environment,
        summary.line.label,
        " ".join(map(str, summary.seeds)),
        f"`{summary.line.command('k')}`",
        " ".join(commits),
    ]


def missing_runs(lines, summaries):
    """The seeds of the suite that have no run, a list in markdown."""
    seeds_of = {summary.line: summary.seeds for summary in summaries}
    text = ""
    for line in lines:
        missing = [str(seed) for seed in line.seeds if seed not in seeds_of.get(line, [])]
        if missing:
            text += f"- {line.environment}, {line.label}: seeds {' '.join(missing)}\n"
    return text


def marl_eval(suite, summaries):
    """The nested dictionary that id-marl-eval reads (Gorsane et al., 2022).

    suite -> environment -> line -> run_1, run_2... (the seeds in their order) -> step_0,
    step_1... A step holds the mean over a bin. The absolute metric is the best bin: there is no
    evaluation of ten times the length at the end.
    """
    environments = {}
    for summary in summaries:
        metrics = ["return"]
        if summary.metric == "battle_won":
            metrics.append("battle_won")
        runs = {}
        for i in range(len(summary.seeds)):
            run = {}
            for k, step in enumerate(summary.steps):
                run[f"step_{k}"] = {"step_count": round(step)}
                for metric in metrics:
                    run[f"step_{k}"][metric] = [summary.values[metric][i, k]]
            run["absolute_metrics"] = {}
            for metric in metrics:
                run["absolute_metrics"][metric] = [summary.values[metric][i].max()]
            runs[f"run_{i + 1}"] = run
        algorithms = environments.setdefault(summary.line.environment, {})
        algorithms[summary.line.label.replace(",", "")] = runs
    return {suite: environments}
