"""Send signals to runs at random moments, and look at what they leave behind.

    python tests/programs/signalled_runs.py FOLDER SCRIPT MOMENTS ARGUMENTS...

At each of MOMENTS moments after the first best model one of SIGINT, SIGTERM and SIGHUP comes, or
two of them, the second within some hundredths of a second. With 0 moments it is one for every third
of these twelve kinds. The last model must be whole, no half
file left, no process alive, and the last line must name a file that is there.
"""

import contextlib
import itertools
import os
import random
import runpy
import shlex
import signal
import sys
import time
from pathlib import Path

import psutil
import torch

import cleanmarl
import cleanmarl.qmix_lstm
import cleanmarl.qmix_multienvs  # with everything imported, a fork starts at once

root, script, moments, *arguments = sys.argv[1:]
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
PAIRS = [(one, None) for one in SIGNALS] + list(itertools.product(SIGNALS, repeat=2))


def start(folder):
    """Start a run in a process of its own, and wait for its first best model."""
    folder.mkdir(parents=True)
    pid = os.fork()
    if pid == 0:
        os.setsid()  # a group of its own
        os.chdir(folder)
        log = os.open("log.txt", os.O_CREAT | os.O_WRONLY)
        os.dup2(log, 1)
        os.dup2(log, 2)
        path = Path(cleanmarl.__file__).parent / f"{script}.py"
        sys.argv[:] = [str(path), *arguments]
        for name in SIGNALS:  # a shell in the background has some ignored
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        cleanmarl.SIGNALS[:] = [getattr(signal, name) for name in SIGNALS]
        code = 0
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        sys.stdout.flush()
        os._exit(code)
    while not list(folder.glob("runs/*/best_model.pt")):
        assert os.waitpid(pid, os.WNOHANG) == (0, 0), (folder / "log.txt").read_text()
        time.sleep(0.01)
    return pid


def check(folder, code, codes):
    """Raise an AssertionError where something is lost."""
    assert code in codes, (code, codes)
    (run,) = folder.glob("runs/*")
    torch.load(run / "model.pt", weights_only=True)
    assert not list(run.glob("*.tmp"))
    log = (folder / "log.txt").read_text()
    assert "Traceback" not in log, log
    last_line = log.splitlines()[-1]
    if last_line.startswith("the better team: "):
        words = shlex.split(last_line)
        assert str(run) in words
        assert Path(run, "best_model.pt" if "--best" in words else "model.pt").exists()


random.seed(0)
kinds = PAIRS if int(moments) > 0 else PAIRS[::3]
tries = list(itertools.product(kinds, range(max(1, int(moments)))))
for (first, second), k in tries:
    folder = Path(root, f"{script}-{first}-{second}-{k}")
    pid = start(folder)
    group = psutil.Process(pid).children(recursive=True)
    time.sleep(random.uniform(0, 0.5))
    os.kill(pid, getattr(signal, first))
    if second:
        time.sleep(random.uniform(0, 0.05))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, getattr(signal, second))
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    _, alive = psutil.wait_procs(group, timeout=5)
    assert not alive, alive
    codes = [128 + getattr(signal, first)]
    if second:  # it was faster, or came when everything was saved
        codes += [128 + getattr(signal, second), -getattr(signal, second)]
    check(folder, code, codes)
print(f"{script}: {len(tries)} runs, nothing lost")
