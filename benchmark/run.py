"""Run a suite of the benchmark on this machine. For a cluster there is benchmark/run_on_ray.py.

    python benchmark/run.py smoke
    python benchmark/run.py smaclite --envs 3m --scripts qmix --seeds 1 2 3

Every run is the command that a user would type; train.py then plays 100 episodes with what it has
learned. Its log, its event files and the circumstances (status.json) are in
benchmark/runs/<suite>/<environment>/<label>/seed<k>. Given again, the command leaves out what is
finished. A run whose command has changed since is made again, in place of the old one.
"""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import psutil
import tyro
from machine import available_cores
from process import Process
from progress import buffer_size, clock, describe, say, signal_name
from suites import REPO, get_suite, is_finished, usage_error

# What a run executes, to tell whether it is as committed.
CODE = ("cleanmarl", "smaclite_jit", "tests/envs", "docs/examples")


@dataclass
class Args:
    suite: tyro.conf.Positional[str]
    """tasks, choice, lstm, smaclite, lbf, short or smoke (benchmark/suites.py)"""
    envs: tuple[str, ...] = ()
    """only these environments"""
    scripts: tuple[str, ...] = ()
    """only these scripts"""
    labels: tuple[str, ...] = ()
    """only the lines with these labels, for example "qmix (tuned)" """
    seeds: tuple[int, ...] = ()
    """these seeds instead of the suite's; those that arguments are chosen on want a --runs-dir of
    their own"""
    jobs: Annotated[
        int, tyro.conf.arg(help_behavior_hint="(default: as many as there are cores)")
    ] = 0
    """runs at a time, as far as their replay buffers fit into the memory"""
    memory: Annotated[
        float, tyro.conf.arg(help_behavior_hint="(default: the memory that is free)")
    ] = 0
    """GB for the replay buffers of the runs together, each counted as large as it can become;
    run_on_ray.py ignores it"""
    progress: float = 60
    """seconds between two progress lines of a run"""
    runs_dir: Path = REPO / "benchmark" / "runs"
    """where the runs go"""


class Run:
    """A run of a suite: what is kept and reported of it, wherever its process is."""

    def __init__(self, line, seed, root, interval):
        self.name = f"{line.environment}  {line.label}  seed {seed}"
        self.command = line.command(seed)
        self.folder = line.folder(root, seed).resolve()
        self.interval = interval  # seconds between two progress lines
        self.reported = 0  # when the latest of these was printed
        self.buffer_size = 0  # of the replay buffer, in bytes at most, once the run has said it
        self.status = {}

    def begin(self):
        """Make the folder and write the status of a run that has begun into it."""
        # What is there is of a run that did not finish, or that finished with another command.
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.status = {
            "command": self.command,
            "exit_code": None,
            "started": datetime.now(timezone.utc).isoformat(),
            "commit": commit(),
        }
        self.write_status()
        say(f"{self.name}: {self.command}")
        self.reported = time.time()

    def write_status(self):
        temporary = self.folder / "status.tmp"
        temporary.write_text(json.dumps(self.status, indent=2) + "\n")
        temporary.replace(self.folder / "status.json")  # renamed when it is whole

    def is_report_due(self):
        return time.time() - self.reported >= self.interval

    def report(self, log):
        say(f"{self.name}: {describe(log, self.command)}")
        self.reported = time.time()

    def finish(self, outcome, log, error=""):
        """Store and report the end. Returns whether the run has succeeded.

        `error`, if there is one, says why the run has failed: its files may be lost, and its exit
        code does not count.
        """
        self.status |= outcome
        if error:
            self.status["exit_code"] = None
        try:
            self.write_status()
        except OSError as problem:  # a full disk; without its status the run counts as unfinished
            self.status["exit_code"] = None
            error = error or str(problem)
        code = self.status["exit_code"]
        if code == 0:
            seconds = clock(self.status["seconds"])
            say(f"{self.name}: finished after {seconds}, {describe(log, self.command)}")
            return True
        reason = error or f"exit code {code}{signal_name(code)}"
        say(f"{self.name}: FAILED ({reason}), the end of {self.folder / 'log.txt'}:")
        last = [line for line in re.split(r"[\r\n]+", log) if line.strip()]
        for line in last[-15:]:
            print(f"    {line}", flush=True)
        return False


