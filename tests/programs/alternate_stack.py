"""Run a script, and print whether signals have a stack of their own before and after it.

Linux only: elsewhere the structure of sigaltstack has another order.
"""

import ctypes
import runpy
import sys

SS_DISABLE = 2


class Stack(ctypes.Structure):
    _fields_ = [("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


def has_alternate_stack():
    stack = Stack()
    assert ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack)) == 0
    return not stack.flags & SS_DISABLE and stack.size > 0


print("before", has_alternate_stack())
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
print("after", has_alternate_stack())
