"""Run a suite of the benchmark on a Ray cluster, with the arguments of benchmark/run.py.

    RAY_ADDRESS=<first node>:6379 python benchmark/run_on_ray.py smoke

RAY_ADDRESS=local makes a cluster of this machine. The code goes to the nodes; what the runs write
comes back here when they end.
"""

import math
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import ray
import tyro
from common import REPO, usage_error
from run import Args, execute, run_suite

# What the nodes do not need of the clone.
EXCLUDES = (
    ".git .hypothesis .pytest_cache .ruff_cache .venv *.egg-info *.mp4 __pycache__ build dist "
    "docs/_build docs/images runs sweeps wandb benchmark/results"
).split()


def train(command):
    """Execute a run in a Ray worker, whose working directory is the clone that Ray has sent.

    Yields its log every second and, when it has ended, also its outcome and its files.
    """
    sys.path.append("benchmark")  # Ray sends this function alone, without its module
    from run import Process

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        process = Process(command, Path.cwd(), folder)
        try:
            while not process.has_ended():
                yield {"log": process.read_log()}
                time.sleep(1)
        finally:
            process.end()
        last = {"log": process.read_log(), "outcome": process.outcome(), "files": {}}
        last["outcome"]["node"] = ray.get_runtime_context().get_node_id()
        for path in folder.rglob("*"):
            if path.is_file():
                last["files"][str(path.relative_to(folder))] = path.read_bytes()
    yield last


class RemoteProcess:
    """The process of a run on some node, with the methods of run.Process."""

    def __init__(self, generator, folder):
        self.generator = generator  # of what `train` yields
        self.folder = folder
        self.message = {"log": ""}  # the latest
        self.error = ""  # why the run is lost

    def has_ended(self):
        ready, _ = ray.wait([self.generator], timeout=0)
        if ready:
            try:
                self.message = ray.get(next(self.generator))
            except ray.exceptions.RayError as lost:  # a worker or a node
                self.error = str(getattr(lost, "cause", None) or lost).strip().splitlines()[0]
        return bool(self.error) or "outcome" in self.message

    def end(self):
        pass  # Ray ends its workers, and so their runs, when it shuts down

    def read_log(self):
        return self.message["log"]

    def outcome(self):
        """What the run adds to its status. Its files are written into its folder here."""
        try:
            for name, content in self.message.get("files", {}).items():
                path = self.folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        except OSError as problem:  # a full disk, here
            self.error = str(problem)
        return self.message.get("outcome", {})


def execute_on_ray(runs, args):
    """Execute the runs on the cluster. Returns those that failed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    os.environ["RAY_RUNTIME_ENV_IGNORE_GITIGNORE"] = "1"  # it lists scripts that a user has made
    code = {"working_dir": str(REPO), "excludes": EXCLUDES}
    try:
        ray.init(runtime_env=code, log_to_driver=False, logging_level="ERROR")
    except ConnectionError as error:
        usage_error(f"RAY_ADDRESS={os.environ['RAY_ADDRESS']}: {error}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray has set its own
    remote = ray.remote(num_cpus=1, max_retries=0)(train).options(num_returns="streaming")

    def start(run):
        return RemoteProcess(remote.remote(run.command), run.folder)

    try:
        jobs = args.jobs or int(ray.cluster_resources()["CPU"])
        return execute(runs, args, start, jobs, memory=math.inf)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C does not stop this
        ray.shutdown()


if __name__ == "__main__":
    args = tyro.cli(Args, description=__doc__)
    if not os.environ.get("RAY_ADDRESS"):
        usage_error("RAY_ADDRESS is not set: give <first node>:6379, or use benchmark/run.py")
    run_suite(args, execute_on_ray)
