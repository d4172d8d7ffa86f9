"""The scoreboard: QMIX on every map of SMAClite, as far as it was run.

    python benchmark/run.py tasks --labels recommended && python benchmark/plot.py tasks
    python benchmark/run.py maps && python benchmark/plot.py maps
    python benchmark/scoreboard.py

From the CSV files that plot.py has written it makes scoreboard.png (a panel for each map, and the
performance profile over all of them) and scoreboard.md: the maps with the recommended arguments,
and others beside them where they were run. Rows of older versions are left out, and lines that lack
a seed.
"""

from dataclasses import dataclass
from pathlib import Path

import curves
import numpy as np
import own_runs
import pandas as pd
import tyro
from common import REPO, usage_error
from figures import draw_line, markdown, with_interval
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from rliable.library import create_performance_profile
from suites import OTHER_MAPS, SMACLITE, SUITES

import smaclite_jit
from smaclite_jit.arena import Arena

RESULTS = REPO / "benchmark" / "results"
VERSIONS = ("0.3.0",)  # whose scripts learn as today's
N_COLUMNS = 6
# Beside the recommended arguments, where they were run: label, name and style.
OTHERS = {
    "default": ("default arguments", {"color": "C1", "linestyle": "--"}),
    "normalize_reward": ("--normalize-reward for --gamma 0.95", {"color": "C3", "linestyle": ":"}),
    "without gamma": ("without --gamma 0.95", {"color": "C2", "linestyle": "-."}),
}
# Another QMIX on MMM, by this simulator: one seed (docs/scoreboard.md).
PEER = "epymarl_mmm.csv"
PEER_STEPS = 1_000_000  # the first of them, which are as many as ours
HEAD = """\
# Scoreboard

![Battles won on the maps of SMAClite, and the performance profile over them](scoreboard.png)

{total}

"""


@dataclass
class Args:
    results_dir: Path = RESULTS
    """where the results go"""


def read_summaries(label):
    """What is known of each map with these arguments, by its name, in the order of the maps."""
    summaries = {}
    for suite in ("tasks", "maps"):
        lines = [line for line in SUITES[suite] if line.label == label]
        results = curves.load(lines, RESULTS / f"{suite}.csv", RESULTS / f"{suite}_runs.csv")
        results = {key: found for key, found in results.items() if found[0]["version"] in VERSIONS}
        for line in lines:
            if all((line, seed) in results for seed in line.seeds):
                summaries[line.environment] = curves.Summary(line, results)
    return {name: summaries[name] for name in (*SMACLITE, *OTHER_MAPS) if name in summaries}


def scores_of(summaries):
    """Shares of battles won over the last 5 %: (seeds, maps)."""
    parts = {name: summary.last_part() for name, summary in summaries.items()}
    return own_runs.matrix(parts, list(parts))


def read_peer():
    """The other QMIX's evaluations, and the mean of the last 5 % of the steps."""
    peer = pd.read_csv(RESULTS / PEER)
    peer = peer[peer.step <= PEER_STEPS]
    return peer, peer[peer.step > 0.95 * PEER_STEPS].battle_won.mean()


