"""Angle expressions: values, arithmetic, printing, JSON, and refusals."""

import functools
import json
import math
import operator
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qnn_jax.circuits import angles as expressions
from qnn_jax.circuits import w, x
from qnn_jax.errors import InputError

LEAVES = st.one_of(
    st.integers(0, 3).map(lambda i: x[i]),
    st.integers(0, 3).map(lambda i: w[i]),
    st.floats(-3, 3).map(expressions.angle),
)


def calls(children: st.SearchStrategy) -> st.SearchStrategy:
    two = st.tuples(st.sampled_from(["add", "sub", "mul"]), children, children)
    one = st.tuples(st.sampled_from(["neg", "sin", "cos", "atan", "abs"]), children)
    return st.one_of(one, two).map(lambda parts: expressions.call(*parts))


EXPRESSIONS = st.recursive(LEAVES, calls, max_leaves=12)
X, W = [0.3, -1.2, 2.5, 0.7], [1.1, -0.4, 0.9, -2.2]


@given(EXPRESSIONS)
def test_json_and_back_is_the_same_value(expression: expressions.Expression) -> None:
    back = expressions.from_json(expressions.to_json(expression))
    assert back == expression
    assert hash(back) == hash(expression)


@given(EXPRESSIONS)
def test_pickle_and_back_is_the_same_value(expression: expressions.Expression) -> None:
    back = pickle.loads(pickle.dumps(expression))
    assert back == expression
    assert repr(back) == repr(expression)


@given(EXPRESSIONS, EXPRESSIONS)
def test_values_are_equal_where_their_reprs_are(
    one: expressions.Expression, other: expressions.Expression
) -> None:
    assert (one == other) == (repr(one) == repr(other))


@given(EXPRESSIONS)
def test_printed_text_means_the_same(expression: expressions.Expression) -> None:
    # Python reads the printed text as arithmetic: brackets must be where they are needed.
    names = {"x": X, "w": W, "π": math.pi, "sin": math.sin, "cos": math.cos, "atan": math.atan}
    text = str(expression)
    for times in range(16, 1, -1):
        text = text.replace(f"{times}π", f"({times}*π)")
    value = expressions.evaluate(expression, X, W)
    assert eval(text, names) == pytest.approx(value, rel=1e-4, abs=1e-4)


def test_a_wrong_bracket_would_be_noticed() -> None:
    with_brackets = expressions.evaluate(x[0] - (x[1] - x[2]), X, W)
    without = expressions.evaluate(x[0] - x[1] - x[2], X, W)
    assert with_brackets != pytest.approx(without, rel=1e-4)
    assert str(x[0] - (x[1] - x[2])) == "x[0] - (x[1] - x[2])"
    assert str((x[0] ** 2) ** x[1]) == "(x[0]**2)**x[1]"
    assert str(-(x[0] + 1)) == "-(x[0] + 1)"
    assert str(2 * (math.pi - x[0]) * (math.pi - x[1])) == "2*(π - x[0])*(π - x[1])"


def test_values_compare_by_value_and_kind() -> None:
    # As tuples, x[0] and w[0] would be equal, and jit would serve one program for both.
    assert x[0] != w[0]
    assert x[0] == x[0]
    assert 2 * x[0] + 1 == 2 * x[0] + 1
    assert x[0] + x[1] != x[1] + x[0]


def test_constants_fold() -> None:
    assert expressions.angle(0.5).sin() == expressions.Number(math.sin(0.5))
    assert expressions.angle(2) * 3 == expressions.Number(6.0)


