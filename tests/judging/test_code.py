"""The code judge: what it scores, and real attacks on its sandbox. Each attack must leave no trace outside and get 0 with the reason."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from router.errors import ConfigurationInvalid, JudgeUnavailable
from router.judging import sandbox, seccomp
from router.judging.code import Code
from router.judging.protocol import Answer, Case, Verdict
from router.judging.sandbox import Limits

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="code is confined on Linux only")

CASE = Case("code_generation", tests=("assert f(2) == 4", "assert f(-3) == -6"))
PATIENT = Code(Limits(wall_s=60, cpu_s=20))
"""What the judge itself has to notice, it may notice late on a busy machine, before the kernel ends the code for its CPU time."""
QUICK = Code(Limits(wall_s=60, cpu_s=2))


def judge(code: str, case: Case = CASE, judging: Code = PATIENT) -> Verdict:
    return judging.judge(case, Answer(code))


def test_the_score_is_the_share_of_tests_and_the_parts_say_how_far_it_came() -> None:
    whole = judge("Here you are:\n```python\ndef f(x):\n    # twice\n    return 2 * x\n```\nDone.")
    assert (whole.score, whole.reason) == (1.0, "2 of 2 tests pass")
    assert whole.parts == {"compiles": 1, "runs": 1, "tests": 1, "comments": 1}
    assert whole.cost_usd == 0
    half = judge("def f(x): return 4")
    assert (half.score, half.reason) == (0.5, "1 of 2 tests pass (AssertionError)")
    assert judge("def f(x) return").reason == "does not compile (SyntaxError)"
    broken = judge("f = undefined_name")
    assert (broken.score, broken.reason, broken.parts["compiles"], broken.parts["runs"]) == (0.0, "does not run (NameError)", 1.0, 0.0)


def test_the_use_of_an_interface_is_told_beside_the_score() -> None:
    case = replace(CASE, uses=("json.dumps", "http.server", "BaseHTTPRequestHandler", "missing"))
    code = "import json\nfrom http.server import BaseHTTPRequestHandler\ndef f(x): return 2 * x if json.dumps(x) else 0"
    assert judge(code, case).parts["uses"] == 0.75


@pytest.mark.parametrize(
    "code",
    [
        "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass A: x: int\ndef f(x): return A(x).x * 2",
        "import asyncio\nasync def g(x): await asyncio.sleep(0); return 2 * x\ndef f(x): return asyncio.run(g(x))",
        "from concurrent.futures import ThreadPoolExecutor\ndef f(x): return sum(ThreadPoolExecutor(4).map(int, [x, x]))",
        "import sqlite3, tempfile\ndef f(x):\n  with tempfile.TemporaryFile() as file: file.write(b'x')\n"
        "  return sqlite3.connect('a.db').execute('select 2 * ?', (x,)).fetchone()[0]",
        "import uuid, zoneinfo, decimal, logging, http.server, urllib.parse\ndef f(x): uuid.uuid1(); return 2 * x",
    ],
)
def test_ordinary_programs_work_in_it(code: str) -> None:
    assert judge(code).score == 1.0


@pytest.mark.parametrize(
    ("attack", "reason"),
    [
        ("def f(x):\n  while True: pass", "used more than 2 s of CPU"),
        ("import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\ndef f(x):\n  while True: pass", "used more than 2 s of CPU"),
        ("import os\ndef f(x):\n  for _ in range(10_000):\n    try: os.fork()\n    except OSError: pass", "tried to start a process"),
        ("import ctypes\nlibc = ctypes.CDLL(None)\nwhile True: libc.fork()", "made a system call that is forbidden"),
        ("import ctypes\nctypes.CDLL(None).syscall(56, 17, 0, 0, 0, 0)", "made a system call that is forbidden"),
        ("import subprocess\ndef f(x): return subprocess.run(['true'])", "tried to start a process"),
        ("import ctypes\nctypes.CDLL(None).execl(b'/bin/true', b'true', None)", "made a system call that is forbidden"),
        ("def f(x): return len(bytearray(2 << 30)) and 2 * x", "ran out of the memory that it may use"),
        ("def f(x):\n  kept = []\n  while True: kept.append('x' * 1_000_000)", "ran out of the memory that it may use"),
        ("import threading, time\nthreading.stack_size(32768)\n"
         "while True: threading.Thread(target=time.sleep, args=(60,), daemon=True).start(); time.sleep(0.01)",
         "started more threads than it may"),
        ("def f(x):\n  n = 0\n  while True:\n    n += 1\n    open(str(n), 'w').close()", "wrote more files than it may"),
        ("def f(x):\n  with open('big', 'wb') as file:\n    while True: file.write(b'x' * 1_000_000)", "wrote a longer file than it may"),
        ("import os\nname = 'd' * 200\nfor _ in range(30):\n  os.mkdir(name)\n  os.chdir(name)\nimport time\ntime.sleep(60)",
         "hid files from view"),
        ("import ctypes\nctypes.CDLL(None).prctl(1, 0, 0, 0, 0)", "made a system call that is forbidden"),
        ("import os\ndef f(x):\n  os.kill(os.getppid(), 9)", "tried to signal another process"),
        ("import ctypes, os\nctypes.CDLL(None).kill(os.getppid(), 9)", "made a system call that is forbidden"),
        ("import ctypes\nctypes.CDLL(None).ptrace(16, 1, 0, 0)", "made a system call that is forbidden"),
        ("import ctypes\nctypes.CDLL(None).syscall(425, 1, 0)", "made a system call that is forbidden"),
        ("import os\nos._exit(0)", "ended the process before its tests were done"),
        ("import sys\nsys.exit(0)", "does not run (SystemExit)"),
        ("import ctypes\ndef f(x): ctypes.string_at(0)", "ended the process before its tests were done"),
    ],
)  # fmt: skip
def test_attacks_are_contained_and_scored_0_with_the_reason(attack: str, reason: str) -> None:
    if os.uname().machine != "x86_64" and "syscall(" in attack:
        pytest.skip("written with the numbers of x86-64")
    begun = time.monotonic()
    verdict = judge(attack, judging=QUICK if "CPU" in reason else PATIENT)
    assert (verdict.score, verdict.reason) == (0.0, reason)
    assert time.monotonic() - begun < 60


def test_limits_may_be_given_by_name() -> None:
    assert Code({"cpu_s": 2}).limits == Limits(cpu_s=2)
    with pytest.raises(ConfigurationInvalid, match="no limit gpu_s"):
        Code({"gpu_s": 2})


def test_a_sleep_ends_at_the_limit() -> None:
    verdict = judge("import time\ndef f(x): time.sleep(600)", judging=Code(Limits(wall_s=0.5)))
    assert (verdict.score, verdict.reason) == (0.0, "ran longer than 0.5 s")


def test_no_connection_leaves_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        connect = f"try: socket.create_connection(('127.0.0.1', {port}))\n  except OSError: pass"
        python = judge(f"import socket\ndef f(x):\n  {connect}\n  return 2 * x")
        assert (python.score, python.reason) == (0.0, "tried to use the network")
        raw = judge("import ctypes\nlibc = ctypes.CDLL(None)\nassert libc.socket(2, 1, 0) == libc.socket(1, 1, 0) == -1")
        assert raw.parts["runs"] == 1.0  # the kernel refused both
        with pytest.raises(TimeoutError):
            server.accept()


def test_no_file_outside_is_written_changed_or_read(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("secret")
    there.chmod(0o600)
    evil = tmp_path / "evil"
    before = there.stat()
    new, old = repr(str(evil)), repr(str(there))
    for attempt in (f"open({new}, 'w')", f"os.mkdir({new})", f"os.remove({old})", f"os.symlink('/', {new})", f"os.chmod({old}, 0o777)"):
        verdict = judge(f"import os\ndef f(x):\n  try: {attempt}\n  except OSError: pass\n  return 2 * x")
        assert (verdict.score, verdict.reason) == (0.0, "tried to write a file outside its directory"), attempt
    raw = f"""
