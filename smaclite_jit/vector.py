"""Many battles of one map in one compiled call, as a gymnasium vector environment."""

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numba import njit

from smaclite_jit.compile_cache import announce
from smaclite_jit.environment import SMACliteEnv, look, play, whole_numbers
from smaclite_jit.turn_order import from_generator


@njit(cache=True)
def play_all(
    f, g, r, c, damage, rectangles, ids, walkable, plan, features, actions, first_f, first_g, limit, steps,
    last_actions, avail, obs, state, rewards, terminated, truncated, won,
    final_avail, final_obs, final_state, lines, work,
):  # fmt: skip
    """One environment step of every battle; those that end begin anew. Arrays as in `play`, a battle axis in front.

    The `final_` arrays receive what was seen at the end of the battles that ended. Returns the first (battle, agent)
    whose action is not available, in which case nothing has happened, or (-1, -1).
    """
    for n in range(len(f)):
        for agent in range(actions.shape[1]):
            action = actions[n, agent]
            if action < 0 or action >= avail.shape[2] or not avail[n, agent, action]:
                return n, agent
    for n in range(len(f)):
        rewards[n], terminated[n], won[n], _ = play(
            f[n], g[n], r[n], c, damage, rectangles, ids, walkable, plan, features,
            actions[n], last_actions[n], avail[n], obs[n], state[n], lines, work,
        )  # fmt: skip
        steps[n] += 1
        truncated[n] = steps[n] >= limit
        if terminated[n] or truncated[n]:
            final_avail[n], final_obs[n], final_state[n] = avail[n], obs[n], state[n]
            f[n], g[n], last_actions[n], steps[n] = first_f, first_g, -1, 0
            look(
                f[n], g[n], c, ids, walkable, last_actions[n], features, avail[n], obs[n], state[n]
            )
    return -1, -1


class AvailableActions(gym.spaces.Tuple):
    """The batched action spaces. Samples are drawn from what is available now: the others are refused."""

    def __init__(self, envs):
        super().__init__(
            [gym.spaces.MultiDiscrete([envs.n_actions] * envs.num_envs)] * envs.n_agents
        )
        self.envs = envs

    def sample(self, mask=None, probability=None):
        if mask is not None or probability is not None:
            return super().sample(mask, probability)
        return tuple(draw(self.np_random, self.envs.avail).T)


class AvailableJointActions(gym.spaces.MultiDiscrete):
    """The same for actions as one array (num_envs, n_agents)."""

    def __init__(self, envs):
        super().__init__(np.full((envs.num_envs, envs.n_agents), envs.n_actions))
        self.envs = envs

    def sample(self, mask=None, probability=None):
        if mask is not None or probability is not None:
            return super().sample(mask, probability)
        return draw(self.np_random, self.envs.avail)


def draw(rng, avail):
    """A random available action for every agent: (..., n_agents, n_actions) -> (..., n_agents)."""
    return np.where(avail, rng.random(avail.shape), -1.0).argmax(axis=-1)


