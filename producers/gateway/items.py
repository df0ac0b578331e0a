"""`/v1/items`: items put into an inbox, and what is known of one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

from fastapi import APIRouter
from fastapi.encoders import jsonable_encoder
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from producers.async_client import AsyncClient
from producers.gateway.admission import admit
from producers.gateway.body import as_json, read, refuse_other_types, wrong
from producers.gateway.direct import DirectRoute
from producers.gateway.gateway import gateway_of
from producers.gateway.leaving import unless_gone
from producers.gateway.openapi import answer, body_of, secured
from producers.gateway.predict import PartError
from producers.gateway.problems import FieldError, Kind, Problem, as_part, field_error
from schemas.errors import Code, DatabaseUnavailableError, EntryError, FenliuError, RetryableError
from schemas.names import Kind as ItemKind
from schemas.names import Lane
from worker.desk import items as desk
from worker.desk.keys import Scope

router = APIRouter(route_class=DirectRoute)

_PATH = "/v1/items/"
_SHOWN_ERRORS = 20


class ItemRequest(BaseModel):
    """A comment or ticket, with the fields of an inbox entry. Unknown ones are kept in `meta`."""

    model_config = ConfigDict(extra="allow")

    id: str | int = Field(description="The item's own id in its source, 1 to 200 characters.")
    text: str | int = Field(description="1 to 20,000 characters.")
    source: str | int | None = Field("default", description="The producing system; with id the item's identity.")
    kind: ItemKind | None = Field(ItemKind.COMMENT, description="A ticket is also routed.")
    created_at: datetime | None = None
    updated_at: datetime | None = None
    deadline: datetime | None = None
    route_set: str | int | None = None
    meta: dict[str, Any] | str | None = Field(None, description="An object, stored with the item, or its JSON as text.")


class ItemsRequest(BaseModel):
    """Several items."""

    items: list[ItemRequest] = Field(min_length=1)


class Taken(BaseModel):
    """What became of the item at `position`: the entry it is in now, or why it is in none."""

    position: int
    entry_id: str | None = None
    error: PartError | None = None


class ItemsResponse(BaseModel):
    """What became of every item, in order."""

    accepted: int
    refused: int
    items: list[Taken]


class ItemResponse(BaseModel):
    """All that is known of an item; the columns are those of the tables."""

    item: dict[str, Any] | None
    predictions: list[dict[str, Any]]
    assignment: dict[str, Any] | None
    history: list[dict[str, Any]]
    reviews: list[dict[str, Any]]
    dead_letters: list[dict[str, Any]]


EXAMPLES = {
    "one item": {"id": "42", "source": "shop", "text": "物流太慢了，再也不买了"},
    "several": {
        "items": [
            {"id": "T-1", "source": "desk", "kind": "ticket", "text": "发票什么时候能开？", "meta": {"plan": "pro"}},
            {"id": "T-2", "source": "desk", "text": "very happy with it", "created_at": "2026-01-31T08:00:00+08:00"},
        ]
    },
}
_LANE = {
    "name": "lane",
    "in": "query",
    "required": False,
    "description": "`bulk` yields to live work.",
    "schema": {"type": "string", "enum": [lane.value for lane in Lane], "default": "live"},
}


@router.post(
    "/v1/items",
    status_code=202,
    summary="Put one item or several into an inbox",
    description=(
        'An object, a list of objects, or `{"items": [...]}`. Every item is taken or refused by itself; if all are '
        "refused, the answer is 422, and so it is where any text holds half of a surrogate pair. The same item sent "
        "again makes no second one."
    ),
    responses=answer(202, ItemsResponse, "In the inbox: what became of each item.", 400, 413, 415, 422, 429, 503),
    openapi_extra=body_of([ItemRequest, ItemsRequest], EXAMPLES, scope=Scope.ITEMS_WRITE, or_list_of=ItemRequest)
    | {"parameters": [_LANE]},
)
async def add(request: Request) -> Response:
    """202 with an entry id or an error for each item, in order."""
    gateway = gateway_of(request)
    await admit(request, gateway, Scope.ITEMS_WRITE)
    refuse_other_types(request)
    lane = _lane(request)
    given = _items(as_json(await read(request, gateway.settings)))
    if len(given) > gateway.settings.http_texts:
        raise wrong("items", "too_long", f"has {len(given)} entries; at most {gateway.settings.http_texts} are allowed")
    taken = await unless_gone(request, _enqueue(gateway.client, given, lane))
    refused = [(position, error) for position, error in enumerate(taken) if isinstance(error, FenliuError)]
    gateway.metrics.texts.labels("/v1/items", "done").inc(len(taken) - len(refused))
    gateway.metrics.texts.labels("/v1/items", "failed").inc(len(refused))
    if len(refused) == len(taken):
        raise _all_refused(refused)
    return JSONResponse(
        {
            "accepted": len(taken) - len(refused),
            "refused": len(refused),
            "items": [
                {"position": position, "error": as_part(found)}
                if isinstance(found, FenliuError)
                else {"position": position, "entry_id": found}
                for position, found in enumerate(taken)
            ],
        },
        202,
    )


@router.get(
    "/v1/items/{source}/{id:path}",
    summary="Show what is known of an item",
    responses=answer(200, ItemResponse, "Its text, results, team with history, reviews, dead letters.", 404, 503),
    openapi_extra=secured(Scope.ITEMS_READ)
    | {
        "parameters": [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "example": example}
            for name, example in (("source", "shop"), ("id", "42"))
        ]
    },
)
async def show(request: Request) -> Response:
    """The item, or 404."""
    gateway = gateway_of(request)
    await admit(request, gateway, Scope.ITEMS_READ)
    source, item_id = _identity(request)
    found = None
    if "\0" not in source + item_id:  # no item has one, and Postgres would refuse to look for it
        looking = asyncio.to_thread(desk.show, gateway.engine, source, item_id)
        try:
            async with asyncio.timeout(gateway.settings.http_timeout_s):
                found = await unless_gone(request, looking)
        except TimeoutError:
            raise DatabaseUnavailableError("no answer about an item in time") from None
    if found is None:
        raise Problem(Kind.NOT_FOUND, f"nothing is known of item {item_id!r:.220} of source {source!r:.220}")
    return JSONResponse(jsonable_encoder(asdict(found), custom_encoder={Decimal: int}))


def _lane(request: Request) -> Lane:
    name = request.query_params.get("lane", Lane.LIVE.value)
    try:
        return Lane(name)
    except ValueError:
        raise wrong("lane", "bad_value", f"is {name!r:.60}; use live or bulk") from None


def _items(content: Any) -> list[Any]:
    if isinstance(content, dict):
        if "items" not in content:
            return [content]
        if len(content) > 1:
            extra = next(name for name in content if name != "items")
            raise wrong(extra[:100], "extra_forbidden", "is not known beside items; put it into each item")
        content = content["items"]
    if not isinstance(content, list):
        raise wrong("items", "list_type", "must be an object or a list of objects")
    if not content:
        raise wrong("items", "too_short", "is empty; give at least one")
    return content


async def _enqueue(client: AsyncClient, given: list[Any], lane: Lane) -> list[str | FenliuError]:
    """An entry id or an error for each, in order."""
    taken: list[str | FenliuError | None] = [
        None if isinstance(item, Mapping) else EntryError(Code.BAD_VALUE, "item", "must be an object") for item in given
    ]
    places = [position for position, found in enumerate(taken) if found is None]
    done = 0
    try:
        async for receipt in client.enqueue_each([given[position] for position in places], lane=lane):
            taken[places[done]] = receipt.error or receipt.entry_id
            done += 1
    except RetryableError as error:
        for position in places[done:]:
            taken[position] = error
    return [found for found in taken if found is not None]


def _all_refused(refused: list[tuple[int, FenliuError]]) -> FenliuError | Problem:
    for _, error in refused:
        if isinstance(error, RetryableError):
            return error
    one = len(refused) == 1
    errors = [
        field_error(error, "" if one else f"items.{position}")
        if isinstance(error, EntryError)
        else FieldError(field=f"items.{position}", code="refused", message=str(error))
        for position, error in refused
    ]
    detail = "; ".join(f"{error.field}: {error.message.partition(': ')[2]}" for error in errors[:_SHOWN_ERRORS])
    return Problem(Kind.INVALID, detail if one else f"no item could be taken: {detail}", errors=errors)


def _identity(request: Request) -> tuple[str, str]:
    """Source and id as they were sent: a `/` inside either is %2F, and counts as theirs."""
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    source, _, item_id = raw.decode("latin-1").partition(_PATH)[2].partition("/")
    return unquote(source), unquote(item_id)
