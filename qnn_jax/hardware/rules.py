"""Rules for the fields of ledger lines and stored plans, which may have been edited by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

#: The rule as a message words it, and its check.
Rule: TypeAlias = tuple[str, Callable[[object], bool]]
#: By field, nested ones after a dot; a field that ends in "?" may be missing.
Rules: TypeAlias = Mapping[str, Rule]


def is_number(value: object) -> bool:
    """Whether `value` is a finite number, 0 or more."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and is_number(value)


def or_null(rule: Rule) -> Rule:
    """The rule for a field that may also be null."""
    return f"{rule[0]} or null", lambda value: value is None or rule[1](value)


def list_of(what: str, rule: Rule, least: int = 0) -> Rule:
    """The rule for a list of at least so many items, each of which follows `rule`."""
    return (
        f"a list of {what}",
        lambda value: isinstance(value, list) and len(value) >= least and all(map(rule[1], value)),
    )


TEXT: Rule = ("a text", lambda value: isinstance(value, str) and len(value) < 10_000)
FLAG: Rule = ("true or false", lambda value: isinstance(value, bool))
NUMBER: Rule = ("a number", is_number)
COUNT: Rule = ("a whole number", _is_whole)
SIZE: Rule = ("a whole number from 1", lambda value: _is_whole(value) and value != 0)
LIST: Rule = ("a list", lambda value: isinstance(value, list))
OBJECT: Rule = ("an object", lambda value: isinstance(value, dict))
ROWS: Rule = list_of("row numbers", COUNT)

_MISSING = object()


def wrong_field(record: Mapping[str, Any], rules: Rules) -> tuple[str, str] | None:
    """The first field that breaks its rule, and what is wrong; None if all hold."""
    for field, (rule, holds) in rules.items():
        name = field.removesuffix("?")
        value: Any = record
        for part in name.split("."):
            value = value.get(part, _MISSING) if isinstance(value, dict) else _MISSING
        if value is _MISSING:
            if name == field:
                return name, f"must be {rule}, but is missing"
        elif not holds(value):
            return name, f"must be {rule}, but is {shown(value)}"
    return None


def shown(value: object) -> str:
    """A value in a message, cut off."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