def test_every_operator_and_function_means_what_python_means() -> None:
    a, b = x[0], w[0]
    u, v = 0.7, 1.9
    for expression, wanted in [
        (a + b, u + v), (a - b, u - v), (a * b, u * v), (a / b, u / v), (a**b, u**v), (-a, -u),
        (abs(-a), u), (1 + a, 1 + u), (1 - a, 1 - u), (3 * a, 3 * u), (2 / a, 2 / u), (2**a, 2**u),
        (a.sin(), math.sin(u)), (a.cos(), math.cos(u)),
        (a.exp(), math.exp(u)),
        (expressions.call("tan", a), math.tan(u)), (expressions.call("asin", a), math.asin(u)),
        (expressions.call("acos", a), math.acos(u)), (expressions.call("atan", a), math.atan(u)),
        (expressions.call("log", a), math.log(u)), (expressions.call("sign", -a), -1.0),
    ]:  # fmt: skip
        assert expressions.evaluate(expression, [u], [v]) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: expressions.angle(math.nan), "Argument `angle` must be finite, but is nan"),
        (lambda: x[0] + math.inf, "Argument `angle` must be finite, but is inf"),
        (lambda: expressions.angle(1j), "must be a real number or an expression .* but is 1j"),
        (lambda: expressions.angle(True), "must be a real number or an expression .* but is True"),
        (lambda: expressions.angle("x[0]"), "must be a real number or an expression"),
        (lambda: x[-1], r"Argument `index` of `x\[index\]` must be an integer of at least 0"),
        (lambda: w[1.5], "must be an integer of at least 0, but is 1.5"),
        (lambda: expressions.Symbol("y", 0), "`vector` of a symbol must be 'x', .* but is 'y'"),
        (lambda: expressions.Symbol("x", -1), r"`index` of `x\[index\]` must be .* but is -1"),
        (
            lambda: expressions.from_json(["y", 0]),
            r"`angle` in JSON must be a number, .* but is \['y', 0\]",
        ),
        (lambda: expressions.from_json([]), r"in JSON must be a number, .* but is \[\]"),
        (lambda: expressions.from_json([["x"], 0]), r"in JSON .* but is \[\['x'\], 0\]"),
        (lambda: expressions.Number(math.nan), "Argument `angle` must be finite, but is nan"),
        (lambda: expressions.Number(1j), "must be a real number or an expression .* but is 1j"),
        (lambda: expressions.Call("foo", (x[0],)), "`function` must be one of .* but is 'foo'"),
        (lambda: expressions.Call("sin", ()), "as many arguments as it takes, 1, but has 0"),
        (lambda: expressions.Call("sin", x[0]), "`arguments` of a call must be a tuple"),
        (lambda: expressions.angle(10**400), "Argument `angle` must be finite, but is inf"),
        (lambda: expressions.Call("sin", ("x",)), "must be a real number or an expression .*'x'"),
        (
            lambda: expressions.call("sinh", x[0]),
            "Argument `function` must be one of .* but is 'sinh'",
        ),
        (
            lambda: expressions.call("sin", x[0], x[1]),
            "Function `sin` must have as many arguments as it takes, 1, but has 2",
        ),
        (lambda: expressions.angle(1) / 0, "Function `div` must not divide by 0"),
        (lambda: x[0] / 0, r"Function `div` must not divide by 0, but is to divide x\[0\]"),
        (lambda: expressions.call("log", -1), "Function `log` must be defined at its arguments"),
    ],
)
def test_bad_angles_are_refused_in_one_sentence(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]


@pytest.mark.parametrize("name", ["sin", "cos", "tan", "arcsin", "arccos", "arctan", "exp", "log"])
def test_numpys_functions_take_expressions(name: str) -> None:
    function = getattr(np, name)
    value = expressions.evaluate(function(x[0]), [0.3], [])
    assert value == pytest.approx(function(0.3))
    assert expressions.evaluate(x[0].sign() + (-x[0]).abs(), [0.3], []) == pytest.approx(1.3)


def test_a_vector_is_not_iterable() -> None:
    with pytest.raises(TypeError):
        list(x)  # type: ignore[call-overload]


def alternating(length: int) -> expressions.Expression:
    """x[0] - x[1]*w[1] + x[2]*w[2] - …: sums and differences in turn."""
    total: expressions.Expression = x[0]
    for k in range(1, length):
        total = total - x[k] * w[k] if k % 2 else total + x[k] * w[k]
    return total


