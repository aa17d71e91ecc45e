"""The command line: ``pointsman``."""

import os
import sys


def main() -> None:
    """Run the command line and exit with its status."""
    # before numpy is imported: the matrices are small, and a second BLAS thread only takes the processor from the service
    for library in ("OPENBLAS", "MKL", "OMP"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")

    from router.cli.app import run  # here: who imports this package need not want a command line

    sys.exit(run(sys.argv[1:]))
