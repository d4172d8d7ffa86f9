"""QMIX in four single-file scripts that share nothing but ``cleanmarl.env_wrappers``."""

import difflib
import re

__version__ = "0.2.0"


class UsageError(ValueError):
    """Raised for an argument that cannot work.

    The message is one line that names the argument and says what to do.
    """


def check_name(argument, value, names):
    """Raise a UsageError with the nearest names unless `value` is one of `names`."""
    if value not in names:
        near = difflib.get_close_matches(value, names, n=3, cutoff=0.5) or sorted(names)[:20]
        raise UsageError(f"{argument}: there is no {value!r}; try {' or '.join(near)}")


def boolean_flags(arguments):
    """Write ``--double_q=True``, as sweep tools do, and ``--double_q=False`` as tyro reads them.

    Returns the list of arguments with ``--double_q`` and ``--no-double_q`` in their place.
    """
    flags = []
    for argument in arguments:
        match = re.fullmatch("--(.+)=(true|false)", argument, re.IGNORECASE)
        if match is None:
            flags.append(argument)
        elif match[2].lower() == "true":
            flags.append(f"--{match[1]}")
        else:
            flags.append(f"--no-{match[1]}")
    return flags
