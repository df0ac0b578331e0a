"""`fenliu serve`: one gateway process. Several may run beside each other, on one machine or many."""

from __future__ import annotations

import ipaddress
import logging
import signal
import socket
from collections.abc import Callable
from typing import Annotated, Literal

import typer

from producers.gateway.pages import Pages
from schemas.errors import SetupError
from schemas.settings import Settings, load_settings
from schemas.stack import connected
from schemas.telemetry import configure_logging

_KEEP_ALIVE_S = 75  # longer than the load balancers in front, which would else use a connection that has just ended
_BACKLOG = 2048


def serve_with(create_pages: Callable[[], Pages]) -> Callable[..., None]:
    """The command, which serves these pages beside the API."""

    def serve(
        host: Annotated[str | None, typer.Option(help="Address to listen on. Default: FENLIU_HTTP_HOST.")] = None,
        port: Annotated[
            int | None, typer.Option(min=0, max=65_535, help="Port; 0: any free one. Default: FENLIU_HTTP_PORT.")
        ] = None,
        pages: Annotated[bool, typer.Option(help="Serve the web pages beside the API.")] = True,
    ) -> None:
        """Serve the web pages and the REST API, which the page /docs describes.

        It needs workers beside it, and loads no model itself. Ctrl-C or SIGTERM
        answers what is being asked, then ends.
        """
        settings = connected(load_settings())
        configure_logging(settings)
        listening = _listen(host or settings.http_host, settings.http_port if port is None else port)
        _serve(settings, listening, pages and create_pages)

    return serve


def _serve(settings: Settings, listening: socket.socket, create_pages: Callable[[], Pages] | Literal[False]) -> None:
    import uvicorn

    from producers.gateway.app import create_app
    from producers.gateway.protocol import PromptProtocol

    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    shown_host, shown_port = listening.getsockname()[:2]
    if not ipaddress.ip_address(shown_host).is_loopback:
        typer.echo(
            "whoever reaches this address may use the API until `fenliu keys create` makes the first key; "
            "the web pages open to others when `fenliu users create` has made the first user",
            err=True,
        )
    shown_host = f"[{shown_host}]" if ":" in shown_host else shown_host
    typer.echo(f"serving on http://{shown_host}:{shown_port}, described at /docs")
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(settings, create_pages() if create_pages else None),
            http=PromptProtocol,
            loop="uvloop",
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=round(settings.http_timeout_s) + 1,
        )
    )
    # uvicorn raises the signal that stopped it once more at its end; being asked to stop is no failure.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    with listening:
        server.run([listening])


def _listen(host: str, port: int) -> socket.socket:
    """A socket that is bound, so that a port in use is an error and no traceback."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        raise SetupError(
            f"cannot listen on {host} port {port}: {error.strerror or error}; choose another with --host and --port"
        ) from None
