"""Where requests come from and lead to, how names are compared, and that every rule has its words."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import Request

from dashboard.access import cookies, faults, paths
from dashboard.access.origin import address_of, is_foreign, is_local
from dashboard.words import words_of
from schemas.errors import UserError
from worker.desk.users import Fault, check_password, checked_name, key_of


def request(client: str = "127.0.0.1", host: str = "localhost:8000", version: str = "1.1", **headers: str) -> Request:
    named = {"host": host} | {name.replace("_", "-"): value for name, value in headers.items()}
    scope: dict[str, Any] = {
        "type": "http", "method": "GET", "path": "/", "scheme": "http", "query_string": b"", "http_version": version,
        "client": (client, 1), "headers": [(name.encode(), value.encode()) for name, value in named.items()],
    }  # fmt: skip
    return Request(scope)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (request(), True),
        (request(host="127.0.0.1"), True),
        (request(client="::1", host="[::1]:8000"), True),
        (request(client="192.168.0.7"), False),
        (request(client=""), False),
        (request(client="::ffff:192.168.0.7"), False),
        # a name that somebody has pointed here (DNS rebinding), or none
        (request(host="evil.example:8000"), False),
        (request(host="localhost.evil.example"), False),
        (request(host=""), False),
        # proxies
        (request(x_forwarded_for="203.0.113.7"), False),
        (request(x_forwarded_proto="https"), False),
        (request(forwarded="for=203.0.113.7"), False),
        (request(via="1.1 proxy"), False),
        (request(x_real_ip="203.0.113.7"), False),
        (request(version="1.0"), False),
    ],
)
def test_only_this_machine_is_local(asked: Request, expected: bool) -> None:
    assert expected is is_local(asked)


def test_a_cookie_is_taken_as_it_came() -> None:
    """Unquoting one takes Python before 3.11.10 seconds (CVE-2024-7592)."""
    quoted = '"' + "\\" * 100 + '\\""'
    asked = request(cookie=f"; a=1;b={quoted}; =x; c; a = 2")
    assert ("2", quoted, None, "x") == tuple(cookies.sent(asked, name) for name in ("a", "b", "c_", ""))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (request(sec_fetch_site="same-origin"), False),
        (request(sec_fetch_site="none"), False),
        (request(sec_fetch_site="cross-site"), True),
        (request(sec_fetch_site="same-site", origin="http://localhost:8000"), True),
        (request(), False),
        (request(origin="http://localhost:8000"), False),
        (request(origin="http://[::1]:8000", host="[::1]:8000"), False),
        (request(origin="https://fenliu.example", host="gateway:8000", x_forwarded_host="fenliu.example"), False),
        (request(origin="https://evil.example"), True),
        (request(origin="null"), True),
        (request(origin="http://[broken"), True),
    ],
)
def test_forms_of_other_sites_are_known(asked: Request, expected: bool) -> None:
    assert expected is is_foreign(asked)


def test_addresses_are_counted_as_one_customer_has_them() -> None:
    assert "203.0.113.7" == address_of(request("203.0.113.7"))
    assert "2001:db8:1:2::" == address_of(request("2001:db8:1:2:3:4:5:6"))
    assert "fe80::" == address_of(request("fe80::1%eth0"))
    assert "somewhere" == address_of(request("somewhere"))


@pytest.mark.parametrize("path", ["/", "/try", "/dashboard?team=%E7%89%A9&days=7", "/a//b", "/x?next=//y"])
def test_paths_of_this_site_are_led_back_to(path: str) -> None:
    assert path == paths.ours(path)


@pytest.mark.parametrize(
    "path",
    [
        "", "evil", "//evil.example", "///evil.example", "https://evil.example/", "/\\evil.example", "\\\\evil.example",
        "/try\\..", "/\t/evil.example", "/\n/evil.example", "/ /evil", "/\0", "/é", "javascript:alert(1)",
        "/" + "a" * 3_000,
    ],
)  # fmt: skip
def test_other_sites_are_not(path: str) -> None:
    assert "/try" == paths.ours(path)


@pytest.mark.parametrize(
    ("given", "kept"),
    [(" Anna ", "Anna"), ("Ａｎｎａ", "Anna"), ("王 小明", "王 小明"), ("é", "é"), ("x" * 64, "x" * 64)],
)
def test_names_are_kept_in_one_form(given: str, kept: str) -> None:
    assert kept == checked_name(given)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("", Fault.NAME_EMPTY),
        (" \u3000", Fault.NAME_EMPTY),
        ("x" * 65, Fault.NAME_LONG),
        ("\ufdfa" * 10, Fault.NAME_LONG),
        ("a\tb", Fault.NAME_SIGNS),
        ("a\u202eb", Fault.NAME_SIGNS),
        ("a\u200bb", Fault.NAME_SIGNS),
        ("a\udc80b", Fault.NAME_SIGNS),
        ("a\u2028b", Fault.NAME_SIGNS),
        ("LOCAL", Fault.NAME_RESERVED),
    ],
)
def test_names_that_nobody_may_have(name: str, fault: Fault) -> None:
    with pytest.raises(UserError) as refused:
        checked_name(name)
    assert (fault, "name") == (refused.value.code, refused.value.field)


def test_names_that_count_as_one() -> None:
    assert key_of("Anna") == key_of(" ＡＮＮＡ") == key_of("anna")
    assert key_of("Straße") == key_of("STRASSE")
    assert key_of("anna") != key_of("anne")


@pytest.mark.parametrize(
    ("password", "fault"),
    [
        ("short", Fault.PASSWORD_SHORT),
        ("x" * 257, Fault.PASSWORD_LONG),
        ("WANG XIAOMING", Fault.PASSWORD_IS_NAME),
        ("ｗａｎｇ　ｘｉａｏｍｉｎｇ", Fault.PASSWORD_IS_NAME),
        ("0123456789\udc80", Fault.PASSWORD_SIGNS),
    ],
)
def test_passwords_that_nobody_may_have(password: str, fault: Fault) -> None:
    with pytest.raises(UserError) as refused:
        check_password(password, "Wang Xiaoming")
    assert (fault, "password") == (refused.value.code, refused.value.field)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_rule_has_its_words(language: str) -> None:
    for fault in Fault:
        said = faults.wrong("create", "Anna", UserError(fault, "name", "…"), words_of(language)).text
        assert said and "%" not in said
