"""Environments that do what others were found to do. Each changes one thing of the clock.

They have no modules of their own: the tests put one in the place of the clock's `parallel_env`.
"""

import sys

import gymnasium as gym
import numpy as np
import torch
from pettingzoo import ParallelEnv

from tests.envs.clock import Clock


class StateBug(Clock):
    """Its `state()` has a misspelt attribute."""

    def state(self):
        return self.stat.ravel()


class StateOfSomeType(Clock):
    """Its `state()` is what the class attribute `value` says."""

    value = None

    def state(self):
        return self.value


class StateShrinks(Clock):
    """Its `state()` has a number for each agent that is in the game."""

    def state(self):
        return np.ones(len(self.agents), np.float32)


class StateEmpties(StateShrinks):
    """All leave at the end, and the state with them."""

    def __init__(self):
        super().__init__(leaves=())


class StateLater(Clock):
    """Its `state()` is NaN once the clock runs."""

    def state(self):
        return np.full(3, np.nan if self.t else 1, np.float32)


class StateIsData(Clock):
    """Its `state` is no method."""

    state = {"agent_0": 1}


class NoState(Clock):
    """Says itself that it has no state."""

    def state(self):
        raise NotImplementedError("later")


class Waits(Clock):
    """Nobody may do anything in every second step, by the masks in the infos."""

    def masks(self):
        masks = {}
        for agent in self.possible_agents:
            masks[agent] = {"action_mask": np.full(self.action_dims[agent], self.t % 2, np.int8)}
        return masks

    def reset(self, seed=None, options=None):
        observations, _ = super().reset(seed, options)
        return observations, self.masks()

    def step(self, actions):
        *rest, _ = super().step(actions)
        return *rest, self.masks()


class Goal(Clock):
    """Observes a dictionary with more than an observation and its mask."""

    beside_mask = {"observation": 1, "goal": 7}  # the same numbers for all
    mask = np.ones(3, np.int8)

    def __init__(self):
        super().__init__(obs_dims=(3, 3), action_dims=(3, 3), leaves=())

    def observation_space(self, agent):
        spaces = {"action_mask": gym.spaces.MultiBinary(3)}
        for key in self.beside_mask:
            spaces[key] = gym.spaces.Box(0, 9, (2,), np.float32)
        return gym.spaces.Dict(spaces)

    def observe(self, agents):
        seen = {key: np.full(2, number, np.float32) for key, number in self.beside_mask.items()}
        return {agent: {"action_mask": self.mask, **seen} for agent in agents}


class GoalAlone(Goal):
    """The key beside the mask is not called `observation`."""

    beside_mask = {"board": 4}


class ShortMask(Goal):
    """One number in the place of a mask, which would be stretched to all actions."""

    mask = np.ones(1, np.int8)


class OddMask(Goal):
    """A mask of probabilities."""

    mask = np.full(3, 0.5)


class StepResults(Clock):
    """Changes the results of `step` by functions called `rewards`, `observations`..."""

    def step(self, actions):
        results = super().step(actions)
        names = ("observations", "rewards", "terminations", "truncations", "infos")
        changed = []
        for name, values in zip(names, results):
            change = getattr(self, name, None)
            changed.append(values if change is None else change(values))
        return tuple(changed)


class RewardVector(StepResults):
    """Rewards are vectors, as momaland's."""

    def rewards(self, values):
        return {agent: np.ones(2) for agent in values}


class RewardText(StepResults):
    """A reward is no number."""

    def rewards(self, values):
        return dict.fromkeys(values, "much")


class RewardForStranger(StepResults):
    """Somebody is paid who is no agent."""

    def rewards(self, values):
        return {**values, "bank": -1}


class TellsSuccess(StepResults):
    """Tells at every step whether it is a success, and what it costs."""

    def infos(self, values):
        infos = {}
        for i, agent in enumerate(values):
            won = self.t == self.limit
            infos[agent] = {"is_success": np.bool_(won), "cost": torch.tensor(i + 0.5), "map": "1"}
        return infos


class TellsOnlySuccess(StepResults):
    """Every other episode is a success and tells it, the others tell nothing."""

    num_resets = 0

    def reset(self, seed=None, options=None):
        self.num_resets += 1
        return super().reset(seed, options)

    def infos(self, values):
        return {agent: {"is_success": True} if self.num_resets % 2 else {} for agent in values}


class NotANumber(StepResults):
    """What is observed after the reset is not a number."""

    def observations(self, values):
        return {agent: row * np.nan for agent, row in values.items()}


class TooLarge(StepResults):
    """Numbers that float32 does not have."""

    def observations(self, values):
        return {agent: np.full(len(row), 1e300) for agent, row in values.items()}


