"""Train as a script would, then play 100 greedy episodes with the final and with the best model.

run.py and run_on_ray.py start each run with it, in an empty folder. The script leaves `runs` there,
and what the episodes gave is in evaluation.json. stdin is a pipe that the starter never writes to.
It closes when the starter ends, on kill -9 too, and then all processes of the run are killed.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path


def end_with_starter():
    os.read(0, 1)  # returns when the pipe closes
    os.killpg(0, signal.SIGKILL)


def call(*command, **options):
    """Run Python with arguments. If it fails, this program ends with its exit code."""
    done = subprocess.run([sys.executable, *command], stdin=subprocess.DEVNULL, **options)
    if done.returncode != 0:
        # Ended by a signal: in the way of a shell.
        sys.exit(done.returncode if done.returncode > 0 else 128 - done.returncode)
    return done.stdout


def play(script, arguments, model):
    """Means over the episodes of a model. Its script and environment can be the user's own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--env-name", default="")
    parser.add_argument("--env-family", default="")
    env, _ = parser.parse_known_args(arguments)
    (run,) = Path("runs").iterdir()
    own = ["--script", script, "--env-name", env.env_name, "--env-family", env.env_family]
    evaluate = ["-m", "cleanmarl.evaluate", str(run / model), "--episodes", "100", "--json"]
    figures = json.loads(call(*evaluate, *own, stdout=subprocess.PIPE))
    means = {"return": figures["return"]["mean"]}
    if "battles_won" in figures:
        means["battle_won"] = figures["battles_won"]["mean"]
    return means


def main(script, *arguments):
    threading.Thread(target=end_with_starter, daemon=True).start()
    call(script, *arguments)
    evaluation = {}
    for name, model in (("final", "model.pt"), ("best", "best_model.pt")):
        evaluation[name] = play(script, arguments, model)
    Path("evaluation.json").write_text(json.dumps(evaluation) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
