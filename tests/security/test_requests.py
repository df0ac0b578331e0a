"""Hostile requests to a real server: deep, many, slow, of other hosts. It answers, and stays up for others."""

from __future__ import annotations

import json
import socket
from urllib.parse import urlsplit

import httpx2

from tests.acceptance.conftest import Place

DEEP = 100_000


def raw(address: str, request: bytes) -> bytes:
    """What the server says to these bytes, up to its first line's end and a bit."""
    where = urlsplit(address)
    with socket.create_connection((where.hostname, where.port), timeout=30) as connection:
        connection.sendall(request)
        return connection.recv(65_536)


def test_nothing_that_is_sent_ends_the_server(address: str, place: Place) -> None:
    host = urlsplit(address).netloc.encode()
    json_type = {"Content-Type": "application/json"}
    with httpx2.Client(base_url=address, timeout=60) as http:

        def status(path: str, content: str) -> int:
            answer = http.post(path, content=content, headers=json_type)
            assert answer.headers["content-type"].startswith("application/"), answer.text
            assert "Traceback" not in answer.text
            return int(answer.status_code)

        # Given bodies nested deeper than any stack
        for opening in ("[", '{"a":', '{"text": "x", "labels": [', '{"id": 1, "text": "x", "meta": {"a":'):
            for path in ("/v1/predict", "/v1/items"):
                assert 400 <= status(path, opening * DEEP) < 500
        balanced = json.dumps("x").join(['{"a":' * 150, "}" * 150])
        assert 422 == status("/v1/items", f'{{"id": "1", "text": "x", "meta": {balanced}}}')
        assert 422 == status("/v1/predict", f'{{"text": "x", "labels": {balanced}}}')
        # and numbers, keys and strings without end
        for value in ("1" * 1_000_000, "1e999999999", "-" * 100_000, '"' + "\\u0000" * 100_000 + '"'):
            assert 400 <= status("/v1/items", f'{{"id": {value}, "text": "x"}}') < 500
        many = json.dumps({"id": "1", "text": "x", **{f"k{number}": "v" for number in range(100_000)}})
        assert 422 == status("/v1/items", many)
        # and labels times texts
        labels = {f"label {number}": "x" * 400 for number in range(400)}
        assert 422 == status("/v1/predict", json.dumps({"texts": ["a"] * 256, "labels": labels}))

        # and requests that no client makes
        for request in (
            b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
            b"POST /v1/items HTTP/1.1\r\nHost: " + host + b"\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n",
            b"POST /v1/items HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
            b"POST /v1/items HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"POST /v1/items HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
            b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Request-Id: a\r\n b\r\n\r\n",
            b"GET /static/../../../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET /static/%2e%2e/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET //evil.example/ HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        ):
            said = raw(address, request)
            assert b"root:" not in said
            assert b"location: //" not in said.lower()
            assert b"HTTP/1.1 5" not in said

        # Then it still answers everybody else
        assert 200 == http.get("/healthz").status_code
        assert (0, 0) == place.left()


def test_a_foreign_name_for_this_machine_opens_no_page(address: str) -> None:
    """A page of another site can have a browser ask this machine under a name of its own (DNS rebinding)."""
    for host in ("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil.example:8000"):
        answer = httpx2.get(f"{address}/try", headers={"Host": host, "Accept": "text/html"}, timeout=30)
        assert 403 == answer.status_code
        assert host not in answer.text
        assert host not in str(answer.headers)
