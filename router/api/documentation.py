"""What ``/docs`` tells: the models of bodies that are read as bytes, with examples, and the idea of the service."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

DESCRIPTION = """
Routes each task to the model that the evidence favours, logs every choice with its exact propensity, and keeps learning.

1. `POST /v1/route` names the model to call. The decision is durable before the answer leaves.
2. Call the model, then report what happened to `POST /v1/outcomes`.
3. Say what the answer was worth to `POST /v1/feedback`, now or later; `PUT` and `DELETE` correct it exactly.

Every refusal has the same shape: `{"error": {"type", "message", "field", "remedy"}}`. It never repeats what was sent.
Text is used to name and count a task, then dropped.
"""

TAGS = [
    {"name": "route", "description": "Decide."},
    {"name": "call", "description": "Have a model answer, in OpenAI's shape."},
    {"name": "learn", "description": "Say what happened and what it was worth."},
    {"name": "read", "description": "Why a model was chosen, and what has been learned."},
    {"name": "catalogue", "description": "Add, change and retire models while the service runs."},
    {"name": "admin", "description": "Say who may use the service, for how much, and whom it calls, while it runs."},
    {"name": "health", "description": "For the machinery that keeps the service running."},
]

_REF = "#/components/schemas/{model}"

_EXAMPLES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/v1/route"): {
        "named": {
            "summary": "A task that is named and counted",
            "value": {"task_type": "code_generation", "context_tokens": 1200, "expected_output_tokens": 400, "needs": ["tools"]},
        },
        "shown": {
            "summary": "A task to be named from its messages, under limits",
            "value": {
                "messages": [{"role": "user", "content": "Summarise the attached minutes in five sentences."}],
                "speed": "balanced",
                "constraints": {"max_cost_usd": 0.002, "min_quality": 0.6},
                "weights": "cheap",
                "episode_id": "run-42",
                "tags": {"team": "docs"},
            },
        },
    },
    ("POST", "/v1/evaluate"): {
        "policy": {"summary": "Another policy, with a parameter", "value": {"policy": "thompson", "parameters": {"floor": 0.05}}},
        "rules": {"summary": "Fixed rules", "value": {"rules": {"quick_qa": "google/gemini-2.0-flash"}}},
    },
    ("POST", "/v1/whatif"): {
        "weights": {"summary": "Cheaper for everyone", "value": {"weights": {"quality": 1, "cost": 1.5, "latency": 0.1}}},
        "price": {
            "summary": "A price change, and a model capped",
            "value": {
                "prices": {"openai/gpt-4o": {"input_usd_per_mtok": 1.25, "output_usd_per_mtok": 5}},
                "caps": {"openai/gpt-4o": 0.3},
            },
        },
    },
    ("POST", "/v1/route/batch"): {
        "agents": {
            "summary": "A job for 28 agents under one budget",
            "value": {
                "goal": "cheapest",
                "limits": {"budget_usd": 0.05, "providers": {"cerebras": {"requests_per_minute": 30}}},
                "agents": [
                    {"name": "triage", "task_type": "classification", "count": 20, "context_tokens": 600, "expected_output_tokens": 20},
                    {"name": "writers", "task_type": "creative_writing", "count": 8, "context_tokens": 900, "calls": 2},
                ],
                "dry_run": True,
            },
        }
    },
    ("POST", "/v1/chat/completions"): {
        "chosen": {
            "summary": "A chat, answered by the model that the evidence favours",
            "value": {
                "model": "auto",
                "messages": [{"role": "user", "content": "Name three uses of a railway switch."}],
                "router": {"weights": "cheap", "constraints": {"max_cost_usd": 0.002}, "episode_id": "run-42"},
            },
        },
        "named": {
            "summary": "A chat with one model, streamed",
            "value": {
                "model": "openai/gpt-4o-mini",
                "stream": True,
                "stream_options": {"include_usage": True},
                "messages": [{"role": "user", "content": "Name three uses of a railway switch."}],
            },
        },
    },
    ("POST", "/v1/outcomes"): {
        "one": {
            "summary": "A call that answered",
            "value": {
                "decision_id": "dec_0192f0c1a2b37cde8f00112233445566",
                "status": "ok",
                "latency_s": 1.84,
                "ttft_s": 0.4,
                "input_tokens": 1210,
                "output_tokens": 377,
                "cost_usd": 0.00031,
            },
        }
    },
    ("POST", "/v1/feedback"): {
        "score": {
            "summary": "A score",
            "value": {"decision_id": "dec_0192f0c1a2b37cde8f00112233445566", "score": 0.9, "judge": "unit-tests"},
        },
        "episode": {"summary": "A verdict on a whole run", "value": {"episode_id": "run-42", "verdict": "good", "judge": "reviewer"}},
        "preference": {
            "summary": "One answer was better than another",
            "value": {
                "decision_id": "dec_0192f0c1a2b37cde8f00112233445566",
                "preferred_over": "dec_0192f0c1a2b37cde8f00aabbccddeeff",
                "judge": "reader",
            },
        },
    },
    ("PUT", "/v1/feedback/{feedback_id}"): {"score": {"summary": "The score that holds from now on", "value": {"score": 0.2}}},
    ("POST", "/v1/models"): {
        "priced": {
            "summary": "A model with a known price",
            "value": {
                "id": "deepinfra/acme/Example-7B",
                "family": "example",
                "context_window": 32768,
                "capabilities": ["json", "streaming"],
                "price": {"input_usd_per_mtok": 0.05, "output_usd_per_mtok": 0.08, "source": "https://example.com/pricing"},
            },
        }
    },
    ("PATCH", "/v1/models/{model_id:path}"): {
        "price": {"summary": "A new price", "value": {"price": {"input_usd_per_mtok": 0.04, "output_usd_per_mtok": 0.06}}},
        "back": {"summary": "Bring a retired model back", "value": {"retired": False}},
    },
    ("PATCH", "/v1/budgets"): {
        "day": {"summary": "A limit for the day, and a stop there", "value": {"usd_per_day": 20, "exhausted": "refuse"}},
        "lifted": {"summary": "Back to what the settings say", "value": {"usd_per_day": None, "exhausted": None}},
    },
    ("PUT", "/v1/pins/{task_type:path}"): {
        "models": {
            "summary": "Models in the order to try them in",
            "value": {"models": ["openai/gpt-4o-mini", "anthropic/claude-3-haiku-20240307"]},
        },
        "rule": {
            "summary": "A rule of GET /v1/rules",
            "value": {"rule": {"primary": "openai/gpt-4o-mini", "alternatives": [{"model": "openai/gpt-4o"}]}},
        },
    },
    ("POST", "/v1/keys"): {
        "first": {"summary": "The first key", "value": {"name": "operator", "scopes": ["admin", "read"]}},
        "limited": {
            "summary": "A key for an application",
            "value": {"name": "shop", "scopes": ["chat", "feedback"], "expires": "90d", "rate": "10/s", "budget_usd": "50/day"},
        },
    },
}


def body(path: str, method: str, model: type[BaseModel] | None, *, many: bool) -> dict[str, Any] | None:
    """The documentation of a body, one object or a list of them."""
    if model is None:
        return None
    one = {"$ref": _REF.format(model=model.__name__)}
    schema: dict[str, Any] = {"oneOf": [one, {"type": "array", "items": one, "minItems": 1}]} if many else one
    extra: dict[str, Any] = {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema, "examples": _EXAMPLES[method, path]}}}
    }
    if (method, path) == ("POST", "/v1/feedback"):
        extra["parameters"] = [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "maxLength": 255},
                "description": "Names this request; sent again with the same body it changes nothing, with another body it is a 409.",
            }
        ]
    return extra


def install(app: FastAPI, described: Callable[[], FastAPI], bodies: Sequence[type[BaseModel]]) -> None:
    """Make the document when it is first asked for: FastAPI's of the application that is ``described``, with the models of the bodies."""

    making = threading.Lock()

    def document() -> dict[str, Any]:
        with making:
            if app.openapi_schema is None:
                made = described().openapi()
                _, definitions = models_json_schema([(model, "validation") for model in bodies], ref_template=_REF)
                made.setdefault("components", {}).setdefault("schemas", {}).update(definitions.get("$defs", {}))
                about = "A key of `pointsman keys create` or `POST /v1/keys`, where there are keys."
                made["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": about}}
                made["security"] = [{"key": []}, {}]
                app.openapi_schema = made
            return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI documents this as the way to extend its document
    route = next(route for route in app.router.routes if isinstance(route, Route) and route.path == app.openapi_url)
    answers = route.app

    async def made_beside(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.to_thread(document)  # it takes half a second, and calls must not wait for a reader
        await answers(scope, receive, send)

    route.app = made_beside
