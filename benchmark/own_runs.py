"""Figure and tables of runs of one's own, for plot.py: over seeds, and beside published lines."""

import itertools
import os
from dataclasses import dataclass, replace
from pathlib import Path

import curves
import numpy as np
import pandas as pd
from common import REPO, usage_error
from figures import METRIC_NAMES, draw, markdown, with_interval
from suites import SUITES, Line
from tbparse import SummaryReader

# Arguments that make no other line: the seed, the task, and what does not change learning.
APART = "seed env_name exp_name use_wnb wnb_project wnb_entity save_model".split()
STATISTICS = {"iqm": curves.interquartile_mean, "mean": np.mean}
STATISTIC_NAMES = {"iqm": "Interquartile mean", "mean": "Mean"}

PAGE = """\
# Runs

![{statistic} over the seeds, with 95% stratified bootstrap intervals]({figure})

{statistic} over the seeds [95% stratified bootstrap interval] of greedy evaluations: the part of \
the battles won, or the return where there are no battles. The intervals are too narrow with five \
seeds or less. A run has 100 equal parts, and an evaluation here is the mean over one of them; \
a part without any repeats the one before, and the parts before the first evaluation are empty. \
*Last 5 %* is the mean over the last five, *best evaluation* is chosen for each seed.

"""
IMPROVEMENT = """
## Probability of improvement

How probable it is that a run of one line has a higher score over its last 5 % than a run of the \
other, a tie counting half: the mean over the tasks of both [95% stratified bootstrap interval]. \
A task counts where both lines have several seeds and as many steps, and all tasks of a line with \
as many seeds as the one that has fewest.

"""
AGGREGATE = """
## Over the tasks

The last 5 % over {tasks} together. Battles won count as they are, returns from 0, the lowest of \
all runs of a task here, to 1, the highest. A task in which all returns are equal is left out, and \
all tasks of a line count with as many seeds as the one that has fewest.

"""


@dataclass
class Run:
    folder: Path
    name: str
    """--exp-name, or the script's"""
    environment: str
    seed: int
    arguments: dict[str, str]
    source: str
    """the text of the script, empty if the folder has no copy of it"""
    events: pd.DataFrame
    label: str = ""


# Read


def find_runs(paths):
    """The folders with event files in and below some folders. A file stands for its folder."""
    folders = {}  # in their order, each once
    for path in paths:
        top = path.parent if path.is_file() else path
        found = sorted({file.parent.resolve() for file in top.rglob("events.out.tfevents.*")})
        if not found:
            usage_error(f"{path}: there is no event file of a run")
        folders |= dict.fromkeys(found)
    return list(folders)


def read_run(folder):
    """A run, from its event files. None, with a line that says why, if it cannot be shown."""
    reader = SummaryReader(
        str(folder), extra_columns={"wall_time"}, event_types={"scalars", "text"}
    )
    events = reader.scalars
    texts = reader.text
    if texts.empty or not texts.tag.str.startswith("arguments").any():
        print(f"{folder} is left out: its event file has no arguments")
        return None
    if events.empty or "eval/ep_reward" not in set(events.tag):
        print(f"{folder} is left out: it has no evaluation yet")
        return None
    arguments = {}
    table = texts[texts.tag.str.startswith("arguments")].value.iloc[-1]
    for row in table.splitlines()[2:]:  # after the table's head
        _, name, value, *_ = row.split("|")
        arguments[name] = value
    return Run(
        folder=folder,
        name=arguments.get("exp_name") or folder.name.split("__")[0],
        environment=Path(arguments["env_name"]).name,  # a map can be the path of a file
        seed=int(arguments["seed"]),
        arguments=arguments,
        source="".join(copy.read_text() for copy in sorted(folder.glob("*.py"))),
        events=events,
    )


# Pool


