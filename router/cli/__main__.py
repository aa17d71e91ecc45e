"""``python -m router.cli`` is ``pointsman``."""

from router.cli import main

main()
