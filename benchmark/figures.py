"""Figures and tables of lines, which plot.py makes of suites and of runs of one's own."""

import curves
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

METRIC_NAMES = {"return": "return", "battle_won": "battles won"}
DASHES = ("-", "--", "-.", ":")


def draw(summaries, path, statistic=curves.interquartile_mean):
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
            if summary.line.environment == environment:
                i = labels.index(summary.line.label)
                # Lines may lie on top of each other, so they differ in their dashes too.
                style = {"color": f"C{i}", "linestyle": DASHES[i % len(DASHES)]}
                drawn[summary.line.label] = draw_line(panel, summary, statistic, style)
                panel.set_ylabel(METRIC_NAMES[summary.metric])
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
        panel.grid(alpha=0.3)
    figure.supxlabel("environment steps")
    # A column for each label, if they fit beside each other.
    fit = max(map(len, labels)) <= 30 and sum(len(label) + 8 for label in labels) < 13 * size[0]
    n_legend_columns = len(labels) if fit else 1
    place = "outside upper center"
    figure.legend(drawn.values(), drawn, loc=place, ncols=n_legend_columns, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def draw_line(panel, summary, statistic, style):
    """One line of a panel with its intervals. Returns matplotlib's line."""
    evaluated = ~np.isnan(summary.scores).any(axis=0)  # all of the seeds
    steps = summary.steps[evaluated]
    middle, low, high = curves.estimate(summary.scores[:, evaluated], statistic)
    marker = "o" if len(steps) == 1 else None  # a line of one point is not seen
    (line,) = panel.plot(steps, middle, marker=marker, **style)
    panel.fill_between(steps, low, high, color=style["color"], alpha=0.2, linewidth=0)
    return line


def markdown(rows):
    """A table of dictionaries that have the same keys."""
    head = list(rows[0])
    table = ["| " + " | ".join(head) + " |", "|" + "-|" * len(head)]
    for row in rows:
        table.append("| " + " | ".join(map(str, row.values())) + " |")
    return "\n".join(table) + "\n"


def with_interval(scores, statistic):
    """A statistic over the seeds [its interval, if there are several]."""
    middle, low, high = (value[0] for value in curves.estimate(scores[:, None], statistic))
    interval = f" [{low:.2f}, {high:.2f}]" if len(scores) > 1 else ""
    return f"{middle:.2f}{interval}"
