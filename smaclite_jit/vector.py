"""Many battles of one map in one compiled call, as a gymnasium vector environment."""

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numba import njit

from smaclite_jit.environment import SMACliteEnv, look, play
from smaclite_jit.orders import from_generator


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
            look(f[n], g[n], c, ids, walkable, last_actions[n], features, avail[n], obs[n], state[n])
    return -1, -1


class AvailableActions(gym.spaces.Tuple):
    """The batched action spaces. Samples are drawn from what is available now: the others are refused."""

    def __init__(self, envs):
        super().__init__([gym.spaces.MultiDiscrete([envs.single.n_actions] * envs.num_envs)] * envs.single.n_agents)
        self.envs = envs

    def sample(self, mask=None, probability=None):
        if mask is not None or probability is not None:
            return super().sample(mask, probability)
        avail = self.envs.avail
        return tuple(np.where(avail, self.np_random.random(avail.shape), -1.0).argmax(axis=-1).T)


class SMACliteVectorEnv(VectorEnv):
    """`num_envs` battles that advance together; a battle that ends begins anew in the same step.

    It does what as many `SMACliteEnv`s do in a gymnasium `SyncVectorEnv` with `AutoresetMode.SAME_STEP`: battle i has
    the seed `seed + i`, `infos` holds `battle_won`, `final_obs` and `final_info` (here with `state` and
    `avail_actions` too). Observations are a tuple of arrays (num_envs, obs_size), one for each agent, actions a
    sequence of arrays (num_envs,), one for each agent. There is no rendering.

    With `arrays=True` observations are a dictionary: `obs` (num_envs, n_agents, obs_size) float32, `state` (num_envs,
    state_size) float32, `avail_actions` (num_envs, n_agents, n_actions) bool; and actions are an array (num_envs,
    n_agents). `agent_ids=True` then appends the agents' one-hot ids to `obs`.
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(self, num_envs=1, map_name="3m", map_file=None, max_episode_steps=None, arrays=False, agent_ids=False):
        one = self.single = SMACliteEnv(map_name, map_file)
        self.num_envs, self.arrays, self.limit = num_envs, arrays, max_episode_steps or one.episode_limit
        self.f, self.g = (np.repeat(first[None], num_envs, axis=0) for first in (one.f, one.g))
        self.r, self.seeded = np.zeros((num_envs, 6), np.uint64), False
        self.last_actions = np.full((num_envs, one.n_agents), -1)
        self.avail, self.obs, self.state = (
            np.repeat(seen[None], num_envs, axis=0) for seen in (one.avail, one.obs, one.state)
        )
        self.final_avail, self.final_obs, self.final_state = self.avail.copy(), self.obs.copy(), self.state.copy()
        self.steps, self.rewards = np.zeros(num_envs, np.int64), np.zeros(num_envs)
        self.terminated, self.truncated, self.won = np.zeros((3, num_envs), np.bool_)
        self.play(np.full((num_envs, one.n_agents), -1))  # compiles what is not in the cache yet, and is refused
        self.ids = np.eye(one.n_agents, dtype=np.float32)[:, : one.n_agents * agent_ids]
        self.single_observation_space, self.single_action_space = one.observation_space, one.action_space
        self.action_space = AvailableActions(self)
        if arrays:
            box, size = gym.spaces.Box, one.obs_size + self.ids.shape[1]
            spaces = {"obs": box(-1, 1, (one.n_agents, size)), "state": box(-1, 1, (one.state_size,))}
            avail_actions = box(0, 1, (one.n_agents, one.n_actions), np.bool_)
            self.single_observation_space = gym.spaces.Dict(spaces | {"avail_actions": avail_actions})
            self.single_action_space = gym.spaces.MultiDiscrete([one.n_actions] * one.n_agents)
            self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)

    def play(self, actions):
        m, one = self.single.layout, self.single
        battles = (self.f, self.g, self.r, m.c, m.damage, m.rectangles, m.ids, m.walkable, one.plan, one.features)
        seen = (self.last_actions, self.avail, self.obs, self.state)
        outcome = (self.rewards, self.terminated, self.truncated, self.won)
        final = (self.final_avail, self.final_obs, self.final_state)
        start = (m.first_f, m.first_g, self.limit, self.steps)
        return play_all(*battles, actions, *start, *seen, *outcome, *final, m.lines, m.work)

    def pack(self, avail, obs, state):
        """The observation of all battles, or of one: the arrays have a battle axis in front, or not."""
        if not self.arrays:
            return tuple(np.moveaxis(obs, -2, 0).copy())
        if self.ids.size:
            obs = np.concatenate((obs, np.broadcast_to(self.ids, (*obs.shape[:-1], len(self.ids)))), axis=-1)
        else:
            obs = obs.copy()
        return {"obs": obs, "state": state.copy(), "avail_actions": avail.astype(np.bool_)}

    def reset(self, *, seed=None, options=None):
        """Begin all battles. `seed` is a number, for battle i `seed + i`, or a list with a seed for each."""
        super().reset(seed=seed if isinstance(seed, int) else None)
        seeds = (
            [None if seed is None else seed + i for i in range(self.num_envs)] if not isinstance(seed, list) else seed
        )
        if len(seeds) != self.num_envs:
            raise ValueError(f"there are {self.num_envs} battles, but {len(seeds)} seeds")
        for i, battle_seed in enumerate(seeds):
            if battle_seed is not None or not self.seeded:
                self.r[i] = from_generator(np.random.default_rng(battle_seed))
        m, one, self.seeded = self.single.layout, self.single, True
        self.f[:], self.g[:], self.last_actions[:], self.steps[:] = m.first_f, m.first_g, -1, 0
        self.avail[:], self.obs[:], self.state[:] = one.avail, one.obs, one.state
        return self.pack(self.avail, self.obs, self.state), self.info("battle_won", np.zeros(self.num_envs, np.bool_))

    def step(self, actions):
        """Play half a second. Raises a ValueError, before anything happens, for an action that is not available."""
        joint = np.array(actions, np.int64) if self.arrays else np.array(actions, np.int64).T
        battle, agent = self.play(np.ascontiguousarray(joint))
        if battle >= 0:
            available = np.flatnonzero(self.avail[battle, agent]).tolist()
            action = joint[battle, agent]
            raise ValueError(
                f"battle {battle}: agent {agent} cannot take action {action} now; available are {available}"
            )
        over = self.terminated | self.truncated
        infos = self.info("battle_won", self.won & ~over)
        if over.any():
            infos = self.info("final_obs", np.full(self.num_envs, None), over) | infos
            for i in np.flatnonzero(over):
                infos["final_obs"][i] = self.pack(self.final_avail[i], self.final_obs[i], self.final_state[i])
            last = self.info("battle_won", self.won & over, over) | self.info("state", self.final_state.copy(), over)
            last |= self.info("avail_actions", self.final_avail.astype(np.bool_), over)
            infos |= self.info("final_info", last, over)
        outcome = (self.rewards.copy(), self.terminated.copy(), self.truncated.copy())
        return self.pack(self.avail, self.obs, self.state), *outcome, infos

    def info(self, key, values, where=True):
        """An entry of `infos` with gymnasium's mask of the battles that have it."""
        return {key: values, f"_{key}": np.full(self.num_envs, where)}

    def get_state(self):
        """The state of each battle, (num_envs, state_size) float32."""
        return self.state.copy()

    def get_avail_actions(self):
        """Which actions can be taken, (num_envs, n_agents, n_actions) bool."""
        return self.avail.astype(np.bool_)
