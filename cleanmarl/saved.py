"""Trained models: find them, load them, build their networks. All problems are UsageErrors.

A model file is data: nothing in it is run, and no code is imported because it is named there, but our own scripts'.
"""

import importlib.util
import sys
import warnings
from pathlib import Path

import torch

from cleanmarl.env_wrappers import UsageError

SCRIPTS = ("qmix", "qmix_memefficient", "qmix_multienvs", "qmix_lstm")
SAVED = {"env_type": str, "env_name": str, "env_family": str, "agent_ids": bool}
SAVED |= {"hidden_dim": int, "hyper_dim": int, "num_layers": int}


def find_model(run, best):
    """The model file of a run."""
    if Path(run).is_file():
        return Path(run)
    if not Path(run).is_dir():
        raise UsageError(
            f"{run}: there is no such run: give the folder that training has left, runs/..., or a .pt file"
        )
    names = ["best_model.pt"] if best else ["model.pt", "best_model.pt"]
    found = [name for name in names if Path(run, name).is_file()]
    if not found:
        raise UsageError(
            f"{run} is no run's folder, or nothing is saved yet: it has no {' or '.join(names)}"
        )
    if found[0] != names[0]:
        print(
            "evaluate.py: no model.pt, the run goes on or was killed: taking best_model.pt",
            file=sys.stderr,
        )
    return Path(run, found[0])


def load(path):
    """What a script has saved: a dictionary with `script`, `args`, `q_network` and `mixer`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            saved = torch.load(path, map_location="cpu", weights_only=True)
        good = [type(saved["args"][name]) is kind for name, kind in SAVED.items()]
        good += [
            isinstance(tensor, torch.Tensor)
            for tensor in (saved["q_network"] | saved["mixer"]).values()
        ]
        good += [saved["args"][name] > 0 for name, kind in SAVED.items() if kind is int]
        weights = sum(tensor.numel() for tensor in saved["q_network"].values())
        good += [
            saved["args"]["hidden_dim"] * saved["args"]["num_layers"] <= weights
        ]  # or it would be built for hours
        if not all(good) or not isinstance(saved["script"], str) or not saved["q_network"]:
            raise TypeError
        return saved
    except Exception as error:
        best = path.with_name("best_model.pt")
        hint = f"; try {best}" if best.is_file() and best != path else ""
        raise UsageError(
            f"{path} is damaged or no model of these scripts; nothing in it has been run{hint}"
        ) from error


def load_script(name, path):
    """The module of one of our scripts by its name, or of the user's at `path`."""
    if not path and name in SCRIPTS:
        return importlib.import_module(f"cleanmarl.{name}")
    if not path:
        raise UsageError(
            f"--script: the model is from {name!r}, none of ours: to run its code, give its path"
        )
    spec = importlib.util.spec_from_file_location("script_of_the_run", path)
    if spec is None or not Path(path).is_file():
        raise UsageError(f"--script: {path} is no Python file")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(Path(path).parent))  # as for a program
    spec.loader.exec_module(module)
    if not (hasattr(module, "QNetwork") and hasattr(module, "evaluate")):
        raise UsageError(f"--script: {path} must have QNetwork and evaluate, as our scripts have")
    return module


def build(module, saved, env, env_name):
    """The trained Q-network for an environment. A UsageError names both sizes if they differ."""
    (n_agents, obs_dim), n_actions = (
        env.observation_space["obs"].shape,
        int(env.action_space.nvec[0]),
    )
    sizes = {
        "obs_dim": obs_dim,
        "n_actions": n_actions,
        **{k: saved["args"][k] for k in ("hidden_dim", "num_layers")},
    }
    try:
        q_network = module.QNetwork(*sizes.values())
    except Exception as error:
        raise UsageError(
            f"--script: its QNetwork({', '.join(sizes)}) cannot be made: {error}"
        ) from error
    ours, theirs = q_network.state_dict(), saved["q_network"]
    if {name: weight.ndim for name, weight in ours.items()} != {
        name: weight.ndim for name, weight in theirs.items()
    }:
        raise UsageError(
            "--script: its Q-network is not built like the model's: give the script that trained it"
        )
    pairs = [pair for name in ours for pair in zip(ours[name].shape, theirs[name].shape)]
    others = {here: there for here, there in pairs if here != there}
    if not others:
        q_network.load_state_dict(theirs)
        return q_network
    if not others.keys() & {obs_dim, n_actions}:
        raise UsageError(
            "--script: its Q-network has other sizes than the model's: give the script that trained it"
        )
    agents = (
        saved["mixer"].get("w1.bias", torch.empty(0)).numel() // saved["args"]["hyper_dim"] or "?"
    )
    obs, actions = others.get(obs_dim, obs_dim), others.get(n_actions, n_actions)
    model = f"{agents} agents, {obs} observations and {actions} actions"
    environment = f"{n_agents} agents, {obs_dim} observations and {n_actions} actions"
    raise UsageError(f"--env-name: the model is for {model}, {env_name} has {environment}")
