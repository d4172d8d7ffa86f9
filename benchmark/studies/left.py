"""What is left at the end of battles that are not won? Trained teams on SMAClite.

    python benchmark/studies/left.py runs/<run> --episodes 100
    python benchmark/studies/left.py runs/*

A row has the mean return and length of greedy battles, and the share of them that are won, that
are lost, and that the time limit cuts off; then, as means over those that are not won, how many
agents live, which enemies do, and how much health and shields these have together.

For runs of your own only, like loops.py.
"""

from collections import Counter

import numpy as np
from loops import Recorder, load_team, percent, print_rows

import smaclite_jit
from cleanmarl import UsageError


class BattleRecorder(Recorder):
    """Keeps whether the battle was won."""

    def __init__(self, env):
        super().__init__(env)
        battle = getattr(env.unwrapped, "battle", None)
        if not isinstance(battle, smaclite_jit.SMACliteEnv):
            raise UsageError("this is for runs on SMAClite, --env-type smaclite")
        self.battle = battle

    def step(self, actions):
        outcome = super().step(actions)
        self.won = outcome[-1]["battle_won"]
        return outcome


def play(run, args):
    """Play greedy episodes. Returns a row of the table."""
    module, env, q_network, _, cells = load_team(run, args, BattleRecorder)
    arena = env.battle.arena
    is_enemy = arena.kinds["enemy"]
    ends = []  # (return, steps, won, cut off)
    left = []  # of the battles that are not won: (agents, health of the enemies)
    kinds = Counter()  # of these enemies
    for _ in range(args.episodes):
        module.evaluate(env, q_network, 1)
        ends.append([env.total, len(env.states), env.won, env.cut_off])
        if not env.won:
            units = env.battle.units
            enemies = units["alive"] & is_enemy
            health = (units["hp"] + units["shield"])[enemies].sum()
            left.append([(units["alive"] & ~is_enemy).sum(), health])
            kinds.update(arena.unit_names[i].lower() for i in np.flatnonzero(enemies))
    total, steps, won, cut_off = np.array(ends).T
    won, cut_off = won.astype(bool), cut_off.astype(bool)
    agents, health = np.mean(left, axis=0) if left else (0, 0)
    means = [f"{count / len(left):.1f} {kind}" for kind, count in kinds.most_common()]
    return cells | {
        "episodes": args.episodes,
        "return": f"{total.mean():.2f}",
        "steps": f"{steps.mean():.1f}",
        "won %": percent(won),
        "cut off %": percent(cut_off),
        "lost %": percent(~won & ~cut_off),
        "agents left": f"{agents:.1f}" if left else "",
        "enemies left": ", ".join(means),
        "their health": f"{health:.0f}" if left else "",
    }


if __name__ == "__main__":
    print_rows(play, __doc__)
