"""Train as a script would, then play 100 greedy episodes with the final and with the best model.

run.py and run_on_ray.py start each run with it, in an empty folder. The script leaves `runs` there,
and what the episodes gave is in evaluation.json.
"""

import json
import subprocess
import sys
from pathlib import Path

EPISODES = 100


def play(script, best):
    """Means over the episodes of a model."""
    from cleanmarl import evaluate  # with torch, which would take memory while the script trains

    (run,) = Path("runs").iterdir()
    _, saved = evaluate.load_run(run, best)
    args = evaluate.Args(
        str(run),
        best=best,
        episodes=EPISODES,
        script=script,
        env_family=saved["args"]["env_family"],
        env_name=saved["args"]["env_name"],
    )
    figures, interrupted = evaluate.run(args)
    if interrupted:
        sys.exit(130)
    means = {"return": figures["return"]["mean"]}
    if "battles_won" in figures:
        means["battle_won"] = figures["battles_won"]["mean"]
    return means


def main(script, *arguments):
    code = subprocess.run([sys.executable, script, *arguments], check=False).returncode
    if code < 0:
        sys.exit(128 - code)  # ended by a signal, in the way of a shell
    if code > 0:
        sys.exit(code)
    evaluation = {"final": play(script, best=False), "best": play(script, best=True)}
    Path("evaluation.json").write_text(json.dumps(evaluation) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
