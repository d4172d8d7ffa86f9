"""QMIX in four single-file scripts that share only this module and ``cleanmarl.env_wrappers``."""

import difflib
import re

__version__ = "0.3.0"


class UsageError(ValueError):
    """Raised for an argument that cannot work: one line that names it and says what to do."""


def check_name(argument, value, names):
    """Raise a UsageError with the nearest names unless `value` is one of `names`."""
    if value not in names:
        near = difflib.get_close_matches(value, names, n=3, cutoff=0.5) or sorted(names)[:20]
        raise UsageError(f"{argument}: there is no {value!r}; try {' or '.join(near)}")


def boolean_flags(arguments):
    """Write ``--double_q=True`` and ``--double_q=False`` of sweep tools as tyro reads them.

    They become ``--double_q`` and ``--no-double_q``. Returns the list of arguments.
    """
    arguments = [re.sub("^--(.+)=true$", r"--\1", word, flags=re.I) for word in arguments]
    return [re.sub("^--(.+)=false$", r"--no-\1", word, flags=re.I) for word in arguments]
