"""`fenliu serve` with a real worker: callers share batches and get their own answers, leave, are many, are strange."""

from __future__ import annotations

import asyncio
import json
import random
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from benchmarks.texts import distinct_texts
from schemas.labels import label_set
from schemas.names import Lane
from tests.acceptance.conftest import Place
from tests.conftest import ROOT, environment, fenliu_command
from tests.waiting import wait_for
from worker.desk import keys
from worker.desk.keys import Scope
from worker.inference.classifier import Classifier, Job
from worker.inference.folder import find, model_homes

CALLERS = 200
LABELS = ["物流", "退款", "发票"]


@dataclass
class Gateways:
    """`fenliu serve` processes of one place, all ended with the test."""

    place: Place
    logs: Path
    running: list[tuple[subprocess.Popen[bytes], str]]

    def start(self, **more: str) -> str:
        """Start one on a free port and wait until it answers; its address."""
        log = self.logs / f"serve-{len(self.running)}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                fenliu_command("serve", "--port", "0"), cwd=ROOT, env=environment(self.place.settings, **more),
                stdout=file, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self.running.append((process, ""))

        def answers() -> bool:
            assert process.poll() is None, log.read_text()
            found = re.search(r"serving on (http://\S+),", log.read_text())
            if found:
                self.running[-1] = process, found[1]
            return bool(found) and httpx2.get(f"{found[1]}/healthz").status_code == 200  # type: ignore[index]

        wait_for(answers, 60, "the gateway answers")
        return self.running[-1][1]

    def end(self) -> None:
        for process, _ in self.running:
            if process.poll() is None:
                process.kill()
            process.wait(10)


@pytest.fixture
def gateways(place: Place, tmp_path: Path) -> Iterator[Gateways]:
    gateways = Gateways(place, tmp_path, [])
    yield gateways
    gateways.end()


def ready(address: str) -> bool:
    return httpx2.get(f"{address}/readyz").status_code == 200


def connection(address: str) -> socket.socket:
    host, _, port = address.removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), timeout=30)


def request(body: bytes, path: str = "/v1/predict", length: int | None = None) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length or len(body)}"
    return head.encode() + b"\r\n\r\n" + body


def test_200_concurrent_callers_of_two_gateways_each_get_their_own_answer(place: Place, gateways: Gateways) -> None:
    # Given a worker, two gateways, and what the model says of each text by itself
    place.workers.start()
    addresses = [gateways.start(), gateways.start()]
    wait_for(lambda: ready(addresses[0]), 60, "a worker")
    texts = random.Random(4).sample(distinct_texts(2_000), CALLERS)
    folder = find(place.settings.model, model_homes(place.settings.models_home))
    classifier = Classifier.load(folder, run_tokens=place.settings.run_tokens)
    labels = classifier.prepare(label_set(LABELS), None)
    expected = classifier.classify([Job(text, True, labels) for text in texts])

    # When 200 callers ask at once: for sentiment, among labels, in the older form, or several texts
    async def call(http: httpx2.AsyncClient, number: int) -> Any:
        address, text = addresses[number % 2], texts[number]
        match number // 2 % 4:
            case 0:
                answer = await http.post(f"{address}/v1/predict", json={"text": text})
            case 1:
                answer = await http.post(f"{address}/v1/predict", json={"text": text, "labels": LABELS})
            case 2:
                answer = await http.post(f"{address}/predict", json={"text": text})
            case _:
                asked = {"texts": [text, "", texts[number - 1]]}
                answer = await http.post(f"{address}/v1/predict", json=asked)
        assert 200 == answer.status_code, answer.text
        return answer.json()

    async def call_all() -> list[Any]:
        limits = httpx2.Limits(max_connections=CALLERS)
        async with httpx2.AsyncClient(limits=limits, timeout=60) as http:
            return await asyncio.gather(*(call(http, number) for number in range(CALLERS)))

    answers = asyncio.run(call_all())
    # Then each has the answer to its own text
    for number, (text, answer, result) in enumerate(zip(texts, answers, expected, strict=True)):
        sentiment, routing = result.sentiment, result.routing
        assert sentiment
        assert routing
        match number // 2 % 4:
            case 0:
                assert pytest.approx(sentiment.scores, abs=1e-5) == answer["results"][0]["scores"]
            case 1:
                assert pytest.approx(routing.scores, abs=1e-5) == answer["results"][0]["scores"]
            case 2:
                emoji = "😄" if sentiment.label == "positive" else "😠"
                assert (text, sentiment.label, emoji) == (answer["text"], answer["label"], answer["emoji"])
                assert pytest.approx(sentiment.score, abs=2e-4) == answer["score"]
            case _:
                first, blank, before = answer["results"]
                assert pytest.approx(sentiment.scores, abs=1e-5) == first["scores"]
                assert "empty_field" == blank["error"]["code"]
                other = expected[number - 1].sentiment
                assert other
                assert pytest.approx(other.scores, abs=1e-5) == before["scores"]
    # And nothing of it was stored or left behind
    assert (0, 0) == (place.one("SELECT count(*) FROM items"), place.one("SELECT count(*) FROM dead_letters"))
    assert (0, 0) == place.left()
    # And the numbers say so
    pages = [httpx2.get(f"{address}/metrics").text for address in addresses]
    counted = [
        re.search(r'fenliu_http_requests_total\{.*route="/predict",status="200"\} (\S+)', page) for page in pages
    ]
    assert [25.0, 25.0] == [float(found[1]) for found in counted if found]


