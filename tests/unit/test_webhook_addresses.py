"""Which URLs and addresses a webhook may call."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import WebhookError
from worker.relay.address import Target, allowed, refusal, target_of

PUBLIC = ["93.184.216.34", "8.8.8.8", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1", "192.169.0.1",
          "223.255.255.255", "2606:2800:220:1::1", "2a00:1450:4001:81b::200e"]  # fmt: skip
PRIVATE = ["127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.1.1",
           "100.64.0.1", "100.127.255.255", "192.0.0.8", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
           "192.88.99.1", "240.0.0.1", "255.255.255.255", "0.1.2.3",
           "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "fec0::1", "2001:db8::1", "3fff::1",
           "5f00::1", "100::1", "::127.0.0.1", "::ffff:10.0.0.1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8",
           "64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2"]  # fmt: skip
NEVER = ["0.0.0.0", "::", "224.0.0.1", "239.255.255.250", "ff02::1", "169.254.169.254", "fd00:ec2::254",
         "100.100.100.200", "168.63.129.16", "::ffff:169.254.169.254", "::ffff:0.0.0.0",
         "64:ff9b::169.254.169.254", "::169.254.169.254", "::ffff:0:169.254.169.254", "2002:a9fe:a9fe::1",
         "fd00:ec2::254%eth0"]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_called(address: str) -> None:
    assert refusal(ipaddress.ip_address(address), allow_private=False) is None


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_may_be_called_only_where_allowed(address: str) -> None:
    assert "is no public address" == refusal(ipaddress.ip_address(address), allow_private=False)
    assert refusal(ipaddress.ip_address(address), allow_private=True) is None


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_may_never_be_called(address: str) -> None:
    assert refusal(ipaddress.ip_address(address), allow_private=False)
    assert refusal(ipaddress.ip_address(address), allow_private=True)


@given(st.ip_addresses())
def test_what_python_knows_to_be_private_is_never_called(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if not address.is_global or address.is_multicast or address.is_reserved:
        assert refusal(address, allow_private=False)


def test_of_several_addresses_only_public_ones_are_left() -> None:
    # A network that translates gives every host such an address beside its own.
    assert ["8.8.8.8"] == allowed("h", ["64:ff9b::808:808", "8.8.8.8", "10.0.0.1"], allow_private=False)
    with pytest.raises(WebhookError, match=r"called: 10\.0\.0\.1 is no public address, 169\.254.*metadata"):
        allowed("h", ["10.0.0.1", "169.254.169.254"], allow_private=False)
    # What a setting would not change is not blamed on it.
    with pytest.raises(WebhookError, match=r"metadata service$"):
        allowed("h", ["169.254.169.254"], allow_private=False)
    with pytest.raises(WebhookError, match="h does not resolve"):
        allowed("h", [], allow_private=False)


@pytest.mark.parametrize(
    ("url", "target", "authority"),
    [
        ("https://hooks.example", Target("https", "hooks.example", 443, "/"), "hooks.example"),
        ("HTTP://Hooks.Example:8080/a?b=c", Target("http", "hooks.example", 8080, "/a?b=c"), "hooks.example:8080"),
        ("https://[2606:2800::1]/a", Target("https", "2606:2800::1", 443, "/a"), "[2606:2800::1]"),
        ("http://[::1]:81", Target("http", "::1", 81, "/"), "[::1]:81"),
        ("http://h:443/", Target("http", "h", 443, "/"), "h:443"),
    ],
)
def test_a_url_in_its_parts(url: str, target: Target, authority: str) -> None:
    assert (target, authority) == (target_of(url), target_of(url).authority)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://hooks.example/", "https://"),
        ("file:///etc/passwd", "https://"),
        ("hooks.example/a", "https://"),
        ("https://me:secret@hooks.example/", "no user name"),
        ("https://hooks.example@127.0.0.1/", "no user name"),
        ("https://hooks.example/#a", "fragment"),
        ("https:///a", "no host"),
        ("https://-a/", "no host"),
        ("https://a b/", "printable ASCII"),
        ("https://a\\@b/", "printable ASCII"),
        ("https://a\r\nHost: b/", "printable ASCII"),
        ("https://物流.example/", "xn--"),
        ("https://a:0/", "1 to 65535"),
        ("https://a:65536/", "cannot be read"),
        ("https://a:http/", "cannot be read"),
        ("https://[::1/", "cannot be read"),
        ("https://a/" + "b" * 2_048, "longer than"),
    ],
)
def test_what_is_wrong_with_a_url(url: str, said: str) -> None:
    with pytest.raises(WebhookError, match=said) as error:
        target_of(url)
    assert "secret" not in str(error.value)


@given(st.text(max_size=40))
def test_no_url_breaks_the_reader(rest: str) -> None:
    try:
        target = target_of("https://" + rest)
    except WebhookError:
        return
    assert target.host
    assert 1 <= target.port <= 65_535
