"""An environment with a bug of the kind that a missing argument is."""


def parallel_env(**kwargs):
    raise TypeError("a bug")
