"""The service in a process of its own: settings on standard input, the address on standard output; it ends with its parent."""

import json
import socket
import sys
import threading
from collections.abc import Callable

from router import config, serving
from router.errors import RouterError, StorageUnavailable


def main() -> int:
    """Serve on a free loopback port until standard input ends."""
    overrides = json.loads(sys.stdin.readline())

    def announce(address: str, stop: Callable[[], None]) -> None:
        _say({"address": address})
        threading.Thread(target=_stop_at_end_of_input, args=(stop,), daemon=True).start()

    try:
        settings = config.load(**overrides)
        serving.run(settings, listener=socket.create_server(("127.0.0.1", 0), backlog=2048), on_listening=announce)
    except RouterError as exc:
        why = exc.why if isinstance(exc, StorageUnavailable) else None
        _say({"error": [f"{exc.message} ({why})" if why else exc.message, exc.field, exc.remedy]})
        return 2
    return 0


def _stop_at_end_of_input(stop: Callable[[], None]) -> None:
    sys.stdin.read()
    stop()


def _say(message: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
