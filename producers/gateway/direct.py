"""Routes whose function takes the request and gives the response: nothing is injected, so nothing is solved.

FastAPI describes them and matches them; between match and function it would spend more than all else together.
"""

from __future__ import annotations

from typing import Any

from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Match
from starlette.types import Receive, Scope, Send


class DirectRoute(APIRoute):
    """`async def endpoint(request: Request) -> Response`, called as it is. HEAD is answered wherever GET is."""

    def __init__(self, path: str, endpoint: Any, **options: Any) -> None:
        super().__init__(path, endpoint, **options)

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            response = await endpoint(Request(scope, receive, send))
            await response(scope, receive, send)

        self.app = answer

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether this route is asked for."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        return super().matches(scope)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; the server leaves the body of an answer to HEAD away. Raises HTTPException for other methods."""
        allowed = set(self.methods or ())
        if "GET" in allowed:
            allowed.add("HEAD")
        if scope["method"] not in allowed:
            raise HTTPException(405, headers={"Allow": ", ".join(sorted(allowed))})
        await self.app(scope, receive, send)
