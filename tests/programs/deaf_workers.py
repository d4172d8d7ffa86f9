"""Print the ids of workers that never come back from a step; the argument says how they end."""

import multiprocessing
import sys

import numpy as np

from cleanmarl.vector_envs import make_vector_env

if __name__ == "__main__":
    envs = make_vector_env("pz", "deaf", "tests.envs", True, 3, 2)
    envs.reset()
    for _ in range(9):
        envs.step(np.zeros((2, 3), int))
    print(*[process.pid for process in envs.processes], flush=True)
    envs.step_async(np.zeros((2, 3), int))
    if sys.argv[1] == "close":
        envs.close()
        assert not multiprocessing.active_children()
