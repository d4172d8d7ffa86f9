"""Run a suite of the benchmark on this machine. For a cluster there is benchmark/run_on_ray.py.

    python benchmark/run.py smoke
    python benchmark/run.py smaclite --envs 3m --scripts qmix --seeds 1 2 3
    python benchmark/run.py mine --suites my_suites.py

Every run is the command that a user would type; train.py then plays 100 episodes with what it has
learned. Its log, its event files and the circumstances (status.json) are in
benchmark/runs/<suite>/<environment>/<label>/seed<k>. Given again, the command leaves out what is
finished. A run whose command or script has changed since is made again, in place of the old one.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import psutil
import tyro
from common import REPO, cpu_name, usage_error
from suites import SUITES

PACKAGES = ("torch", "numpy", "numba", "gymnasium", "pettingzoo", "mpe2", "lbforaging")
# What a run executes, to tell whether it is as committed.
CODE = ("cleanmarl", "smaclite_jit", "tests/envs", "docs/examples")
# What the scripts print: a line an evaluation, and how large the replay buffer can become.
EVALUATION = re.compile(r"^step +([\d,]+)  reward .* ([\d,]+) steps/s$", re.MULTILINE)
BUFFER = re.compile(r"^replay buffer: .*up to ([\d,]+) MB", re.MULTILINE)
TOTAL = re.compile(r"--total-timesteps[ =](\d+)")
DEFAULT_TOTAL = 1_000_000  # of the scripts


@dataclass
class Args:
    suite: tyro.conf.Positional[str]
    """the name of a suite"""
    suites: Path | None = None
    """a file of your own suites, instead of benchmark/suites.py; it is run"""
    envs: tuple[str, ...] = ()
    """only these environments"""
    scripts: tuple[str, ...] = ()
    """only these scripts"""
    labels: tuple[str, ...] = ()
    """only the lines with these labels, for example "qmix (tuned)" """
    seeds: tuple[int, ...] = ()
    """these seeds instead of the suite's; those that arguments are chosen on want a --runs-dir of
    their own"""
    jobs: int = 0
    """runs at a time, as far as their replay buffers fit into the memory; 0: one a core"""
    memory: float = 0
    """GB for the replay buffers of the runs together, each counted as large as it can become; 0:
    what is free; run_on_ray.py ignores it"""
    progress: float = 60
    """seconds between two progress lines of a run"""
    runs_dir: Path = REPO / "benchmark" / "runs"
    """where the runs go"""


def read_suites(path):
    """The suites in a file of one's own, by name: a Python program that is run. None: ours."""
    if path is None:
        return SUITES
    if not path.is_file():
        usage_error(f"--suites: there is no {path}")
    suites = runpy.run_path(str(path)).get("SUITES")
    if not isinstance(suites, dict):
        usage_error(f"--suites: {path} must have SUITES, a dictionary of lists of lines")
    return suites


def select(args):
    """The lines and seeds that were asked for."""
    suites = read_suites(args.suites)
    if args.suite not in suites:
        usage_error(f"there is no suite {args.suite}; there are {', '.join(suites)}")
    lines = suites[args.suite]
    wanted = {"environment": args.envs, "script": args.scripts, "label": args.labels}
    for attribute, names in wanted.items():
        known = [getattr(line, attribute) for line in lines]
        for name in names:
            if name not in known:
                left = ", ".join(dict.fromkeys(known))
                usage_error(f"{attribute} {name} is not among what is left of {args.suite}: {left}")
        lines = [line for line in lines if not names or getattr(line, attribute) in names]
    selected = []
    for line in lines:
        for seed in dict.fromkeys(args.seeds or line.seeds):
            selected.append((line, seed))
    return selected


def read_status(folder):
    """What is known of a run: its command, its exit code (None: not finished), and more."""
    try:
        return json.loads(Path(folder, "status.json").read_text())
    except (OSError, ValueError):
        return {}


def is_finished(line, folder, seed):
    """Whether the folder holds a whole run of this very command and script."""
    status = read_status(folder)
    if status.get("exit_code") != 0 or status["command"] != line.command(seed):
        return False
    return is_same_script(line.path, status.get("script_hash"))


