"""What other programs match on: the tree of errors, the codes of dead letters, keys, names of tasks."""

from __future__ import annotations

import enum

import pytest

from schemas import errors, names
from schemas.errors import Code, EntryError, FenliuError, PermanentError, RetryableError, SetupError
from schemas.names import TASKS_OF_KIND, Keys, Kind, Lane, Task

OURS = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, FenliuError)]
BRANCHES = (PermanentError, RetryableError, SetupError)


@pytest.mark.parametrize("error", [error for error in OURS if error is not FenliuError])
def test_every_error_says_whether_trying_again_helps(error: type[FenliuError]) -> None:
    assert 1 == sum(issubclass(error, branch) for branch in BRANCHES)


def test_the_codes_of_dead_letters_never_change() -> None:
    assert {
        "missing_field", "empty_field", "too_long", "not_utf8", "bad_character", "bad_json", "bad_time", "bad_value",
        "bad_labels", "unknown_kind", "unknown_task", "unknown_route_set", "unknown_model", "model_failed",
        "row_refused", "poison",
    } <= {code.value for code in Code}  # fmt: skip


def test_an_entry_error_names_its_field() -> None:
    error = EntryError(Code.BAD_TIME, "deadline", "is 'x'; give RFC 3339")
    assert ("deadline: is 'x'; give RFC 3339", Code.BAD_TIME, "deadline") == (str(error), error.code, error.field)


def test_the_contract_is_spelled_as_it_is_published() -> None:
    keys = Keys()
    assert {Lane.LIVE: "fenliu:inbox:live", Lane.BULK: "fenliu:inbox:bulk"} == keys.inboxes
    assert ("fenliu:reply:", "classifiers", "fenliu.enqueue") == (keys.reply_prefix, names.GROUP, names.TASK_ENQUEUE)
    assert [Lane.LIVE, Lane.BULK] == list(keys.inboxes)
    assert {"comment": ("sentiment",), "ticket": ("sentiment", "routing")} == TASKS_OF_KIND
    assert {"comment", "ticket"} == set(Kind)
    assert {"sentiment", "routing"} == set(Task)


def test_two_prefixes_share_no_key() -> None:
    def all_keys(keys: Keys) -> set[str]:
        return {*keys.inboxes.values(), keys.reply_prefix, keys.worker("a"), keys.celery_prefix}

    assert set() == all_keys(Keys("a")) & all_keys(Keys("b"))
    assert all(key.startswith("a:") for key in all_keys(Keys("a")))


def test_no_value_stands_for_two_things_in_one_enumeration() -> None:
    kinds = [value for value in vars(names).values() if isinstance(value, type) and issubclass(value, enum.StrEnum)]
    for kind in kinds:
        assert len(kind.__members__) == len({member.value for member in kind})
        assert all(member.value == member.value.lower() for member in kind)
