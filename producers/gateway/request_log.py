"""One line for each request. Written by itself, because formatting it like any other line costs as much as routing."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

import structlog

from schemas.settings import Settings
from schemas.telemetry import is_console

_EVENT = "request"
_LOGGER = "fenliu.gateway"
_LEVELS = logging.getLevelNamesMapping()


class RequestLog:
    """Lines on stderr, in the form of the other log lines and from the level of the settings on."""

    def __init__(self, settings: Settings) -> None:
        self._least = _LEVELS[settings.log_level]
        self._console = is_console(settings)
        self._people: Any = structlog.get_logger(_LOGGER)

    def write(self, level: int, values: dict[str, Any]) -> None:
        """Write one line, unless its level is too low."""
        if level < self._least:
            return
        if self._console:
            self._people.log(level, _EVENT, **values)
            return
        values |= {
            "event": _EVENT,
            "level": logging.getLevelName(level).lower(),
            "logger": _LOGGER,
            "timestamp": datetime.now(UTC).isoformat(),
        }
        sys.stderr.write(json.dumps(values, ensure_ascii=False) + "\n")
