"""The command line: ``pointsman``."""

import sys


def main() -> None:
    """Run the command line and exit with its status."""
    from router.cli.app import run  # here: who imports this package need not want a command line

    sys.exit(run(sys.argv[1:]))
