"""`POST /v1/predict`: texts in, labels and scores out. Every text is an inbox entry of its own.

That is how all callers share the workers' batches. Nothing is stored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Self

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, model_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from producers.gateway.admission import admit
from producers.gateway.body import as_model, read, refuse_other_types, wrong
from producers.gateway.direct import DirectRoute
from producers.gateway.gateway import gateway_of
from producers.gateway.leaving import unless_gone
from producers.gateway.openapi import answer, body_of
from producers.gateway.problems import FieldError, Kind, Problem, as_part
from producers.item import AskOptions
from schemas.errors import EntryError, FenliuError, PermanentError
from schemas.messages import Reply
from schemas.names import Task
from worker.desk.keys import Scope

router = APIRouter(route_class=DirectRoute)

SOURCE = "http"
_SHOWN = ("label", "score", "scores", "model", "model_version", "stage")
_TEXT_SCHEMA = {"type": "string", "description": "One text, 1 to 20,000 characters."}
_TEXTS_SCHEMA = {
    "type": "array", "items": {"type": "string"}, "minItems": 1,
    "description": "Several texts, up to FENLIU_HTTP_TEXTS.",
}  # fmt: skip
_LABELS_SCHEMA = {
    "description": "Among what to route: names, or name → what it means. Without: the teams of `route_set`.",
    "oneOf": [
        {"type": "array", "items": {"type": "string"}},
        {"type": "object", "additionalProperties": {"type": ["string", "object", "null"]}},
        {"type": "null"},
    ],
}


class PredictRequest(BaseModel):
    """One text or several, and what is asked about them."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"oneOf": [{"required": ["text"]}, {"required": ["texts"]}]},
    )

    text: Annotated[str | None, WithJsonSchema({"type": "string"})] = Field(None, description="One text.")
    texts: Annotated[
        list[str] | None, WithJsonSchema({"type": "array", "items": {"type": "string"}, "minItems": 1})
    ] = Field(None, description="Several texts, up to FENLIU_HTTP_TEXTS.")
    task: Task | None = Field(
        None, strict=False, description="`routing` if labels are given, else `sentiment`, where it is left out."
    )
    labels: Annotated[Any, WithJsonSchema(_LABELS_SCHEMA)] = None
    template: str | None = Field(None, description="What a label is put into; `{}` is its place.")
    multi_label: bool = Field(False, description="Labels do not exclude each other.")
    route_set: str | None = Field(None, description="The set of teams to route among.")
    model: str | None = Field(None, description="Name or name/version. Without: the one in production.")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        given = self.model_fields_set & {"text", "texts"}
        if len(given) != 1 or getattr(self, *given) is None:
            raise ValueError('give either "text" or "texts"')
        return self


class Result(BaseModel):
    """What the model says of one text."""

    label: str
    score: float
    scores: dict[str, float]
    model: str
    model_version: str
    stage: str = Field(description="Which part of the model decided.")


class PartError(BaseModel):
    """Why one text or item of several has no result."""

    type: str
    detail: str
    code: str | None = None
    field: str | None = None


class Failed(BaseModel):
    """In the place of a result."""

    error: PartError


class PredictResponse(BaseModel):
    """One result for each text, in order."""

    results: list[Result | Failed]


EXAMPLES = {
    "one text": {"text": "物流太慢了，再也不买了"},
    "several texts": {"texts": ["很好用，非常满意", "the parcel never arrived"]},
    "labels of your own": {"text": "发票什么时候能开？", "task": "routing", "labels": ["发票", "物流", "退款"]},
    "labels with a meaning": {
        "text": "I was charged twice",
        "task": "routing",
        "labels": {"billing": "payments, invoices, refunds", "technical": "errors and crashes"},
    },
}


