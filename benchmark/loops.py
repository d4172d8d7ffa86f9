"""Does a trained team finish, or does it walk to and fro? What its greedy episodes look like at their end.

python benchmark/loops.py runs/<run> --episodes 100

For runs of your own only: an environment that the model names is imported, unlike in cleanmarl/evaluate.py.
"""

import sys
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import torch
import tyro

from cleanmarl.env_wrappers import UsageError, make_env
from cleanmarl.evaluate import build_q_network, load_run, load_script
from cleanmarl.rendering.video import FilmedEpisodes


@dataclass
class Args:
    run: tyro.conf.Positional[str]
    """the folder of a run, runs/..., or a .pt file"""
    episodes: int = 100
    """greedy episodes to play"""
    seed: int = 1000000
    """episode i is reset with seed + i"""
    best: bool = False
    """take best_model.pt, from the best evaluation in training, instead of model.pt, from its end"""
    script: str = ""
    """the script that trained the model if it is your own, my_qmix.py; it is imported, so its code runs"""
    last: int = 20
    """steps that are called the end of an episode"""


class Recorder(gym.Wrapper):
    """Keeps the states and available actions in which the team acts, and the return, of the latest episode."""

    def reset(self, **kwargs):
        self.obs, info = self.env.reset(**kwargs)
        self.states, self.avail_actions, self.total, self.truncated = [], [], 0.0, False
        return self.obs, info

    def step(self, actions):
        self.states.append(self.obs["state"])
        self.avail_actions.append(self.obs["avail_actions"])
        self.obs, reward, terminated, self.truncated, info = self.env.step(actions)
        self.total += reward
        return self.obs, reward, terminated, self.truncated, info


def play(args):
    """A row for each episode: return, steps, cut off or not, different states at its end, first and last Q_tot."""
    _, saved = load_run(args.run, args.best)
    module, names = (
        load_script(saved["script"], args.script),
        ("env_type", "env_name", "env_family", "agent_ids"),
    )
    env = Recorder(FilmedEpisodes(make_env(*(saved["args"][name] for name in names)), args.seed))
    q_network, q_values = build_q_network(module, saved, env, saved["args"]["env_name"]), []
    n_agents, (state_dim,) = len(env.action_space.nvec), env.observation_space["state"].shape
    mixer = module.Mixer(n_agents, state_dim, saved["args"]["hyper_dim"])
    mixer.load_state_dict(saved["mixer"])
    q_network.head.register_forward_hook(
        lambda head, inputs, output: q_values.append(output.squeeze())
    )
    for _ in range(args.episodes):
        q_values.clear()
        module.evaluate(env, q_network, 1, torch.device("cpu"))
        with torch.inference_mode():
            available = torch.as_tensor(np.array(env.avail_actions))  # (time, n_agents, n_actions)
            best = (
                torch.stack(q_values).where(available, -torch.inf).amax(dim=-1)
            )  # (time, n_agents)
            q_total = mixer(best, torch.as_tensor(np.array(env.states)))
        different = len(np.unique(np.array(env.states[-args.last :]), axis=0))
        yield (
            env.total,
            len(env.states),
            env.truncated,
            different,
            q_total[0].item(),
            q_total[-1].item(),
        )


if __name__ == "__main__":
    args = tyro.cli(Args, description=__doc__)
    torch.set_num_threads(1)
    try:
        total, steps, cut_off, different, first, last = np.array(list(play(args))).T
    except UsageError as error:
        print(f"loops.py: {error}", file=sys.stderr)
        sys.exit(2)
    cut_off = cut_off.astype(bool)
    print(
        f"{args.episodes} greedy episodes: mean return {total.mean():.2f}, {steps.mean():.1f} steps"
    )
    print(f"first Q_tot: {first.mean():.2f}")
    print(f"cut off by the time limit: {cut_off.mean():.0%}")
    if cut_off.any():
        print(f"  their last Q_tot: {last[cut_off].mean():.2f}")
        stuck = (different <= 4)[cut_off].mean()
        print(f"  at most four different states in their last {args.last} steps: {stuck:.0%}")
