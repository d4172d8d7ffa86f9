"""Turn the runs of a suite into tables and figures. From a clone, without any run: --from-csv.

    python benchmark/plot.py smaclite

Writes to benchmark/results: <suite>.csv (learning curves, means over 100 bins of steps),
<suite>_runs.csv (one line a run) and, from these two alone, <suite>.png, <suite>.md (final
performance) and <suite>.json, which id-marl-eval reads.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import tyro
from suites import REPO, get_suite, usage_error


@dataclass
class Args:
    suite: tyro.conf.Positional[str]
    """tasks, choice, lstm, smaclite, lbf, short or smoke (benchmark/suites.py)"""
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


def main(args):
    lines = get_suite(args.suite)
    try:
        import curves
        import report
    except ImportError as error:
        usage_error(f'{error.name} is missing: pip install -e ".[benchmark]"')

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
        report.draw(chosen, args.figure)
        return
    report.draw(summaries, args.figure or args.results_dir / f"{args.suite}.png")
    table = report.table(args.suite, lines, summaries)
    (args.results_dir / f"{args.suite}.md").write_text(table)
    data = json.dumps(report.marl_eval(args.suite, summaries), separators=(",", ":"))
    (args.results_dir / f"{args.suite}.json").write_text(data + "\n")


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
