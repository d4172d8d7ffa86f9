"""Print the ids of workers that never come back from a step, and of the processes that these have.

The argument says how the program ends.
"""

import multiprocessing
import os
import signal
import sys

import numpy as np
import psutil

from cleanmarl.vector_envs import make_vector_env

if __name__ == "__main__":
    envs = make_vector_env("pz", "deaf", "tests.envs", True, 3, 2)
    envs.reset()
    for _ in range(9):
        envs.step(np.zeros((2, 3), int))
    print(*[process.pid for process in psutil.Process().children(recursive=True)], flush=True)
    envs.step_async(np.zeros((2, 3), int))
    if sys.argv[1] == "SIGKILL":
        os.kill(os.getpid(), signal.SIGKILL)
    if sys.argv[1] == "close":
        envs.close()
        assert not multiprocessing.active_children()
