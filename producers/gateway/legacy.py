"""`POST /predict`, as the clients of the fine-tuning article expect it: one text, a label, an emoji, a score."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from producers.gateway.admission import admit
from producers.gateway.body import read
from producers.gateway.direct import DirectRoute
from producers.gateway.gateway import gateway_of
from producers.gateway.leaving import unless_gone
from producers.gateway.openapi import answer, body_of, schema_of
from producers.gateway.predict import SOURCE
from schemas.fields import CONTROL, INVISIBLE
from worker.desk.keys import Scope

router = APIRouter(route_class=DirectRoute)

HAPPY, ANGRY = "😄", "😠"
_NO_TEXT = {"error": "缺少文本输入"}


class LegacyRequest(BaseModel):
    """One text."""

    model_config = ConfigDict(extra="allow")

    text: str


class LegacyResponse(BaseModel):
    """Its sentiment; `score` is rounded to 4 digits."""

    text: str
    label: str
    emoji: str
    score: float = Field(examples=[0.9876])


class LegacyError(BaseModel):
    """Without a text."""

    error: str


@router.post(
    "/predict",
    summary="Classify one text, in the form of older clients",
    description="A missing or blank text, or a body that is no JSON, is answered with 400 and `error`.",
    responses=answer(200, LegacyResponse, "The sentiment of the text.", 413, 422, 429, 503, 504)
    | {
        400: {
            "description": "No text.",
            "content": {"application/json": {"schema": schema_of(LegacyError)}},
        }
    },
    openapi_extra=body_of(LegacyRequest, {"one text": {"text": "这家店的服务真不错"}}, scope=Scope.PREDICT),
)
async def predict(request: Request) -> Response:
    """Label, emoji and score of one text."""
    gateway = gateway_of(request)
    await admit(request, gateway, Scope.PREDICT)
    text = _text(await read(request, gateway.settings))
    if text is None:
        return JSONResponse(_NO_TEXT, 400)
    asked = gateway.client.classify(text, timeout_s=gateway.settings.http_timeout_s, source=SOURCE)
    found = (await unless_gone(request, asked)).result["sentiment"]
    gateway.metrics.texts.labels("/predict", "done").inc()
    return JSONResponse(
        {
            "text": text,
            "label": found["label"],
            "emoji": HAPPY if found["label"] == "positive" else ANGRY,
            "score": round(found["score"], 4),
        }
    )


def _text(body: bytes) -> str | None:
    """The text, or None where there is none to classify."""
    try:
        content = from_json(body)
    except ValueError:
        return None
    text = content.get("text") if isinstance(content, dict) else None
    if not isinstance(text, str) or not CONTROL.sub(" ", text).strip(INVISIBLE):
        return None
    return text
