"""The pages in this process on real servers, and people who ask them as browsers do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI
from sqlalchemy import Engine

from dashboard.app import create_pages
from dashboard.visit import csrf_of
from producers.gateway.app import create_app
from schemas.names import Role
from schemas.settings import Settings
from tests.gateways import in_loop
from worker.desk import passwords, users

COOKIE = "fenliu_session"
PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def cheap_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords that cost nothing, in a module that names this; test_users.py holds what they really cost."""
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "_hasher", lambda: cheap)


@dataclass
class Browser:
    """Keeps cookies and sends forms with their CSRF token."""

    http: httpx2.AsyncClient

    @property
    def secret(self) -> str:
        """What the browser keeps; empty before its first answer."""
        return self.http.cookies.get(COOKIE) or self.http.cookies.get(f"__Host-{COOKIE}") or ""

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        """Open a page, following nothing."""
        return await self.http.get(path, headers=headers)

    async def post(self, path: str, form: dict[str, str] | None = None, **headers: str) -> httpx2.Response:
        """Send a form as a page of ours would."""
        if not self.secret:
            await self.http.get("/login")
        return await self.http.post(path, data={"csrf": csrf_of(self.secret), **(form or {})}, headers=headers)

    async def log_in(self, name: str, password: str = PASSWORD, **more: str) -> httpx2.Response:
        """Send the form of the login page."""
        return await self.post("/login", {"name": name, "password": password, **more})


@dataclass
class Pages:
    """The application, and browsers on this machine or another."""

    app: FastAPI

    def browser(self, base: str = "http://fenliu.example", client: str = "203.0.113.7") -> Browser:
        """Somebody new."""
        transport = httpx2.ASGITransport(self.app, client=(client, 1234))
        return Browser(httpx2.AsyncClient(transport=transport, base_url=base))

    def local(self) -> Browser:
        """Somebody at the machine that serves the pages."""
        return self.browser("http://localhost:8000", "127.0.0.1")


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Pages]:
    """The pages as `fenliu serve` has them."""
    app = create_app(settings, create_pages())
    async with app.router.lifespan_context(app):
        yield Pages(app)


def visiting(settings: Settings, story: Callable[[Pages], Awaitable[Any]]) -> Any:
    """Run a story with the pages open."""

    async def told() -> Any:
        async with opened(settings) as pages:
            return await story(pages)

    return in_loop(told())


def make_people(engine: Engine) -> None:
    """One user of each role, named like it, all with the same password."""
    for role in reversed(Role):
        users.create(engine, role.value, PASSWORD, role)
