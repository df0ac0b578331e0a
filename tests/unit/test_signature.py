"""A receiver tells what Fenliu signed from what it did not."""

from __future__ import annotations

import hashlib
import hmac
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.signature import new_secret, sign, verify
from tests.conftest import ROOT, environment

AT_S = 1_700_000_000
SECRET, BODY = "whsec_abc", '{"team":"物流"}'.encode()


@given(st.text(max_size=40), st.binary(max_size=200), st.integers(0, 10**11))
def test_what_was_signed_is_genuine(secret: str, body: bytes, at_s: int) -> None:
    secret = secret.encode(errors="replace").decode()
    assert verify(secret, sign(secret, body, at_s), body, now_s=at_s)


def test_the_signature_is_what_the_docs_say() -> None:
    digest = hmac.new(SECRET.encode(), b"1700000000." + BODY, hashlib.sha256).hexdigest()
    assert f"t=1700000000,v1={digest}" == sign(SECRET, BODY, AT_S)


@pytest.mark.parametrize("away_s", [-301, 301, 10**9])
def test_an_old_signature_is_worth_nothing(away_s: int) -> None:
    header = sign(SECRET, BODY, AT_S)
    assert not verify(SECRET, header, BODY, now_s=AT_S + away_s)
    assert verify(SECRET, header, BODY, tolerance_s=abs(away_s), now_s=AT_S + away_s)


def test_another_secret_body_or_time_is_not_genuine() -> None:
    header = sign(SECRET, BODY, AT_S)
    assert not verify("whsec_abd", header, BODY, now_s=AT_S)
    assert not verify(SECRET, header, BODY + b" ", now_s=AT_S)
    assert not verify(SECRET, header.replace("t=1700000000", "t=1700000001"), BODY, now_s=AT_S)


def test_one_genuine_signature_of_several_is_enough() -> None:
    header = sign(SECRET, BODY, AT_S)
    other = sign("whsec_old", BODY, AT_S).partition(",")[2]
    assert verify(SECRET, f"{header}, {other}", BODY, now_s=AT_S)
    assert verify("whsec_old", f"{header},{other},v2=x", BODY, now_s=AT_S)


@pytest.mark.parametrize(
    "header",
    ["", ",", "t=,v1=", "t=1700000000", "v1=00", "t=x,v1=00", "t=-1,v1=00", "t=1700000000,v1=\ud800",
     "t=1700000000,t=1700000000,v1={}", "t=١٧,v1=00", f"t={'9' * 4_000},v1=00"],
)  # fmt: skip
def test_nothing_malformed_is_genuine(header: str) -> None:
    digest = sign(SECRET, BODY, AT_S).partition("v1=")[2]
    assert not verify(SECRET, header.replace("{}", digest), BODY, now_s=AT_S)


def test_secrets_differ() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert 100 == len(secrets)
    assert all(secret.startswith("whsec_") and len(secret) == 49 for secret in secrets)


def test_a_receiver_needs_no_other_package() -> None:
    script = "import sys, schemas.signature; print(sorted({n.partition('.')[0] for n in sys.modules} - {'schemas'}))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", script], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.strip("[]\n").replace("'", "").split(", "))
    assert {"__main__"} == loaded - set(sys.stdlib_module_names)
