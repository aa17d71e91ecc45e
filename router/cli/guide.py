"""``pointsman guide``: which model for which task, from the log."""

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from router.cli.output import print_json, print_line, print_table
from router.cli.serve import DatabaseUrl

if TYPE_CHECKING:
    from router.config import Settings
    from router.domain.guide import Guide


def guide(
    out: Annotated[Path, typer.Option("--out", help="The Markdown file; a .json and the pictures go beside it.")] = Path(
        "MODEL_SELECTION_GUIDE.md"
    ),
    database_url: DatabaseUrl = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and write no file.")] = False,
) -> None:
    """Write the model selection guide: per task type the recommended model with measured quality, speed and cost, and the next test."""
    from router import config

    settings = config.load(**({} if database_url is None else {"database_url": database_url}))
    found = asyncio.run(_made(settings))
    if as_json:
        print_json(found)
        return
    written = _write(found, out)
    rows = [(task.task_type, task.recommended or "nobody yet", task.status.value, f"{task.scores:,}") for task in found.task_types]
    print_table(f"as of log position {found.seq:,}", ("task type", "recommended", "evidence", "scores"), rows, figures=(3,))
    print_line(f"\nwritten: {', '.join(str(path) for path in written)}")


async def _made(settings: "Settings") -> "Guide":
    from router import errands

    async with errands.guide_service(settings) as service:
        return await service.guide()


def _write(found: "Guide", out: Path) -> list[Path]:
    """Write the three kinds of file.

    Raises ``ConfigurationInvalid``.
    """
    import msgspec

    from router.domain.guide_picture import picture
    from router.domain.guide_text import markdown
    from router.errors import ConfigurationInvalid

    folder = out.with_name(f"{out.stem}_files")
    drawn = {task.task_type: svg for task in found.task_types if (svg := picture(task)) is not None}
    names = {task: f"{''.join(c if c.isalnum() or c in '-_.' else '_' for c in task)}.svg" for task in drawn}
    try:
        if drawn:
            folder.mkdir(exist_ok=True)
        for task, svg in drawn.items():
            (folder / names[task]).write_text(svg, encoding="utf-8")
        text = markdown(found, time.time(), {task: f"{folder.name}/{name}" for task, name in names.items()})
        out.write_text(text, encoding="utf-8")
        beside = out.with_suffix(".json")
        beside.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    except OSError as exc:
        raise ConfigurationInvalid(
            f"the guide cannot be written ({exc.strerror})", field="out", remedy="name a file in a folder that exists"
        ) from exc
    return [out, beside, *([folder] if drawn else [])]
