"""numba's cache on disk: one compilation for all later runs, and never of older sources than those on disk."""

import hashlib
import sys
from pathlib import Path


def drop_stale(folder, sources):
    """Empty numba's cache in `folder` unless it is of these `sources`, a list of paths.

    numba notices when a function's own file has changed, but not when the functions that it calls have.
    """
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    stamp = folder / "smaclite_jit.sha256"
    if stamp.is_file() and stamp.read_text() == digest:
        return
    try:
        for old in (*folder.glob("*.nbi"), *folder.glob("*.nbc")):
            old.unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        stamp.write_text(digest)
    except OSError:  # a folder that cannot be written to: numba does not write to it either
        pass


def announce(function, seconds):
    """Say on the terminal that `function` is going to be compiled, unless the cache has it."""
    version = f"py{sys.version_info.major}{sys.version_info.minor}"
    if hasattr(function, "stats"):  # it has none with NUMBA_DISABLE_JIT
        name = f"{function.__module__.split('.')[-1]}.{function.__name__}-*.{version}.nbi"
        if not list(Path(function.stats.cache_path).glob(name)) and not function.signatures:
            print(
                f"smaclite_jit: compiling the simulator, once, about {seconds} s", file=sys.stderr
            )
