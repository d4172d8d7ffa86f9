"""Many battles of one map in one compiled call, as a gymnasium vector environment."""

import operator
from collections.abc import Sequence
from os import PathLike
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from smaclite_jit.arena import Rules
from smaclite_jit.compile_cache import announce, compiled
from smaclite_jit.environment import (
    NOT_YET,
    SMACliteEnv,
    find_refused,
    step_battle,
    whole_numbers,
)
from smaclite_jit.observations import View, observe
from smaclite_jit.turn_order import from_generator

NO_LIMIT = 2**62  # steps


class Battles(NamedTuple):
    """What `step_battles` advances."""

    units: np.ndarray  # (num_envs, units) of arena.UNIT
    rng_state: np.ndarray  # (num_envs, 6) uint64
    last_actions: np.ndarray  # (num_envs, n_agents) int64
    steps: np.ndarray  # (num_envs,) int64, since the battle has begun


class StepResults(NamedTuple):
    """What a step brings, each (num_envs,)."""

    rewards: np.ndarray  # float64
    terminated: np.ndarray  # bool, as the following
    truncated: np.ndarray
    won: np.ndarray


@compiled
def step_battles(battles, rules, first_units, limit, actions, view, final_view, results):
    """Play one environment step of every battle. Battles that end are reset in the same step.

    NamedTuples come in as plain tuples of their fields: passing a NamedTuple costs 1 us more a
    call.

    Parameters
    ----------
    battles : Battles
        Changed in place; so are the arrays of `view`, `final_view` and `results`.
    rules : arena.Rules
        Of the map.
    first_units : ndarray
        (units,), those of a reset.
    limit : int
        Steps after which a battle is truncated.
    actions : ndarray
        (num_envs, n_agents) int64.
    view : observations.View
        What has been seen before the step; what can be seen after it, or after the reset.
    final_view : observations.View
        Gets what was seen at the end of the battles that ended.
    results : StepResults
        Filled.

    Returns
    -------
    battle, agent : int
        The first whose action is not available, in which case nothing has happened, or (-1, -1).
    """
    battles = Battles(*battles)
    view = View(*view)
    final_view = View(*final_view)
    results = StepResults(*results)
    for n in range(len(actions)):
        agent = find_refused(actions[n], view.avail_actions[n])
        if agent >= 0:
            return n, agent

    for n in range(len(actions)):
        units = battles.units[n]
        last_actions = battles.last_actions[n]
        avail_actions = view.avail_actions[n]
        obs = view.obs[n]
        state = view.state[n]
        reward, terminated, won, _ = step_battle(
            units,
            rules,
            battles.rng_state[n],
            actions[n],
            last_actions,
            (avail_actions, obs, state),
        )
        battles.steps[n] += 1
        truncated = battles.steps[n] >= limit
        results.rewards[n] = reward
        results.terminated[n] = terminated
        results.truncated[n] = truncated
        results.won[n] = won
        if terminated or truncated:
            final_view.avail_actions[n] = avail_actions
            final_view.obs[n] = obs
            final_view.state[n] = state
            units[:] = first_units
            last_actions[:] = NOT_YET
            battles.steps[n] = 0
            view_of_one = View(avail_actions, obs, state)
            observe(units, Rules(*rules), last_actions, view_of_one)
    return -1, -1


def list_seeds(seed, num_envs):
    """The `seed` of a reset as a list of `num_envs` seeds, with None for none."""
    if seed is None:
        return [None] * num_envs
    if isinstance(seed, int | np.integer):
        return [int(seed) + i for i in range(num_envs)]
    seeds = [None if one is None else operator.index(one) for one in seed]
    if len(seeds) != num_envs:
        raise ValueError(f"there are {num_envs} battles, but {len(seeds)} seeds")
    return seeds


class AvailableActions(gym.spaces.MultiDiscrete):
    """The actions of all battles. Samples are available now: other actions are refused."""

    def __init__(self, envs):
        super().__init__(np.full((envs.num_envs, envs.n_agents), envs.n_actions))
        self.envs = envs

    def sample(self, mask=None, probability=None):
        """A random action for every agent, of the available ones unless a mask says otherwise."""
        if mask is not None or probability is not None:
            return super().sample(mask, probability)
        avail_actions = self.envs.avail_actions
        lots = self.np_random.random(avail_actions.shape)
        return np.where(avail_actions, lots, -1.0).argmax(axis=-1)


