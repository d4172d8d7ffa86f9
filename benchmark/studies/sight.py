"""What do agents see of the food that they leave? Trained teams on Level-Based Foraging.

    python benchmark/studies/sight.py runs/<run> --episodes 100
    python benchmark/studies/sight.py runs/*

A row is about the last `--last` steps of the greedy episodes that the time limit cuts off: does an
agent see food, do enough agents see it to collect it together, and do enough of them stand beside
it in the same step? An agent sees food that it sees in any of these steps.

For runs of your own only, like loops.py.
"""

import numpy as np
from loops import Recorder, load_team, percent, print_rows

from cleanmarl import UsageError
from cleanmarl.env_wrappers import LBFEnv


class FieldRecorder(Recorder):
    """Keeps the positions of the players in each step, too."""

    def __init__(self, env):
        super().__init__(env)
        if not isinstance(env.unwrapped, LBFEnv):
            raise UsageError("this is for runs on Level-Based Foraging, --env-type lbf")
        self.foraging = env.unwrapped.env.unwrapped  # lbforaging's own environment

    def reset(self, **kwargs):
        self.positions = []
        return super().reset(**kwargs)

    def step(self, actions):
        self.positions.append([player.position for player in self.foraging.players])
        return super().step(actions)


def look(foraging, positions):
    """Is there food left that an agent sees, that enough see, that enough stand beside at once?

    `positions` (steps, n_agents, 2) are cells of the field. Enough are agents whose levels add up
    to that of the food. Returns three answers.
    """
    player_levels = np.array([player.level for player in foraging.players])
    answers = np.zeros(3, bool)
    for cell in np.argwhere(foraging.field > 0):
        level = foraging.field[tuple(cell)]
        distance = np.abs(positions - cell)  # (steps, n_agents, 2), rows and columns
        seen = (distance.max(axis=-1) <= foraging.sight).any(axis=0)  # (n_agents,)
        beside = distance.sum(axis=-1) == 1  # (steps, n_agents)
        answers |= [
            seen.any(),
            player_levels[seen].sum() >= level,
            (beside @ player_levels >= level).any(),
        ]
    return answers


def play(run, args):
    """Play greedy episodes. Returns a row of the table."""
    module, env, q_network, _, cells = load_team(run, args, FieldRecorder)
    answers = []  # of the episodes that are cut off
    for _ in range(args.episodes):
        module.evaluate(env, q_network, 1)
        if env.cut_off:
            answers.append(look(env.foraging, np.array(env.positions[-args.last :])))
    seen, seen_by_enough, enough_beside = np.array(answers).reshape(-1, 3).T
    return cells | {
        "episodes": args.episodes,
        "cut off %": f"{100 * len(answers) / args.episodes:.0f}",
        "food in sight, % of these": percent(seen),
        "in sight of enough agents, % of these": percent(seen_by_enough),
        "enough agents beside it, % of these": percent(enough_beside),
    }


if __name__ == "__main__":
    print_rows(play, __doc__)