def give_labels(runs):
    """Label runs by their name and by what differs among the runs of that name in a task."""
    for name in dict.fromkeys(run.name for run in runs):
        of_name = [run for run in runs if run.name == name]
        folders = {}  # by the text of the script, the first run's
        for run in of_name:  # a script that was edited in between is another one
            folders.setdefault(run.source, run.folder)
            run.arguments["version"] = str(1 + list(folders).index(run.source))
        different = what_differs(of_name)
        if "version" in different:
            for i, folder in enumerate(folders.values()):
                print(f"{name}: version {i + 1} is the script in {folder}")
        for run in of_name:
            words = in_words(run.arguments, different)
            run.label = f"{name} ({words})" if words else name


def what_differs(runs):
    """The names of the arguments that have several values in the same task."""
    names = dict.fromkeys(name for run in runs for name in run.arguments if name not in APART)
    tasks = {run.environment for run in runs}
    different = {}
    for name, task in itertools.product(names, tasks):
        values = {run.arguments.get(name) for run in runs if run.environment == task}
        if len(values) > 1:
            different[name] = True
    return list(different)


def in_words(arguments, names):
    """Some of the arguments as in the labels of suites: normalize_reward, polyak 0.05."""
    words = []
    for name in names:
        value = arguments.get(name, "-")  # an older script may not have it
        if value == "True":
            words.append(name)
        elif value not in ("False", ""):
            words.append(f"{name} {value}")
    return ", ".join(words)


def pool(runs):
    """The runs of each task and label: (task, label) -> seed -> the latest run."""
    pools = {}
    for run in runs:
        of_seed = pools.setdefault((run.environment, run.label), {})
        if run.seed in of_seed:
            print(f"{of_seed[run.seed].folder} is left out: a later run has its label and seed")
        of_seed[run.seed] = run
    return pools


def differ(steps):
    """Whether lengths differ by more than a few steps, which are of no account."""
    return min(steps) < 0.99 * max(steps)


def summarise(task, label, of_seed, until):
    """The curves of a pool, as far as all of its seeds go and no further than `until`."""
    ends = {seed: run.events.step.max() for seed, run in of_seed.items()}
    end = min(ends.values())
    if differ(ends.values()):
        (seed, *_) = [seed for seed in ends if ends[seed] == end]
        print(f"{task}, {label}: the line ends at step {end:,}, where seed {seed} does")
    end = min(end, until)
    width = end / curves.BINS
    line = Line(task, label, script="", arguments="", seeds=())
    results = {}
    fewest = curves.BINS
    for seed, run in of_seed.items():
        curve = curves.bin_events(run.events[run.events.step <= end], width)
        if curve.empty:
            usage_error(f"{run.folder} has no evaluation up to step {end:,.0f}")
        fewest = min(fewest, len(curve))
        # Where a curve is cut off the last bin may have no evaluation.
        curve = curve.reindex(range(curve.index[0], curves.BINS + 1)).ffill()
        results[line, seed] = ({}, curve.assign(step=curve.index * width))
    if fewest < curves.BINS / 2:
        parts = f"{fewest} of {curves.BINS} parts have an evaluation"
        print(f"{task}, {label}: {parts}; a smaller --eval-steps in training makes more")
    return curves.Summary(line, results)


def summarise_published(task, until):
    """The published lines of a task, from the first of our suites that has it."""
    folder = REPO / "benchmark" / "results"
    known = []
    for suite, lines in SUITES.items():
        results = curves.load(lines, folder / f"{suite}.csv", folder / f"{suite}_runs.csv")
        known += [line.environment for line, _ in results]
        summaries = []
        for line in dict.fromkeys(line for line, _ in results if line.environment == task):
            summaries.append(cut_off(line, results, until))
        if summaries:
            return summaries
    known = ", ".join(dict.fromkeys(known))
    usage_error(f"--beside: there are no published lines of {task}, but of {known}")


