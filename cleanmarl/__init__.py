"""QMIX in four single-file scripts that share only this module and ``cleanmarl.env_wrappers``."""

import contextlib
import difflib
import os
import random
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

__version__ = "0.3.0"
SCRIPTS = ("qmix", "qmix_memefficient", "qmix_multienvs", "qmix_lstm")

# A daemon has no streams. What is written there must not end a run.
sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


class UsageError(ValueError):
    """Raised for an argument that cannot work: one line that names it and says what to do."""


def check_name(argument, value, names):
    """Raise a UsageError with the nearest names unless `value` is one of `names`."""
    if value not in names:
        near = difflib.get_close_matches(value, names, n=3, cutoff=0.5) or sorted(names)[:20]
        raise UsageError(f"{argument}: there is no {value!r}; try {' or '.join(near)}")


def plain_arguments(arguments):
    """Write ``--double_q=True`` of sweep tools, and whole numbers like 1e6, as tyro reads them.

    The first becomes ``--double_q``, with False ``--no-double_q``. Returns the list of arguments.
    """
    plain = []
    for word in arguments:
        word = re.sub("^--(.+)=true$", r"--\1", word, flags=re.I)
        word = re.sub("^--(.+)=false$", r"--no-\1", word, flags=re.I)
        flag, equals, value = word.rpartition("=")
        is_power = re.fullmatch(r"(\d+\.?\d*|\.\d+)e\+?\d{1,2}", value, flags=re.I)
        if is_power and float(value).is_integer():
            value = f"{float(value):.0f}"
        plain.append(flag + equals + value)
    return plain


@contextlib.contextmanager
def keep_random_state():
    """Leave the generators of Python, NumPy and torch as they were."""
    python_state = random.getstate()
    numpy_state = np.random.get_state()
    torch_state = torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        torch.set_rng_state(torch_state)


# What ends a run: Ctrl-C, SIGTERM and a closed terminal. nohup has it ignore the last, a shell's &
# the first, and Windows has no SIGHUP.
NAMES = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
SIGNALS = [getattr(signal, name) for name in NAMES]
SIGNALS = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]


def on_signals(action):
    """Say what the signals do that end a run: `stop`, `ignore` or SIG_DFL."""
    for number in SIGNALS:
        signal.signal(number, action)


def ignore(signal_number, frame):
    """Do nothing at a signal. With SIG_IGN Python complains of a signal that is on its way."""


def stop(signal_number, frame):
    """End the run at a signal: the `finally` of its loop saves what was learnt."""
    on_signals(ignore)  # a second one must not cut the saving off
    sys.exit(128 + signal_number)


def write_whole(path, data):
    """Write a file whole or not at all. A full disk or a folder that is gone is one line."""
    half = path.with_name(f"{path.name}.tmp")
    try:
        half.write_bytes(data)
        half.replace(path)
    except OSError as error:
        sys.exit(f"{Path(sys.argv[0]).name}: {path} cannot be written: {error.strerror}")
    finally:
        with contextlib.suppress(OSError):
            half.unlink(missing_ok=True)  # room for another


def say_at_the_end(lines):
    """Print the last lines of a run. Nobody may be there to read them any more."""
    try:
        for line in lines:
            print(line, flush=True)
    except OSError:  # the terminal is closed, or the program behind a pipe has ended
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115


def play_command(run_dir, script, args, best):
    """The command that plays the team of a run. `script` is the file that has trained it."""
    words = ["python", "-m", "cleanmarl.evaluate", str(run_dir)]
    if best:
        words.append("--best")
    # evaluate.py runs nobody's own code unless it is told to.
    is_beside_us = Path(script).resolve().parent == Path(__file__).resolve().parent
    if not is_beside_us or Path(script).stem not in SCRIPTS:
        words += ["--script", sys.argv[0]]
    if args.env_type == "pz":
        words += ["--env-family", args.env_family, "--env-name", args.env_name]
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)
