"""What the programs of the benchmark share."""

import csv
import platform
import re
import sys
from pathlib import Path

import numpy as np

REPO = Path(__file__).parent.parent


def usage_error(message):
    """End the program with one line that says what to do."""
    print(f"{Path(sys.argv[0]).name}: {message}", file=sys.stderr)
    sys.exit(2)


def cpu_name():
    """The name of the processor, as good as the system knows it."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    name = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    return name[1] if name else platform.processor()


def random_actions(avail_actions, rng):
    """A random available action for every agent: (..., n_agents, n_actions) -> (..., n_agents)."""
    # The best of random values is a uniformly random action.
    return np.where(avail_actions, rng.random(np.shape(avail_actions)), -1).argmax(axis=-1)


def add_row(row, path=None):
    """Print a row of a table, a dictionary, and add it to a CSV file, if a path is given.

    Several commands can make one table. Its cells are words and whole numbers.
    """
    print("  ".join(f"{column}: {cell}" for column, cell in row.items()), flush=True)
    if path is None:
        return
    with path.open("a+", newline="") as file:
        file.seek(0)
        header = next(csv.reader(file), None)
        if header not in (None, list(row)):
            usage_error(f"--csv: {path} has other columns: delete it or give another name")
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        if header is None:
            writer.writeheader()
        writer.writerow(row)
