"""Angle expressions: values, arithmetic, printing, JSON, and refusals."""

import math

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
    assert expressions.sin(expressions.angle(0.5)) == expressions.Number(math.sin(0.5))
    assert expressions.angle(2) * 3 == expressions.Number(6.0)


def test_every_operator_and_function_means_what_python_means() -> None:
    a, b = x[0], w[0]
    u, v = 0.7, 1.9
    for expression, wanted in [
        (a + b, u + v), (a - b, u - v), (a * b, u * v), (a / b, u / v), (a**b, u**v), (-a, -u),
        (abs(-a), u), (1 + a, 1 + u), (1 - a, 1 - u), (3 * a, 3 * u), (2 / a, 2 / u), (2**a, 2**u),
        (expressions.sin(a), math.sin(u)), (expressions.cos(a), math.cos(u)),
        (expressions.exp(a), math.exp(u)),
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