def cut_off(line, results, until):
    """A published line up to the step `until`, in the parts that its runs have."""
    published = replace(line, label=f"published: {line.label}")
    of_line = {}
    bins = curves.BINS
    for (other, seed), (run, curve) in results.items():
        if other == line:
            width = curve.step.max() / curves.BINS
            curve = curve[curve.step <= until]
            if curve.empty:
                problem = f"the published runs of {line.environment} have parts of {width:,.0f}"
                usage_error(f"--until: {problem} steps: give more")
            bins = min(bins, round(curve.step.max() / width))
            of_line[published, seed] = (run, curve)
    return curves.Summary(published, of_line, bins)


def collect(args):
    """The curves of the runs that were asked for, and those of the published lines."""
    runs = [read_run(folder) for folder in find_runs(map(Path, args.what))]
    runs = [run for run in runs if run is not None]
    if not runs:
        usage_error("there is no run left to show")
    runs.sort(key=lambda run: run.events.wall_time.min())
    give_labels(runs)
    published = []
    for task in args.beside:
        published += summarise_published(task, args.until)
    labels = [run.label for run in runs] + [summary.line.label for summary in published]
    for label in args.label:
        if label not in labels:
            known = "; ".join(dict.fromkeys(labels))
            usage_error(f"--label: there is no {label}; there are: {known}")
    for run in runs:
        run.label = args.label.get(run.label, run.label)
    for summary in published:
        label = args.label.get(summary.line.label, summary.line.label)
        summary.line = replace(summary.line, label=label)
    own = []
    for (task, label), of_seed in pool(runs).items():
        own.append(summarise(task, label, of_seed, args.until))
    return own, published


# Write


def write(args):
    """Write figure, tables and CSV."""
    own, published = collect(args)
    summaries = own + published
    statistic = STATISTICS[args.statistic]
    folder = args.results_dir or Path("my_results")
    folder.mkdir(parents=True, exist_ok=True)
    figure = args.figure or folder / "curves.png"
    draw(summaries, figure, statistic)
    csv = folder / "curves.csv"
    curves_of(summaries).to_csv(csv, index=False, float_format="%.6g", lineterminator="\n")
    results = [results_of(summary, statistic) for summary in summaries]
    results.sort(key=lambda row: row["task"])
    improvements = improvements_of(own, published)
    tasks, aggregates = aggregates_of(summaries)
    link = os.path.relpath(figure, folder)
    page = PAGE.format(statistic=STATISTIC_NAMES[args.statistic], figure=link) + markdown(results)
    warnings = different_steps(own, published)
    if warnings:
        page += "\n" + "\n\n".join(warnings) + "\n"
    tables = {"results": results}
    if improvements:
        page += IMPROVEMENT + markdown(improvements)
        tables["improvement"] = improvements
    if aggregates and len(tasks) > 1:
        page += AGGREGATE.format(tasks=", ".join(tasks)) + markdown(aggregates)
        tables["aggregate"] = aggregates
    (folder / "results.md").write_text(page)
    for name in ("results", "improvement", "aggregate"):
        path = folder / f"{name}.tex"
        path.unlink(missing_ok=True)  # it may be of other runs
        if name in tables:
            path.write_text(pd.DataFrame(tables[name]).to_latex(index=False, escape=True))
    print(markdown(results), end="")
    for warning in warnings:
        print(warning)
    names = ["curves.csv", "results.md", *(f"{name}.tex" for name in tables)]
    print(f"Written: {figure}, and in {folder} {', '.join(names)}")


def curves_of(summaries):
    """A row for each task, line, seed and part of a run."""
    tables = []
    for summary in summaries:
        for i, seed in enumerate(summary.seeds):
            key = {"task": summary.line.environment, "line": summary.line.label, "seed": seed}
            table = pd.DataFrame({**key, "step": summary.steps})
            for metric in ("return", "battle_won", "rollout_return"):
                table[metric] = summary.values[metric][i]
            tables.append(table)
    return pd.concat(tables)


