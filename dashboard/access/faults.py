"""What is wrong with a form about users, said beside its field in the visitor's language."""

from __future__ import annotations

from dataclasses import dataclass

from dashboard.words import Words, later
from schemas.errors import UserError
from worker.desk import passwords
from worker.desk.users import MOST_NAME_CHARS, Fault

_TEXTS = {
    Fault.NAME_EMPTY: later("Give a name."),
    Fault.NAME_LONG: later("A name has at most %(count)s characters."),
    Fault.NAME_SIGNS: later("There is a sign in the name that cannot be seen. Leave it out."),
    Fault.NAME_RESERVED: later("This name stands for work on the server itself. Take another."),
    Fault.NAME_TAKEN: later("There is a user of this name already; upper and lower case count as the same."),
    Fault.NAME_UNKNOWN: later("There is no user of this name any more."),
    Fault.PASSWORD_SHORT: later("A password has at least %(count)s characters."),
    Fault.PASSWORD_LONG: later("A password has at most %(count)s characters."),
    Fault.PASSWORD_IS_NAME: later("The password must not be the name."),
    Fault.PASSWORD_SIGNS: later("There is a sign in the password that cannot be used."),
    Fault.PASSWORD_WRONG: later("This is not your password."),
    Fault.PASSWORDS_DIFFER: later("The two passwords are not the same."),
    Fault.FIRST_ADMIN: later("The first user must be an admin, who can make the others."),
    Fault.LAST_ADMIN: later("This is the last admin who can log in. Make another one first."),
}
_COUNTS = {
    Fault.NAME_LONG: MOST_NAME_CHARS,
    Fault.PASSWORD_SHORT: passwords.FEWEST_CHARS,
    Fault.PASSWORD_LONG: passwords.MOST_CHARS,
}


@dataclass(frozen=True, slots=True)
class Wrong:
    """A form that was refused: which (`create`, `role` …), of which user, the field at fault, and what to say there."""

    form: str
    name: str
    field: str
    text: str


def wrong(form: str, name: str, error: UserError, words: Words) -> Wrong:
    """The error as it is shown."""
    fault = Fault(error.code)
    values = {"count": _COUNTS[fault]} if fault in _COUNTS else {}
    return Wrong(form, name, error.field, words(_TEXTS[fault], **values))


def same(password: str, again: str) -> None:
    """Whether a new password was typed twice alike. Raises UserError."""
    if password != again:
        raise UserError(Fault.PASSWORDS_DIFFER, "again", "the two passwords are not the same")
