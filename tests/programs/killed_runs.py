"""Start five runs one after the other, and kill each at a random moment after its first best model.

The first argument seeds the moments, the others are qmix.py's.
"""

import os
import random
import runpy
import signal
import sys
import time
from pathlib import Path

import lbforaging  # noqa: F401
import wandb  # noqa: F401

import cleanmarl.qmix

random.seed(int(sys.argv[1]))
for k in range(5):
    folder = Path(f"run{k}")
    folder.mkdir()
    pid = os.fork()  # with everything imported
    if pid == 0:
        os.chdir(folder)
        sys.argv[1:] = sys.argv[2:]
        runpy.run_path(cleanmarl.qmix.__file__, run_name="__main__")
    while not list(folder.glob("runs/*/best_model.pt")):
        time.sleep(0.01)
    time.sleep(random.uniform(0, 0.6))
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert status == signal.SIGKILL
