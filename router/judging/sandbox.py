"""Runs code that nobody trusts and its tests in a process that can do next to nothing, and tells what it did.

The process gives up its privileges itself before it reads a line of the code (``confined``): no new processes, no sockets, no signals to
others (``seccomp``), no file but the interpreter's library and one empty directory (``landlock``), limits on memory, CPU time, file
sizes and open files. From outside this module holds it to wall-clock time, threads, and what it leaves in its directory. The kernel
does all of it without root, namespaces or a container; where it cannot, nothing is run.

What runs inside shares an interpreter with its tests. It cannot reach out, but a program written against this very harness could lie
about its own tests; the word that every report carries makes that more than printing "passed".
"""

import contextlib
import json
import os
import secrets
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from router.errors import JudgeUnavailable

_LOOK_EVERY_S = 0.02
_MAX_REPORT = 1 << 20
_START_S = 20.0
"""For an interpreter to start on a busy machine; the code's own time begins after it."""
_SCRIPT = Path(__file__).with_name("confined.py")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much the code may use."""

    wall_s: float = 30.0
    """Long beside ``cpu_s``: on a busy machine good code waits too."""
    cpu_s: int = 5
    memory_bytes: int = 512 << 20
    """Of address space."""
    file_bytes: int = 8 << 20
    """Of one file."""
    open_files: int = 64
    threads: int = 64
    directory_bytes: int = 64 << 20
    """Of all files that it leaves."""
    directory_entries: int = 1_000


@dataclass(frozen=True, slots=True)
class Ran:
    """What the code did."""

    compiles: bool
    runs: bool
    passed: tuple[bool, ...]
    """One per test."""
    faults: tuple[str, ...]
    """Classes of the exceptions, in order."""
    broke: str | None
    """The limit that it broke or the forbidden thing that it tried; None: it kept to its room."""
    commented: bool = False
    used: frozenset[str] = field(default_factory=frozenset)


_BROKE = {
    "process": "tried to start a process",
    "network": "tried to use the network",
    "file": "tried to write a file outside its directory",
    "signal": "tried to signal another process",
    "memory": "ran out of the memory that it may use",
    "threads": "started more threads than it may",
    "hidden": "hid files from view",
    "length": "wrote a longer file than it may",
}


def run(code: str, tests: Sequence[str], uses: Sequence[str] = (), limits: Limits | None = None) -> Ran:
    """Compile and run the code, then the tests in order.

    Raises ``JudgeUnavailable`` where this machine cannot confine it.
    """
    limits = limits or Limits()
    word = secrets.token_hex(16)
    home = tempfile.mkdtemp(prefix="pointsman-")
    try:
        numbers = {name: int(value) for name, value in asdict(limits).items() if name != "wall_s"}
        order = {"word": word, "home": home, "parent": os.getpid(), "limits": numbers}
        order |= {"code": code, "tests": list(tests), "uses": list(uses)}
        lines, broke = _watch(json.dumps(order).encode(), home, limits)
    finally:
        _remove(home)
    return _read(lines, word, len(tests), broke)


def _watch(order: bytes, home: str, limits: Limits) -> tuple[list[bytes], str | None]:
    """Start the process, hold it to its limits, and return its report and which one it broke."""
    if not sys.platform.startswith("linux"):
        raise _unavailable("this system is not Linux")
    command = [sys.executable, "-I", "-S", "-B", str(_SCRIPT)]
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and script
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=home,
        env={"LANG": "C.UTF-8", "HOME": home, "TMPDIR": home},
        start_new_session=True,
    )
    assert process.stdin is not None  # noqa: S101 - both are pipes
    assert process.stdout is not None  # noqa: S101
    report, broke = bytearray(), None
    try:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(order)
            process.stdin.close()
        broke = _follow(process, process.stdout.fileno(), report, home, limits)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        with contextlib.suppress(OSError):
            process.stdin.close()
    if broke is None:
        broke = _killed_by(process.returncode, limits)
    return bytes(report).splitlines(), broke


def _follow(process: subprocess.Popen[bytes], source: int, report: bytearray, home: str, limits: Limits) -> str | None:
    begun, deadline = False, time.monotonic() + _START_S
    with selectors.DefaultSelector() as selector:
        selector.register(source, selectors.EVENT_READ)
        while True:
            if selector.select(_LOOK_EVERY_S):
                piece = os.read(source, 65_536)
                if not piece:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(max(0.1, deadline - time.monotonic()))
                    return None
                report += piece
                if not begun and b"\n" in report:
                    begun, deadline = True, time.monotonic() + limits.wall_s
                if len(report) > _MAX_REPORT:
                    return "flooded its report"
            if time.monotonic() > deadline:
                return f"ran longer than {limits.wall_s:g} s"
            if (broke := _overgrown(process.pid, home, limits)) is not None:
                return broke


def _killed_by(status: int, limits: Limits) -> str | None:
    """What a process did that the kernel killed."""
    if status in (-signal.SIGXCPU, -signal.SIGKILL):  # the second where the code ignores the first
        return f"used more than {limits.cpu_s} s of CPU"
    return "made a system call that is forbidden" if status == -signal.SIGSYS else None


def _overgrown(pid: int, home: str, limits: Limits) -> str | None:
    """What the kernel's limits do not count."""
    with contextlib.suppress(OSError):
        if sum(1 for _ in Path(f"/proc/{pid}/task").iterdir()) > limits.threads:
            return _BROKE["threads"]
    size = entries = 0
    waiting = [home]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as found:
                for entry in found:
                    entries += 1
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        size += entry.stat(follow_symlinks=False).st_size
                    if size > limits.directory_bytes or entries > limits.directory_entries:
                        return "wrote more files than it may"
        except FileNotFoundError:
            continue  # it was removed meanwhile
        except OSError:  # a directory that may not be read, or a path too long to be named
            return _BROKE["hidden"]
    return None


