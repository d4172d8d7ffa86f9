"""Run a suite of the benchmark on a Ray cluster, with the arguments of benchmark/run.py.

    RAY_ADDRESS=<first node>:6379 python benchmark/run_on_ray.py smoke

RAY_ADDRESS=local makes a cluster of this machine. The code goes to the nodes; what the runs write
comes back here when they end.
"""

import os
import signal
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

import tyro
from progress import say
from run import Args, run_suite
from suites import REPO, usage_error

# What the nodes do not need of the clone.
EXCLUDES = [
    ".git",
    ".hypothesis",
    ".pytest_cache",
    ".ruff_cache",
    ".venv",
    "*.egg-info",
    "*.mp4",
    "__pycache__",
    "build",
    "dist",
    "docs/_build",
    "docs/images",
    "runs",
    "sweeps",
    "wandb",
    "benchmark/results",
]


def train(command, interval):
    """Execute a run in a Ray worker, whose working directory is the clone that Ray has sent.

    Yields the end of its log at intervals and, when it has ended, also its outcome and its files.
    """
    sys.path.append("benchmark")  # Ray sends this function alone, without its module
    import ray
    from process import Process

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        process = Process(command, Path.cwd(), folder)
        reported = time.time()
        try:
            while not process.has_ended():
                time.sleep(0.2)
                if time.time() - reported >= interval:
                    reported = time.time()
                    yield {"log": process.end_of_log()}
        finally:
            process.end()
        last = {"log": process.end_of_log(), "outcome": process.outcome(), "files": {}}
        last["outcome"]["node"] = ray.get_runtime_context().get_node_id()
        for path in folder.rglob("*"):
            if path.is_file():
                last["files"][str(path.relative_to(folder))] = path.read_bytes()
    yield last


def connect(address):
    """Join the cluster. Returns Ray."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    os.environ["RAY_RUNTIME_ENV_IGNORE_GITIGNORE"] = "1"  # it lists scripts that a user has made
    try:
        import ray
    except ImportError:
        usage_error('Ray is missing: pip install -e ".[cluster]"')
    runtime_env = {"working_dir": str(REPO), "excludes": EXCLUDES}
    try:
        ray.init(address, runtime_env=runtime_env, log_to_driver=False, logging_level="ERROR")
    except ConnectionError as error:
        usage_error(f"RAY_ADDRESS={address}: {error}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray has set its own
    return ray


def save_files(run, files):
    """Write what a run has left, a dict of name -> bytes, into its folder."""
    for name, content in files.items():
        path = run.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def execute(runs, args):
    """Execute the runs on the cluster. Returns those that failed."""
    ray = connect(os.environ["RAY_ADDRESS"])
    remote = ray.remote(num_cpus=1, max_retries=0)(train).options(num_returns="streaming")
    jobs = args.jobs or int(ray.cluster_resources()["CPU"])
    waiting = deque(runs)
    run_of = {}  # a generator of what `train` yields -> its run, of the runs that have begun
    logs = {}  # the end of each run's log, as it was last seen
    failed = []
    try:
        while waiting or run_of:
            while waiting and len(run_of) < jobs:
                run = waiting.popleft()
                try:
                    run.begin()
                except OSError as error:  # a full disk, or a folder that cannot be written
                    say(f"{run.name}: FAILED ({error})")
                    failed.append(run)
                    continue
                logs[run] = ""
                generator = remote.remote(run.command, run.interval)
                run_of[generator] = run
            ready, _ = ray.wait(list(run_of), timeout=1)
            for generator in ready:
                run = run_of[generator]
                outcome = {}
                error = ""
                try:
                    message = ray.get(next(generator))
                    logs[run] = message["log"]
                    if "outcome" not in message:
                        run.report(logs[run])
                        continue
                    outcome = message["outcome"]
                    save_files(run, message["files"])
                except ray.exceptions.RayError as lost:  # a worker or a node
                    error = str(getattr(lost, "cause", None) or lost).strip().splitlines()[0]
                except OSError as problem:  # a full disk, here
                    error = str(problem)
                del run_of[generator]
                if not run.finish(outcome, logs[run], error):
                    failed.append(run)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C does not stop this
        ray.shutdown()  # ends the workers, and so their runs
    return failed


if __name__ == "__main__":
    args = tyro.cli(Args, description=__doc__)
    if not os.environ.get("RAY_ADDRESS"):
        usage_error("RAY_ADDRESS is not set: give <first node>:6379, or use benchmark/run.py")
    run_suite(args, execute)