class ShortObservation(StepResults):
    """One number in the place of an observation, which would be stretched."""

    def observations(self, values):
        return {agent: row[:1] for agent, row in values.items()}


class MissingObservation(StepResults):
    """Some who play get no observation."""

    def observations(self, values):
        return {agent: row for agent, row in values.items() if agent != "agent_2"}


class NothingAtTheEnd(StepResults):
    """Who is cut off gets no last observation: `agents` is empty by then."""

    def observations(self, values):
        return {agent: values[agent] for agent in self.agents}


class NewAgent(StepResults):
    """Somebody joins whom `possible_agents` does not have."""

    def observations(self, values):
        self.agents = [*self.agents, "stranger"]
        return {**values, "stranger": values["agent_0"]}


class ListOfInfos(StepResults):
    """Infos are a list."""

    def infos(self, values):
        return list(values.values())


class FourResults(Clock):
    """The old API of gym: `done` in the place of terminations and truncations."""

    def step(self, actions):
        observations, rewards, terminations, _, infos = super().step(actions)
        return observations, rewards, terminations, infos


class OnlyObservations(Clock):
    """The old API of PettingZoo: `reset` returns observations only."""

    def reset(self, seed=None, options=None):
        observations, _ = super().reset(seed, options)
        return observations


class NobodyPlays(Clock):
    """`reset` leaves nobody in the game."""

    def reset(self, seed=None, options=None):
        result = super().reset(seed, options)
        self.agents = []
        return result


class NoAgents(Clock):
    """`possible_agents` is empty."""

    def reset(self, seed=None, options=None):
        result = super().reset(seed, options)
        self.possible_agents = []
        return result


class SomeSpace(Clock):
    """Observes the class attribute `space`."""

    space = gym.spaces.Sequence(gym.spaces.Discrete(7))

    def observation_space(self, agent):
        return self.space


class Graph(SomeSpace):
    """Observes graphs."""

    space = gym.spaces.Graph(gym.spaces.Box(0, 1, (2,)), None)


class WrongCategory(SomeSpace):
    """A category that is not in its space: -1 would be one-hot as the last one."""

    space = gym.spaces.Discrete(5)

    def observe(self, agents):
        return dict.fromkeys(agents, np.int64(-1))


class SpacesLater(Clock):
    """The spaces exist from the first reset on."""

    spaces = None

    def observation_space(self, agent):
        return self.spaces[agent]

    def reset(self, seed=None, options=None):
        self.spaces = {
            agent: Clock.observation_space(self, agent) for agent in self.possible_agents
        }
        return super().reset(seed, options)


class WantsSeed(Clock):
    """Makes its generator at the first reset, which must have a seed; records all seeds."""

    def __init__(self):
        super().__init__()
        self.seeds = []

    def reset(self, seed=None, options=None):
        self.seeds.append(seed)
        if seed is None:
            raise ValueError("this environment wants a seed")
        return super().reset(seed, options)


class Endless(Clock):
    """Nobody leaves."""

    def __init__(self):
        super().__init__(limit=float("inf"), leaves=())


class Still(Clock):
    """Shows the same all the time."""

    def observe(self, agents):
        return {agent: np.ones(self.obs_dims[agent], np.float32) for agent in agents}


class Pictures(Clock):
    """Observes its picture, which is black without a render mode."""

    metadata = {"name": "pictures", "render_modes": ["rgb_array"]}

    def __init__(self, render_mode=None):
        super().__init__(leaves=())
        self.render_mode = render_mode

    def observation_space(self, agent):
        return gym.spaces.Box(0, 255, (4, 4, 3), np.uint8)

    def observe(self, agents):
        picture = self.render() if self.render_mode else np.zeros((4, 4, 3), np.uint8)
        return dict.fromkeys(agents, picture)

    def render(self):
        return np.full((4, 4, 3), 10 * self.t + 1, np.uint8)


class Window(Pictures):
    """Can only be drawn in a window."""

    metadata = {"name": "window", "render_modes": ["human"]}


class Refuses(Pictures):
    """Refuses render modes."""

    def __init__(self, render_mode=None):
        if render_mode is not None:
            raise ValueError("no pictures today")
        super().__init__()


class DrawsLate(Clock):
    """Looks for its display in its first reset, and finds none."""

    metadata = {"name": "draws_late", "render_modes": ["rgb_array"]}
    closed = 0

    def __init__(self, render_mode=None):
        super().__init__()
        self.render_mode = render_mode

    def reset(self, seed=None, options=None):
        if self.render_mode is not None:
            raise RuntimeError("no display")
        return super().reset(seed, options)

    def close(self):
        DrawsLate.closed += 1