def _remove(home: str) -> None:
    """The directory and what is in it, whatever its modes are."""
    waiting = [home]
    while waiting:
        path = waiting.pop()
        with contextlib.suppress(OSError):
            Path(path).chmod(0o700)
            with os.scandir(path) as found:
                waiting += [entry.path for entry in found if entry.is_dir(follow_symlinks=False)]
    shutil.rmtree(home, ignore_errors=True)


def _read(lines: Sequence[bytes], word: str, tests: int, broke: str | None) -> Ran:
    """The report: lines without the word are not ours."""
    said: list[dict[str, Any]] = []
    for line in lines:
        with contextlib.suppress(ValueError):
            fields = json.loads(line)
            if isinstance(fields, dict) and fields.get("word") == word:
                said.append(fields)
    told: dict[str, Any] = {key: value for fields in said for key, value in fields.items()}
    if told.get("confined") is False:
        raise _unavailable(str(told.get("fault")))
    if "confined" not in told:
        raise _unavailable("its process did not start")
    attempts = [fields["attempted"] for fields in said if "attempted" in fields]
    results = {fields["test"]: bool(fields["passed"]) for fields in said if "test" in fields}
    if attempts:  # says more than the limit that ended it
        broke = _BROKE[attempts[0]]
    if broke is None and not told.get("done") and told.get("runs", True) and told.get("compiles", True):
        broke = "ended the process before its tests were done"
    return Ran(
        compiles=bool(told.get("compiles")),
        runs=bool(told.get("runs")),
        passed=tuple(results.get(number, False) for number in range(tests)),
        faults=tuple(fields["fault"] for fields in said if "fault" in fields),
        broke=broke,
        commented=bool(told.get("commented")),
        used=frozenset(told.get("names", ())),
    )


def _unavailable(reason: str) -> JudgeUnavailable:
    return JudgeUnavailable(
        f"code is not run, because it cannot be confined here: {reason}",
        field="judge",
        remedy="judge code on Linux 5.13 or newer, x86-64 or AArch64, with Landlock among the kernel's security modules (lsm=...,landlock)",
    )
