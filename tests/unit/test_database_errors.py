"""Which database errors speak of a row, and which of the moment."""

from __future__ import annotations

import psycopg2.errors
import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from schemas.database import translated
from schemas.errors import DatabaseUnavailableError, RowRefusedError


class WithState(psycopg2.Error):
    """A psycopg2 error with a SQLSTATE, which only the server can set otherwise."""

    def __init__(self, state: str) -> None:
        super().__init__(f"ERROR:  something about {state}\nDETAIL:  Failing row contains (a person's words).")
        self.state = state

    @property
    def pgcode(self) -> str:  # type: ignore[override]
        return self.state


@pytest.mark.parametrize("state", ["22P05", "22021", "22003", "23502", "23514", "54000", "P0001", "44000"])
def test_what_speaks_of_the_content_is_refused(state: str) -> None:
    with pytest.raises(RowRefusedError, match=state) as caught, translated():
        raise DBAPIError("INSERT", {}, WithState(state))
    assert "person's words" not in str(caught.value)


@pytest.mark.parametrize(
    "state",
    ["08006", "40P01", "40001", "53300", "53100", "55P03", "57014", "57P01", "57P03", "25006", "42P01", "42501"],
)
def test_what_speaks_of_the_moment_or_the_setup_is_not_the_rows_fault(state: str) -> None:
    with pytest.raises(DatabaseUnavailableError, match=state), translated():
        raise DBAPIError("INSERT", {}, WithState(state))


def test_a_missing_table_says_what_to_do() -> None:
    with pytest.raises(DatabaseUnavailableError, match="fenliu migrate"), translated():
        raise DBAPIError("INSERT", {}, WithState("42P01"))


def test_a_lost_connection_is_unavailable_whatever_it_says() -> None:
    with pytest.raises(DatabaseUnavailableError), translated():
        raise DBAPIError("INSERT", {}, WithState("22P05"), connection_invalidated=True)


def test_errors_without_a_state_are_of_the_connection() -> None:
    with pytest.raises(DatabaseUnavailableError, match="server closed"), translated():
        raise psycopg2.OperationalError("server closed the connection unexpectedly\n\tThis probably means")
    with pytest.raises(DatabaseUnavailableError), translated():
        raise PoolTimeoutError("no connection")


def test_half_of_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(RowRefusedError), translated():
        "\ud800".encode()


def test_other_errors_pass_through() -> None:
    with pytest.raises(ValueError, match="a bug"), translated():
        raise ValueError("a bug")
