"""``python -m router.bench.restart``: starts the service on the database that standard input names, says what that took, and ends it.

A process of its own, so that time and memory are those of a restart, the interpreter's start and every import included.
"""

import asyncio
import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.errors import StorageUnavailable


@dataclass(frozen=True, slots=True)
class Restart:
    """One start over a log."""

    seconds: float
    """From the start of the process until it can decide."""
    cpu_s: float
    peak_mb: float
    """Resident memory at its highest."""
    seq: int
    """Log position up to which it has learned."""
    digest: str
    """Of what it has learned."""


def restart(settings: dict[str, Any]) -> Restart:
    """Start a service with these settings in a process of its own, and end it; the settings may hold a password and go by a pipe.

    Raises ``StorageUnavailable`` where it does not start.
    """
    begun = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "router.bench.restart"],  # -P: a folder "router" where it is run is none of ours
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # an interrupt from the keyboard is ours to deal with
    ) as process:
        try:
            assert process.stdin is not None and process.stdout is not None  # noqa: S101, PT018 - for the type checker: both are pipes
            process.stdin.write(json.dumps(settings) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            seconds = time.perf_counter() - begun
            process.stdin.close()  # it may end
            process.wait()
        except BaseException:
            process.kill()
            raise
    if not line or process.returncode:
        raise StorageUnavailable("the service did not start over the log that was made", remedy="what it says above tells why")
    return Restart(seconds, **json.loads(line))


async def _start(overrides: dict[str, Any]) -> None:
    import router.serving  # noqa: F401 - what a server imports
    from router import bootstrap, config

    services = await bootstrap.build(config.load(**overrides))
    await services.start()
    told = {"cpu_s": time.process_time(), "peak_mb": _peak_mb(), "seq": services.training.seq, "digest": services.training.digest}
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()
    try:
        await asyncio.to_thread(sys.stdin.readline)  # until whoever asked has read the clock
    finally:
        await services.close()


def _peak_mb() -> float:
    """Of this process; what Linux tells of resources counts the parent's memory too, from before the child became a program of its own."""
    if (status := Path("/proc/self/status")).exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM:")) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024**2 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    from router import telemetry

    telemetry.configure("error", "console")
    asyncio.run(_start(json.loads(sys.stdin.readline())))
