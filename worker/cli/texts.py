"""Texts of a file or a pipe: plain lines, or JSON lines with a `text`. As they come, and never all in memory.

A text is held to the rules of an inbox entry (`schemas.messages`). What is made of the texts is the command's matter.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader

from schemas.errors import EntryError, SourceError
from schemas.messages import RawEntry, decode
from schemas.names import Keys, Lane

MAX_LINE_BYTES = 1_048_576
_READ_BYTES = 65_536
_KEYS = Keys()


@dataclass(frozen=True, slots=True)
class TextLine:
    """One text and the line it stands on, counted from 1. A line that gives no text has a `problem` instead."""

    line: int
    text: str
    problem: str = ""


def read_texts(stream: BufferedReader) -> Iterator[list[TextLine]]:
    """The texts that can be had without waiting, again and again until the end; blank lines are left out.

    So a slow pipe is answered line by line, and a fast one in chunks that grow by themselves. JSON lines if the first
    line that is not blank is a JSON object with `text`, else every line is a text. Raises SourceError if the stream
    cannot be read or is UTF-16.
    """
    number = 0
    is_json: bool | None = None
    for lines in _arriving(stream):
        found: list[TextLine] = []
        for line in lines:
            number += 1
            if len(line) > MAX_LINE_BYTES:
                found.append(TextLine(number, "", f"is over {MAX_LINE_BYTES} bytes; cut it"))
                continue
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                found.append(TextLine(number, "", f"is not UTF-8 at byte {error.start}; save it as UTF-8"))
                continue
            if not text.strip():
                continue
            if is_json is None:
                is_json = _has_text(text)
            found.append(_from_json(number, text) if is_json else _checked(number, text))
        if found:
            yield found


def _arriving(stream: BufferedReader) -> Iterator[list[bytes]]:
    rest = b""
    first = True
    try:
        while data := stream.read1(_READ_BYTES):
            if first:
                if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                    raise SourceError("the input is UTF-16; save it as UTF-8")
                data = data.removeprefix(codecs.BOM_UTF8)
                first = False
            *lines, rest = (rest + data).split(b"\n")
            # One byte over the bound says all there is to say about a line that never ends.
            rest = rest[: MAX_LINE_BYTES + 1]
            yield [line.removesuffix(b"\r") for line in lines]
    except OSError as error:
        raise SourceError(f"the input cannot be read: {error.strerror or error}") from error
    if rest:
        yield [rest.removesuffix(b"\r")]


def _has_text(line: str) -> bool:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and "text" in value


def _from_json(number: int, line: str) -> TextLine:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        return TextLine(number, "", f"is not JSON: {error}; every line must be an object, as the first is")
    if not isinstance(value, dict) or "text" not in value:
        return TextLine(number, "", 'is no JSON object with a "text", as the first line is')
    if not isinstance(value["text"], str):
        return TextLine(number, "", f"text: must be text, not {type(value['text']).__name__}")
    return _checked(number, value["text"])


def _checked(number: int, text: str) -> TextLine:
    try:
        entry = decode(RawEntry(Lane.LIVE, "0-1", {b"id": b"1", b"text": text.encode()}), _KEYS)
    except UnicodeEncodeError:
        return TextLine(number, "", "text: holds half of a surrogate pair; remove it")
    except EntryError as error:
        return TextLine(number, "", str(error))
    return TextLine(number, entry.text)