@router.post(
    "/v1/predict",
    summary="Classify one text or several",
    description=(
        "Each text is classified by itself, together with those of all other callers. A text that cannot be has an "
        "`error` in its place; if none can be, the answer is a problem. Nothing is stored."
    ),
    responses=answer(200, PredictResponse, "One result for each text, in order.", 400, 413, 415, 422, 429, 503, 504),
    openapi_extra=body_of(PredictRequest, EXAMPLES, scope=Scope.PREDICT),
)
async def predict(request: Request) -> Response:
    """Results in the order of the texts."""
    gateway = gateway_of(request)
    await admit(request, gateway, Scope.PREDICT)
    refuse_other_types(request)
    body = await read(request, gateway.settings)
    ask = as_model(body, PredictRequest)
    options = _options(ask)
    task = Task.ROUTING if "tasks" in options else Task.SENTIMENT
    timeout_s = gateway.settings.http_timeout_s
    if ask.text is not None:
        reply = await unless_gone(request, gateway.client.classify(ask.text, timeout_s=timeout_s, **options))
        gateway.metrics.texts.labels("/v1/predict", "done").inc()
        return JSONResponse({"results": [_shown(reply, task)]})
    texts = ask.texts or []
    _refuse_too_many(len(texts), gateway.settings.http_texts, "texts")
    _refuse_large_labels(options, len(texts), gateway.settings.http_body_bytes)
    replies = await unless_gone(request, gateway.client.classify_many(texts, timeout_s=timeout_s, **options))
    errors = [reply for reply in replies if isinstance(reply, FenliuError)]
    gateway.metrics.texts.labels("/v1/predict", "done").inc(len(replies) - len(errors))
    gateway.metrics.texts.labels("/v1/predict", "failed").inc(len(errors))
    if len(errors) == len(replies):
        raise _all_failed(errors)
    return JSONResponse(
        {
            "results": [
                {"error": as_part(reply)} if isinstance(reply, FenliuError) else _shown(reply, task)
                for reply in replies
            ]
        }
    )


def _all_failed(errors: list[FenliuError]) -> FenliuError | Problem:
    """What speaks for all: an error that time may mend, or one about what they share, before one for each text."""
    for error in errors:
        if not isinstance(error, PermanentError):
            return error
        if not isinstance(error, EntryError) or error.field != "text":
            return error
    named = [
        FieldError(field=f"texts.{position}", code=error.code, message=f"texts.{position}{str(error)[len('text') :]}")
        for position, error in enumerate(errors)
        if isinstance(error, EntryError)
    ]
    return Problem(Kind.INVALID, "; ".join(error.message for error in named[:5]), errors=named)


def _options(ask: PredictRequest) -> AskOptions:
    """What each text's entry says besides the text; what is left out is the contract's default."""
    options: AskOptions = {"source": SOURCE}
    routing = ask.task is Task.ROUTING or (ask.task is None and ask.labels is not None)
    if routing:
        options["tasks"] = [Task.ROUTING]
    if ask.labels is not None:
        if not isinstance(ask.labels, list | Mapping):
            raise wrong("labels", "bad_labels", "must be a list of names or an object of name → what it means")
        options["labels"] = ask.labels
    if ask.template is not None:
        options["template"] = ask.template
    if ask.multi_label:
        options["multi_label"] = True
    if ask.route_set is not None:
        options["route_set"] = ask.route_set
    if not routing:
        for name in ("labels", "template", "multi_label", "route_set"):
            if name in options:
                raise wrong(name, "bad_value", 'is for routing; say "task": "routing", or leave it out')
    if ask.model is not None:
        options["model"] = ask.model
    return options


def _refuse_too_many(given: int, bound: int, field: str) -> None:
    if not given:
        raise wrong(field, "too_short", "is empty; give at least one")
    if given > bound:
        raise wrong(field, "too_long", f"has {given} entries; at most {bound} are allowed in a request")


def _refuse_large_labels(options: AskOptions, texts: int, bound_bytes: int) -> None:
    """Labels travel with each text: many of both would make much out of a small body."""
    if "labels" in options and len(json.dumps(options["labels"])) * texts > bound_bytes:
        raise wrong("labels", "too_long", "are too long to go with so many texts; send fewer texts at once")


def _shown(reply: Reply, task: Task) -> dict[str, Any]:
    found = reply.result[task.value]
    return {name: found[name] for name in _SHOWN}
