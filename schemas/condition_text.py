"""Conditions as people write them: text to the tree of `schemas.conditions`, or an error that shows the place.

    any        = all {"or" all}
    all        = one {"and" one}
    one        = "not" one | "(" any ")" | "exists" path | operand operator operand
    operand    = path | string | number | "true" | "false" | "null" | "[" [operand-literal {"," operand-literal}] "]"
    path       = "source" | "kind" | "id" | "text" | "meta" ("." key | "[" string "]") {"." key | "[" string "]"}
    operator   = "==" | "!=" | "<" | "<=" | ">" | ">=" | "in" | "not" "in" | "contains" | "starts_with"

Read by recursive descent, with bounds on length and depth. Nothing of it is ever run as code.
"""

from __future__ import annotations

import json
import re
from typing import Any

from schemas.condition_tokens import Token, misread, tokens
from schemas.conditions import (
    META,
    TEXT_FIELDS,
    And,
    Comparison,
    Condition,
    Exists,
    Field,
    Literal,
    Not,
    Operand,
    Operator,
    Or,
)
from schemas.errors import ConditionError

MAX_CONDITION_CHARS = 2_000
MAX_DEPTH = 20

_CONSTANTS: dict[str, Any] = {"true": True, "false": False, "null": None}
_WORDS_OF_GRAMMAR = {"and", "or", "not", "in", "contains", "starts_with", "exists"}
_OPERATORS = ", ".join(Operator)
_FIELDS = ", ".join((*TEXT_FIELDS, "meta.…"))


def parse_condition(text: str) -> Condition:
    """The condition that `text` says. Raises ConditionError, whose message shows the place and the fix."""
    if len(text) > MAX_CONDITION_CHARS:
        raise ConditionError(f"has {len(text)} characters; at most {MAX_CONDITION_CHARS} are allowed; split the rule")
    return _Parser(text).whole()


