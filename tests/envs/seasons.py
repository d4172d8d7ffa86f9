"""A team whose pay rises, falls, rises to where it was and falls again, whatever it does."""

from tests.envs.clock import Clock

# Of the first episodes of an environment, from the one of the check before training on; the
# last one pays for all that follow. The second 3 is one that a sum of fractions may come to.
PAY = (0, 1, 3, 2, 2.9999999999999996, 1)


class Seasons(Clock):
    """Episode i of the clock pays `PAY[i]` times as much: after the check 10, 30, 20, 30, 10."""

    ended = 0

    def step(self, actions):
        observations, rewards, *rest = super().step(actions)
        pay = PAY[min(self.ended, len(PAY) - 1)]
        if self.t == self.limit:
            self.ended += 1
        return observations, {agent: pay * rewards[agent] for agent in rewards}, *rest


parallel_env = Seasons