def draw(summaries, others, path):
    """A panel for each map, and one for the performance profile."""
    n_columns = min(N_COLUMNS, len(summaries) + 1)
    n_rows = -(-(len(summaries) + 1) // n_columns)  # rounded up
    size = (max(2.5 * n_columns, 8), 2.1 * n_rows + 0.6)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False).flatten()
    drawn = {}
    for panel, (name, summary) in zip(panels, summaries.items()):
        lines = {"QMIX, recommended arguments": (summary, {"color": "C0"})}
        for label, (words, style) in OTHERS.items():
            if name in others[label]:
                lines[words] = (others[label][name], style)
        for label, (of_line, style) in lines.items():
            drawn[label] = draw_line(panel, of_line, curves.interquartile_mean, style)
        if name == "MMM":
            peer, _ = read_peer()
            label = "EPyMARL's QMIX with its defaults, one seed, on MMM alone"
            (drawn[label],) = panel.plot(peer.step, peer.battle_won, color="0.6", linewidth=1)
        panel.set_title(name)
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
        panel.set_ylim(-0.05, 1.05)
        panel.grid(alpha=0.3)
    for panel in panels[len(summaries) + 1 :]:
        panel.remove()
    panel = panels[len(summaries)]
    thresholds = np.linspace(0, 1, 101)
    np.random.seed(0)  # rliable's bootstrap draws from this generator
    profile, intervals = create_performance_profile(
        {"line": scores_of(summaries)}, thresholds, reps=curves.REPS
    )
    panel.step(thresholds, profile["line"], color="C0", where="post")
    panel.fill_between(
        thresholds, *intervals["line"], color="C0", alpha=0.2, linewidth=0, step="post"
    )
    panel.set_title("all maps")
    panel.set_xlabel("battles won")
    panel.set_ylabel("share of runs above")
    panel.set_ylim(-0.05, 1.05)
    panel.grid(alpha=0.3)
    figure.supxlabel("environment steps")
    figure.supylabel("battles won")
    figure.legend(
        drawn.values(), drawn, loc="outside upper center", ncols=len(drawn), frameon=False
    )
    figure.savefig(path, dpi=110)


def last_part_of(summary):
    """The last 5 %, which must not break within a cell."""
    last_part = with_interval(summary.last_part(), curves.interquartile_mean)
    return last_part.replace(" ", "\N{NO-BREAK SPACE}")


def row_of(name, summary, others):
    """A row of the table."""
    battle_map = smaclite_jit.MAPS[name]
    arena = Arena(battle_map)
    reached = summary.reached()
    steps = f"{reached[:, 0].mean():,.0f}" if len(reached) else "-"
    speeds = [run["steps_per_second"] for run in summary.runs]
    final, best = (summary.model_scores(model).mean() for model in ("final", "best"))
    models = "-" if np.isnan(final + best) else f"{final:.2f} / {best:.2f}"
    last_parts = {"last 5 %": last_part_of(summary)}
    for label, (words, _) in OTHERS.items():
        other = others[label].get(name)
        last_parts[words] = last_part_of(other) if other else "-"
    return {
        "map": name,
        "agents / enemies": f"{arena.n_agents} / {arena.n_enemies}",
        "limit": battle_map.episode_limit,
        **last_parts,
        "seeds that reach 0.9": f"{len(reached)} of {len(summary.seeds)}",
        "after steps": steps,
        "steps/s": f"{np.median(speeds):,.0f}",
        "100 episodes, final / best model": models,
    }


def make_page(summaries, others):
    """The table, and what is missing, in markdown."""
    scores = scores_of(summaries)
    iqm = "{:.2f} [{:.2f}, {:.2f}]".format(*curves.aggregate(scores)["IQM"])
    counts = f"maps: {len(summaries)}, seeds of each: {len(scores)}"
    total = (
        f"Interquartile mean of the recommended arguments over maps and seeds: {iqm} ({counts})."
    )
    if "MMM" in summaries:
        _, last = read_peer()
        total += f" On MMM alone, EPyMARL's one seed has {last:.2f} from step 950,000 to a million."
    rows = [row_of(name, summary, others) for name, summary in summaries.items()]
    page = HEAD.format(total=total) + markdown(rows)
    missing = [name for name in (*SMACLITE, *OTHER_MAPS) if name not in summaries]
    versions = " or ".join(VERSIONS)
    page += f"\nNot run yet with the recommended arguments and {versions}: "
    page += f"{', '.join(missing) or 'nothing'}.\n"
    return page


def main(args):
    summaries = read_summaries("recommended")
    others = {label: read_summaries(label) for label in OTHERS}
    if not summaries:
        usage_error(f"no map has all runs of version {' or '.join(VERSIONS)} in the CSV files")
    args.results_dir.mkdir(parents=True, exist_ok=True)
    draw(summaries, others, args.results_dir / "scoreboard.png")
    (args.results_dir / "scoreboard.md").write_text(make_page(summaries, others))
    print(f"Written: scoreboard.png and scoreboard.md in {args.results_dir}")


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
