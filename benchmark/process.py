"""A run of the benchmark as a process, on this machine or in a Ray worker."""

import contextlib
import importlib.metadata
import os
import platform
import shlex
import signal
import subprocess
import sys
import time

from machine import cpu_name

PACKAGES = ("torch", "numpy", "numba", "gymnasium", "pettingzoo", "mpe2", "lbforaging")


class Process:
    """The process of a run. It ends with this program, however this program ends (guard.py)."""

    def __init__(self, command, repo, folder):
        self.folder = folder
        self.start = time.time()
        script, *arguments = shlex.split(command)[1:]
        # As if started in the root of the repository, but the run's own folder `runs` is here.
        python_path = str(repo)
        if os.environ.get("PYTHONPATH"):
            python_path += os.pathsep + os.environ["PYTHONPATH"]
        environ = os.environ | {
            "PYTHONPATH": python_path,
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",  # one core for each run
        }
        guard = [sys.executable, str(repo / "benchmark" / "guard.py")]
        training = [sys.executable, str(repo / "benchmark" / "train.py"), str(repo / script)]
        with open(folder / "log.txt", "wb") as log:
            self.popen = subprocess.Popen(
                [*guard, *training, *arguments],
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
            os.killpg(self.popen.pid, signal.SIGKILL)  # the training too, before this returns
        self.popen.stdin.close()  # the guard, which is in no group, ends
        self.popen.wait()

    def end_of_log(self):
        try:
            with open(self.folder / "log.txt", "rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(0, size - 20_000))
                return log.read().decode(errors="replace")
        except OSError as error:  # somebody has removed the folder
            return str(error)

    def outcome(self):
        """What a run that has ended adds to its status."""
        seconds = time.time() - self.start
        self.end()
        code = self.popen.returncode
        if code < 0:
            code = 128 - code  # ended by a signal, in the way of a shell
        packages = {"python": platform.python_version()}
        for name in PACKAGES:
            packages[name] = importlib.metadata.version(name)
        return {
            "exit_code": code,
            "seconds": round(seconds, 1),
            "machine": f"{cpu_name()}, {os.cpu_count()} cores",
            "packages": packages,
        }