def commit():
    """The commit of the code that a run executes, `+dirty` if that code is not as committed.

    Copies named cleanmarl/my_* are in .gitignore and do not count.
    """
    git = ["git", "-C", str(REPO)]
    head = [*git, "rev-parse", "--short=12", "HEAD"]
    status = [*git, "status", "--porcelain", "--", *CODE]
    try:
        name = subprocess.run(head, capture_output=True, text=True, check=True).stdout.strip()
        changes = subprocess.run(status, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{name}+dirty" if changes else name


def select(args):
    """The lines and seeds that were asked for."""
    lines = get_suite(args.suite)
    filters = [
        ("--envs", "environment", args.envs),
        ("--scripts", "script", args.scripts),
        ("--labels", "label", args.labels),
    ]
    for option, attribute, wanted in filters:
        if not wanted:
            continue
        names = dict.fromkeys(getattr(line, attribute) for line in lines)
        for name in wanted:
            if name not in names:
                left = ", ".join(names)
                usage_error(f"{option} {name} is not among what is left of {args.suite}: {left}")
        lines = [line for line in lines if getattr(line, attribute) in wanted]
    selected = []
    for line in lines:
        for seed in dict.fromkeys(args.seeds or line.seeds):
            selected.append((line, seed))
    return selected


def fits(run, others, memory):
    """Whether the replay buffer of a run fits beside those of others. A run alone may try."""
    needed = run.buffer_size + sum(other.buffer_size for other in others)
    return not others or needed <= memory


def execute(runs, args):
    """Execute the runs on this machine. Returns those that failed."""
    jobs = args.jobs or available_cores()
    memory = args.memory * 1e9 or psutil.virtual_memory().available
    waiting = deque(runs)
    processes = {}  # of the runs that have begun
    failed = []
    try:
        while waiting or processes:
            while waiting and len(processes) < jobs and fits(waiting[0], processes, memory):
                run = waiting.popleft()
                try:
                    run.begin()
                    processes[run] = Process(run.command, REPO, run.folder)
                except OSError as error:  # a full disk, or a folder that cannot be written
                    say(f"{run.name}: FAILED ({error})")
                    failed.append(run)
            time.sleep(0.2)
            for run, process in list(processes.items()):
                if process.has_ended():
                    del processes[run]
                    if not run.finish(process.outcome(), process.end_of_log()):
                        failed.append(run)
                    continue
                if run.is_report_due():
                    run.report(process.end_of_log())
                if run.buffer_size == 0:  # only a run that has begun knows it, and says so
                    run.buffer_size = buffer_size(process.end_of_log())
                    others = [other for other in processes if other is not run]
                    if not fits(run, others, memory):
                        process.end()
                        del processes[run]
                        waiting.appendleft(run)
                        size = f"its replay buffer can take {run.buffer_size / 1e9:.1f} GB"
                        room = f"{memory / 1e9:.1f} GB (--memory)"
                        say(f"{run.name}: waits, {size}, and all together have {room}")
    finally:
        for process in processes.values():
            process.end()
    return failed


def run_suite(args, execute_runs):
    """Execute what is not finished yet, by `execute_runs(runs, args)`, and exit."""
    if args.jobs < 0:
        usage_error(f"--jobs {args.jobs} must be 0, for as many as there are cores, or more")
    if not args.memory >= 0:
        usage_error(f"--memory {args.memory} must be 0, for what is free, or more")
    runs = []
    for line, seed in select(args):
        script = f"cleanmarl/{line.script}.py"
        if not Path(REPO, script).is_file():
            usage_error(f"there is no {script}: put your script there first")
        run = Run(line, seed, args.runs_dir / args.suite, args.progress)
        if is_finished(line, run.folder, seed):
            say(f"{run.name}: skipped, it is finished")
        else:
            runs.append(run)
    failed = []
    # SIGINT too: a shell has it ignored for what it starts in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if runs:
            failed = execute_runs(runs, args)
    except KeyboardInterrupt:
        say("interrupted: all runs are ended; the same command goes on with the unfinished ones")
        sys.exit(130)
    finished = len(runs) - len(failed)
    noun = "run" if finished == 1 else "runs"
    total = f"{finished} {noun} finished"
    if failed:
        print(f"{total}, {len(failed)} failed:")
        for run in failed:
            print(f"    {run.name}")
        sys.exit(1)
    print(f"{total}. Next: python benchmark/plot.py {args.suite}")


if __name__ == "__main__":
    run_suite(tyro.cli(Args, description=__doc__), execute)
