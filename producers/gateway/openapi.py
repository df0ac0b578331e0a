"""The API's description: helpers that routes describe themselves with, and the whole document.

Bodies are read by hand, within bounds and after the caller is known, so they are described by hand too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from producers.gateway.problems import MEDIA_TYPE, ProblemDocument

if TYPE_CHECKING:
    from worker.desk.keys import Scope

_REFERENCE = "#/components/schemas/{model}"
_SAID = {
    400: "The body is no valid JSON.",
    401: "No API key, or one that is unknown, expired or revoked.",
    403: "The API key lacks the scope.",
    404: "Nothing is known of it.",
    413: "The body is too large.",
    415: "The body is not said to be JSON.",
    422: "A field breaks a rule; `errors` names it.",
    429: "The rate limit is reached or the inbox is full; `Retry-After` says when to come again.",
    503: "Redis or PostgreSQL does not answer now.",
    504: "No result in time.",
}
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "Authorization: Bearer flk_…"},
    "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_DESCRIPTION = (
    "Comments and tickets in, labels and scores out. The API is open until the first API key is made "
    "(`fenliu keys create`). Errors are problem documents by RFC 9457."
)
_models: dict[str, type[BaseModel]] = {ProblemDocument.__name__: ProblemDocument}


def body_of(
    models: type[BaseModel] | Sequence[type[BaseModel]],
    examples: Mapping[str, Any],
    *,
    scope: Scope,
    or_list_of: type[BaseModel] | None = None,
) -> dict[str, Any]:
    """What an operation takes: JSON of any of the models, with examples that work."""
    schemas: list[dict[str, Any]] = [schema_of(model) for model in ([models] if isinstance(models, type) else models)]
    if or_list_of is not None:
        schemas.append({"type": "array", "items": schema_of(or_list_of), "minItems": 1})
    content = {
        "schema": schemas[0] if len(schemas) == 1 else {"anyOf": schemas},
        "examples": {name: {"value": value} for name, value in examples.items()},
    }
    return {"requestBody": {"required": True, "content": {"application/json": content}}} | secured(scope)


def secured(scope: Scope) -> dict[str, Any]:
    """That an operation needs an API key with this scope, once keys exist."""
    return {"security": [{name: []} for name in _SECURITY], "x-scope": scope.value}


def answer(status: int, model: type[BaseModel], said: str, *problems: int) -> dict[int | str, dict[str, Any]]:
    """What an operation answers: this, or problems with these statuses."""
    found: dict[int | str, dict[str, Any]] = {
        status: {"description": said, "content": {"application/json": {"schema": schema_of(model)}}}
    }
    return found | {problem: _problem(_SAID[problem]) for problem in problems}


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of an app, made once."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=_DESCRIPTION, routes=app.routes)
        _, definitions = models_json_schema(
            [(model, "validation") for model in _models.values()], ref_template=_REFERENCE
        )
        components = document.setdefault("components", {})
        components["schemas"] = definitions["$defs"]
        components["securitySchemes"] = _SECURITY
        for operation in (operation for path in document["paths"].values() for operation in path.values()):
            if "security" in operation:
                operation["responses"] |= {str(status): _problem(_SAID[status]) for status in (401, 403)}
            operation["responses"]["default"] = _problem("Any other error.")
        app.openapi_schema = document
    return app.openapi_schema


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """A reference to a model's schema, which the document will hold."""
    _models[model.__name__] = model
    return {"$ref": _REFERENCE.format(model=model.__name__)}


def _problem(said: str) -> dict[str, Any]:
    return {"description": said, "content": {MEDIA_TYPE: {"schema": schema_of(ProblemDocument)}}}
