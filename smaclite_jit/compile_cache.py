"""numba's cache on disk: one compilation for all later runs, and never one of older sources.

This layer imports nothing of the package.
"""

import functools
import hashlib
import logging
import sys
from pathlib import Path

from numba import njit

# numba writes thousands of DEBUG lines when it compiles; programs that log DEBUG want their own.
numba_logger = logging.getLogger("numba")
if numba_logger.level == logging.NOTSET:
    numba_logger.setLevel(logging.WARNING)


def compiled(function=None, *, inline="never"):
    """numba's ``njit`` with a cache on disk, or without one where numba finds no place for it.

    To be used as ``@compiled`` or ``@compiled(inline="always")``.
    """
    if function is None:
        return functools.partial(compiled, inline=inline)
    try:
        return njit(function, cache=True, inline=inline)
    except RuntimeError:  # "cannot cache function": compiling itself begins with the first call
        say_uncached()
        return njit(function, inline=inline)


@functools.cache  # the line appears once
def say_uncached():
    """Say on the terminal that every process compiles."""
    print(
        "smaclite_jit: there is no folder to keep compiled code in, so every process compiles, "
        "about 30 s; set NUMBA_CACHE_DIR to a folder that can be written to",
        file=sys.stderr,
    )


def cache_folder(function):
    """Where numba keeps the machine code of `function`, None if it keeps none."""
    if not hasattr(function, "stats"):  # with NUMBA_DISABLE_JIT it is a plain function
        return None
    folder = function.stats.cache_path
    return None if folder is None else Path(folder)


def drop_stale(folder, sources):
    """Empty numba's cache in `folder` unless it is of these `sources`, a list of paths.

    numba notices when a function's own file has changed, but not when the functions that it calls
    have.
    """
    content = b"".join(path.read_bytes() for path in sources)
    digest = hashlib.sha256(content).hexdigest()
    stamp = folder / "smaclite_jit.sha256"
    if stamp.is_file() and stamp.read_text() == digest:
        return
    try:
        for cached in (*folder.glob("*.nbi"), *folder.glob("*.nbc")):
            cached.unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        stamp.write_text(digest)
    except OSError:  # a folder that cannot be written to: numba does not write to it either
        pass


def announce(function, seconds):
    """Say on the terminal that `function` is going to be compiled, unless the cache has it.

    numba has no call that tells, so this looks for an index file named like numba names them today,
    `<module>.<function>-<first line>.py<version>.nbi`. If numba changes the names, the message
    appears once in every process although nothing is compiled. Nothing else depends on them.
    """
    folder = cache_folder(function)
    if folder is None:
        return
    module = function.__module__.split(".")[-1]
    version = f"py{sys.version_info.major}{sys.version_info.minor}"
    pattern = f"{module}.{function.__name__}-*.{version}.nbi"
    is_cached = any(folder.glob(pattern))
    is_loaded = len(function.signatures) > 0
    if not is_cached and not is_loaded:
        message = f"smaclite_jit: compiling the simulator, once, about {seconds} s"
        print(message, file=sys.stderr)
