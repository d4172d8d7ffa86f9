"""Make the patches again after a change of the files that they patch.

    python docs/patches/make.py                  all, each applied with fuzz and written again
    python docs/patches/make.py vdn my_vdn.py    one, from a copy that you have changed by hand

A patch whose place is not found any more keeps its file: apply it by hand, then give the copy.
"""

import difflib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent
REPO = FOLDER.parent.parent


def names_in(patch):
    """The two file names at the top of a patch: what it changes, and what becomes of it."""
    first, second = patch.read_text().splitlines()[:2]
    return first.split()[1], second.split()[1]


def write(patch, changed):
    """Write `patch` as the difference between the file that it patches and `changed`, a text."""
    source_name, copy_name = names_in(patch)
    source = (REPO / source_name).read_text()
    lines = difflib.unified_diff(
        source.splitlines(keepends=True),
        changed.splitlines(keepends=True),
        source_name,
        copy_name,
    )
    patch.write_text("".join(lines))


def apply(patch):
    """The text that `patch` makes of the file as it is now, or None where it fits nowhere."""
    source_name, _ = names_in(patch)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "copy.py")
        shutil.copy(REPO / source_name, copy)
        command = ["patch", "--silent", "--forward", "--fuzz=2", "--no-backup-if-mismatch"]
        done = subprocess.run([*command, str(copy), str(patch)], stdout=subprocess.DEVNULL)
        return copy.read_text() if done.returncode == 0 else None


def make_all():
    """Write all patches again. Returns the names of those that fit nowhere."""
    lost = []
    for patch in sorted(FOLDER.glob("*.patch")):
        changed = apply(patch)
        if changed is None:
            lost.append(patch.stem)
        else:
            write(patch, changed)
    return lost


if __name__ == "__main__":
    if len(sys.argv) == 3:
        write(FOLDER / f"{sys.argv[1]}.patch", Path(sys.argv[2]).read_text())
    elif len(sys.argv) == 1:
        lost = make_all()
        if lost:
            sys.exit(f"make.py: no place found for {', '.join(lost)}: apply by hand, give the copy")
    else:
        sys.exit(__doc__)
