"""The kernel's filter of system calls for code that nobody trusts, as a program for Linux on x86-64 and AArch64.

What a call may do with files is Landlock's business, what it may use up that of the resource limits; here stands what neither sees:
new processes, sockets, signals to others, and changes of files' modes, owners and times, which Landlock does not govern. Runs inside
the confined process (``confined``), so it imports nothing of ours.
"""

import ctypes
import errno
import os
import struct

_X86_64, _AARCH64 = 0xC000003E, 0xC00000B7
_ARCHITECTURES = {"x86_64": _X86_64, "aarch64": _AARCH64}
_X32 = 0x40000000
"""From here on x86-64 counts its calls anew, for another ABI."""
_NEWEST = 450
"""Calls that came later are said not to exist: what they can do was not weighed here."""

_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _AND, _RETURN = 0x20, 0x15, 0x35, 0x54, 0x06
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16

_Table = dict[str, tuple[int | None, int | None]]
"""System calls with their numbers on x86-64 and AArch64."""
_KILLED: _Table = {
    # new processes and programs
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
    # a way around the calls that are looked at
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    # other processes
    "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424), "pidfd_getfd": (438, 438), "process_madvise": (440, 440), "process_mrelease": (448, 448),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    # the system
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "move_mount": (429, 429),
    "open_tree": (428, 428), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "unshare": (272, 97), "setns": (308, 268), "bpf": (321, 280), "perf_event_open": (298, 241),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "userfaultfd": (323, 282), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "sethostname": (170, 161), "setdomainname": (171, 162), "acct": (163, 89), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    "syslog": (103, 116), "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264), "fanotify_init": (300, 262),
    "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None), "vhangup": (153, 58), "uselib": (134, None),
    "lookup_dcookie": (212, 18),
}  # fmt: skip
"""No program that does what it was asked for makes these: the process dies."""
_REFUSED: _Table = {
    # the network; libraries open sockets for harmless reasons too
    "socket": (41, 198), "io_setup": (206, 0),
    # the machine's time
    "setpriority": (141, 140), "ioprio_set": (251, 30), "sched_setscheduler": (144, 119), "sched_setparam": (142, 118),
    "sched_setattr": (314, 274), "sched_setaffinity": (203, 122),
    # what outlives the process or lies outside its limits
    "shmget": (29, 194), "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180), "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    # files' modes, owners, attributes, times and lengths by name
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "chown": (92, None), "fchown": (93, 55), "lchown": (94, None),
    "fchownat": (260, 54), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "removexattr": (197, 14),
    "lremovexattr": (198, 15), "fremovexattr": (199, 16), "utime": (132, None), "utimes": (235, None), "futimesat": (261, None),
    "utimensat": (280, 88), "truncate": (76, 45), "mknod": (133, None), "mknodat": (259, 33),
    # the system
    "clock_adjtime": (305, 266), "adjtimex": (159, 171), "inotify_init": (253, None), "inotify_init1": (294, 26),
    "personality": (135, 92), "seccomp": (317, 277),
}  # fmt: skip
"""Refused with EPERM."""
_ABSENT: _Table = {"clone3": (435, 435), "openat2": (437, 437)}
"""Said not to exist, as their arguments cannot be looked into: the C library then makes the older call."""

_CLONE_THREAD = 0x00010000
_ACCESS_MODE, _TRUNCATE = 0x3, 0x200
_WHOLE = 0xFFFFFFFF
_SET_OWNER, _SET_SIGNAL, _SET_OWNER_EX = 8, 10, 15

_PARENT_DEATH_SIGNAL = 1
_NO_NEW_PRIVILEGES, _SET_SECCOMP, _FILTER_MODE = 38, 22, 2