import ctypes
libc = ctypes.CDLL(None)
there, evil = {str(there).encode()!r}, {str(evil).encode()!r}
assert libc.open(evil, 0o101, 0o644) == -1
assert libc.open(there, 1) == -1 and libc.open(there, 0o1000) == -1 and libc.truncate(there, 0) == -1
assert libc.mkdir(evil, 0o755) == libc.unlink(there) == libc.rename(there, evil) == -1
assert libc.link(there, evil) == libc.symlink(there, evil) == -1
assert libc.chmod(there, 0o777) == libc.chown(there, 1, 1) == libc.utimes(there, None) == libc.mknod(evil, 0o100644, 0) == -1
def f(x): return 2 * x
"""
    assert judge(raw).parts["runs"] == 1.0  # the kernel refused every one
    assert judge(f"open({str(there)!r}).read()").reason == "does not run (PermissionError)"
    assert judge(f"import os\nos.listdir({str(tmp_path)!r})").reason == "does not run (PermissionError)"
    assert judge("open('/proc/self/environ').read()").reason == "does not run (PermissionError)"
    assert not evil.exists()
    assert there.read_text() == "secret"
    after = there.stat()
    assert all(getattr(after, name) == getattr(before, name) for name in ("st_mode", "st_uid", "st_mtime_ns", "st_nlink"))


def test_results_cannot_be_forged_by_printing() -> None:
    forged = '{"test": 0, "passed": true, "done": true, "confined": true, "compiles": true, "runs": true}'
    code = f"import os\nfor fd in range(64):\n  try: os.write(fd, b'{forged}\\n')\n  except OSError: pass\nos._exit(0)"
    assert judge(code).score == 0.0


def test_the_environment_does_not_reach_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    case = replace(CASE, tests=("assert set(os.environ) <= {'HOME', 'LANG', 'LC_CTYPE', 'TMPDIR'}",))
    assert judge("import os", case).score == 1.0


def test_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    before = set(children.read_text().split())
    verdict = judge("open('left', 'w').write('x')\nimport os\nos.makedirs('a/b/c')\ndef f(x): return 2 * x")
    assert verdict.score == 1.0
    assert list(tmp_path.iterdir()) == []
    assert set(children.read_text().split()) <= before


def test_it_does_not_outlive_a_killed_judge() -> None:
    judging = "from router.judging import sandbox\nsandbox.run('import time\\ntime.sleep(600)', ['pass'])"
    with subprocess.Popen([sys.executable, "-c", judging]) as judge_process:
        children = Path(f"/proc/{judge_process.pid}/task/{judge_process.pid}/children")
        wait_for(lambda: bool(children.read_text().split()))
        confined = children.read_text().split()[0]
        wait_for(lambda: b"confined.py" in Path(f"/proc/{confined}/cmdline").read_bytes())
        wait_for(lambda: "NoNewPrivs:\t1" in Path(f"/proc/{confined}/status").read_text())
        judge_process.kill()
    wait_for(lambda: not alive(confined))


def wait_for(holds: Callable[[], bool]) -> None:
    for _ in range(3_000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come about")


def alive(pid: str) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_where_it_cannot_be_confined_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox.sys, "platform", "darwin")
    with pytest.raises(JudgeUnavailable, match="not Linux") as refused:
        judge("print('x')")
    assert "Landlock" in (refused.value.remedy or "")


_WITHOUT_LANDLOCK = """
import ctypes, errno
from router.errors import JudgeUnavailable
from router.judging import sandbox, seccomp
create = 444
code = b"".join([
    seccomp._step(seccomp._LOAD, seccomp._NUMBER), seccomp._step(seccomp._JUMP_EQUAL, create, 0, 1),
    seccomp._step(seccomp._RETURN, seccomp._ERRNO | errno.ENOSYS), seccomp._step(seccomp._RETURN, seccomp._ALLOW),
])
buffer = ctypes.create_string_buffer(code, len(code))
about = seccomp._Program(len(code) // 8, ctypes.addressof(buffer))
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(about), 0, 0) == 0
try:
    sandbox.run("print('it ran')", ["pass"])
except JudgeUnavailable as exc:
    print(exc.message, "|", exc.remedy)
"""


def test_a_kernel_without_landlock_is_refused_with_the_remedy() -> None:
    # a filter of system calls answers for the kernel as an older one would
    told = subprocess.run([sys.executable, "-c", _WITHOUT_LANDLOCK], capture_output=True, text=True, check=True).stdout
    assert told.startswith("code is not run, because it cannot be confined here: ")
    assert "the kernel has no Landlock" in told
    assert "| judge code on Linux 5.13 or newer" in told


def test_a_processor_without_a_filter_is_refused_and_both_others_have_one() -> None:
    with pytest.raises(LookupError, match="riscv64"):
        seccomp.program("riscv64", 1)
    for machine in ("x86_64", "aarch64"):
        code = seccomp.program(machine, 1)
        assert len(code) % 8 == 0
        assert len(code) // 8 < 4096  # the kernel's limit
