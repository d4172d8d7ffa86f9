"""Curves of teams that do not win, beside those of teams that do, from published runs.

    python benchmark/studies/symptoms.py

Draws the figure of docs/not_winning.md from the CSV files in benchmark/results.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import tyro
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

sys.path.append(str(Path(__file__).parent.parent))  # benchmark
from common import REPO

POLYAK = "qmix_multienvs (normalize_reward, polyak 0.05"
# Title, suite, environment, label of those that do not win, label of those that do.
PANELS = (
    ("near random play", "tasks", "Foraging-2s-10x10-4p-2f-v3", "default", "normalize_reward"),
    ("loops", "tasks", "Foraging-8x8-2p-2f-v3", "default", "recommended"),
    ("nobody fights", "tasks", "3m", "normalize_reward", "default"),
    ("rises and falls", "tasks", "MMM", "default", "recommended"),
    ("values explode", "smaclite", "MMM", f"{POLYAK})", f"{POLYAK}, double_q, clip_gradients 10)"),
    ("unlearns to act", "short", "lift", "qmix", "qmix (gamma 0.9)"),
)


@dataclass
class Args:
    figure: Path = REPO / "docs" / "images" / "symptoms.png"
    """the figure's file (.png, .svg or .pdf)"""


def draw(axis, title, suite, environment, labels):
    """A line for each seed. `labels` are those of the teams that do not win, and that do."""
    table = pd.read_csv(REPO / "benchmark" / "results" / f"{suite}.csv")
    table = table[table.environment == environment]
    metric = "battle_won" if table.battle_won.notna().all() else "return"
    for label, color in zip(labels, ("tab:red", "tab:gray")):
        for _, curve in table[table.label == label].groupby("seed"):
            smooth = curve[metric].rolling(3, min_periods=1).mean()
            axis.plot(curve.step, smooth, color=color, linewidth=1)
    axis.set_title(f"{title}\n{environment}", fontsize="small")
    axis.set_ylabel("battles won" if metric == "battle_won" else "return", fontsize="small")
    axis.set_ylim(-0.03, 1.03)
    axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    axis.tick_params(labelsize="small")


if __name__ == "__main__":
    args = tyro.cli(Args, description=__doc__)
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots(2, 3).flat
    for axis, (title, suite, environment, *labels) in zip(axes, PANELS, strict=True):
        draw(axis, title, suite, environment, labels)
    figure.savefig(args.figure, dpi=130)
