"""Become a command, which is killed with all that it has started when the starter of this ends.

    python benchmark/guard.py python cleanmarl/qmix.py ...

stdin is a pipe that the starter holds open and never writes to. The pipe closes when the starter
closes it or ends, however that happens: on kill -9 too. The starter also makes this process the
leader of a process group, to which all that the command starts will belong.
"""

import contextlib
import os
import signal
import sys

if __name__ == "__main__":
    group = os.getpid()
    if os.fork() == 0:
        os.setsid()  # out of the group that it is to kill
        sys.stdin.buffer.read()  # returns when the pipe closes
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left
            os.killpg(group, signal.SIGKILL)
        sys.exit()
    os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())  # the command reads nothing
    os.execvp(sys.argv[1], sys.argv[1:])
