"""Search hyperparameters with Optuna: a trial is a run of a script, scored by its last evaluations.

    python docs/examples/sweep_optuna.py 20 cleanmarl/qmix.py \\
        --env-type lbf --env-name Foraging-5x5-2p-1f-v3
"""

import os
import subprocess
import sys
import time
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

try:
    import optuna
except ImportError:
    sys.exit("sweep_optuna.py: Optuna is missing: pip install optuna")
if len(sys.argv) < 3:
    needed = "the number of trials, a script, and the arguments that all trials share"
    sys.exit(f"sweep_optuna.py: give {needed}")
n_trials, script, *shared = sys.argv[1:]
root = Path("sweeps", str(int(time.time())))
# Modules of your own are found from here, also by runs in folders of their own.
python_path = os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])
environ = os.environ | {"PYTHONPATH": python_path}


def evaluations(folder):
    """The values of eval/ep_reward of the only run in a folder."""
    (run,) = Path(folder, "runs").iterdir()
    events = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()  # 0: keep them all
    return [event.value for event in events.Scalars("eval/ep_reward")]


def objective(trial):
    """Train once. Returns the mean of the last five evaluations: one alone has few episodes."""
    suggested = {
        "--learning-rate": trial.suggest_float("learning_rate", 1e-4, 3e-3, log=True),
        "--polyak": trial.suggest_float("polyak", 0.002, 0.1, log=True),
        "--batch-size": trial.suggest_categorical("batch_size", [10, 32]),
    }
    folder = root / f"trial{trial.number}"  # in which the script makes its `runs`
    folder.mkdir(parents=True)
    command = [sys.executable, str(Path(script).resolve()), *shared]
    for flag, value in suggested.items():
        command += [flag, str(value)]
    command += ["--seed", str(trial.number + 1)]
    if subprocess.run(command, cwd=folder, env=environ).returncode != 0:
        sys.exit("sweep_optuna.py: the run has failed, see above")
    last = evaluations(folder)[-5:]
    return sum(last) / len(last)


study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0))
study.optimize(objective, n_trials=int(n_trials))
print(f"best: {study.best_value:.3f} with {study.best_params}")
