"""What the tests share: the four scripts as modules, as commands and as programs run here."""

import importlib
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cleanmarl import SIGNALS

REPO = Path(__file__).parent.parent
SCRIPTS = ("qmix", "qmix_memefficient", "qmix_multienvs", "qmix_lstm")
PZ = ("--env-type", "pz", "--env-family", "tests.envs", "--env-name")  # and a file of tests/envs
CLOCK = (*PZ, "clock")
WEATHER = (*PZ, "weather")
LBF = ("--env-type", "lbf", "--env-name", "Foraging-5x5-2p-1f-v3")
SPREAD = ("--env-type", "pz", "--env-name", "simple_spread_v3")
# Packages that only the user's own PYTHONPATH finds are needed too.
PATHS = [str(REPO), os.environ.get("PYTHONPATH", "")]
ENVIRON = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(path for path in PATHS if path),
    "WANDB_MODE": "offline",
}


def words(line):
    """The arguments of a command line."""
    return tuple(line.split())


def module(script):
    return importlib.import_module(f"cleanmarl.{script}")


def command(script, *args):
    return [sys.executable, str(REPO / "cleanmarl" / f"{script}.py"), *map(str, args)]


def run(script, *args, cwd, env=ENVIRON):
    """Run a script as a user would and return its finished process, which must have succeeded."""
    done = subprocess.run(command(script, *args), cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done


def run_here(script, *args, cwd, monkeypatch, path=None):
    """Run a script in this process and return its globals: what it has collected and learnt.

    `path` is that of a changed copy.
    """
    monkeypatch.chdir(cwd)
    monkeypatch.setattr(sys, "argv", [f"{script}.py", *map(str, args)])
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        path = path or REPO / "cleanmarl" / f"{script}.py"
        return runpy.run_path(str(path), run_name="__main__")
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def run_dir(cwd):
    (path,) = Path(cwd, "runs").iterdir()
    return path


def scalars(cwd):
    """All scalars of the only run under `cwd`: tag -> [(step, value), ...]."""
    events = EventAccumulator(str(run_dir(cwd)), size_guidance={"scalars": 0}).Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def random_trajectory(
    rng, length, n_agents=3, obs_dim=4, state_dim=5, n_actions=3, terminated=True
):
    """`length` steps with all observations, states and available actions, the last included."""
    avail_actions = rng.random((length + 1, n_agents, n_actions)) < 0.6
    avail_actions[..., 0] = True
    return {
        "obs": rng.normal(size=(length + 1, n_agents, obs_dim)).astype(np.float32),
        "states": rng.normal(size=(length + 1, state_dim)).astype(np.float32),
        "avail_actions": avail_actions,
        "actions": rng.integers(n_actions, size=(length, n_agents)),
        "reward": rng.normal(size=length).astype(np.float32),
        "done": np.arange(length) == (length - 1 if terminated else -1),
    }


def episode(script, trajectory):
    """The dictionary of lists that a script collects from a trajectory."""
    collected = {
        "obs": trajectory["obs"][:-1],
        "actions": trajectory["actions"],
        "reward": trajectory["reward"],
        "next_obs": trajectory["obs"][1:],
        "states": trajectory["states"][:-1],
        "next_states": trajectory["states"][1:],
        "done": trajectory["done"],
        "next_avail_actions": trajectory["avail_actions"][1:],
    }
    if script == "qmix_memefficient":
        collected = {
            key: value for key, value in collected.items() if key not in ("next_obs", "next_states")
        }
        collected |= {"obs": trajectory["obs"], "states": trajectory["states"]}
        collected["actions"] = collected["actions"].astype(np.uint8)
    return {key: list(value) for key, value in collected.items()}


class InOrder:
    """In the place of a generator: it draws the first episodes of a buffer, in their order."""

    def choice(self, number, size, replace):
        return range(size)


def batch_of(script, trajectories):
    """The batch that a script's buffer makes of these trajectories, in their order."""
    buffer = module(script).ReplayBuffer(len(trajectories), False, torch.device("cpu"))
    for trajectory in trajectories:
        buffer.add(episode(script, trajectory))
    return buffer.sample(len(trajectories), rng=InOrder())


def loss_of(script, networks, batch, gamma=0.9, double_q=False):
    """The loss of a whole batch.

    `networks` are the online and the target Q-network, then the online and the target mixer. These
    are the two calls that the loops of the scripts make between `buffer.sample` and
    `gradient_step`; qmix_lstm makes the second one for every chunk.
    """
    q_network, target_q_network, mixer, target_mixer = networks
    td_target = module(script).compute_td_target(
        q_network, target_q_network, target_mixer, batch, gamma, double_q
    )
    state = [None] if script == "qmix_lstm" else []
    return module(script).td_loss(q_network, mixer, batch, td_target, *state)[0]


def networks_of(script, n_agents=3, obs_dim=4, state_dim=5, n_actions=3):
    """Online and target networks with different random weights of ordinary size."""
    torch.manual_seed(0)
    m = module(script)
    networks = [m.QNetwork(obs_dim, n_actions, 16, 1) for _ in range(2)]
    networks += [m.Mixer(n_agents, state_dim, 16) for _ in range(2)]
    for network in networks:
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return networks


def gradients(networks):
    return [
        parameter.grad.clone()
        for network in (networks[0], networks[2])
        for parameter in network.parameters()
    ]


def first_actions(observation):
    """The first available action of each agent."""
    return observation["avail_actions"].argmax(axis=-1)


def assert_same(observation, expected):
    """Two observations are equal to the bit, types included."""
    assert observation.keys() == expected.keys()
    for key, array in expected.items():
        assert observation[key].dtype == array.dtype, key
        np.testing.assert_array_equal(observation[key], array, strict=True, err_msg=key)