def test_a_caller_that_hangs_up_takes_its_text_with_it_and_one_that_waits_is_answered_at_the_end(
    place: Place, gateways: Gateways
) -> None:
    # Given no worker yet, and two callers that wait
    address = gateways.start()
    inbox = place.settings.keys.inbox(Lane.LIVE)
    with connection(address) as leaving, connection(address) as waiting:
        leaving.sendall(request('{"texts": ["再见", "再见了"]}'.encode()))
        waiting.sendall(request('{"text": "很好用，非常满意"}'.encode()))
        wait_for(lambda: place.client.xlen(inbox) == 3, 30, "three entries")
        # When one hangs up, then its entries are gone and the other's is not
        leaving.close()
        wait_for(lambda: place.client.xlen(inbox) == 1, 10, "one entry")
        # When the gateway is asked to stop, and a worker comes
        process, _ = gateways.running[0]
        process.terminate()
        place.workers.start()
        # Then the one that waits is answered first
        answer = b""
        while b'"results"' not in answer and (part := waiting.recv(65_536)):  # headers may come by themselves
            answer += part
        assert answer.startswith(b"HTTP/1.1 200"), answer
        assert b'"positive"' in answer
        assert 0 == process.wait(30)
        assert [] == list(place.client.scan_iter(f"{place.settings.keys.reply_prefix}*"))


def test_bodies_that_are_too_large_or_never_end_are_refused(gateways: Gateways) -> None:
    address = gateways.start(FENLIU_HTTP_BODY_BYTES="10000", FENLIU_HTTP_TIMEOUT_S="1")
    # Given a length over the bound, then chunks without a length, then a body that stops coming
    with connection(address) as told, connection(address) as chunked, connection(address) as slow:
        told.sendall(request(b"{", length=10_001))
        chunked.sendall(
            b"POST /v1/items HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(11):
            chunked.sendall(b"3e8\r\n" + b" " * 1000 + b"\r\n")
        slow.sendall(request(b"{", length=100))
        # Then each is told so
        for each, status in ((told, b"413"), (chunked, b"413"), (slow, b"408")):
            answer = b""
            while b'"request_id"' not in answer:
                answer += (piece := each.recv(65_536))
                assert piece, answer
            assert status == answer[9:12]
            assert b"application/problem+json" in answer
        # And the connection that has stopped is closed
        assert b"" == slow.recv(1)


@pytest.mark.parametrize("content_type", ["application/json", "text/csv"])
def test_a_caller_that_sends_all_before_it_reads_has_its_answer(gateways: Gateways, content_type: str) -> None:
    address = gateways.start(FENLIU_HTTP_BODY_BYTES="10000")
    with connection(address) as caller:
        body = b" " * 8_000_000
        caller.sendall(request(body).replace(b"application/json", content_type.encode(), 1))
        assert caller.recv(12)[9:] in (b"413", b"415")


def test_every_example_in_the_description_works(place: Place, gateways: Gateways) -> None:
    place.workers.start()
    address = gateways.start()
    wait_for(lambda: ready(address), 60, "a worker")
    tried = 0
    for path, operations in httpx2.get(f"{address}/openapi.json").json()["paths"].items():
        body = operations.get("post", {}).get("requestBody", {}).get("content", {}).get("application/json", {})
        for name, example in body.get("examples", {}).items():
            answer = httpx2.post(f"{address}{path}", json=example["value"], timeout=30)
            assert answer.status_code in (200, 202), (path, name, answer.text)
            assert "error" not in answer.text
            tried += 1
    assert tried >= 6
    wait_for(lambda: place.one("SELECT count(*) FROM items") >= 1, 30, "the example of the description is a row")
    assert 200 == httpx2.get(f"{address}/v1/items/shop/42").status_code


def test_schemathesis_finds_nothing(place: Place, gateways: Gateways, tmp_path: Path) -> None:
    """Generated requests, right and wrong, against all of its checks; with a key, so that doors are tried too."""
    place.apply_sample_routes()
    place.workers.start()
    address = gateways.start()
    _, secret = keys.create(place.engine, "test", list(Scope))
    wait_for(lambda: ready(address), 60, "a worker")
    done = subprocess.run(
        [
            sys.executable, "-m", "schemathesis.cli", "--config-file", str(ROOT / "tests/acceptance/schemathesis.toml"),
            "run", f"{address}/openapi.json", "--header", f"Authorization: Bearer {secret}",
        ],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert 0 == done.returncode, done.stdout[-8_000:] + done.stderr


def test_a_port_in_use_and_a_missing_stack_are_said(place: Place, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            fenliu_command("serve", "--port", str(port)), cwd=ROOT, env=environment(place.settings),
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert (1, True) == (done.returncode, f"cannot listen on 127.0.0.1 port {port}" in done.stderr)
    done = subprocess.run(
        fenliu_command("serve"), cwd=ROOT, env=environment(FENLIU_HOME=str(tmp_path / "none")),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (1, True) == (done.returncode, "no stack is running" in done.stderr)


def test_ctrl_c_ends_it_with_nothing_but_its_lines(place: Place, gateways: Gateways) -> None:
    address = gateways.start(FENLIU_LOG_FORMAT="json")
    httpx2.post(f"{address}/v1/items", json={"id": "1", "text": "好"}, headers={"X-Request-ID": "mine"})
    process, _ = gateways.running[0]
    process.send_signal(signal.SIGINT)
    assert 0 == process.wait(30)
    first, *lines = (gateways.logs / "serve-0.log").read_text().splitlines()
    assert first == f"serving on {address}, described at /docs"
    assert ["mine"] == [json.loads(line)["request_id"] for line in lines]
