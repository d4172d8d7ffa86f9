"""Does a trained team finish, or does it walk to and fro? How its greedy episodes end.

    python benchmark/loops.py runs/<run> --episodes 100

For runs of your own only: an environment that the model names is imported, unlike in
cleanmarl/evaluate.py.
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
    """take best_model.pt, from the best evaluation in training, instead of model.pt, from its
    end"""
    script: str = ""
    """the script that trained the model if it is your own, my_qmix.py; it is imported, so its code
    runs"""
    last: int = 20
    """steps that are called the end of an episode"""


class Recorder(gym.Wrapper):
    """Keeps the return of the latest episode, and the states and available actions of each step."""

    def reset(self, **kwargs):
        self.obs, info = self.env.reset(**kwargs)
        self.states = []
        self.avail_actions = []
        self.total = 0.0
        self.truncated = False
        return self.obs, info

    def step(self, actions):
        self.states.append(self.obs["state"])
        self.avail_actions.append(self.obs["avail_actions"])
        self.obs, reward, terminated, self.truncated, info = self.env.step(actions)
        self.total += reward
        return self.obs, reward, terminated, self.truncated, info


def play(args):
    """Play greedy episodes. Returns an array with a row for each.

    Its columns: return, steps, cut off or not, different states at its end, first Q_tot, last
    Q_tot.
    """
    _, saved = load_run(args.run, args.best)
    module = load_script(saved["script"], args.script)
    trained = saved["args"]
    env = make_env(
        trained["env_type"], trained["env_name"], trained["env_family"], trained["agent_ids"]
    )
    env = Recorder(FilmedEpisodes(env, args.seed))
    q_network = build_q_network(module, saved, env, trained["env_name"])
    n_agents, n_actions = env.observation_space["avail_actions"].shape
    (state_dim,) = env.observation_space["state"].shape
    mixer = module.Mixer(n_agents, state_dim, trained["hyper_dim"])
    mixer.load_state_dict(saved["mixer"])
    q_values = []  # of each step of an episode, as they leave the network
    q_network.head.register_forward_hook(
        lambda head, inputs, output: q_values.append(output.view(n_agents, n_actions))
    )
    rows = []
    for _ in range(args.episodes):
        q_values.clear()
        module.evaluate(env, q_network, 1, torch.device("cpu"))
        with torch.inference_mode():
            available = torch.as_tensor(np.array(env.avail_actions))  # (time, n_agents, n_actions)
            greedy = torch.stack(q_values).where(available, -torch.inf).amax(dim=-1)
            q_total = mixer(greedy, torch.as_tensor(np.array(env.states)))  # (time,)
        last_states = np.array(env.states[-args.last :])
        row = [
            env.total,
            len(env.states),
            env.truncated,
            len(np.unique(last_states, axis=0)),
            q_total[0].item(),
            q_total[-1].item(),
        ]
        rows.append(row)
    return np.array(rows)


if __name__ == "__main__":
    args = tyro.cli(Args, description=__doc__)
    torch.set_num_threads(1)
    try:
        total, steps, cut_off, different, first, last = play(args).T
    except UsageError as error:
        print(f"loops.py: {error}", file=sys.stderr)
        sys.exit(2)
    cut_off = cut_off.astype(bool)
    means = f"mean return {total.mean():.2f}, {steps.mean():.1f} steps"
    print(f"{args.episodes} greedy episodes: {means}")
    print(f"first Q_tot: {first.mean():.2f}")
    print(f"cut off by the time limit: {cut_off.mean():.0%}")
    if cut_off.any():
        print(f"  their last Q_tot: {last[cut_off].mean():.2f}")
        stuck = (different[cut_off] <= 4).mean()
        print(f"  at most four different states in their last {args.last} steps: {stuck:.0%}")
