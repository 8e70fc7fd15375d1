"""JSON is checked against a dataclass or TypedDict."""

import copy
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict

import pytest

from qnn_jax.errors import InputError
from qnn_jax.runs import from_json, read_as, write_json_atomic


@dataclass(frozen=True)
class Inner:
    rate: float
    kind: Literal["a", "b", 3]


@dataclass(frozen=True)
class Outer:
    count: int
    on: bool
    name: str
    folder: Path | None
    sizes: tuple[int, ...]
    pair: tuple[float, str]
    by_name: dict[str, Inner]
    inner: Inner
    some: int | str
    extra: Any
    seed: int = 0


class Part(TypedDict):
    best: Inner
    scores: list[float | None]


VALUE = Outer(
    1, True, "n", Path("p"), (1, 2), (0.5, "x"), {"k": Inner(1.0, "a")}, Inner(2.5, 3), "t", None, 7
)
JSON = json.loads(json.dumps(asdict(VALUE), default=str))


def read(value, kind=Outer):
    return from_json(kind, value, "File f", "mend it")


def test_a_dataclass_reads_back_as_an_equal_value():
    assert read(JSON) == VALUE
    assert type(read({**JSON, "pair": [1, "x"]}).pair[0]) is float
    assert read({**JSON, "folder": None}).folder is None
    assert read({**JSON, "some": 4}).some == 4


def test_a_typed_dict_wants_its_fields_and_leaves_the_others():
    told = {"best": {"rate": 1, "kind": "a"}, "scores": [1, None], "more": [1]}
    assert read(told, Part) == {**told, "best": Inner(1.0, "a")}
    with pytest.raises(InputError, match=r"^File f lacks the field `scores`: mend it\.$"):
        read({"best": told["best"]}, Part)


BAD = [
    (("count",), True, "has true at `count`, which must be a whole number"),
    (("count",), 1.0, "has 1.0 at `count`, which must be a whole number"),
    (("count",), "1", 'has "1" at `count`, which must be a whole number'),
    (("on",), 1, "has 1 at `on`, which must be true or false"),
    (("name",), None, "has null at `name`, which must be text"),
    (("folder",), "a\0b", r'has "a\u0000b" at `folder`, which must be text'),
    (("sizes",), 3, "has 3 at `sizes`, which must be a list"),
    (("sizes", 1), [], "has a list at `sizes[1]`, which must be a whole number"),
    (("pair",), [1.0], "has a list at `pair`, which must be a list of 2"),
    (("by_name", "k"), 5, "has 5 at `by_name.k`, which must be an object"),
    (("by_name", "k", "rate"), "x" * 99, f'has "{"x" * 56}... at `by_name.k.rate`'),
    (("inner", "rate"), True, "has true at `inner.rate`, which must be a finite number"),
    (("inner", "rate"), 10**400, "has more at `inner.rate`, which must be a finite number"),
    (("inner", "rate"), float("inf"), "at `inner.rate`, which must be a finite number"),
    (("inner", "kind"), "c", 'has "c" at `inner.kind`, which must be "a" or "b" or 3'),
    (("inner", "kind"), 3.0, "has 3.0 at `inner.kind`, which must be"),
    (("inner", "depth"), 1, "has a field `inner.depth`, which is not known"),
    (("inner", "a b\x1b"), 1, r'has a field `inner."a b\u001b"`, which is not known'),
    (("some",), 1.5, "has 1.5 at `some`, which must be text"),
    (("other",), "x", "has a field `other`, which is not known"),
]


@pytest.mark.parametrize(("place", "value", "words"), BAD)
def test_what_does_not_fit_is_named_by_its_field(place, value, words):
    changed = copy.deepcopy(JSON)
    at = changed
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    with pytest.raises(InputError) as error:
        read(changed)
    assert str(error.value).startswith("File f has ")
    assert words in str(error.value)
    assert str(error.value).endswith(": mend it.")
    assert len(str(error.value)) < 200


@pytest.mark.parametrize("field", [*JSON, "inner.rate"])
def test_no_field_is_filled_by_a_hidden_default(field):
    changed = copy.deepcopy(JSON)
    if field == "inner.rate":
        del changed["inner"]["rate"]
    else:
        del changed[field]
    with pytest.raises(InputError, match=rf"^File f lacks the field `{field}`: mend it\.$"):
        read(changed)


def test_a_file_is_read_and_named(tmp_path):
    path = tmp_path / "f.json"
    assert read_as(path, Part) is None
    write_json_atomic(path, {"best": 1, "scores": []})
    with pytest.raises(InputError, match=rf"^File {path} has 1 at `best`, which must be an obj"):
        read_as(path, Part, "mend it")


def test_a_kind_without_a_form_in_json_is_our_fault():
    with pytest.raises(TypeError, match="has no form in JSON"):
        from_json(set[int], [1], "File f", "mend it")
