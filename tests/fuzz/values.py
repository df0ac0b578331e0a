"""Values that break things: texts, bytes, numbers, times, JSON, as people and programs really send them."""

from __future__ import annotations

import json

from hypothesis import strategies as st

ODD_TEXTS = (
    "", " ", "\u200b", "\u202eabc", "a\u0301" * 200, "\ufeff", "\ufdfa" * 1_000, "\U0001f469\u200d" * 50, "\0", "a\0b",
    "\x1b[31m", "\r\n", "\u2028", "物流太慢了", "\ufdfa", "\U0010ffff", "\ufffe", "{}", "%s%n", "' OR 1=1 --",
    "${jndi:ldap://x}", "../../etc/passwd", "a" * 200, "a" * 201, "字" * 20_000, "字" * 20_001, "<s></s><mask>", "null",
    "NaN", "1e999", "-1", "0x10", "yes", "no",
)  # fmt: skip
ODD_TIMES = (
    "0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-14:00", "2026-02-30T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T23:59:60Z",
    "2026-01-01T00:00:00+23:59", "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00." + "9" * 500 + "Z", "2026-01-01",
    "2026-01-01T00:00:00", "٢٠٢٦-01-01T00:00:00Z", "now", "1767225600", "2026-01-01 00:00:00z",
    "2026-01-01T00:00:00+08:00",
)  # fmt: skip
ODD_JSON = (
    "[" * 100_000, "{" * 1_000, '{"a":' * 500 + "1" + "}" * 500, '{"a":' * 63 + "1" + "}" * 63, '{"a": "\\ud800"}',
    '{"a": "\\u0000"}', '{"\\u0000": 1}', '{"a": 1e999}', '{"a": NaN}', '{"a": -Infinity}', '{"a": ' + "9" * 400 + "}",
    '{"a": ' + "9" * 5_000 + "}", '{"a": 18446744073709551616}', '{"a": -9223372036854775809}', '{"a": 1, "a": 2}',
    '{"a": 1e-400}', '{"a": -0.0}', "[]", "null", "1", '"a,b"', '["a", "a"]', '["a", 1]', '{"a": {"threshold": NaN}}',
    '{"a": {"threshold": 2}}', '{"a": {"examples": "x"}}', '{"a": {"nothing": 1}}', "{}", "{'a': 1}", "{", "",
    "\ufeff{}",
    '{"a": "' + "x" * 9_000 + '"}', '["' + "x" * 201 + '"]', "[" + ",".join(f'"{n}"' for n in range(501)) + "]",
)  # fmt: skip

texts = st.one_of(st.sampled_from(ODD_TEXTS), st.text(max_size=40))
json_texts = st.one_of(
    st.sampled_from(ODD_JSON),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=12,
    ).map(json.dumps),
)
raw_bytes = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xf5\x80\x80\x80", b"ok\xe7", b"\x00", b"\xef\xbb\xbf"]),
    texts.map(lambda text: text.encode("utf-8", "surrogatepass")),
)