def program(machine: str, pid: int) -> bytes:
    """The filter for a machine as ``os.uname`` names it, for a process that may signal itself only.

    Raises ``LookupError`` for another machine.
    """
    column = list(_ARCHITECTURES).index(machine) if machine in _ARCHITECTURES else None
    if column is None:
        raise LookupError(f"no filter is written for the processor {machine}")
    code = [_step(_LOAD, _ARCHITECTURE), _step(_JUMP_EQUAL, _ARCHITECTURES[machine], 1, 0), _step(_RETURN, _KILL_PROCESS)]
    code += [_step(_LOAD, _NUMBER)]
    if machine == "x86_64":
        code += [_step(_JUMP_GREATER_EQUAL, _X32, 0, 1), _step(_RETURN, _KILL_PROCESS)]
    code += [_step(_JUMP_GREATER_EQUAL, _NEWEST + 1, 0, 1), _step(_RETURN, _ERRNO | errno.ENOSYS)]
    for table, answer in ((_ABSENT, _ERRNO | errno.ENOSYS), (_KILLED, _KILL_PROCESS), (_REFUSED, _ERRNO | errno.EPERM)):
        numbers = (pair[column] for pair in table.values())
        for number in numbers:
            if number is not None:
                code += _if_call(number, [_step(_RETURN, answer)])
    clone, kill, tgkill, prlimit, fcntl, openat, prctl = ((56, 62, 234, 302, 72, 257, 157), (220, 129, 131, 261, 25, 56, 167))[column]
    refuse = _ERRNO | errno.EPERM
    code += _if_call(clone, _look(0, _CLONE_THREAD, {_CLONE_THREAD}, _ALLOW, _KILL_PROCESS))
    code += _if_call(kill, _look(0, _WHOLE, {pid}, _ALLOW, _KILL_PROCESS))
    code += _if_call(tgkill, _look(0, _WHOLE, {pid}, _ALLOW, _KILL_PROCESS))
    code += _if_call(prlimit, _look(0, _WHOLE, {0, pid}, _ALLOW, _KILL_PROCESS))
    code += _if_call(prctl, _look(0, _WHOLE, {_PARENT_DEATH_SIGNAL}, _KILL_PROCESS, _ALLOW))
    code += _if_call(fcntl, _look(1, _WHOLE, {_SET_OWNER, _SET_SIGNAL, _SET_OWNER_EX}, refuse, _ALLOW))
    code += _if_call(openat, _look(2, _ACCESS_MODE | _TRUNCATE, {_TRUNCATE}, refuse, _ALLOW))  # older Landlocks let a reader truncate
    if machine == "x86_64":
        code += _if_call(2, _look(1, _ACCESS_MODE | _TRUNCATE, {_TRUNCATE}, refuse, _ALLOW))  # open
    return b"".join([*code, _step(_RETURN, _ALLOW)])


def _step(code: int, k: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, k)


def _if_call(number: int, then: list[bytes]) -> list[bytes]:
    """``then`` must return."""
    return [_step(_JUMP_EQUAL, number, 0, len(then)), *then]


def _look(argument: int, mask: int, values: set[int], among: int, else_: int) -> list[bytes]:
    """Look at the lower half of an argument: the kernel takes each of these as 32 bits."""
    tests = [_step(_JUMP_EQUAL, value, len(values) - nth, 0) for nth, value in enumerate(sorted(values))]
    return [_step(_LOAD, _ARGUMENTS + 8 * argument), _step(_AND, mask), *tests, _step(_RETURN, else_), _step(_RETURN, among)]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def install() -> None:
    """Filter this process's calls from now on; nothing can take the filter off again.

    Raises ``OSError`` or ``LookupError`` where the kernel or the processor has no such filter.
    """
    code = program(os.uname().machine, os.getpid())
    buffer = ctypes.create_string_buffer(code, len(code))
    about = _Program(len(code) // 8, ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(_SET_SECCOMP, _FILTER_MODE, ctypes.byref(about), 0, 0):
        raise OSError(ctypes.get_errno(), "the kernel takes no filter of system calls")