def results_of(summary, statistic):
    """A row of the table of results."""
    return {
        "task": summary.line.environment,
        "line": summary.line.label,
        "seeds": len(summary.seeds),
        "steps": f"{summary.steps[-1]:,.0f}",
        "score": METRIC_NAMES[summary.metric],
        "last 5 %": with_interval(summary.last_part(), statistic),
        "best evaluation": with_interval(summary.best_part(), statistic),
    }


def different_steps(own, published):
    """A line for each task whose lines have different steps, which says how they meet."""
    warnings = []
    for task in dict.fromkeys(summary.line.environment for summary in own):
        ours = [summary.steps for summary in own if summary.line.environment == task]
        theirs = [summary.steps for summary in published if summary.line.environment == task]
        ends = [steps[-1] for steps in ours + theirs]
        if not differ(ends):
            continue
        end = min(ends)
        hint = f": --until {end:.0f} compares them after as many"
        if theirs:
            part = max(steps[0] for steps in theirs)
            hint = f". Published lines have parts of {part:,.0f} steps"
            if end >= part:
                end -= end % part
                hint += f": --until {end:.0f} (or another multiple) meets them exactly"
        warnings.append(f"Lines of {task} have different steps{hint}.")
    return warnings


def last_parts(summaries):
    """The scores over the last 5 % of the runs: label -> task -> (seeds,)."""
    scores = {}
    for summary in summaries:
        scores.setdefault(summary.line.label, {})[summary.line.environment] = summary.last_part()
    return scores


def matrix(of_task, tasks):
    """Scores (seeds, tasks), with as many seeds as the task has that has fewest."""
    num_seeds = min(len(of_task[task]) for task in tasks)
    return np.stack([of_task[task][:num_seeds] for task in tasks], axis=1)


def improvements_of(own, published):
    """A row for each pair of lines that have a task in common, the first one of one's own.

    In this task both have several seeds, and as many steps.
    """
    ours = last_parts(own)
    theirs = last_parts(published)
    scores = ours | theirs
    ends = {}
    for summary in own + published:
        ends[summary.line.label, summary.line.environment] = summary.steps[-1]
    rows = []
    for label, other in [*itertools.combinations(ours, 2), *itertools.product(ours, theirs)]:
        tasks = []
        for task in scores[label]:
            if task not in scores[other] or differ([ends[label, task], ends[other, task]]):
                continue
            if min(len(scores[label][task]), len(scores[other][task])) > 1:
                tasks.append(task)
        if tasks:
            matrices = [matrix(scores[name], tasks) for name in (label, other)]
            middle, low, high = curves.improvement(*matrices)
            row = {"line": label, "other line": other, "tasks": len(tasks)}
            rows.append(row | {"probability": f"{middle:.2f} [{low:.2f}, {high:.2f}]"})
    return rows


def aggregates_of(summaries):
    """The tasks that all lines have, and a row of rliable's aggregate scores for each line.

    Tasks in which all returns are equal are left out.
    """
    scores = last_parts(summaries)
    metrics = {summary.line.environment: summary.metric for summary in summaries}
    tasks = []
    for task, metric in metrics.items():
        if not all(task in of_task for of_task in scores.values()):
            continue
        if metric == "return":
            everyone = np.concatenate([of_task[task] for of_task in scores.values()])
            low = everyone.min()
            spread = everyone.max() - low
            if spread == 0:
                continue
            for of_task in scores.values():
                of_task[task] = (of_task[task] - low) / spread
        tasks.append(task)
    rows = []
    if tasks and len(scores) > 1:
        for label, of_task in scores.items():
            row = {"line": label}
            for name, values in curves.aggregate(matrix(of_task, tasks)).items():
                row[name] = "{:.2f} [{:.2f}, {:.2f}]".format(*values)
            rows.append(row)
    return tasks, rows
