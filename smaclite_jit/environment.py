"""The battle as a gymnasium environment with the public surface of the original SMAClite."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from smaclite_jit.arena import Arena, Rules
from smaclite_jit.battle import TICKS, end_step, give_orders, play_ticks
from smaclite_jit.compile_cache import announce, cache_folder, compiled, drop_stale
from smaclite_jit.map_files import hint, load_map
from smaclite_jit.maps import MAPS
from smaclite_jit.observations import View, observe
from smaclite_jit.turn_order import from_generator

NOT_YET = -1  # in place of a last action


@compiled
def find_refused(actions, avail_actions):
    """The first agent whose action is not available, or -1."""
    for agent in range(len(actions)):
        action = actions[agent]
        if action < 0 or action >= avail_actions.shape[1] or not avail_actions[agent, action]:
            return agent
    return -1


@compiled
def step_battle(units, rules, rng_state, actions, last_actions, view):
    """Play one environment step and fill `view` with what is seen after it.

    Parameters
    ----------
    units : ndarray
        (units,) of ``arena.UNIT``, the battle. It is changed in place; so are `rng_state`,
        `last_actions` and the arrays of `view`.
    rules : tuple
        The fields of ``arena.Rules``. As a plain tuple: passing a NamedTuple costs 1 us more a
        call.
    rng_state : ndarray
        (6,) uint64, the generator of turn_order.py.
    actions, last_actions : ndarray
        (n_agents,) int64. The second becomes a copy of the first.
    view : tuple
        The fields of ``observations.View``: what has been seen before the step, and what can be
        seen after it.

    Returns
    -------
    reward : float
    done, won : bool
    refused : int
        An agent whose action is not available, in which case nothing has happened, or -1.
    """
    rules = Rules(*rules)
    view = View(*view)
    refused = find_refused(actions, view.avail_actions)
    if refused >= 0:
        return 0.0, False, False, refused
    last_actions[:] = actions
    give_orders(units, rules.kinds, rules.agents, rules.enemies, actions)
    raw_reward = play_ticks(units, rules, rng_state, TICKS)
    reward, done, won = end_step(units, rules, raw_reward)
    observe(units, rules, last_actions, view)
    return reward, done, won, refused


# numba keeps machine code on disk, and compiles again when the file of a function has changed. It
# does not look at the files of the functions that this one calls: step_battle would go on with the
# battle.py of yesterday. So the code of other sources is deleted here, before the first call can
# load it.
CACHE = cache_folder(step_battle)
if CACHE is not None:
    drop_stale(CACHE, sorted(Path(__file__).parent.glob("*.py")))


def whole_numbers(actions, shape, what):
    """`actions` as an int64 array of this shape, or a ValueError that says `what` they must be."""
    array = np.asarray(actions)
    if array.shape != shape or array.dtype.kind not in "iu":
        raise ValueError(f"actions must be {what}, not {str(actions)[:200]!r}")
    return array.astype(np.int64)


class AvailableActions(gym.spaces.Tuple):
    """The agents' action spaces. Samples are available now: other actions are refused."""

    def __init__(self, env):
        super().__init__([gym.spaces.Discrete(env.n_actions) for _ in range(env.n_agents)])
        self.env = env

    def sample(self, mask=None, probability=None):
        """A random action for each agent, of the available ones unless a mask says otherwise."""
        if mask is None and probability is None:
            mask = tuple(self.env.avail_actions.astype(np.int8))
        return super().sample(mask=mask, probability=probability)


