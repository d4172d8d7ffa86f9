"""What plot.py writes of a suite: learning curves, a page with tables, and data for marl-eval."""

import textwrap

import numpy as np
from curves import BINS, estimate
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from suites import KNOWN, THRESHOLDS

# Suites with the same labels in all tasks: their page opens with a table of tasks and labels.
COMPARED = ("tasks", "choice")
METRIC_NAMES = {"return": "return", "battle_won": "battles won"}
DASHES = ("-", "--", "-.", ":")

HEAD = """\
# Suite `{suite}`

![Interquartile mean over the seeds, with 95% stratified bootstrap intervals]({suite}.png)

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


def interquartile_mean(scores, axis):
    """The mean without the lowest and the highest quarter.

    scipy's trim_mean takes ten times as long, and a bootstrap calls this 2,000 times.
    """
    left_out = scores.shape[axis] // 4
    middle = np.arange(left_out, scores.shape[axis] - left_out)
    return np.sort(scores, axis=axis).take(middle, axis=axis).mean(axis=axis)


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
    text = HEAD.format(suite=suite)
    if suite in COMPARED:
        text += comparison(summaries) + "\n"
    text += EXPLANATION.format(suite=suite, machines="; ".join(machines))
    columns = ["environment", "line", "seeds", "steps", "last 5 %", "best evaluation"]
    columns += ["100 episodes, final / best model", "reached", "after steps", "after minutes"]
    columns.append("known figures (other code, other budgets)")
    text += markdown_head(columns)
    for summary in summaries:
        text += markdown_row(result_cells(summary))
    text += "\n## Commands\n\n"
    text += markdown_head(["environment", "line", "seeds k", "command", "commit"])
    for summary in summaries:
        text += markdown_row(command_cells(summary))
    text += "\n## Not run\n\n"
    return text + (missing_runs(lines, summaries) or "All of the suite was run.\n")


def markdown_row(cells):
    return "| " + " | ".join(map(str, cells)) + " |\n"


def markdown_head(columns):
    return markdown_row(columns) + "|" + "-|" * len(columns) + "\n"


def comparison(summaries):
    """Tasks down and labels across: the last 5 %, an interquartile mean over the seeds."""
    labels = list(dict.fromkeys(summary.line.label for summary in summaries))
    summary_of = {}
    for summary in summaries:
        summary_of[summary.line.environment, summary.line.label] = summary
    text = "Interquartile mean over the seeds of the last 5 % of each run [95% interval]; how many "
    text += "seeds reach what is worth reaching, after how many steps and minutes.\n\n"
    text += markdown_head(["task", *labels])
    for environment in dict.fromkeys(summary.line.environment for summary in summaries):
        cells = [environment]
        for label in labels:
            if (environment, label) not in summary_of:
                cells.append("-")
                continue
            summary = summary_of[environment, label]
            cell = figure_with_interval(last_part(summary), interquartile_mean)
            after = reached(summary)
            if environment in THRESHOLDS:
                cell += f", {len(after)} of {len(summary.seeds)} seeds reach "
                cell += f"{THRESHOLDS[environment]:g}"
            if len(after):
                steps, minutes = after.mean(axis=0)
                cell += f" after {steps:,.0f} steps, {minutes:.0f} min"
            cells.append(cell)
        text += markdown_row(cells)
    return text


def last_part(summary):
    """The mean over the last 5 % of each run: (seeds,)."""
    last = BINS // 20
    return summary.scores[:, -last:].mean(axis=1)


def reached(summary):
    """Rows of (steps, minutes) of the seeds that have reached what is worth reaching."""
    return summary.reached(THRESHOLDS.get(summary.line.environment, np.inf))


def figure_with_interval(scores, statistic):
    """A statistic over the seeds [its interval, if there are several]."""
    middle, low, high = (value[0] for value in estimate(scores[:, None], statistic))
    interval = f" [{low:.2f}, {high:.2f}]" if len(scores) > 1 else ""
    return f"{middle:.2f}{interval}"


def result_cells(summary):
    count = len(summary.seeds)
    cells = [
        summary.line.environment,
        summary.line.label,
        count,
        f"{summary.steps[-1]:,.0f}",
        figure_with_interval(last_part(summary), np.mean),
        figure_with_interval(summary.scores.max(axis=1), np.mean),
    ]
    final = summary.model_scores("final")
    best = summary.model_scores("best")
    cells.append("-" if np.isnan(final).any() else f"{final.mean():.2f} / {best.mean():.2f}")
    after = reached(summary)  # the steps and minutes of the seeds that have reached the threshold
    seeds = "-"
    if summary.line.environment in THRESHOLDS:
        threshold = THRESHOLDS[summary.line.environment]
        seeds = f"{len(after)} of {count} seeds ({threshold:g})"
    cells.append(seeds)
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
    step_1... A step holds the mean over a bin. The absolute metric is that of the best model, over
    100 episodes; of older runs, which have none, it is the best bin.
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
                best = summary.runs[i].get(f"best_model_{metric}", np.nan)
                if np.isnan(best):
                    best = summary.values[metric][i].max()
                run["absolute_metrics"][metric] = [best]
            runs[f"run_{i + 1}"] = run
        algorithms = environments.setdefault(summary.line.environment, {})
        algorithms[summary.line.label.replace(",", "")] = runs
    return {suite: environments}
