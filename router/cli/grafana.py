"""``pointsman grafana``: the example dashboard for Grafana."""

from pathlib import Path
from typing import Annotated

import typer

from router.cli.output import print_line
from router.errors import ConfigurationInvalid

FILE = Path(__file__).parents[1] / "dashboard" / "grafana.json"


def grafana(
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; standard output if left out.")] = None,
) -> None:
    """Print an example Grafana dashboard over the metrics that the service has at /metrics.

    Import it in Grafana (Dashboards, New, Import) and choose the Prometheus that scrapes the service.
    """
    board = FILE.read_text("utf-8")
    if output is None:
        print(board, end="")
        return
    try:
        output.write_text(board, "utf-8")
    except OSError as exc:
        remedy = "name a file in a folder that exists"
        raise ConfigurationInvalid(f"the dashboard cannot be written ({exc.strerror})", field="output", remedy=remedy) from exc
    print_line(f"wrote {output}: import it in Grafana (Dashboards, New, Import)")
