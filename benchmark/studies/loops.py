"""Do trained teams finish, or do they walk to and fro? How their greedy episodes end.

    python benchmark/studies/loops.py runs/<run> --episodes 100
    python benchmark/studies/loops.py runs/*

A row counts the episodes that the time limit cuts off, and those of them that end in a loop: with
at most four different states in their last `--last` steps. Where a state does not show everything,
available actions that differ make it another one.

For runs of your own only: an environment that the model names is imported, unlike in
cleanmarl/evaluate.py.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
import tyro

from cleanmarl import UsageError
from cleanmarl.env_wrappers import make_env
from cleanmarl.evaluate import build_q_network, load_run, load_script

sys.path.append(str(Path(__file__).parent.parent))  # benchmark
from common import add_row, usage_error


@dataclass
class Args:
    runs: tyro.conf.Positional[tuple[str, ...]]
    """folders of runs, runs/..., or .pt files"""
    episodes: int = 100
    """greedy episodes to play"""
    script: str = ""
    """the script that trained the model if it is your own, my_qmix.py; it is imported, so its code
    runs"""
    last: int = 20
    """steps that are called the end of an episode"""
    csv: Path | None = None
    """a file to which the rows are added"""


class Recorder(gym.Wrapper):
    """Keeps the return of the latest episode, and the states and available actions of each step.

    Episode i is the one that evaluate.py plays: it is reset with 1000000 + i.
    """

    def __init__(self, env):
        super().__init__(env)
        self.next_seed = 1000000

    def reset(self, **kwargs):
        self.obs, info = self.env.reset(seed=self.next_seed)
        self.next_seed += 1
        self.states = []
        self.avail_actions = []
        self.total = 0.0
        self.cut_off = False
        return self.obs, info

    def step(self, actions):
        self.states.append(self.obs["state"])
        self.avail_actions.append(self.obs["avail_actions"])
        self.obs, reward, terminated, truncated, info = self.env.step(actions)
        self.total += reward
        self.cut_off = truncated and not terminated  # an episode can end in its last step
        return self.obs, reward, terminated, truncated, info


def changed_arguments(trained, defaults):
    """The arguments that a run was given, in one line, but for its environment and seed."""
    words = []
    for name, value in trained.items():
        if name.startswith("env_") or name == "seed" or value == getattr(defaults, name, value):
            continue
        flag = "--" + name.replace("_", "-")
        words.append(flag if value is True else f"{flag} {value}")
    return " ".join(words)


def load_team(run, args, recorder=Recorder, render_mode=None):
    """Load a run's team and make its environment.

    Returns its script, the environment in a recorder, its Q-network, its checkpoint, and the first
    cells of its row.
    """
    path, saved = load_run(run)
    module = load_script(saved["script"], args.script)
    trained = saved["args"]
    names = ("env_type", "env_name", "env_family", "agent_ids", "max_episode_steps")
    env = make_env(**{name: trained[name] for name in names}, render_mode=render_mode)
    env = recorder(env)
    q_network = build_q_network(module, saved, env)
    cells = {
        "environment": trained["env_name"],
        "script": saved["script"],
        "arguments": changed_arguments(trained, module.Args()),
        "seed": str(trained["seed"]),
        "model": path.name,
    }
    return module, env, q_network, saved, cells


def load_mixer(module, saved, env):
    """Load a run's mixer."""
    n_agents, _ = env.observation_space["obs"].shape
    (state_dim,) = env.observation_space["state"].shape
    mixer = module.Mixer(n_agents, state_dim, saved["args"]["hyper_dim"])
    mixer.load_state_dict(saved["mixer"])
    return mixer


def record_values(q_network, env):
    """A list to which each step adds the network's output: (n_agents, n_actions)."""
    shape = env.observation_space["avail_actions"].shape
    q_values = []
    q_network.head.register_forward_hook(
        lambda head, inputs, output: q_values.append(output.view(shape).clone())
    )
    return q_values


def play(run, args):
    """Play greedy episodes. Returns a row of the table."""
    module, env, q_network, saved, cells = load_team(run, args)
    mixer = load_mixer(module, saved, env)
    q_values = record_values(q_network, env)
    episodes = []
    for _ in range(args.episodes):
        q_values.clear()
        module.evaluate(env, q_network, 1)
        states = np.array(env.states)  # (time, state_dim)
        available = np.array(env.avail_actions)  # (time, n_agents, n_actions)
        with torch.inference_mode():
            greedy = torch.stack(q_values).where(torch.as_tensor(available), -torch.inf)
            q_total = mixer(greedy.amax(dim=-1), torch.as_tensor(states))  # (time,)
        steps = np.hstack([states, available.reshape(len(states), -1)])
        num_different = len(np.unique(steps[-args.last :], axis=0))
        first_and_last = q_total[[0, -1]].tolist()
        episodes.append([env.total, len(states), env.cut_off, num_different, *first_and_last])
    total, steps, cut_off, num_different, first, last = np.array(episodes).T
    cut_off = cut_off.astype(bool)
    return cells | {
        "episodes": args.episodes,
        "return": f"{total.mean():.2f}",
        "steps": f"{steps.mean():.1f}",
        "cut off %": percent(cut_off),
        "in a loop, % of these": percent(num_different[cut_off] <= 4),
        "first Q_tot": f"{first.mean():.2f}",
        "last Q_tot of these": f"{last[cut_off].mean():.2f}" if cut_off.any() else "",
    }


def percent(part):
    return f"{100 * part.mean():.0f}" if len(part) else ""


def print_rows(play, description):
    """Read the arguments, play the runs and print what `play` returns of each.

    All are played before the first row: a bad one leaves no table.
    """
    args = tyro.cli(Args, description=description)
    if not args.runs:
        usage_error("give the folders of runs, runs/...")
    torch.set_num_threads(1)
    try:
        rows = [play(run, args) for run in args.runs]
    except UsageError as error:
        usage_error(error)
    for row in rows:
        add_row(row, args.csv)


if __name__ == "__main__":
    print_rows(play, __doc__)