class Misdraws(Pictures):
    """Has a bug where it makes its window."""

    def __init__(self, render_mode=None):
        super().__init__()
        if render_mode is not None:
            self.window = self.windows


class Exits(Clock):
    """Ends the program where `where` says."""

    where = ""

    def __init__(self):
        super().__init__()
        if self.where == "constructor":
            sys.exit()

    def reset(self, seed=None, options=None):
        if self.where == "reset":
            sys.exit()
        return super().reset(seed, options)

    def step(self, actions):
        if self.where == "step":
            sys.exit(0)
        return super().step(actions)

    def close(self):
        if self.where == "close":
            sys.exit()


class NoSubclass:
    """Has all of the API, and is no subclass of PettingZoo's."""

    def __init__(self):
        clock = Clock()
        self.possible_agents = clock.possible_agents
        self.action_space = clock.action_space
        self.observation_space = clock.observation_space
        self.clock = clock

    @property
    def agents(self):
        return self.clock.agents

    def reset(self, seed=None, options=None):
        return self.clock.reset(seed, options)

    def step(self, actions):
        return self.clock.step(actions)

    def close(self):
        pass


class KeepsAgents(Clock):
    """`agents` stays full when the episode is over, and a step after that is an error."""

    def step(self, actions):
        assert self.t < self.limit
        results = super().step(actions)
        self.agents = list(self.possible_agents)
        return results


class KeepsTheDead(Clock):
    """agent_1 is terminated and stays in `agents`, where it must have an action."""

    def __init__(self):
        super().__init__(leaves=())

    def step(self, actions):
        observations, rewards, terminations, truncations, infos = super().step(actions)
        terminations["agent_1"] = self.t >= 2
        return observations, rewards, terminations, truncations, infos


class CutOffEarly(Clock):
    """agent_1 is cut off without a last observation while the others play on."""

    def __init__(self):
        super().__init__(leaves=())

    def step(self, actions):
        observations, rewards, terminations, truncations, infos = super().step(actions)
        if self.t == 2:
            self.agents.remove("agent_1")
            del observations["agent_1"]
            truncations["agent_1"] = True
        return observations, rewards, terminations, truncations, infos


class SeedOnly(Clock):
    """`reset` takes no options."""

    def reset(self, seed=None):
        return super().reset(seed)


class MaskBesideBox(Goal):
    """The space is that of the entry beside the mask alone."""

    beside_mask = {"observation": 0.5}

    def observation_space(self, agent):
        return gym.spaces.Box(0, 9, (2,), np.float32)


class HalvesBesideMask(Goal):
    """Observes halves in a space of integers, beside a mask."""

    beside_mask = {"board": 0.5}

    def observation_space(self, agent):
        board = gym.spaces.Box(0, 9, (2,), np.int8)
        return gym.spaces.Dict(board=board, action_mask=gym.spaces.MultiBinary(3))


class NeedsMap(Clock):
    """Cannot be made without an argument."""

    def __init__(self, map_name, render_mode=None):
        super().__init__()


class Blind(Clock):
    """agent_0 observes nothing."""

    def observation_space(self, agent):
        n_features = 0 if agent == "agent_0" else self.obs_dims[agent]
        return gym.spaces.Box(-9, 9, (n_features,), np.float32)

    def observe(self, agents):
        observations = super().observe(agents)
        return {agent: [] if agent == "agent_0" else row for agent, row in observations.items()}


class MasksWhoPlays(Clock):
    """Masks those in `agents`, which has nobody any more when the time limit cuts all off."""

    def reset(self, seed=None, options=None):
        observations, _ = super().reset(seed, options)
        return observations, self.masks()

    def step(self, actions):
        *results, _ = super().step(actions)
        return *results, self.masks()

    def masks(self):
        return {a: {"action_mask": np.ones(self.action_dims[a])} for a in self.agents}


class LegalMoves(Clock):
    """Observes a row for each of its actions that is not called a mask."""

    moves = np.ones

    def __init__(self):
        super().__init__(action_dims=(2, 2, 2))

    def observation_space(self, agent):
        clock = super().observation_space(agent)
        return gym.spaces.Dict(clock=clock, legal_moves=gym.spaces.MultiBinary(2))

    def observe(self, agents):
        observations = super().observe(agents)
        moves = type(self).moves(2)
        return {agent: {"clock": row, "legal_moves": moves} for agent, row in observations.items()}


class NoEnvironment(ParallelEnv):
    """Has nothing of what the API asks for."""

    reset = None
    action_space = None
