"""`/healthz`, `/readyz` and `/metrics`: for those who watch over the gateway. Open to all."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from producers.gateway.direct import DirectRoute
from producers.gateway.gateway import gateway_of
from producers.gateway.metrics import CONTENT_TYPE
from producers.gateway.openapi import answer
from producers.gateway.problems import Kind, Problem
from producers.gateway.readiness import OK

router = APIRouter(route_class=DirectRoute)


class Alive(BaseModel):
    """The process answers."""

    status: str


class Ready(BaseModel):
    """Every part answers."""

    status: str
    checks: dict[str, str]


@router.get(
    "/healthz", summary="Whether this process lives", responses=answer(200, Alive, "It lives."), tags=["operation"]
)
async def healthz(_: Request) -> Response:
    """Always 200: restarting a gateway does not mend Redis."""
    return JSONResponse({"status": OK})


@router.get(
    "/readyz",
    summary="Whether a text could be classified now",
    responses=answer(200, Ready, "Redis and PostgreSQL answer, and a worker has a heartbeat.", 503),
    tags=["operation"],
)
async def readyz(request: Request) -> Response:
    """200, or 503 that says which part is missing."""
    checks = await gateway_of(request).readiness.checks()
    wrong = [f"{name}: {said}" for name, said in checks.items() if said != OK]
    if wrong:
        raise Problem(Kind.NOT_READY, "; ".join(wrong), more={"checks": checks})
    return JSONResponse({"status": OK, "checks": checks})


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    responses={
        200: {"description": "Prometheus' text format.", "content": {"text/plain": {"schema": {"type": "string"}}}}
    },
    response_class=Response,
    tags=["operation"],
)
async def metrics(request: Request) -> Response:
    """Latency, requests and errors by route, of this process; inboxes, workers and tables, of the deployment."""
    gateway = gateway_of(request)
    return Response(gateway.metrics.page() + await gateway.gauges.page(), headers={"Content-Type": CONTENT_TYPE})