def script_hash(script):
    """The SHA-256 of a script's text; None if it is not here."""
    path = REPO / script
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def is_same_script(script, known_hash):
    """Whether a script has the text of this hash. Without a hash, of older runs, nobody knows."""
    present = script_hash(script)
    return None in (known_hash, present) or known_hash == present


def commit(script):
    """The commit of the code that a run executes, `+dirty` if that code is not as committed.

    It says so if the script is in no commit. Other copies named my_* do not count.
    """
    git = ["git", "-C", str(REPO)]
    options = {"capture_output": True, "text": True}
    try:
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], check=True, **options)
        # It fails outside of the repository too.
        tracked = subprocess.run([*git, "ls-files", "--error-unmatch", "--", script], **options)
        is_tracked = tracked.returncode == 0
        code = [*CODE, script] if is_tracked else CODE
        changes = subprocess.run(
            [*git, "status", "--porcelain", "--", *code], check=True, **options
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    name = head.stdout.strip()
    if changes.stdout:
        name += "+dirty"
    return name if is_tracked else f"{name} ({Path(script).name} in no commit)"


def say(text):
    """Print a line with the time of day."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def describe(log, command):
    """The last evaluation in the log of a run, and how long the run still takes."""
    evaluations = list(EVALUATION.finditer(log))
    if not evaluations:
        return "starting"
    done, rate = (int(number.replace(",", "")) for number in evaluations[-1].groups())
    total = TOTAL.search(command)
    total = int(total[1]) if total else DEFAULT_TOTAL
    words = " ".join(evaluations[-1][0].split())
    if done >= total:
        return words
    return f"{words}, {timedelta(seconds=(total - done) // max(1, rate))} left"


class Run:
    """A run of a suite: what is kept and reported of it, wherever its process is."""

    def __init__(self, line, seed, root):
        self.name = f"{line.environment}  {line.label}  seed {seed}"
        self.command = line.command(seed)
        self.script = line.path
        self.folder = line.folder(root, seed).resolve()
        self.reported = 0  # when the latest line about it was printed
        self.buffer_size = None  # in bytes at most, once the run has said it
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
            "commit": commit(self.script),
            "script_hash": script_hash(self.script),
        }
        self.write_status()
        say(f"{self.name}: {self.command}")
        self.reported = time.monotonic()

    def write_status(self):
        temporary = self.folder / "status.tmp"
        temporary.write_text(json.dumps(self.status, indent=2) + "\n")
        temporary.replace(self.folder / "status.json")  # renamed when it is whole

    def finish(self, outcome, log, error=""):
        """Store and report the end. Returns whether the run has succeeded, without an `error`."""
        self.status |= outcome
        if error:
            self.status["exit_code"] = None
        try:
            self.write_status()
        except OSError as problem:  # a full disk; without its status the run counts as unfinished
            error = error or str(problem)
        if self.status["exit_code"] == 0 and not error:
            time_taken = timedelta(seconds=round(self.status["seconds"]))
            say(f"{self.name}: finished after {time_taken}, {describe(log, self.command)}")
            return True
        error = error or f"exit code {self.status['exit_code']}"
        say(f"{self.name}: FAILED ({error}), the end of {self.folder / 'log.txt'}:")
        last = [line for line in re.split(r"[\r\n]+", log) if line.strip()]
        print("\n".join(f"    {line}" for line in last[-15:]), flush=True)
        return False


class Process:
    """The process of a run. It ends with this program, however this program ends (train.py)."""

    error = ""  # why the run is lost, whatever its exit code: on another machine

    def __init__(self, command, repo, folder):
        self.folder = folder
        self.start = time.monotonic()
        script, *arguments = shlex.split(command)[1:]
        # As if started in the root of the repository, but the run's own folder `runs` is here.
        python_path = [str(repo), os.environ.get("PYTHONPATH", "")]
        environ = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, python_path)),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",  # one core for each run
        }
        train = str(repo / "benchmark" / "train.py")
        with open(folder / "log.txt", "wb") as log:
            self.popen = subprocess.Popen(
                [sys.executable, train, str(repo / script), *arguments],
                cwd=folder,
                env=environ,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a terminal's Ctrl-C reaches this program alone
            )

    def has_ended(self):
        return self.popen.poll() is not None

    def end(self):
        """End the run if it goes on, and whatever it has left behind."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.stdin.close()
        self.popen.wait()

    def read_log(self):
        return (self.folder / "log.txt").read_text(errors="replace")

    def outcome(self):
        """What a run that has ended adds to its status."""
        seconds = time.monotonic() - self.start
        self.end()
        code = self.popen.returncode
        if code < 0:
            code = 128 - code  # ended by a signal, in the way of a shell
        packages = {name: importlib.metadata.version(name) for name in PACKAGES}
        return {
            "exit_code": code,
            "seconds": round(seconds, 1),
            "machine": f"{cpu_name()}, {os.cpu_count()} cores",
            "packages": {"python": platform.python_version(), **packages},
        }


def available_cores():
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def buffer_size(log):
    """How many bytes a run's replay buffer can become; None before its log says so."""
    megabytes = BUFFER.search(log)
    return megabytes and int(megabytes[1].replace(",", "")) * 1_000_000


def fits(run, others, memory):
    """Whether the replay buffer of a run fits beside those of others. A run alone may try."""
    sizes = [other.buffer_size or 0 for other in (run, *others)]
    return not others or sum(sizes) <= memory


def execute(runs, args, start, jobs, memory):
    """Execute the runs, `jobs` at a time. `start(run)` returns a Process, or what is like one.

    Returns the runs that failed.
    """
    waiting = deque(runs)
    processes = {}  # of the runs that have begun
    failed = []
    try:
        while waiting or processes:
            while waiting and len(processes) < jobs and fits(waiting[0], processes, memory):
                run = waiting.popleft()
                try:
                    run.begin()
                    processes[run] = start(run)
                except OSError as error:  # a full disk, or a folder that cannot be written
                    say(f"{run.name}: FAILED ({error})")
                    failed.append(run)
            time.sleep(0.2)
            for run, process in list(processes.items()):
                if process.has_ended():
                    del processes[run]
                    outcome = process.outcome()
                    if not run.finish(outcome, process.read_log(), process.error):
                        failed.append(run)
                    continue
                if time.monotonic() - run.reported >= args.progress:
                    say(f"{run.name}: {describe(process.read_log(), run.command)}")
                    run.reported = time.monotonic()
                if run.buffer_size is None:  # only a run that has begun knows it, and says so
                    run.buffer_size = buffer_size(process.read_log())
                    others = [other for other in processes if other is not run]
                    if not fits(run, others, memory):
                        process.end()
                        del processes[run]
                        waiting.appendleft(run)
                        size = f"{run.buffer_size / 1e9:.1f} GB"
                        room = f"all together have {memory / 1e9:.1f} GB (--memory)"
                        say(f"{run.name}: waits, its replay buffer can take {size}, and {room}")
    finally:
        for process in processes.values():
            process.end()
    return failed


def execute_here(runs, args):
    """Execute the runs on this machine. Returns those that failed."""
    jobs = args.jobs or available_cores()
    memory = args.memory * 1e9 or psutil.virtual_memory().available
    return execute(runs, args, lambda run: Process(run.command, REPO, run.folder), jobs, memory)


def run_suite(args, execute_runs):
    """Execute what is not finished yet, by `execute_runs(runs, args)`, and exit."""
    if args.jobs < 0 or args.memory < 0:
        usage_error("--jobs and --memory must be 0 or more")
    runs = []
    for line, seed in select(args):
        if not Path(REPO, line.path).is_file():
            usage_error(f"there is no {line.path}: put your script there first")
        run = Run(line, seed, args.runs_dir / args.suite)
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
    print(f"{len(runs) - len(failed)} finished, {len(failed)} failed")
    for run in failed:
        print(f"    {run.name}")
    if failed:
        sys.exit(1)
    own = f" --suites {args.suites}" if args.suites else ""
    print(f"Next: python benchmark/plot.py {args.suite}{own}")


if __name__ == "__main__":
    run_suite(tyro.cli(Args, description=__doc__), execute_here)
