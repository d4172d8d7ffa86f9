"""Run a suite of the benchmark on all cores, or on a Ray cluster if RAY_ADDRESS is set.

    python benchmark/run.py smoke
    python benchmark/run.py smaclite --envs 3m --scripts qmix --seeds 1 2 3

Every run is the command that a user would type. Its log, its event files and the circumstances (status.json) are in
benchmark/runs/<suite>/<environment>/<label>/seed<k>. Given again, the command leaves out what is finished.
"""

import importlib.metadata
import io
import json
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import tyro
from suites import REPO, get_suite, is_finished, usage_error

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
os.environ.setdefault(
    "RAY_worker_niceness", "0"
)  # the runs are timed: give them the priority of a command
try:
    import ray
except ImportError:
    usage_error('Ray is missing: pip install -e ".[benchmark]"')


@dataclass
class Args:
    suite: tyro.conf.Positional[str]
    """smaclite, lbf, mpe or smoke (benchmark/suites.py)"""
    envs: tuple[str, ...] = ()
    """only these environments"""
    scripts: tuple[str, ...] = ()
    """only these scripts"""
    labels: tuple[str, ...] = ()
    """only the lines with these labels, for example "qmix (tuned)" """
    seeds: tuple[int, ...] = ()
    """these seeds instead of the suite's; those that arguments are chosen on want a --runs-dir of their own"""
    jobs: Annotated[
        int, tyro.conf.arg(help_behavior_hint="(default: as many as there are cores)")
    ] = 0
    """runs at a time"""
    progress: float = 60
    """seconds between two progress lines of a run"""
    runs_dir: Path = REPO / "benchmark" / "runs"
    """where the runs go"""


# A process between a Ray worker and a run. The run and all it starts are a process group, which ends when the run ends
# or when the worker does, however that happens: then stdin is closed. What waits for that is in a session of its own,
# because Ray ends its workers together with their children. An interrupted run has nothing to save.
GUARD = """
import os, signal, subprocess, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
run = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
def end():
    try:
        os.killpg(run.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
if os.fork() == 0:
    os.setsid()
    sys.stdin.buffer.read()
    end()
    os._exit(0)
code = run.wait()
end()
os._exit(code if code >= 0 else 128 - code)
"""


