"""Rules as YAML files."""

from pathlib import Path
from typing import Any

import yaml

from router.errors import ConfigurationInvalid

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_rules(path: Path) -> Any:
    """What a rules file holds, unchecked.

    Raises ``ConfigurationInvalid``.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)  # noqa: S506 - a safe loader, in C where there is one
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationInvalid("the rules file cannot be read", field="rules_file", remedy="name a readable YAML file") from exc
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        place = f" (line {mark.line + 1})" if mark is not None else ""
        raise ConfigurationInvalid(f"the rules file is not YAML{place}", field="rules_file", remedy="correct the file there") from None


def rules_text(book: dict[str, Any], head: str) -> str:
    """Rules as YAML under a comment."""
    comment = "".join(f"# {line}\n" for line in head.splitlines())
    return comment + str(yaml.safe_dump(book, sort_keys=False, allow_unicode=True, width=140))
