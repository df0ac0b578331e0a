"""What a migration needs to have triggers keep sums of a table in rollup tables (`schemas.tables.rollups`).

One function and one trigger per table and kind of statement; they look at a statement's rows at once. An upsert fires
those of INSERT and of UPDATE, and one of them has often nothing to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alembic import op

_EVENTS = {
    "INSERT": "REFERENCING NEW TABLE AS added",
    "UPDATE": "REFERENCING OLD TABLE AS removed NEW TABLE AS added",
    "DELETE": "REFERENCING OLD TABLE AS removed",
    "TRUNCATE": "",
}


@dataclass(frozen=True)
class Rollup:
    """A rollup table: its keys and its whole-numbered sums, as expressions on a row of the summed table.

    `reads` names the columns that the expressions take from the row.
    """

    name: str
    keys: Mapping[str, str]
    sums: Mapping[str, str]
    reads: Sequence[str]
    where: str = "true"

    def adding(self, rows: str, sign: str = "") -> str:
        """The statement that adds the sums of `rows`, or with the sign "-" takes them away."""
        return self._insert(rows, [f"{sign}sum({each})" for each in self.sums.values()])

    def changing(self, removed: str, added: str) -> str:
        """The statement that takes the sums of `removed` away and adds those of `added`, where they differ."""
        columns = ", ".join(self.reads)
        rows = f"(SELECT -1 AS sign, {columns} FROM {removed} UNION ALL SELECT 1, {columns} FROM {added}) AS r"  # noqa: S608
        sums = [f"sum(sign * {each})" for each in self.sums.values()]
        return f"{self._insert(rows, sums)} HAVING {' OR '.join(f'{each} <> 0' for each in sums)}"

    def _insert(self, rows: str, sums: Sequence[str]) -> str:
        columns = ", ".join([*self.keys, *self.sums])
        values = ", ".join([*self.keys.values(), *sums])
        groups = ", ".join(str(number) for number in range(1, len(self.keys) + 1))
        return (
            f"INSERT INTO {self.name} ({columns}) SELECT {values} FROM {rows}"  # noqa: S608 - constants
            f" WHERE {self.where} GROUP BY {groups}"
        )


@dataclass(frozen=True)
class Kept:
    """A table, the rollups that triggers keep of it, and tables made of those, which go where the rollups go."""

    table: str
    rollups: Sequence[Rollup]
    made_of_them: Sequence[str] = ()

    def create(self) -> None:
        """Create functions and triggers."""
        for event, referencing in _EVENTS.items():
            function = f"rollup_{self.table}_{event.lower()}"
            op.execute(
                f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$\n"
                f"BEGIN\n{self._body(event)}    RETURN NULL;\nEND\n$$"
            )
            op.execute(
                f"CREATE TRIGGER {function} AFTER {event} ON {self.table} {referencing}"
                f" FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
            )

    def drop(self) -> None:
        """Drop them."""
        for event in _EVENTS:
            function = f"rollup_{self.table}_{event.lower()}"
            op.execute(f"DROP TRIGGER {function} ON {self.table}")
            op.execute(f"DROP FUNCTION {function}()")

    def _body(self, event: str) -> str:
        if event == "TRUNCATE":
            # Not TRUNCATE, which fails where somebody truncates all tables at once.
            return "".join(f"    DELETE FROM {name};\n" for name in _tables([self]))  # noqa: S608 - constants
        rows = "removed" if event == "DELETE" else "added"
        lines = [f"IF NOT EXISTS (SELECT FROM {rows}) THEN RETURN NULL; END IF"]
        for rollup in self.rollups:
            match event:
                case "INSERT":
                    lines.append(rollup.adding("added"))
                case "DELETE":
                    lines.append(rollup.adding("removed", "-"))
                case _:
                    lines.append(rollup.changing("removed", "added"))
        return "".join(f"    {line};\n" for line in lines)


def create_rebuild(tables: Sequence[Kept]) -> None:
    """Create the function `rollup_rebuild()`, which makes all sums anew while writers wait. It returns nothing."""
    names = ", ".join(kept.table for kept in tables)
    statements = [f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE"]
    statements += [f"DELETE FROM {name}" for name in _tables(tables)]  # noqa: S608 - constants
    for kept in tables:
        statements += [rollup.adding(kept.table) for rollup in kept.rollups]
    body = "".join(f"    {statement};\n" for statement in statements)
    op.execute(f"CREATE FUNCTION rollup_rebuild() RETURNS void LANGUAGE plpgsql AS $$\nBEGIN\n{body}END\n$$")
    op.execute(
        "COMMENT ON FUNCTION rollup_rebuild() IS"
        " 'Makes the sums behind the dash_ views anew from the tables. Writers wait meanwhile.'"
    )


def drop_rebuild() -> None:
    """Drop it."""
    op.execute("DROP FUNCTION rollup_rebuild()")


def _tables(kept: Sequence[Kept]) -> list[str]:
    return sorted({name for each in kept for name in (*(rollup.name for rollup in each.rollups), *each.made_of_them)})
