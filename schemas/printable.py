"""Text of others on terminals and in logs: what could move the cursor, forge a line or turn it round is spelled out."""

from __future__ import annotations

import re

# C0 and C1 controls, line separators, and marks that change the direction of what follows them (Unicode TR 36).
_COMMANDS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def printable(text: str, keep: str = "") -> str:
    """`text` on one line, its control characters as escapes such as `\\x1b`; those in `keep` stay."""
    return _COMMANDS.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), text)


def printable_json(text: str) -> str:
    """JSON on one line that means the same, its control characters as JSON's own escapes."""
    return _COMMANDS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _escape(character: str) -> str:
    return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character) or (
        f"\\x{ord(character):02x}" if character < "\x80" else f"\\u{ord(character):04x}"
    )