class SMACliteVectorEnv(VectorEnv):
    """``num_envs`` battles that advance together; a battle that ends begins anew in the same step.

    It does what as many ``SMACliteEnv`` do in a gymnasium ``SyncVectorEnv`` with ``AutoresetMode.SAME_STEP``: battle i
    has the seed ``seed + i``, ``infos`` holds ``battle_won``, ``final_obs`` and ``final_info`` (here with ``state`` and
    ``avail_actions`` too). Observations are a tuple of arrays (num_envs, obs_size), one for each agent, actions a
    sequence of arrays (num_envs,), one for each agent. There is no rendering.

    With ``arrays=True`` observations are a dictionary: ``obs`` (num_envs, n_agents, obs_size) float32, ``state``
    (num_envs, state_size) float32, ``avail_actions`` (num_envs, n_agents, n_actions) bool; and actions are an array
    (num_envs, n_agents).

    Parameters
    ----------
    num_envs : int
        Battles. All run on one thread.
    map_name, map_file : str, optional
        As for ``SMACliteEnv``.
    max_episode_steps : int, optional
        Truncates a battle. None stands for the map's limit, -1 for no limit.
    arrays : bool
        Observe and act in arrays, see above.
    agent_ids : bool
        With ``arrays`` only: append the agents' one-hot ids to ``obs``, which is then obs_size + n_agents wide.

    Attributes
    ----------
    n_agents, n_enemies, n_actions, obs_size, state_size, episode_limit : int
        As in ``SMACliteEnv``.

    Raises
    ------
    ValueError
        For an unknown map, no battles or a limit of 0; a ``MapError``, which is one, for a file that holds no map.

    Examples
    --------
    >>> envs = SMACliteVectorEnv(num_envs=64, map_name="MMM", arrays=True)
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
        num_envs=1,
        map_name="3m",
        map_file=None,
        max_episode_steps=None,
        arrays=False,
        agent_ids=False,
    ):
        if num_envs < 1 or max_episode_steps == 0:
            raise ValueError(
                f"num_envs ({num_envs}) and max_episode_steps ({max_episode_steps}) must be 1 or more"
            )
        one = self.single = SMACliteEnv(map_name, map_file)
        self.n_agents, self.n_enemies, self.n_actions = one.n_agents, one.n_enemies, one.n_actions
        self.obs_size, self.state_size, self.episode_limit = (
            one.obs_size,
            one.state_size,
            one.episode_limit,
        )
        limit = one.episode_limit if max_episode_steps is None else max_episode_steps
        self.num_envs, self.arrays, self.limit = num_envs, arrays, limit if limit > 0 else 2**62
        self.f, self.g = (np.repeat(first[None], num_envs, axis=0) for first in (one.f, one.g))
        self.r, self.seeded = np.zeros((num_envs, 6), np.uint64), False
        self.last_actions = np.full((num_envs, one.n_agents), -1)
        self.avail, self.obs, self.state = (
            np.repeat(seen[None], num_envs, axis=0) for seen in (one.avail, one.obs, one.state)
        )
        self.final_avail, self.final_obs, self.final_state = (
            self.avail.copy(),
            self.obs.copy(),
            self.state.copy(),
        )
        self.steps, self.rewards = np.zeros(num_envs, np.int64), np.zeros(num_envs)
        self.terminated, self.truncated, self.won = np.zeros((3, num_envs), np.bool_)
        announce(play_all, 5)
        self.play(
            np.full((num_envs, one.n_agents), -1), self.obs, self.state
        )  # compiles, and is refused
        self.ids = np.eye(one.n_agents, dtype=np.float32)[:, : one.n_agents * agent_ids]
        self.single_observation_space, self.single_action_space = (
            one.observation_space,
            one.action_space,
        )
        self.action_space = AvailableActions(self)
        if arrays:
            box, size = gym.spaces.Box, one.obs_size + self.ids.shape[1]
            spaces = {
                "obs": box(-1, 1, (one.n_agents, size)),
                "state": box(-1, 1, (one.state_size,)),
            }
            avail_actions = box(0, 1, (one.n_agents, one.n_actions), np.bool_)
            self.single_observation_space = gym.spaces.Dict(
                spaces | {"avail_actions": avail_actions}
            )
            self.single_action_space = gym.spaces.MultiDiscrete([one.n_actions] * one.n_agents)
            self.action_space = AvailableJointActions(self)
        self.observation_space = batch_space(self.single_observation_space, num_envs)

    def play(self, actions, obs, state):
        m, one = self.single.arena, self.single
        battles = (
            self.f,
            self.g,
            self.r,
            m.c,
            m.damage,
            m.rectangles,
            m.ids,
            m.walkable,
            one.plan,
            one.features,
        )
        start = (m.first_f, m.first_g, self.limit, self.steps)
        seen = (self.last_actions, self.avail, obs, state)
        outcome = (self.rewards, self.terminated, self.truncated, self.won)
        final = (self.final_avail, self.final_obs, self.final_state)
        return play_all(*battles, actions, *start, *seen, *outcome, *final, m.lines, m.work)

    def pack(self, avail, obs, state):
        """The observation of all battles, or of one: the arrays have a battle axis in front, or not."""
        if not self.arrays:
            return tuple(np.moveaxis(obs, -2, 0))
        if self.ids.size:
            obs = np.concatenate(
                (obs, np.broadcast_to(self.ids, (*obs.shape[:-1], len(self.ids)))), axis=-1
            )
        return {"obs": obs, "state": state, "avail_actions": avail.astype(np.bool_)}

    def reset(self, *, seed=None, options=None):
        """Begin all battles.

        Parameters
        ----------
        seed : int or sequence of int, optional
            Battle i has ``seed + i``, or the i-th of the sequence. Without one the streams go on.
        options : dict, optional
            Ignored.

        Returns
        -------
        observations : tuple of ndarray, or dict of ndarray
            In the form that the class describes.
        infos : dict
            ``battle_won`` (num_envs,) bool, and gymnasium's mask of it, ``_battle_won``.

        Raises
        ------
        ValueError
            For a sequence of another length than ``num_envs``.
        """
        if seed is None or isinstance(seed, int | np.integer):
            seeds = [None if seed is None else int(seed) + i for i in range(self.num_envs)]
        else:
            seeds = [None if one is None else int(one) for one in seed]
        if len(seeds) != self.num_envs:
            raise ValueError(f"there are {self.num_envs} battles, but {len(seeds)} seeds")
        super().reset(seed=seeds[0])
        for i, battle_seed in enumerate(seeds):
            if battle_seed is not None or not self.seeded:
                self.r[i] = from_generator(np.random.default_rng(battle_seed))
        m, one, self.seeded = self.single.arena, self.single, True
        self.f[:], self.g[:], self.last_actions[:], self.steps[:] = m.first_f, m.first_g, -1, 0
        self.avail[:] = one.avail
        self.obs, self.state = (
            np.repeat(seen[None], self.num_envs, axis=0) for seen in (one.obs, one.state)
        )
        return self.pack(self.avail, self.obs, self.state), self.info(
            "battle_won", np.zeros(self.num_envs, np.bool_)
        )

    def step(self, actions):
        """Play half a second of every battle; those that end begin anew.

        Parameters
        ----------
        actions : sequence of array_like, or array_like
            ``n_agents`` arrays (num_envs,), or with ``arrays`` one array (num_envs, n_agents).

        Returns
        -------
        observations : tuple of ndarray, or dict of ndarray
            Of a battle that ended, the first of the next one.
        rewards : ndarray
            (num_envs,) float64.
        terminated, truncated : ndarray
            (num_envs,) bool. Both are true of a battle that is decided in the last step of its time.
        infos : dict
            ``battle_won`` (num_envs,) bool, false where a new battle begins. In a step in which a battle ends, also
            ``final_obs`` (num_envs,), the last observations of those that ended, None of the others, and
            ``final_info``, a dictionary of their ``battle_won``, ``state`` and ``avail_actions``. Every entry has its
            mask of the battles that it is valid for, ``_final_obs`` for example.

        Raises
        ------
        ValueError
            For an action that is not available, or actions of another form. Nothing has happened then.
        gymnasium.error.ResetNeeded
            Before the first reset.
        """
        if not self.seeded:
            raise gym.error.ResetNeeded("call reset() before step()")
        shape = (self.num_envs, self.n_agents) if self.arrays else (self.n_agents, self.num_envs)
        what = (
            "one for each agent of each battle"
            if self.arrays
            else "for each agent, one for each battle"
        )
        joint = whole_numbers(actions, shape, f"whole numbers {shape}, {what}")
        joint = joint if self.arrays else np.ascontiguousarray(joint.T)
        obs, state = (
            np.empty_like(self.obs),
            np.empty_like(self.state),
        )  # the caller's own, never written again
        battle, agent = self.play(joint, obs, state)
        if battle >= 0:
            available, action = (
                np.flatnonzero(self.avail[battle, agent]).tolist(),
                joint[battle, agent],
            )
            raise ValueError(
                f"battle {battle}: agent {agent} cannot take action {action} now; available are {available}"
            )
        self.obs, self.state = obs, state
        over = self.terminated | self.truncated
        infos = self.info("battle_won", self.won & ~over)
        if over.any():
            infos = self.info("final_obs", np.full(self.num_envs, None), over) | infos
            for i in np.flatnonzero(over):
                final = (self.final_avail[i], self.final_obs[i].copy(), self.final_state[i].copy())
                infos["final_obs"][i] = self.pack(*final)
            last = self.info("battle_won", self.won & over, over) | self.info(
                "state", self.final_state.copy(), over
            )
            last |= self.info("avail_actions", self.final_avail.astype(np.bool_), over)
            infos |= self.info("final_info", last, over)
        outcome = (self.rewards.copy(), self.terminated.copy(), self.truncated.copy())
        return self.pack(self.avail, obs, state), *outcome, infos

    def info(self, key, values, where=True):
        """An entry of `infos` with gymnasium's mask of the battles that have it."""
        return {key: values, f"_{key}": np.full(self.num_envs, where)}

    def get_state(self):
        """Return the state of each battle, (num_envs, state_size) float32."""
        return self.state.copy()

    def get_avail_actions(self):
        """Return which actions can be taken, (num_envs, n_agents, n_actions) bool."""
        return self.avail.astype(np.bool_)
