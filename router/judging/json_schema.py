"""Right where the answer is JSON that keeps to the case's schema."""

import json
from dataclasses import dataclass
from typing import Any, ClassVar

from router.errors import ConfigurationInvalid
from router.judging.protocol import Answer, Case, Verdict
from router.judging.reading import fenced


@dataclass(frozen=True, slots=True)
class JsonSchema:
    """1 where it keeps to the schema, 0 where it does not; ``parts`` says whether it was JSON at all."""

    strict: bool = False
    """True: nothing may stand around the JSON, a fence neither."""
    name: ClassVar[str] = "json_schema"
    version: ClassVar[str] = "1"
    needs: ClassVar[tuple[str, ...]] = ("schema",)

    def judge(self, case: Case, answer: Answer) -> Verdict:
        """Validate what the answer holds.

        Raises ``ConfigurationInvalid`` where the schema is none.
        """
        import jsonschema  # here: nothing but this judge needs it
        from jsonschema.exceptions import best_match

        schema = dict(case.schema or {})
        validator = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        try:
            validator.check_schema(schema)
        except jsonschema.SchemaError as exc:
            raise ConfigurationInvalid("the case's schema is not a JSON schema", field="schema", remedy="correct it") from exc
        try:
            value = self._read(answer.text)
        except ValueError:
            return Verdict(0.0, self.name, self.version, "not JSON", parts={"json": 0.0})
        fault = best_match(validator(schema).iter_errors(value))
        if fault is not None:
            reason = f"against the schema: {fault.validator}"
            return Verdict(0.0, self.name, self.version, reason, parts={"json": 1.0})
        return Verdict(1.0, self.name, self.version, "keeps to the schema", parts={"json": 1.0})

    def _read(self, text: str) -> Any:
        if self.strict:
            return _loads(text)
        inner = fenced(text, "json", "jsonc", "json5")
        for candidate in (text, inner):
            if candidate is not None:
                try:
                    return _loads(candidate)
                except ValueError:
                    continue
        starts = [at for at in (text.find("{"), text.find("[")) if at >= 0]
        if not starts:
            raise ValueError("no JSON")
        return _loads(text[min(starts) :], whole=False)


def _loads(text: str, *, whole: bool = True) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse) if whole else json.JSONDecoder(parse_constant=_refuse).raw_decode(text)[0]
    except RecursionError as exc:
        raise ValueError("nested too deep") from exc


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
