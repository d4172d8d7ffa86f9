"""Train as a script would, then play 100 greedy episodes with the final and with the best model.

run.py and run_on_ray.py start each run with it, in an empty folder. The script leaves `runs` there,
and what the episodes gave is in evaluation.json. stdin is a pipe that the starter never writes to.
It closes when the starter ends, on kill -9 too, and then all processes of the run are killed.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path


def end_with_starter(group):
    if os.fork() == 0:
        os.setsid()  # out of the group that it is to kill
        os.read(0, 1)  # returns when the pipe closes
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left
            os.killpg(group, signal.SIGKILL)
        os._exit(0)


def call(*command, **options):
    """Run Python with arguments. If it fails, this program ends with its exit code."""
    done = subprocess.run([sys.executable, *command], stdin=subprocess.DEVNULL, **options)
    if done.returncode != 0:
        sys.exit(done.returncode if done.returncode > 0 else 128 - done.returncode)  # as a shell
    return done.stdout


def play(script, arguments):
    """Means over the episodes of both models. Script and environment can be the user's own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--env-name", default="")
    parser.add_argument("--env-family", default="")
    env, _ = parser.parse_known_args(arguments)
    (run,) = Path("runs").iterdir()
    models = [str(run / "model.pt"), str(run / "best_model.pt")]
    own = ["--script", script, "--env-name", env.env_name, "--env-family", env.env_family]
    evaluate = ["-m", "cleanmarl.evaluate", *models, "--episodes", "100", "--json", *own]
    final, best = json.loads(call(*evaluate, stdout=subprocess.PIPE))["runs"]
    return {"final": means(final), "best": means(best)}


def means(figures):
    """The return, and the part of the battles won where there are any."""
    of_model = {"return": figures["return"]["mean"]}
    if "battles_won" in figures:
        of_model["battle_won"] = figures["battles_won"]["mean"]
    return of_model


def main(script, *arguments):
    end_with_starter(os.getpid())
    call(script, *arguments)
    Path("evaluation.json").write_text(json.dumps(play(script, arguments)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