class SMACliteVectorEnv(VectorEnv):
    """``num_envs`` battles that advance together; a battle that ends is reset in the same step.

    It does what as many ``SMACliteEnv`` do in a gymnasium ``SyncVectorEnv`` with
    ``AutoresetMode.SAME_STEP``, but observes in arrays, a dictionary of ``obs`` (num_envs,
    n_agents, obs_size) float32, ``state`` (num_envs, state_size) float32 and ``avail_actions``
    (num_envs, n_agents, n_actions) bool. Actions are an array (num_envs, n_agents), and
    ``action_space.sample()`` draws available ones. All battles run on one thread. They are not
    drawn.

    Parameters
    ----------
    num_envs
        Battles.
    map_name, map_file
        As for ``SMACliteEnv``.
    max_episode_steps
        Truncates a battle. None stands for the map's limit, -1 for no limit.

    Attributes
    ----------
    n_agents, n_enemies, n_actions, obs_size, state_size, episode_limit : int
        As in ``SMACliteEnv``.
    obs, state, avail_actions, units : ndarray
        As in ``SMACliteEnv``, with an axis of the battles in front. ``obs`` and ``state`` are new
        arrays in every step.

    Raises
    ------
    ValueError
        For an unknown map, no battles or a limit of 0; a ``MapError``, which is one, for a file
        that holds no map.

    Examples
    --------
    >>> envs = SMACliteVectorEnv(num_envs=64, map_name="MMM")
    >>> observations, infos = envs.reset(seed=1)
    >>> {name: values.shape for name, values in observations.items()}
    {'obs': (64, 10, 160), 'state': (64, 290), 'avail_actions': (64, 10, 16)}
    >>> observations, rewards, terminated, truncated, infos = envs.step(envs.action_space.sample())
    >>> rewards.shape
    (64,)
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(
        self,
        num_envs: int = 1,
        map_name: str = "3m",
        map_file: str | PathLike | None = None,
        max_episode_steps: int | None = None,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs must be 1 or more, not {num_envs}")
        if max_episode_steps == 0:
            raise ValueError("max_episode_steps must not be 0; -1 is no limit")
        single = SMACliteEnv(map_name, map_file)  # the sizes and the first view
        self.single = single
        self.arena = single.arena
        self.n_agents = single.n_agents
        self.n_enemies = single.n_enemies
        self.n_actions = single.n_actions
        self.obs_size = single.obs_size
        self.state_size = single.state_size
        self.episode_limit = single.episode_limit
        self.num_envs = num_envs
        self.limit = single.episode_limit if max_episode_steps is None else max_episode_steps
        if self.limit < 0:
            self.limit = NO_LIMIT
        self.seeded = False  # no reset yet

        self.units = self.repeat(self.arena.first_units)  # (num_envs, units) of arena.UNIT
        self.rng_state = np.zeros((num_envs, 6), np.uint64)  # the generators of turn_order.py
        self.last_actions = self.repeat(single.last_actions)  # (num_envs, n_agents)
        self.steps = np.zeros(num_envs, np.int64)  # since the battle has begun
        self.avail_actions = self.repeat(single.avail_actions)  # (num_envs, n_agents, n_actions)
        self.obs = self.repeat(single.obs)  # (num_envs, n_agents, obs_size)
        self.state = self.repeat(single.state)  # (num_envs, state_size)
        # What was seen last of the battles that have just ended, in the shapes of those above.
        self.final_avail_actions = self.avail_actions.copy()
        self.final_obs = self.obs.copy()
        self.final_state = self.state.copy()

        # The results of a step, (num_envs,).
        self.rewards = np.zeros(num_envs)
        self.terminated = np.zeros(num_envs, np.bool_)
        self.truncated = np.zeros(num_envs, np.bool_)
        self.won = np.zeros(num_envs, np.bool_)
        self.warm_up()

        obs_shape = (self.n_agents, self.obs_size)
        avail_shape = (self.n_agents, self.n_actions)
        self.single_observation_space = gym.spaces.Dict(
            {
                "obs": gym.spaces.Box(-1, 1, obs_shape),
                "state": gym.spaces.Box(-1, 1, (self.state_size,)),
                "avail_actions": gym.spaces.Box(0, 1, avail_shape, np.bool_),
            }
        )
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.single_action_space = gym.spaces.MultiDiscrete([self.n_actions] * self.n_agents)
        self.action_space = AvailableActions(self)

    def repeat(self, array):
        """An array with an axis of the battles in front, the same for each."""
        return np.repeat(array[None], self.num_envs, axis=0)

    def warm_up(self):
        """Compile what is not in the cache yet, by a step that is refused: action -1."""
        announce(step_battles, 5)
        self.play(np.full((self.num_envs, self.n_agents), -1), self.obs, self.state)

    def play(self, actions, obs, state):
        """Step the battles and fill `obs` and `state`: the first refused (battle, agent) or -1s."""
        return step_battles(
            (self.units, self.rng_state, self.last_actions, self.steps),
            self.single.rules,
            self.arena.first_units,
            self.limit,
            actions,
            (self.avail_actions, obs, state),
            (self.final_avail_actions, self.final_obs, self.final_state),
            (self.rewards, self.terminated, self.truncated, self.won),
        )

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begin all battles.

        Parameters
        ----------
        seed
            Battle i has ``seed + i``, or the i-th of the sequence. Without one the streams go on.
        options
            Ignored.

        Returns
        -------
        observations
            As the class describes them.
        infos
            ``battle_won`` (num_envs,) bool, and gymnasium's mask of it, ``_battle_won``.

        Raises
        ------
        ValueError
            For another number of seeds than ``num_envs``.
        """
        seeds = list_seeds(seed, self.num_envs)
        generators = [np.random.default_rng(one) for one in seeds]  # or the error of a bad seed
        super().reset(seed=seeds[0])
        for i, generator in enumerate(generators):
            if seeds[i] is not None or not self.seeded:
                self.rng_state[i] = from_generator(generator)
        self.seeded = True
        self.units[:] = self.arena.first_units
        self.last_actions[:] = NOT_YET
        self.steps[:] = 0
        self.avail_actions[:] = self.single.avail_actions
        self.obs = self.repeat(self.single.obs)  # the caller may keep the last ones
        self.state = self.repeat(self.single.state)
        observations = self.pack(self.avail_actions, self.obs, self.state)
        return observations, self.info("battle_won", np.zeros(self.num_envs, np.bool_))

    def step(
        self, actions: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Play half a second of every battle; those that end are reset in the same step.

        Parameters
        ----------
        actions
            (num_envs, n_agents), whole numbers.

        Returns
        -------
        observations
            Of a battle that ended, the first of the next one.
        rewards
            (num_envs,) float64.
        terminated, truncated
            (num_envs,) bool. Both are true of a battle that is decided in the last step of its
            time.
        infos
            ``battle_won`` (num_envs,) bool, false where a new battle begins. In a step in which a
            battle ends, also ``final_obs`` (num_envs,), the last observations of those that ended,
            None of the others, and ``final_info``, a dictionary of their ``battle_won``, ``state``
            and ``avail_actions``. Every entry has its mask of the battles that it is valid for,
            ``_final_obs`` for example.

        Raises
        ------
        ValueError
            For an action that is not available, or actions of another form. Nothing has happened
            then.
        gymnasium.error.ResetNeeded
            Before the first reset.
        """
        if not self.seeded:
            raise gym.error.ResetNeeded("call reset() before step()")
        shape = (self.num_envs, self.n_agents)
        actions = whole_numbers(
            actions, shape, f"whole numbers {shape}, one for each agent of each battle"
        )
        # The caller may keep the observations of the last step: they are never written to again.
        obs = np.empty_like(self.obs)
        state = np.empty_like(self.state)
        battle, agent = self.play(actions, obs, state)
        if battle >= 0:
            available = np.flatnonzero(self.avail_actions[battle, agent]).tolist()
            action = actions[battle, agent]
            raise ValueError(
                f"battle {battle}: agent {agent} cannot take action {action} now; "
                f"available are {available}"
            )
        self.obs = obs
        self.state = state
        over = self.terminated | self.truncated
        infos = self.info("battle_won", self.won & ~over)
        if over.any():
            infos = self.final_infos(over) | infos
        return (
            self.pack(self.avail_actions, obs, state),
            self.rewards.copy(),
            self.terminated.copy(),
            self.truncated.copy(),
            infos,
        )

    def pack(self, avail_actions, obs, state):
        """The observation of all battles or of one, with or without a battle axis in front."""
        return {"obs": obs, "state": state, "avail_actions": avail_actions.astype(np.bool_)}

    def final_infos(self, over):
        """What `infos` says of the battles that are `over`, (num_envs,) bool."""
        state = self.final_state.copy()
        avail_actions = self.final_avail_actions.astype(np.bool_)
        final_obs = np.full(self.num_envs, None)
        for i in np.flatnonzero(over):
            final_obs[i] = self.pack(
                self.final_avail_actions[i],
                self.final_obs[i].copy(),
                self.final_state[i].copy(),
            )
        final_info = (
            self.info("battle_won", self.won & over, over)
            | self.info("state", state, over)
            | self.info("avail_actions", avail_actions, over)
        )
        return self.info("final_obs", final_obs, over) | self.info("final_info", final_info, over)

    def info(self, key, values, where=True):
        """An entry of `infos` with gymnasium's mask of the battles that have it."""
        return {key: values, f"_{key}": np.full(self.num_envs, where)}
