"""The process in which code that nobody trusts runs: it confines itself, then compiles, runs and tests what it was sent.

Started by ``sandbox`` as a script of its own in an isolated interpreter, so it imports the standard library and its neighbours only.
It reads one JSON object and reports JSON lines, each with the word that only its parent and it know.
"""

import ast
import contextlib
import ctypes
import errno
import importlib
import io
import json
import os
import resource
import signal
import sys
import sysconfig
import tokenize
import types
from pathlib import Path
from typing import Any

_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/etc/localtime", "/etc/ld.so.cache")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_INTERNET = (2, 10)
_PROCESS_EVENTS = {
    "os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen", "pty.spawn", "os.startfile",
}  # fmt: skip
_NETWORK_EVENTS = {"socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}
_FILE_EVENTS = {
    "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown", "os.utime",
}  # fmt: skip
_PARENT_DEATH_SIGNAL = 1
_CAPABILITY_VERSION = 0x20080522


class _Report:
    """Tells the parent, and remembers what was attempted."""

    def __init__(self, descriptor: int, word: str, home: str) -> None:
        self._descriptor = descriptor
        self._word = word
        self._home = os.path.realpath(home)
        self._told: set[str] = set()

    def say(self, **fields: Any) -> None:
        """Write one line at once: the process may be killed next."""
        os.write(self._descriptor, (json.dumps({"word": self._word} | fields) + "\n").encode())

    def attempted(self, what: str) -> None:
        """Something that the sandbox forbids; told once a kind."""
        if what not in self._told:
            self._told.add(what)
            self.say(attempted=what)

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Notice what the interpreter is about to do. The kernel forbids it; this gives it a name."""
        what = None
        if event in _PROCESS_EVENTS:
            what = "process"
        elif event in _NETWORK_EVENTS or (event == "socket.__new__" and arguments[1] in _INTERNET):
            what = "network"
        elif event == "os.kill" and arguments[0] != os.getpid():
            what = "signal"
        elif event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & _WRITING and not self._at_home(path):
                what = "file"
        elif event in _FILE_EVENTS and not all(self._at_home(path) for path in arguments[: 2 if event == "os.rename" else 1]):
            what = "file"
        if what is not None:
            self.attempted(what)
            raise PermissionError(f"not in the sandbox: {what}")

    def _at_home(self, path: Any) -> bool:
        if isinstance(path, int):
            return True  # opened before, hence allowed
        whole = os.path.realpath(os.fsdecode(path))
        return whole == os.devnull or whole == self._home or whole.startswith(self._home + os.sep)


def confine(home: str, parent: int, limits: dict[str, int]) -> None:
    """Give up everything that the code does not need; ends in the kernel's filter.

    Raises ``OSError`` or ``LookupError`` where this machine cannot.
    """
    landlock, seccomp = (importlib.import_module(neighbour) for neighbour in ("landlock", "seccomp"))
    _die_with(parent)
    os.nice(10)
    for name, value in (("FSIZE", limits["file_bytes"]), ("NOFILE", limits["open_files"]), ("CORE", 0)):
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
    resource.setrlimit(resource.RLIMIT_CPU, (limits["cpu_s"], limits["cpu_s"] + 1))  # a signal that names the limit, then the end
    _drop_capabilities()
    library = sysconfig.get_path("stdlib")
    landlock.restrict([library, f"{sys.base_prefix}/lib", *_LIBRARIES, *_DEVICES], [home, os.devnull])
    seccomp.install()
    resource.setrlimit(resource.RLIMIT_AS, (limits["memory_bytes"], limits["memory_bytes"]))


def _die_with(parent: int) -> None:
    """Have the kernel end this process where the one that holds it to its time is killed."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "it could outlive its parent")
    if os.getppid() != parent:
        raise OSError("its parent is gone")


def _drop_capabilities() -> None:
    """Be an ordinary process even where the service runs as root."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    none = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(ctypes.byref(header), ctypes.byref(none)):
        raise OSError(ctypes.get_errno(), "capabilities cannot be given up")


def _commented(code: str) -> bool:
    """Whether the code explains itself anywhere, in a comment or a docstring."""
    tree = ast.parse(code)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    if any(ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, documented)):
        return True
    with contextlib.suppress(tokenize.TokenError, IndentationError):
        return any(token.type == tokenize.COMMENT for token in tokenize.generate_tokens(io.StringIO(code).readline))
    return False


def _names(code: str) -> set[str]:
    """What the code imports, calls or refers to, dotted names as a whole too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
            found.update([node.module or "", *names, *(f"{node.module}.{name}" for name in names)])
        elif isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.update({node.attr, ast.unparse(node)})
    return found


def _fault(exc: BaseException, report: _Report) -> str:
    """The class of a failure, never its words: they may quote the answer."""
    if isinstance(exc, MemoryError):
        report.attempted("memory")
    if isinstance(exc, RuntimeError) and str(exc) == "can't start new thread":
        report.attempted("threads")
    if isinstance(exc, OSError) and exc.errno == errno.EFBIG:
        report.attempted("length")
    name = type(exc).__name__
    return name if name.isidentifier() and len(name) <= 60 else "exception"


def work(sent: dict[str, Any], report: _Report) -> None:
    """Compile, run, test; everything is told as it happens."""
    code = sent["code"]
    try:
        compiled = compile(code, "answer", "exec")
        report.say(compiles=True, commented=_commented(code), names=sorted(_names(code).intersection(sent["uses"])))
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as exc:
        report.say(compiles=False, fault=_fault(exc, report))
        return
    module = sys.modules["answer"] = types.ModuleType("answer")
    space = module.__dict__
    try:
        exec(compiled, space)  # noqa: S102 - this is what the process is for
        report.say(runs=True)
    except BaseException as exc:  # noqa: BLE001 - whatever the code raises, SystemExit too, is its failure
        report.say(runs=False, fault=_fault(exc, report))
        return
    for number, test in enumerate(sent["tests"]):
        try:
            exec(compile(test, "test", "exec"), dict(space))  # noqa: S102 - the same
            report.say(test=number, passed=True)
        except BaseException as exc:  # noqa: BLE001 - the same
            report.say(test=number, passed=False, fault=_fault(exc, report))


def main() -> None:
    """Take the parent's order, confine, work."""
    sent = json.loads(sys.stdin.buffer.read())
    descriptor = os.dup(1)
    silence = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(silence, standard)
    report = _Report(descriptor, sent["word"], sent["home"])
    neighbours = str(Path(__file__).resolve().parent)
    sys.path.insert(0, neighbours)
    try:
        confine(sent["home"], sent["parent"], sent["limits"])
    except (OSError, LookupError) as exc:
        report.say(confined=False, fault=str(exc))
        return
    sys.path.remove(neighbours)
    report.say(confined=True)
    sys.addaudithook(report.audit)
    work(sent, report)
    report.say(done=True)


if __name__ == "__main__":
    main()
