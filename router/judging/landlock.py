"""Which files a confined process may read and write: Landlock, which any process may use on itself (Linux 5.13 or newer).

Runs inside the confined process (``confined``), so it imports nothing of ours.
"""

import ctypes
import os
import stat
from collections.abc import Sequence

_CREATE, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1
_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_REGULAR = 1 << 4, 1 << 5, 1 << 7, 1 << 8
_MAKE_LINK, _REFER, _TRUNCATE = 1 << 12, 1 << 13, 1 << 14
_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
"""Every right that a version of the interface governs, hence refuses unless a rule grants it; from 5 on one more."""
_TCP, _SCOPES = 0b11, 0b11
"""Binding and connecting (from version 4); abstract sockets and signals to processes outside (from version 6)."""
_READ = _READ_FILE | _READ_DIR
_WRITE = _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REGULAR | _MAKE_LINK | _REFER | _TRUNCATE
_OF_FILES = _WRITE_FILE | _READ_FILE | _TRUNCATE
_NO_NEW_PRIVILEGES = 38


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64)]


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"  # said, as newer interpreters ask of packed structures
    _fields_ = [("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32)]


def restrict(readable: Sequence[str], writable: Sequence[str]) -> None:
    """Let this process read below ``readable``, write below ``writable``, and touch no other file; nothing can undo it.

    Raises ``OSError`` where the kernel has no Landlock or has it switched off.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE, None, 0, _VERSION)
    if version < 1:
        raise OSError(ctypes.get_errno(), "the kernel has no Landlock, or has it switched off")
    governed = _RIGHTS.get(version, (1 << 16) - 1)
    rules = _Ruleset(governed, _TCP, _SCOPES)
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = libc.syscall(_CREATE, ctypes.byref(rules), ctypes.c_size_t(size), 0)
    if ruleset < 0:
        raise OSError(ctypes.get_errno(), "the kernel refuses the Landlock rules")
    for path in readable:
        _allow(libc, ruleset, path, _READ & governed)
    for path in writable:
        _allow(libc, ruleset, path, (_READ | _WRITE) & governed)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.syscall(_RESTRICT_SELF, ruleset, 0):
        raise OSError(ctypes.get_errno(), "the kernel does not apply the Landlock rules")
    os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    try:
        parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # not every system has every directory of libraries
    try:
        if not stat.S_ISDIR(os.fstat(parent).st_mode):
            rights &= _OF_FILES
        rule = _Beneath(rights, parent)
        if libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0):
            raise OSError(ctypes.get_errno(), "the kernel refuses a Landlock rule")
    finally:
        os.close(parent)