def train(command, repo, folder, status, interval):
    """Execute a run in a Ray worker. Yields the end of its log now and then, and at last what belongs to its status.

    The files are written where the driver wants them, or sent to it if the driver's disk is not here.
    """
    repo, folder = Path(repo or os.getcwd()), Path(folder)
    shared = (folder / "status.json").is_file() and (folder / "status.json").read_text() == status
    cwd = folder if shared else Path(tempfile.mkdtemp())
    script, *arguments = shlex.split(command)[1:]
    # The run is as if started in the root of the repository, but leaves its own folder `runs` here.
    paths = [str(repo), *filter(None, [os.environ.get("PYTHONPATH")])]
    environ = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": "1",
    }
    environ["TQDM_MININTERVAL"] = "2"  # the bar goes to a file
    start = time.time()

    def end_of_log():
        with open(cwd / "log.txt", "rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - 20_000))
            return log.read().decode(errors="replace")

    with open(cwd / "log.txt", "wb") as log:
        guarded = [sys.executable, "-c", GUARD, sys.executable, str(repo / script), *arguments]
        guard = subprocess.Popen(
            guarded, cwd=cwd, env=environ, stdin=subprocess.PIPE, stdout=log, stderr=log
        )
    try:
        while guard.poll() is None:
            try:
                guard.wait(interval)
            except subprocess.TimeoutExpired:
                yield {"log": end_of_log()}
    finally:
        guard.stdin.close()
        guard.wait()
    cpu = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        cpu = dict(re.findall(r"^(.+?)\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)).get(
            "model name", cpu
        )
    names = ("torch", "numpy", "numba", "gymnasium", "pettingzoo", "mpe2", "lbforaging")
    yield {
        "log": end_of_log(),
        "exit_code": guard.returncode,
        "seconds": round(time.time() - start, 1),
        "machine": f"{cpu}, {os.cpu_count()} cores",
        "packages": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in names},
    }
    if not shared:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            tar.add(cwd, ".")
        shutil.rmtree(cwd)
        yield {"files": archive.getvalue()}


def commit():
    """The commit of the code that a run executes, `+dirty` if that code is not as committed."""
    code = ("cleanmarl", "smaclite_jit", "tests/envs")
    git = ("git", "-C", str(REPO))
    try:
        name = subprocess.run(
            [*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
        )
        changes = subprocess.run(
            [*git, "status", "--porcelain", "--", *code], capture_output=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name.stdout.strip() + ("+dirty" if changes else "")


class Run:
    """A run as the driver sees it."""

    def __init__(self, line, seed, root, interval):
        self.name, self.command = (
            f"{line.environment}  {line.label}  seed {seed}",
            line.command(seed),
        )
        self.folder, self.interval, self.log, self.status = (
            line.folder(root, seed).resolve(),
            interval,
            "",
            {},
        )

    def start(self, on_cluster):
        """Put the run into Ray's hands. Returns Ray's generator of what `train` yields."""
        shutil.rmtree(self.folder, ignore_errors=True)  # the remains of one that did not finish
        self.folder.mkdir(parents=True)
        started = datetime.now(timezone.utc).isoformat()
        self.status = {
            "command": self.command,
            "exit_code": None,
            "started": started,
            "commit": commit(),
        }
        self.write_status()
        say(f"{self.name}: {self.command}")
        repo, status = None if on_cluster else str(REPO), (self.folder / "status.json").read_text()
        remote = ray.remote(num_cpus=1, max_retries=0)(train).options(num_returns="streaming")
        self.reported = time.time()
        return remote.remote(self.command, repo, str(self.folder), status, min(self.interval, 5))

    def write_status(self):
        temporary = self.folder / "status.tmp"
        temporary.write_text(json.dumps(self.status, indent=2) + "\n")
        temporary.replace(self.folder / "status.json")  # renamed when it is whole

    def take(self, message):
        """Take in what `train` has yielded."""
        if "files" in message:
            with tarfile.open(fileobj=io.BytesIO(message.pop("files"))) as tar:
                tar.extractall(self.folder, filter="data")
        self.log = message.pop("log", self.log)
        self.status |= message
        if self.status["exit_code"] is None and time.time() - self.reported >= self.interval:
            self.reported = time.time()
            say(f"{self.name}: {describe(self.log)}")

    def finish(self, error=None):
        """Store and report the end. Returns whether the run has succeeded."""
        if error:
            self.status["exit_code"] = (
                None  # also where the script has ended well: its files may be lost
            )
        self.write_status()
        code = self.status["exit_code"]
        if code == 0 and not error:
            say(
                f"{self.name}: finished after {clock(self.status['seconds'])}, {describe(self.log)}"
            )
            return True
        names = {128 + number.value: f", {number.name}" for number in signal.Signals}
        ended = f"exit code {code}" + names.get(code, "")
        last = [line for line in re.split(r"[\r\n]+", self.log) if line.strip()][-15:]
        say(f"{self.name}: FAILED ({error or ended}), the end of {self.folder / 'log.txt'}:")
        print("".join(f"    {line}\n" for line in last), end="", flush=True)
        return False


def clock(seconds):
    return f"{int(seconds) // 3600}:{int(seconds) // 60 % 60:02d}:{int(seconds) % 60:02d}"


def describe(log):
    """Steps, speed, time left and the last evaluation of a run, from what it has printed."""
    words = ["starting"]
    if bars := re.findall(r"(\d+)/(\d+) \[[\d:]+<([\d:?]+), +([\d.?]+)(step/s|s/step)", log):
        done, total, left, rate, unit = bars[-1]
        rate = float(rate) if rate != "?" else 0
        rate = 1 / rate if rate and unit == "s/step" else rate
        words = [f"{int(done):,d}/{int(total):,d} steps", f"{rate:.0f} steps/s"]
        words += [f"{left} left"] if done != total else []
    if evaluations := re.findall(r"^step +[\d,]+  (.*eval/.*)$", log.replace("\r", "\n"), re.M):
        metrics = dict(re.findall(r"eval/(\S+) (\S+)", evaluations[-1]))
        words.append(f"evaluation: return {metrics['ep_reward']}")
        words += [f"won {metrics['battle_won']}"] if "battle_won" in metrics else []
    return ", ".join(words)


def say(text):
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def select(args):
    """The lines and seeds that were asked for."""
    lines = get_suite(args.suite)
    for option, attribute, wanted in (
        ("--envs", "environment", args.envs),
        ("--scripts", "script", args.scripts),
        ("--labels", "label", args.labels),
    ):
        names = dict.fromkeys(getattr(line, attribute) for line in lines)
        if unknown := [name for name in wanted if name not in names]:
            usage_error(
                f"{option} {unknown[0]} is not among what is left of {args.suite}: {', '.join(names)}"
            )
        lines = [line for line in lines if not wanted or getattr(line, attribute) in wanted]
    return [(line, seed) for line in lines for seed in dict.fromkeys(args.seeds or line.seeds)]


def execute(runs, jobs, on_cluster):
    """Execute the runs, `jobs` at a time. Returns the names of those that failed."""
    waiting, running, errors, failed = deque(runs), {}, {}, []
    while waiting or running:
        while waiting and len(running) < jobs:
            run = waiting.popleft()
            running[run.start(on_cluster)] = run
        for generator in ray.wait(list(running), timeout=1)[0]:
            run = running[generator]
            try:
                run.take(ray.get(next(generator)))
            except StopIteration:
                del running[generator]
                if not run.finish(errors.get(run)):
                    failed.append(run.name)
            except ray.exceptions.RayError as error:  # a worker or a node that is lost
                errors[run] = str(getattr(error, "cause", None) or error).strip().splitlines()[0]
    return failed


if __name__ == "__main__":
    args = tyro.cli(Args, description=__doc__)
    root, todo = args.runs_dir / args.suite, []
    for line, seed in select(args):
        run = Run(line, seed, root, args.progress)
        if is_finished(line, run.folder, seed):
            say(f"{run.name}: skipped, it is finished")
        else:
            todo.append(run)
    failed, address = [], os.environ.get("RAY_ADDRESS")
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # also where a shell has it ignored, in the background
    try:
        if todo and address:  # the nodes get this code, and need the packages
            excludes = [
                ".git",
                ".hypothesis",
                ".venv",
                "docs",
                "runs",
                "benchmark/runs",
                "benchmark/results",
            ]
            try:
                ray.init(
                    address, runtime_env={"working_dir": str(REPO), "excludes": excludes}, **quiet
                )
            except ConnectionError as error:
                usage_error(f"RAY_ADDRESS={address}: {error}")
            jobs = args.jobs or int(ray.cluster_resources()["CPU"])
        elif todo:
            cores = (
                len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
            )
            jobs = args.jobs or cores
            local = {
                "include_dashboard": False,
                "object_store_memory": 10**8,
                "_node_ip_address": "127.0.0.1",
            }
            ray.init("local", num_cpus=jobs, **local, **quiet)
        if todo:
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray has set its own
            failed = execute(todo, jobs, bool(address))
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        say("interrupted: all runs are ended; the same command goes on with the unfinished ones")
        sys.exit(130)
    finally:
        ray.shutdown()  # ends the workers, which ends their runs
    finished = len(todo) - len(failed)
    total = f"{finished} run{'s' if finished != 1 else ''} finished"
    if failed:
        print(f"{total}, {len(failed)} failed:\n" + "\n".join(f"    {name}" for name in failed))
        sys.exit(1)
    print(f"{total}. Next: python benchmark/plot.py {args.suite}")
