"""An environment that imports a module of its own package that is not there."""

import tests.envs.helprs  # noqa: F401