LONG = {
    "sum": (lambda n: sum(w[k] * x[k] for k in range(n)), lambda x, w: w @ x),
    "product": (
        lambda n: functools.reduce(operator.mul, (x[k] for k in range(n))),
        lambda x, w: np.prod(x),
    ),
    "alternating": (alternating, lambda x, w: x[0] - sum(x[1::2] * w[1::2]) + x[2::2] @ w[2::2]),
    "quotients": (
        lambda n: functools.reduce(lambda a, k: a / x[k] * w[k], range(n), w[0]),
        lambda x, w: w[0] * np.prod(w / x),
    ),
    "within a function": (
        lambda n: sum(w[k] * x[k] for k in range(n)).sin() ** 2,
        lambda x, w: np.sin(w @ x) ** 2,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "length"), [*((name, 784) for name in LONG), ("sum", 10_000)])
def test_long_expressions_are_values_as_short_ones_are(name: str, length: int) -> None:
    make, closed_form = LONG[name]
    one, same = make(length), make(length)
    assert one is not same
    assert one == same
    assert hash(one) == hash(same)
    assert one != make(length - 1)
    assert one != expressions.substitute(one, lambda s: w[0] if s == w[length - 1] else s) or (
        name == "product"
    )
    assert expressions.from_json(json.loads(json.dumps(expressions.to_json(one)))) == one
    assert pickle.loads(pickle.dumps(one)) == one
    assert expressions.substitute(one, lambda s: s) == one
    assert sum(s == x[length - 1] for s in expressions.symbols(one)) == 1
    assert f"x[{length - 1}]" in str(one)
    assert len(repr(one)) < 150
    values = np.random.default_rng(0).uniform(0.999, 1.001, (2, length))
    wanted = closed_form(*values)
    assert expressions.evaluate(one, *values.tolist()) == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def test_json_of_short_expressions_stays_as_it_was() -> None:
    # A certificate holds the hash of this text.
    zz = 2 * (math.pi - x[0]) * (math.pi - x[1])
    assert expressions.to_json(zz) == [
        "mul",
        ["mul", 2.0, ["sub", math.pi, ["x", 0]]],
        ["sub", math.pi, ["x", 1]],
    ]
    chain = sum((x[k] for k in range(1, 200)), x[0])
    nested = expressions.to_json(chain)
    assert nested[0] == "add"
    assert nested[2] == ["x", 199]
    flat = expressions.to_json(chain * w[0] + 1)
    assert flat[:4] == [["x", 0], "add", ["x", 1], "add"]
    assert flat[-4:] == ["mul", ["w", 0], "add", 1.0]
    assert expressions.from_json([["x", 0], "sub", 2.0, "div", ["w", 1]]) == (x[0] - 2) / w[1]


def nested(depth: int) -> expressions.Expression:
    return functools.reduce(lambda inner, _: inner.sin(), range(depth), x[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nested(201), "at most 200 functions in each other, but `sin` is the 201th"),
        (
            lambda: functools.reduce(lambda total, k: x[k] + total, range(300), w[0]),
            r"`add` is the 201th; sums .* the first argument of the next: total = total \+ term",
        ),
        (
            lambda: functools.reduce(lambda a, _: a * a, range(60), x[0]),
            "must have at most 100000 numbers, symbols and functions, but has 131071",
        ),
        (
            lambda: expressions.from_json(functools.reduce(lambda a, _: ["sin", a], range(9), [])),
            r"in JSON must be a number, .* but is \[\]",
        ),
        (
            lambda: expressions.from_json(
                functools.reduce(lambda a, _: ["sin", a], range(100_000), ["x", 0])
            ),
            "at most 200 functions in each other",
        ),
        (
            lambda: expressions.from_json([["x", 0], "add", 1.0, "pow", 2.0]),
            r"or \[argument, function, argument, …\] with add, sub, mul, div, but is \[\['x', 0\]",
        ),
        (lambda: expressions.from_json([["x", 0], "add"]), "in JSON must be a number"),
        (lambda: expressions.from_json([["x", 0]]), "in JSON must be a number"),
    ],
)
def test_what_is_too_deep_or_too_large_is_refused(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]


def test_what_is_just_not_too_deep_is_a_value() -> None:
    deep = nested(200)
    assert expressions.from_json(json.loads(json.dumps(expressions.to_json(deep)))) == deep
    assert pickle.loads(pickle.dumps(deep)) == deep
    assert str(deep).endswith(")" * 200)
