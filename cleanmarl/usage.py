"""The error of those who give an argument that cannot work."""

import difflib


class UsageError(ValueError):
    """An argument that cannot work. The message is one line that names the argument and says what to do."""


def check_name(argument, value, names):
    """Raise a UsageError that tells the nearest names unless `value` is one of `names`."""
    if value not in names:
        near = difflib.get_close_matches(value, names, n=3, cutoff=0.5) or sorted(names)[:20]
        raise UsageError(f"{argument}: there is no {value!r}; try {' or '.join(near)}")