class _Parser:
    """One reading of one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokens(text)
        self._next = 0
        self._depth = 0

    def whole(self) -> Condition:
        if self._token.kind == "end":
            raise self._misread('the condition is empty; write one such as meta.plan == "enterprise"')
        condition = self._any()
        if self._token.text == ")":
            raise self._misread("this ) was never opened; remove it, or add ( before")
        if self._token.kind != "end":
            raise self._misread(f"expected and, or, or the end, not {self._token.text}")
        return condition

    @property
    def _token(self) -> Token:
        return self._tokens[self._next]

    def _take(self, *texts: str) -> str | None:
        """Go over the token if it is one of these words or marks."""
        token = self._token
        if token.kind not in {"word", "mark"} or token.text not in texts:
            return None
        self._next += 1
        return token.text

    def _misread(self, message: str, token: Token | None = None) -> ConditionError:
        return misread(self._text, (token or self._token).at, message)

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._misread(f"nested over {MAX_DEPTH} levels deep; split the rule")

    def _any(self) -> Condition:
        parts = [self._all()]
        while self._take("or"):
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _all(self) -> Condition:
        parts = [self._one()]
        while self._take("and"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _one(self) -> Condition:
        self._deeper()
        opening = self._token
        condition: Condition
        if self._take("not"):
            condition = Not(self._one())
        elif self._take("("):
            condition = self._any()
            if not self._take(")"):
                if self._token.kind == "end":
                    raise self._misread("this ( is never closed; add )", opening)
                raise self._misread(f"expected and, or or ), not {self._token.text}")
        elif self._take("exists"):
            condition = self._exists()
        else:
            condition = self._comparison()
        self._depth -= 1
        return condition

    def _exists(self) -> Exists:
        token = self._token
        field = self._field() if token.kind == "word" else None
        if field is None or field.path[0] != META:
            raise self._misread("exists asks for a key of meta; write exists meta.plan", token)
        return Exists(field)

    def _comparison(self) -> Comparison:
        left_token = self._token
        left = self._operand()
        operator = self._operator(left)
        right_token = self._token
        right = self._operand()
        if operator in {Operator.IN, Operator.NOT_IN} and not _may_be_list(right):
            raise self._misread(f'{operator} needs a list; write {operator} ["a", "b"]', right_token)
        for field, literal, token in ((left, right, right_token), (right, left, left_token)):
            if _is_text_field(field) and operator not in {Operator.IN, Operator.NOT_IN}:
                self._check_text(str(field), literal, token)
        return Comparison(left, operator, right)

    def _check_text(self, field: str, literal: Operand, token: Token) -> None:
        if isinstance(literal, Literal) and not isinstance(literal.constant, str):
            raise self._misread(f'{field} is always text; write it in quotes, such as "{token.text}"', token)

    def _operator(self, left: Operand) -> Operator:
        token = self._token
        if self._take("not"):
            if not self._take("in"):
                raise self._misread("expected in after not")
            return Operator.NOT_IN
        word = self._take(*Operator)
        if word:
            return Operator(word)
        if token.kind == "end" or token.text in {"and", "or", ")"}:
            suggestion = f"{left} == true or exists {left}" if str(left).startswith(META) else f'{left} == "…"'
            raise self._misread(f"a comparison is missing; write {suggestion}", token)
        raise self._misread(f"expected one of {_OPERATORS}, not {token.text}", token)

    def _operand(self) -> Operand:
        token = self._token
        if token.kind == "word" and token.text not in _CONSTANTS and token.text not in _WORDS_OF_GRAMMAR:
            return self._field()
        return Literal(self._literal())

    def _field(self) -> Field:
        token = self._token
        self._next += 1
        if token.text in TEXT_FIELDS:
            if self._token.text in {".", "["}:
                raise self._misread(f"{token.text} has no keys; only meta has")
            return Field((token.text,))
        if token.text != META:
            raise self._misread(
                f'{token.text} is no field; fields are {_FIELDS}; text needs quotes: "{token.text}"', token
            )
        path = [META]
        while mark := self._take(".", "["):
            key = self._token
            if mark == "." and key.kind == "word":
                path.append(key.text)
            elif mark == "[" and key.kind == "string":
                path.append(self._string(key))
            else:
                wanted = "a key, as in meta.plan; other" if mark == "." else "text; such"
                raise self._misread(f'expected {wanted} keys are written meta["my-key"]')
            self._next += 1
            if mark == "[" and not self._take("]"):
                raise self._misread("expected ] after the key")
        if len(path) == 1:
            raise self._misread("meta needs a key; write meta.plan")
        return Field(tuple(path))

    def _literal(self) -> Any:
        token = self._token
        if self._take("["):
            return self._list(token)
        self._next += 1
        match token.kind:
            case "string":
                return self._string(token)
            case "number":
                return self._number(token)
            case "word" if token.text in _CONSTANTS:
                return _CONSTANTS[token.text]
            case _:
                raise self._misread(
                    f'expected a value such as meta.plan, "text", 5 or ["a", "b"], not {token.text}', token
                )

    def _list(self, opening: Token) -> tuple[Any, ...]:
        self._deeper()
        values: list[Any] = []
        while not self._take("]"):
            if values and not self._take(","):
                if self._token.kind == "end":
                    raise self._misread("this [ is never closed; add ]", opening)
                raise self._misread(f"expected , or ], not {self._token.text}")
            if self._token.kind == "word" and self._token.text not in _CONSTANTS:
                raise self._misread(f'a list holds values only; write text in quotes: "{self._token.text}"')
            values.append(self._literal())
        self._depth -= 1
        return tuple(values)

    def _number(self, token: Token) -> int | float:
        value = float(token.text)
        if value in {float("inf"), float("-inf")}:
            raise self._misread("this number is too large", token)
        return int(token.text) if re.fullmatch(r"-?[0-9]+", token.text) else value

    def _string(self, token: Token) -> str:
        inner = token.text[1:-1]
        if token.text[0] == "'":
            inner = re.sub(r"\\.|\"", lambda found: {"\\'": "'", '"': '\\"'}.get(found[0], found[0]), inner)
        try:
            value: str = json.loads(f'"{inner}"', strict=False)
            value.encode()
        except ValueError:
            said = r"this text holds a \ that means nothing; write \\ for the character itself"
            raise self._misread(said, token) from None
        if "\0" in value:
            raise self._misread("this text holds a NUL; remove it", token)
        return value


def _may_be_list(operand: Operand) -> bool:
    return isinstance(operand.constant, tuple) if isinstance(operand, Literal) else not _is_text_field(operand)


def _is_text_field(operand: Operand) -> bool:
    return isinstance(operand, Field) and operand.path[0] != META
