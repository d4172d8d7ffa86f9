"""A team whose episodes differ: each has a length, a pay and a way to end that its reset draws."""

from tests.envs.clock import Clock


class Weather(Clock):
    """A clock of 2 to 6 steps that terminates as often as it truncates.

    An agent is paid `pay` a step, twice as much for action 1, and three times as much for action 2.
    """

    def reset(self, seed=None, options=None):
        observations, infos = super().reset(seed, options)
        self.limit = int(self.rng.integers(2, 7))
        self.pay = self.rng.random()
        self.terminates = self.rng.random() < 0.5
        return observations, infos

    def step(self, actions):
        observations, rewards, terminations, truncations, infos = super().step(actions)
        for agent in rewards:
            rewards[agent] = self.pay * (1 + actions[agent])
        if self.terminates:
            for agent in truncations:
                terminations[agent] |= truncations[agent]
                truncations[agent] = False
        return observations, rewards, terminations, truncations, infos


parallel_env = Weather
