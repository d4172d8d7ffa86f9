"""The battle as a gymnasium environment with the public surface of the original SMAClite."""

from pathlib import Path

import gymnasium as gym
import numpy as np
from numba import njit

from smaclite_jit import battle as b
from smaclite_jit.arena import Arena
from smaclite_jit.compile_cache import announce, drop_stale
from smaclite_jit.map_files import hint, load_map
from smaclite_jit.maps import MAPS
from smaclite_jit.observations import available_actions, global_state, observations
from smaclite_jit.turn_order import draw_order, from_generator


@njit(cache=True)
def look(f, g, c, ids, walkable, last_actions, features, avail, obs, state):
    """Fill what the agents see. `features` are the number of unit types and whether each side shows its shields."""
    n_types, ally_shields, enemy_shields = features
    available_actions(f, g, c, walkable, ids, avail)
    observations(f, g, c, ids, avail, n_types, ally_shields, enemy_shields, obs)
    n_actions = avail.shape[1]
    global_state(
        f, g, c, ids, walkable, last_actions, n_actions, n_types, ally_shields, enemy_shields, state
    )


@njit(cache=True)
def play(
    f,
    g,
    r,
    c,
    damage,
    rectangles,
    ids,
    walkable,
    plan,
    features,
    actions,
    last_actions,
    avail,
    obs,
    state,
    lines,
    work,
):
    """One environment step with random orders, and what the agents see of it.

    `plan` is attack point x and y, largest radius and largest reward. Returns (reward, done, won, bad agent): the last
    is an agent whose action is not available, in which case nothing has happened, or -1.
    """
    for agent in range(len(actions)):
        if (
            actions[agent] < 0
            or actions[agent] >= avail.shape[1]
            or not avail[agent, actions[agent]]
        ):
            return 0.0, False, False, agent
    last_actions[:] = actions
    b.give_orders(f, g, c, actions, ids)
    raw, order = 0.0, g[b.DRAWN]
    for _ in range(b.TICKS):
        draw_order(r, g[b.ALIVE], order)
        raw += b.tick(f, g, c, damage, rectangles, plan[0], plan[1], plan[2], order, lines, work)
    reward, done, won = b.outcome(g, c, raw, plan[3])
    look(f, g, c, ids, walkable, last_actions, features, avail, obs, state)
    return reward, done, won, -1


if hasattr(play, "stats"):  # it has none with NUMBA_DISABLE_JIT
    drop_stale(Path(play.stats.cache_path), sorted(Path(__file__).parent.glob("*.py")))


def whole_numbers(actions, shape, what):
    """`actions` as an int64 array of this shape. Raises a ValueError that says `what` they must be."""
    try:
        array = np.asarray(actions)
    except ValueError:  # rows of different lengths
        array = np.zeros(0)
    if array.shape != shape or array.dtype.kind not in "iu":
        raise ValueError(f"actions must be {what}, not {str(actions)[:200]!r}")
    return array.astype(np.int64)


class AvailableActions(gym.spaces.Tuple):
    """The agents' action spaces. Samples are drawn from what is available now: the others are refused."""

    def __init__(self, env):
        super().__init__([gym.spaces.Discrete(env.n_actions) for _ in range(env.n_agents)])
        self.env, self.first_avail, self.just_seeded = env, env.avail.copy(), False

    def seed(self, seed=None):
        self.just_seeded = True
        return super().seed(seed)

    def sample(self, mask=None, probability=None):
        if mask is None and probability is None:
            avail = self.env.avail
            if (
                self.just_seeded
            ):  # gymnasium's checker seeds, samples, resets and only then plays the sample
                both, self.just_seeded = avail & self.first_avail, False
                avail = np.where(both.any(axis=1, keepdims=True), both, avail)
            mask = tuple(avail.astype(np.int8))
        return super().sample(mask=mask, probability=probability)


