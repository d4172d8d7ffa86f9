"""What has the mixer learned? Q_tot and what each agent counts in it, along a greedy episode.

    python benchmark/studies/mixer.py runs/<run>

The figure has frames of the episode, Q_tot at each step, and dQ_tot/dQ_i: by how much Q_tot would
rise if the value of agent i rose a little, for each 1 that it rises. A line is thin where the agent
has one available action only, as a dead one does. Where rewards were not normalised, the discounted
rewards that followed stand beside Q_tot, which should equal them.

For runs of your own only, like loops.py. A .pt file in place of the folder plays another model.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from loops import Recorder, load_mixer, load_team, record_values, usage_error
from matplotlib.figure import Figure

from cleanmarl import UsageError


@dataclass
class Args:
    run: tyro.conf.Positional[str]
    """folder of a run, runs/..., or a .pt file"""
    figure: Path = Path("mixer.png")
    """the figure's file (.png, .svg or .pdf)"""
    frames: int = 4
    """frames of the episode; 0 for an environment that cannot be drawn"""
    zoom: float = 1
    """show the middle of the frames, this many times as large"""
    seed: int = 1000000
    """seed of the episode, as in cleanmarl/evaluate.py"""
    script: str = ""
    """the script that trained the model if it is your own, my_qmix.py; it is imported, so its code
    runs"""


class FrameRecorder(Recorder):
    """Keeps the rewards and a picture of each step, too."""

    def reset(self, **kwargs):
        self.rewards = []
        self.frames = []
        return super().reset(**kwargs)

    def step(self, actions):
        if self.env.render_mode:
            self.frames.append(self.env.render())
        obs, reward, *rest = super().step(actions)
        self.rewards.append(reward)
        return obs, reward, *rest


def play(module, env, q_network, seed):
    """Play a greedy episode. Returns the best available value of each agent: (time, n_agents)."""
    q_values = record_values(q_network, env)
    env.next_seed = seed
    module.evaluate(env, q_network, 1)
    available = torch.as_tensor(np.array(env.avail_actions))  # (time, n_agents, n_actions)
    return torch.stack(q_values).where(available, -torch.inf).amax(dim=-1)


def mix(mixer, q_values, states):
    """Q_tot (time,) and its derivatives by the agents' values (time, n_agents)."""
    q_values = q_values.clone().requires_grad_()
    q_total = mixer(q_values, states)
    # A step's Q_tot depends on the values of that step alone, so one sum has all derivatives.
    (derivatives,) = torch.autograd.grad(q_total.sum(), q_values)
    return q_total.detach().numpy(), derivatives.numpy()


def discounted(rewards, gamma):
    """What followed from each step on: (time,)."""
    returns = np.zeros(len(rewards) + 1)
    for t in reversed(range(len(rewards))):
        returns[t] = rewards[t] + gamma * returns[t + 1]
    return returns[:-1]


def middle(frame, zoom):
    """The middle of a frame, (height, width, 3)."""
    height, width, _ = frame.shape
    top = round(height * (1 - 1 / zoom) / 2)
    left = round(width * (1 - 1 / zoom) / 2)
    return frame[top : height - top, left : width - left]


def draw(args, env, q_total, derivatives, returns):
    """Frames above, then Q_tot, then the derivatives. `returns` is None where there are none."""
    steps = np.arange(len(q_total))
    shown = np.linspace(0, len(steps) - 1, args.frames).round().astype(int)
    heights = [1.6, 2.4]
    if args.frames:
        height, width, _ = env.frames[0].shape
        heights.insert(0, 8 / args.frames * height / width + 0.3)  # with their titles
    figure = Figure(figsize=(8, sum(heights)), layout="constrained")
    *top, lower, lowest = figure.subfigures(len(heights), 1, height_ratios=heights)
    value = lower.subplots()
    parts = lowest.subplots()
    for i, step in enumerate(shown):
        axis = top[0].add_subplot(1, args.frames, i + 1)
        axis.imshow(middle(env.frames[step], args.zoom))
        axis.set_title(f"step {step}", fontsize="small")
        axis.axis("off")
    value.plot(steps, q_total, color="black", label="$Q_{tot}$")
    if returns is not None:
        value.plot(steps, returns, color="gray", linestyle="--", label="discounted rewards to come")
    value.legend(fontsize="small")
    value.set_ylabel("$Q_{tot}$")
    choices = np.array(env.avail_actions).sum(axis=-1)  # (time, n_agents)
    for i in range(derivatives.shape[1]):
        has_choice = np.where(choices[:, i] > 1, derivatives[:, i], np.nan)
        (line,) = parts.plot(steps, has_choice, linewidth=2, label=f"agent {i + 1}")
        parts.plot(steps, derivatives[:, i], linewidth=0.7, color=line.get_color())
    parts.set_ylim(bottom=0)
    parts.set_ylabel(r"$\partial Q_{tot} / \partial Q_i$")
    parts.set_xlabel("step")
    parts.legend(fontsize="small", ncols=min(5, derivatives.shape[1]))
    for axis in (value, parts):
        axis.set_xlim(0, len(steps) - 1)
        for step in shown:
            axis.axvline(step, color="gray", linewidth=0.5, linestyle=":")
    figure.savefig(args.figure, dpi=130)


if __name__ == "__main__":
    args = tyro.cli(Args, description=__doc__)
    torch.set_num_threads(1)
    mode = "rgb_array" if args.frames else None
    try:
        module, env, q_network, saved, _ = load_team(args.run, args, FrameRecorder, mode)
    except UsageError as error:
        usage_error(error)
    mixer = load_mixer(module, saved, env)
    q_values = play(module, env, q_network, args.seed)
    q_total, derivatives = mix(mixer, q_values, torch.as_tensor(np.array(env.states)))
    returns = None
    if not saved["args"]["normalize_reward"]:
        returns = discounted(env.rewards, saved["args"]["gamma"])
    draw(args, env, q_total, derivatives, returns)
    counts = " ".join(f"{count:.2f}" for count in derivatives.mean(axis=0))
    print(f"{len(q_total)} steps, return {env.total:.2f}, Q_tot {q_total[0]:.2f} at first")
    print(f"dQ_tot/dQ_i, mean over the steps: {counts}")
    print(args.figure)
