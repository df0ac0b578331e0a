"""The one tree of errors. Nothing here decides what happens to an entry; `worker.pipeline` and `worker.slot` do.

FenliuError
├── PermanentError            the same input will fail again: dead-letter it, or tell the caller
│   ├── EntryError            an inbox entry that breaks the contract; has a stable code and a field
│   ├── LabelsError           a labels file or route set that breaks its rules
│   ├── ModelError            a model folder that may not be loaded, or an unknown model
│   ├── InferenceError        a model that failed on one text
│   ├── RowRefusedError       Postgres refuses the row for its content
│   ├── SourceError           a file, query or stream of items that cannot be read
│   ├── ConditionError        a rule's condition that cannot be understood
│   ├── BackfillError         a backfill that cannot go on as asked: unknown, finished, or of another file
│   ├── ScheduleError         a schedule that cannot be kept, such as a wrong cron expression
│   ├── ExpiredError          past its deadline before it reached the model
│   ├── WebhookError          a webhook that does not exist, or whose URL may not be called
│   ├── ReviewError           a review that cannot be made: not claimed, decided already, or no such label
│   ├── UserError             a user who cannot be made or changed as asked; has a code and a field
│   └── DeadLetterError       a dead letter that is gone, or that somebody else has sent back meanwhile
├── RetryableError            the input is fine, the moment is not: leave it in the inbox
│   ├── InboxUnavailableError     Redis cannot be reached
│   ├── DatabaseUnavailableError  Postgres cannot be reached, or asks to try again
│   ├── InboxFullError            the inbox is over its bound
│   ├── ReplyTimeoutError         no reply came in time
│   └── LeaseTakenError           another process does this already
└── SetupError                the process cannot work as configured: say why and exit
"""

from __future__ import annotations

import enum

_MOST_FIELD_CHARS = 200


class FenliuError(Exception):
    """Root of every error that Fenliu raises on purpose."""


class PermanentError(FenliuError):
    """Trying again with the same input cannot help."""


class RetryableError(FenliuError):
    """Trying again later can help; nothing is wrong with the input."""


class SetupError(FenliuError):
    """A process that cannot work as it is configured; the message says what to change."""


class Code(enum.StrEnum):
    """Stable codes of dead letters. Programs match on them: never rename one."""

    MISSING_FIELD = "missing_field"
    EMPTY_FIELD = "empty_field"
    TOO_LONG = "too_long"
    NOT_UTF8 = "not_utf8"
    BAD_CHARACTER = "bad_character"
    BAD_JSON = "bad_json"
    BAD_TIME = "bad_time"
    BAD_VALUE = "bad_value"
    BAD_LABELS = "bad_labels"
    UNKNOWN_KIND = "unknown_kind"
    UNKNOWN_TASK = "unknown_task"
    UNKNOWN_ROUTE_SET = "unknown_route_set"
    UNKNOWN_MODEL = "unknown_model"
    MODEL_FAILED = "model_failed"
    ROW_REFUSED = "row_refused"
    POISON = "poison"


class EntryError(PermanentError):
    """An inbox entry that breaks the contract.

    `field` names the field at fault, `message` says what is wrong and how to mend it. A name of the sender's own may
    be of any length, and is cut.
    """

    def __init__(self, code: Code, field: str, message: str) -> None:
        field = field if len(field) <= _MOST_FIELD_CHARS else f"{field[:_MOST_FIELD_CHARS]}…"
        super().__init__(f"{field}: {message}")
        self.code = code
        self.field = field


class LabelsError(PermanentError):
    """A labels file, label list or route set that breaks its rules."""


class ModelError(PermanentError):
    """A model folder that may not be loaded, or a model that does not exist."""


class InferenceError(PermanentError):
    """A model failed on a text."""


class RowRefusedError(PermanentError):
    """Postgres refuses a row for its content; the same row would be refused again."""


class SourceError(PermanentError):
    """A file or stream of items that cannot be read; the message names the line and the fix."""


class InboxUnavailableError(RetryableError):
    """Redis cannot be reached."""


class DatabaseUnavailableError(RetryableError):
    """Postgres cannot be reached, or asks to try again (deadlock, shutdown, read-only)."""


class InboxFullError(RetryableError):
    """The inbox holds more entries than its bound; enqueue again later."""


class ReplyTimeoutError(RetryableError):
    """No reply came in time. The entry may still be classified; its result is dropped."""


class LeaseTakenError(RetryableError):
    """Another living process does this already."""


class EntryHeldError(RetryableError):
    """A worker still holds an entry of an item that was to be erased."""


class BackfillError(PermanentError):
    """A backfill that cannot go on as asked; the message says why and what to do."""


class ScheduleError(PermanentError):
    """A schedule that cannot be kept; the message shows what is wrong with it."""


class ConditionError(PermanentError):
    """A rule's condition that cannot be understood; the message shows the place and the fix."""


class ExpiredError(PermanentError):
    """The deadline passed before the item reached the model."""


class WebhookError(PermanentError):
    """A webhook that does not exist, or whose URL may not be called; the message says why."""


class ReviewError(PermanentError):
    """A review that cannot be made, such as of an item that another reviewer has claimed; the message says why.

    `code` is stable (`worker.desk.reviews.Fault`), `values` stand in the message; both for other languages.
    """

    def __init__(self, message: str, code: str = "", **values: object) -> None:
        super().__init__(message)
        self.code = code
        self.values = values


class DeadLetterError(PermanentError):
    """A dead letter that is gone, or that somebody else has sent back meanwhile; the message says which."""


class UserError(PermanentError):
    """A user who cannot be made or changed as asked.

    `code` is stable (`worker.desk.users.Fault`), `field` names what is at fault, `message` how to mend it.
    """

    def __init__(self, code: str, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.code = code
        self.field = field
