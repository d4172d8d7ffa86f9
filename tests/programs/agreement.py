"""Count the recorded steps and episodes of the original that smaclite_jit plays alike.

Writes a CSV file, the argument.
"""

import csv
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))  # the tests are not installed
from smaclite_jit import SMACliteEnv
from tests import test_smaclite_jit as t

with open(sys.argv[1], "w", newline="") as file:
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["file", "steps", "that agree", "%", "whole episodes", "that agree"])
    for name, (_, whole_episodes) in t.REACHED.items():
        recorded = dict(np.load(t.TRACES / f"{name}.npz"))
        env = SMACliteEnv(str(recorded["map_name"]))
        steps = t.steps_that_agree(recorded, env)
        row = [name, len(steps), sum(steps), f"{100 * np.mean(steps):.2f}"]
        if whole_episodes is not None:
            episodes = t.episodes_that_agree(recorded, env)
            row += [len(episodes), sum(episodes)]
        else:  # its battles do not start as the seed says
            row += ["", ""]
        table.writerow(row)
