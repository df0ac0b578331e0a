"""Settings from an environment that holds anything: read, or refused with the variable's name and not its value."""

from __future__ import annotations

import os
from unittest import mock

import redis
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from schemas.errors import SetupError
from schemas.settings import Settings, load_settings, mask_url
from schemas.signature import sign, verify
from tests.fuzz.budget import examples
from tests.fuzz.values import texts

NAMES = sorted(Settings.model_fields)
SECRET = "hunter2secret"
URLS = [
    f"redis://:{SECRET}@host:99999/0", f"redis://:{SECRET}@ho[st/0", f"redis://:{SECRET}@[::1/0", f"redis://u:{SECRET}@h:abc",
    f"postgresql://u:{SECRET}@h:port/db", f"postgresql://u:{SECRET}@h℀x/db", f"postgresql://u:{SECRET}@h/db?host=",
    f"http://{SECRET}", "unix://", "unix:///x?db=1", "redis://", "postgresql://", "postgresql:///db?host=/tmp",
]  # fmt: skip
NUMBERS = ["nan", "inf", "-inf", "1e400", "-1", "0", "1_000", "٣", "0x10", " 5 ", "5.0", "9" * 5_000, "true", ""]
VALUES = st.one_of(st.sampled_from([*URLS, *NUMBERS]), texts.filter(lambda text: "\0" not in text))


@given(values=st.dictionaries(st.sampled_from(NAMES), VALUES, min_size=1, max_size=3))
@examples(150)
def test_an_environment_is_read_or_its_variables_are_named(values: dict[str, str]) -> None:
    variables = {f"FENLIU_{name.upper()}": value for name, value in values.items()}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FENLIU_")}
    raw = {name: _as_bytes_arrive(value) for name, value in variables.items()}
    with mock.patch.dict(os.environ, kept | raw, clear=True):
        try:
            settings = load_settings()
        except SetupError as error:
            assert all(line.partition(":")[0] in variables for line in str(error).splitlines() if "FENLIU_" in line)
            assert any(name in str(error) for name in variables)
            assert SECRET not in str(error)
            return
    # What is taken can be used: nothing is left over that fails later as something else.
    for number in settings.model_dump().values():
        assert not isinstance(number, float) or abs(number) < float("inf")
    for url in filter(None, (settings.redis_url, settings.broker_url)):
        redis.ConnectionPool.from_url(url)
    if settings.database_url:
        make_url(settings.sqlalchemy_url)
    if not any(SECRET in value for name, value in values.items() if not name.endswith("_url")):
        assert SECRET not in repr(settings)


@given(url=st.one_of(st.sampled_from(URLS), texts))
@examples(60)
def test_a_url_of_any_kind_can_be_masked(url: str) -> None:
    assert isinstance(mask_url(url), str)


PARTS = st.lists(st.sampled_from(["t=1", "v1=", "t=", "v1=\ud800", ",", "=", "t=1e9", "t=٣"])).map(",".join)


@given(header=st.one_of(texts, PARTS), body=st.binary(max_size=20))
@examples(80)
def test_a_signature_of_any_kind_is_right_or_wrong(header: str, body: bytes) -> None:
    assert verify("s", header, body, now_s=1) is False
    assert verify("s", sign("s", body, 1), body, now_s=1)


def _as_bytes_arrive(value: str) -> str:
    return value.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