class SMACliteEnv(gym.Env):
    """A team of units against the built-in enemy, on one of ``maps.MAPS`` or on the map of a file.

    Observations are a tuple of float32 vectors (obs_size,), one for each agent; actions a sequence
    of ints, each of which must be available. There is no time limit here: ``gym.make`` adds SMAC's,
    which is ``episode_limit``.

    Parameters
    ----------
    map_name
        A key of ``maps.MAPS``.
    map_file
        A JSON file, see ``smaclite_jit.map_files``. It takes the place of ``map_name``.
    render_mode
        None, "rgb_array" or "human".
    seed
        Of a first reset without a seed.

    Attributes
    ----------
    n_agents, n_enemies, n_actions, obs_size, state_size : int
        Sizes, fixed for a map.
    episode_limit : int
        Environment steps.
    obs, state, avail_actions : ndarray
        What is seen now, (n_agents, obs_size) float32, (state_size,) float32 and (n_agents,
        n_actions) uint8. Steps and resets write into these arrays; ``get_obs`` and the like return
        copies, in the form of the original.
    units : ndarray
        The battle: one record for each unit, ``units["hp"]`` for example. ``arena.UNIT`` lists the
        fields.

    Raises
    ------
    ValueError
        For an unknown map or render mode; a ``MapError``, which is one, for a file that holds no
        map.

    References
    ----------
    Samvelyan et al., "The StarCraft Multi-Agent Challenge", 2019, arXiv:1902.04043: the task.

    Michalski, Christianos and Albrecht, "SMAClite: A Lightweight Environment for Multi-Agent
    Reinforcement Learning", 2023, arXiv:2305.05566: the rules that are followed here.

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
    metadata = {"render_modes": ["human", "rgb_array"], "render_fps": 2, "frames_per_step": TICKS}

    def __init__(
        self,
        map_name: str = "3m",
        map_file: str | PathLike | None = None,
        render_mode: str | None = None,
        seed: int | None = None,
    ) -> None:
        if map_file is not None:
            battle_map = load_map(map_file)
        elif map_name in MAPS:
            battle_map = MAPS[map_name]
        else:
            raise ValueError(f"there is no map {map_name!r}; {hint(map_name, MAPS)}")
        self.map_name = battle_map.name
        self.episode_limit = battle_map.episode_limit
        self.render_mode = render_mode
        self.first_seed = seed  # of the first reset that is given none
        self.seeded = False  # no reset yet

        arena = Arena(battle_map)
        self.arena = arena
        self.rules = tuple(arena.rules)  # as step_battle takes them
        self.n_agents = arena.n_agents
        self.n_enemies = arena.n_enemies
        self.n_actions = arena.n_actions
        self.obs_size = arena.obs_size
        self.state_size = arena.state_size

        self.units = arena.first_units.copy()  # (units,) of arena.UNIT
        self.rng_state = np.zeros(6, np.uint64)
        self.last_actions = np.full(self.n_agents, NOT_YET)
        self.steps = 0  # since the battle has begun
        self.avail_actions = np.zeros((self.n_agents, self.n_actions), np.uint8)
        self.obs = np.zeros((self.n_agents, self.obs_size), np.float32)
        self.state = np.zeros(self.state_size, np.float32)
        self.view = (self.avail_actions, self.obs, self.state)
        self.warm_up()
        self.observe()

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

    def warm_up(self):
        """Compile what is not in the cache yet, by a step that is refused: action -1."""
        announce(step_battle, 30)
        self.play(np.full(self.n_agents, -1))

    def observe(self):
        """Fill `obs`, `state` and `avail_actions` after a change of the battle."""
        observe(self.units, self.arena.rules, self.last_actions, View(*self.view))

    def play(self, actions):
        """Step the battle: reward, done, won, and the agent whose action is refused or -1."""
        return step_battle(
            self.units, self.rules, self.rng_state, actions, self.last_actions, self.view
        )

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[tuple[np.ndarray, ...], dict[str, Any]]:
        """Put every unit back. The first state is always the same; the seed orders the turns.

        Parameters
        ----------
        seed
            Of numpy's PCG64, which draws the order in which units act in a tick. Without one the
            stream goes on.
        options
            Ignored.

        Returns
        -------
        observations
            ``n_agents`` float32 vectors (obs_size,).
        info
            ``battle_won``, False.
        """
        if seed is None and not self.seeded:
            seed = self.first_seed
        super().reset(seed=seed)
        if seed is not None or not self.seeded:
            self.rng_state = from_generator(self.np_random)
            self.seeded = True
        self.units[:] = self.arena.first_units
        self.last_actions[:] = NOT_YET
        self.steps = 0
        self.observe()
        if self.renderer is not None:
            self.renderer.reset()
            if self.render_mode == "human":
                self.render()
        return self.get_obs(), {"battle_won": False}

    def step(
        self, actions: Sequence[int] | np.ndarray
    ) -> tuple[tuple[np.ndarray, ...], float, bool, bool, dict[str, Any]]:
        """Play half a second, eight ticks.

        Parameters
        ----------
        actions
            (n_agents,): 0 nothing, for the dead only; 1 stop; 2, 3, 4, 5 move north, south, east,
            west; 6 + k attack enemy k or, for a healer, heal ally k.

        Returns
        -------
        observations
            ``n_agents`` float32 vectors (obs_size,).
        reward
            Of the team, scaled so that a won battle pays about 20.
        terminated
            One side has nobody left.
        truncated
            False.
        info
            ``battle_won``: no enemy is left.

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
        actions = whole_numbers(
            actions, (self.n_agents,), f"{self.n_agents} whole numbers, one for each agent"
        )
        if self.renderer is not None:
            before = (self.units.copy(), self.rng_state.copy())
        reward, done, won, refused = self.play(actions)
        if refused >= 0:
            available = np.flatnonzero(self.avail_actions[refused]).tolist()
            action = actions[refused]
            raise ValueError(
                f"agent {refused} cannot take action {action} now; available are {available}"
            )
        self.steps += 1
        if self.renderer is not None:
            self.renderer.note(before, actions, reward)
            if self.render_mode == "human":
                self.render()
        return self.get_obs(), reward, done, False, {"battle_won": won}

    def render(self) -> np.ndarray | None:
        """Draw the state, (height, width, 3) uint8, or show it in a window in the mode "human".

        Raises
        ------
        RuntimeError
            With ``render_mode="human"`` on a machine without a display.
        """
        if self.renderer is None:
            gym.logger.warn(
                "render() shows nothing without a render_mode, "
                "e.g. gym.make(..., render_mode='rgb_array')"
            )
            return None
        return self.renderer.render() if self.render_mode == "rgb_array" else self.renderer.show()

    def render_ticks(self) -> list[np.ndarray]:
        """Draw every tick of the last step: eight pictures like ``render``'s; one after a reset.

        At 16 a second the pictures move smoothly, in real time. Nothing is lost by asking for some
        steps only.

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

    def close(self) -> None:
        """Close the window, if there is one."""
        if self.renderer is not None:
            self.renderer.close()

    def get_obs(self) -> tuple[np.ndarray, ...]:
        """Return the agents' observations, float32 vectors (obs_size,). The dead see zeros."""
        return tuple(self.obs.copy())

    def get_state(self) -> np.ndarray:
        """Return the state of the battle, (state_size,) float32."""
        return self.state.copy()

    def get_avail_actions(self) -> list[np.ndarray]:
        """Return which actions can be taken, float64 vectors (n_actions,) of zeros and ones."""
        return list(self.avail_actions.astype(np.float64))
