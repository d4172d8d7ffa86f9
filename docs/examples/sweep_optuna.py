"""Search hyperparameters with Optuna: a trial is a run for each seed, scored by last evaluations.

    python docs/examples/sweep_optuna.py my_sweep 20 cleanmarl/qmix.py \\
        --env-type lbf --env-name Foraging-5x5-2p-1f-v3

The same command again adds 20 trials to my_sweep. In several terminals they are added in parallel.
"""

import os
import statistics
import subprocess
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

try:
    import optuna
except ImportError:
    sys.exit("sweep_optuna.py: Optuna is missing: pip install optuna")
if len(sys.argv) < 4:
    needed = "a name, the number of trials, a script, and the arguments that all trials share"
    sys.exit(f"sweep_optuna.py: give {needed}")
name, n_trials, script, *shared = sys.argv[1:]
SEEDS = (1, 2, 3)  # of each trial, the same for all: one seed may be lucky
root = Path("sweeps", name)
# Modules of your own are found from here, also by runs in folders of their own.
python_path = os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])
environ = os.environ | {"PYTHONPATH": python_path}


def score(folder):
    """The mean of the last five evaluations of the only run in a folder: one has few episodes."""
    (run,) = Path(folder, "runs").iterdir()
    events = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()  # 0: keep them all
    return statistics.mean(event.value for event in events.Scalars("eval/ep_reward")[-5:])


def objective(trial):
    """Train once with each seed. Returns the mean of the scores."""
    suggested = {
        "--learning-rate": trial.suggest_float("learning_rate", 1e-4, 3e-3, log=True),
        "--polyak": trial.suggest_float("polyak", 0.002, 0.1, log=True),
        "--batch-size": trial.suggest_categorical("batch_size", [10, 32]),
    }
    command = [sys.executable, str(Path(script).resolve()), *shared]
    for flag, value in suggested.items():
        command += [flag, str(value)]
    scores = []
    for seed in SEEDS:
        folder = root / f"trial{trial.number}" / f"seed{seed}"  # the script makes its `runs` there
        folder.mkdir(parents=True)
        train = [*command, "--seed", str(seed)]
        done = subprocess.run(train, cwd=folder, env=environ, stderr=subprocess.PIPE, text=True)
        sys.stderr.write(done.stderr)
        if "loss is not finite" in done.stderr:  # Optuna keeps away from here
            raise optuna.TrialPruned
        if done.returncode != 0:
            sys.exit("sweep_optuna.py: the run has failed, see above")
        scores.append(score(folder))
    return statistics.mean(scores)


root.mkdir(parents=True, exist_ok=True)
storage = f"sqlite:///{root.as_posix()}/study.db"
study = optuna.create_study(
    study_name=name, storage=storage, load_if_exists=True, direction="maximize"
)
# Scores of other scripts or arguments do not compare.
if study.user_attrs.get("command", [script, *shared]) != [script, *shared]:
    sys.exit(f"sweep_optuna.py: {root} has another script or arguments: give another name")
study.set_user_attr("command", [script, *shared])
study.optimize(objective, n_trials=int(n_trials))
if not study.get_trials(states=[optuna.trial.TrialState.COMPLETE]):
    sys.exit("sweep_optuna.py: no trial came to its end")
print(f"best: {study.best_value:.3f} with {study.best_params}")