class SMACliteEnv(gym.Env):
    """A team of units against the built-in enemy, on one of ``maps.MAPS`` or on the map of a file.

    Observations are a tuple of float32 vectors (obs_size,), one for each agent; actions a sequence of ints, each of
    which must be available. There is no time limit here: ``gym.make`` adds SMAC's, which is ``episode_limit``.

    Parameters
    ----------
    map_name : str
        A key of ``maps.MAPS``.
    map_file : str or path, optional
        A JSON file, see ``smaclite_jit.map_files``. It takes the place of ``map_name``.
    render_mode : {None, "rgb_array", "human"}
    seed : int, optional
        Of a first reset without a seed.
    use_cpp_rvo2 : bool, optional
        The original has this argument. It makes no difference.

    Attributes
    ----------
    n_agents, n_enemies, n_actions, obs_size, state_size : int
        Sizes, fixed for a map.
    episode_limit : int
        Environment steps.

    Raises
    ------
    ValueError
        For an unknown map or render mode; a ``MapError``, which is one, for a file that holds no map.

    References
    ----------
    Samvelyan et al., "The StarCraft Multi-Agent Challenge", 2019, arXiv:1902.04043: the task.

    Michalski, Christianos and Albrecht, "SMAClite: A Lightweight Environment for Multi-Agent Reinforcement Learning",
    2023, arXiv:2305.05566: the rules that are followed here.

    Examples
    --------
    >>> import numpy as np
    >>> env = SMACliteEnv("3m")
    >>> observations, info = env.reset(seed=1)
    >>> len(observations), observations[0].shape, env.get_state().shape
    (3, (30,), (48,))
    >>> [np.flatnonzero(row).tolist() for row in env.get_avail_actions()]
    [[1, 2, 3, 4, 5], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5]]
    >>> observations, reward, terminated, truncated, info = env.step([4, 4, 4])
    >>> reward, terminated, truncated, info
    (0.0, False, False, {'battle_won': False})
    """

    # Steps per second in real time, and the pictures of a step that render_ticks makes.
    metadata = {"render_modes": ["human", "rgb_array"], "render_fps": 2, "frames_per_step": b.TICKS}

    def __init__(
        self, map_name="3m", map_file=None, render_mode=None, seed=None, use_cpp_rvo2=None
    ):
        if map_file is not None:
            scenario = load_map(map_file)
        elif map_name in MAPS:
            scenario = MAPS[map_name]
        else:
            raise ValueError(f"there is no map {map_name!r}; {hint(map_name, MAPS)}")
        arena = self.arena = Arena(scenario)
        self.map_name, self.render_mode, self.episode_limit = (
            scenario.name,
            render_mode,
            scenario.episode_limit,
        )
        self.n_agents, self.n_enemies, self.n_actions = (
            arena.n_agents,
            arena.n_enemies,
            arena.n_actions,
        )
        self.obs_size, self.state_size = arena.obs_size, arena.state_size
        self.f, self.g, self.r = arena.first_f.copy(), arena.first_g.copy(), np.zeros(6, np.uint64)
        self.last_actions = np.full(self.n_agents, -1)
        self.avail = np.zeros((self.n_agents, self.n_actions), np.uint8)
        self.obs = np.zeros((self.n_agents, self.obs_size), np.float32)
        self.state = np.zeros(self.state_size, np.float32)
        self.features = (
            len(scenario.type_ids),
            int(scenario.ally_shields),
            int(scenario.enemy_shields),
        )
        self.plan = (*map(float, scenario.attack_point), arena.max_radius, arena.max_reward)
        self.seeded, self.first_seed = False, seed
        announce(play, 30)
        self.look()
        self.play(
            np.full(self.n_agents, -1)
        )  # compiles what is not in the cache yet, and is refused
        self.observation_space = gym.spaces.Tuple(
            [gym.spaces.Box(-1, 1, (self.obs_size,), np.float32) for _ in range(self.n_agents)]
        )
        self.action_space = AvailableActions(self)
        self.renderer = None
        if render_mode is not None:
            if render_mode not in self.metadata["render_modes"]:
                raise ValueError(
                    f"render_mode is {render_mode!r}; it can be None, 'human' or 'rgb_array'"
                )
            from smaclite_jit.rendering.renderer import Renderer  # imports pygame

            self.renderer = Renderer(self)

    def look(self):
        m = self.arena
        seen = (self.avail, self.obs, self.state)
        look(self.f, self.g, m.c, m.ids, m.walkable, self.last_actions, self.features, *seen)

    def play(self, actions):
        m = self.arena
        battle = (
            self.f,
            self.g,
            self.r,
            m.c,
            m.damage,
            m.rectangles,
            m.ids,
            m.walkable,
            self.plan,
            self.features,
        )
        seen = (self.last_actions, self.avail, self.obs, self.state)
        return play(*battle, actions, *seen, m.lines, m.work)

    def reset(self, *, seed=None, options=None):
        """Put every unit back. The first state is always the same; the seed decides the order of events.

        Parameters
        ----------
        seed : int, optional
            Of numpy's PCG64, which draws the order in which units act in a tick. Without one the stream goes on.
        options : dict, optional
            Ignored.

        Returns
        -------
        observations : tuple of ndarray
            ``n_agents`` float32 vectors (obs_size,).
        info : dict
            ``battle_won``, False.
        """
        seed = self.first_seed if seed is None and not self.seeded else seed
        super().reset(seed=seed)
        if seed is not None or not self.seeded:
            self.r, self.seeded = from_generator(self.np_random), True
        self.f[:], self.g[:], self.last_actions[:] = self.arena.first_f, self.arena.first_g, -1
        self.look()
        if self.renderer is not None:
            self.renderer.reset()
            if self.render_mode == "human":
                self.render()
        return self.get_obs(), {"battle_won": False}

    def step(self, actions):
        """Play half a second, eight ticks.

        Parameters
        ----------
        actions : sequence of int, (n_agents,)
            0 nothing, for the dead only; 1 stop; 2, 3, 4, 5 move north, south, east, west; 6 + k attack enemy k or,
            for a healer, heal ally k.

        Returns
        -------
        observations : tuple of ndarray
            ``n_agents`` float32 vectors (obs_size,).
        reward : float
            Of the team, scaled such that the damage, the kills and the victory of a whole battle come to 20.
        terminated : bool
            One side has nobody left.
        truncated : bool
            False.
        info : dict
            ``battle_won``: no enemy is left.

        Raises
        ------
        ValueError
            For an action that is not available, or actions of another form. Nothing has happened then.
        gymnasium.error.ResetNeeded
            Before the first reset.
        """
        if not self.seeded:
            raise gym.error.ResetNeeded("call reset() before step()")
        actions = whole_numbers(
            actions, (self.n_agents,), f"{self.n_agents} whole numbers, one for each agent"
        )
        before = None if self.renderer is None else (self.f.copy(), self.g.copy(), self.r.copy())
        reward, done, won, bad = self.play(actions)
        if bad >= 0:
            available = np.flatnonzero(self.avail[bad]).tolist()
            raise ValueError(
                f"agent {bad} cannot take action {actions[bad]} now; available are {available}"
            )
        if self.renderer is not None:
            self.renderer.note(before, actions, reward)
            if self.render_mode == "human":
                self.render()
        return self.get_obs(), reward, done, False, {"battle_won": won}

    def render(self):
        """Draw the state.

        Returns
        -------
        ndarray or None
            (height, width, 3) uint8. With ``render_mode="human"`` it is shown in a window instead.

        Raises
        ------
        RuntimeError
            With ``render_mode="human"`` on a machine without a display.
        """
        if self.renderer is None:
            gym.logger.warn(
                "render() shows nothing without a render_mode, e.g. gym.make(..., render_mode='rgb_array')"
            )
            return None
        return self.renderer.render() if self.render_mode == "rgb_array" else self.renderer.show()

    def render_ticks(self):
        """Draw every tick of the last step: at 16 a second the pictures move smoothly, in real time.

        Nothing is lost by asking for some steps only.

        Returns
        -------
        list of ndarray
            Eight pictures like ``render``'s; one after a reset.

        Raises
        ------
        ValueError
            Without a ``render_mode``.
        """
        if self.renderer is None:
            raise ValueError(
                "render_ticks() needs a render_mode, e.g. gym.make(..., render_mode='rgb_array')"
            )
        return self.renderer.render_ticks()

    def close(self):
        """Close the window, if there is one."""
        if self.renderer is not None:
            self.renderer.close()

    def get_obs(self):
        """Return the observations of all agents, a tuple of float32 vectors (obs_size,). The dead see zeros."""
        return tuple(self.obs.copy())

    def get_state(self):
        """Return the state of the battle, (state_size,) float32."""
        return self.state.copy()

    def get_avail_actions(self):
        """Return which actions can be taken: for each agent a float64 vector (n_actions,) of zeros and ones."""
        return list(self.avail.astype(np.float64))
