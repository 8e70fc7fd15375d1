"""Operations of the calculator: read, checked, and never executed."""

import math

import numpy as np
import pytest

from qnn_jax.circuits.angles import evaluate
from qnn_jax.errors import InputError
from qnn_jax.operations import LARGEST, MAX_SPAN, NAMED, operation

POINTS = np.array([[0.0, 0.0], [0.3, 0.9], [1.0, 0.25]])
MEANING = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "mean": lambda a, b: (a + b) / 2,
    "sin-sum": lambda a, b: math.sin(a + b),
    "a*b + sin(a)": lambda a, b: a * b + math.sin(a),
    "-a**2 + b/2 + 1": lambda a, b: -(a**2) + b / 2 + 1,
    "exp(-3*(a - .5)**2) * cos(pi*b)": lambda a, b: (
        math.exp(-3 * (a - 0.5) ** 2) * math.cos(math.pi * b)
    ),
    "abs(+a - b)": lambda a, b: abs(a - b),
    "b": lambda a, b: b,
}


@pytest.mark.parametrize("text", MEANING)
def test_operations_mean_what_python_means(text: str) -> None:
    found = operation(text)
    wanted = [MEANING[text](a, b) for a, b in POINTS]
    np.testing.assert_allclose(found(POINTS), wanted, atol=1e-12)
    # The expression is a circuit's expression, so JAX evaluates it too.
    slow = [evaluate(found.expression, list(point), []) for point in POINTS]
    np.testing.assert_allclose(slow, wanted, atol=1e-12)
    assert found.low <= min(wanted)
    assert found.high >= max(wanted)


def test_every_name_is_tested() -> None:
    assert set(NAMED) <= set(MEANING)


BAD = [
    ("a + c", "has the unknown name 'c'"),
    ("2", "depends on neither a nor b"),
    ("0 * a", "is 0 everywhere"),
    ("", "cannot be read"),
    ("a +", "cannot be read"),
    ("a; b", "cannot be read"),
    ("1/a", r"is no finite number at a = 0, b = 0"),
    ("log(b)", "is no finite number"),
    ("a + 1/0", "holds a constant that is no finite number"),
    ("a * 9**9**9**9", "holds a constant that is no finite number"),
    ("a + 1" + "0" * 190, "must stay within"),
    ("sqrt(a)", "calls the unknown function 'sqrt'"),
    ("sin(a, b)", "gives sin 2 arguments, not 1"),
    ("a.real", "has 'a.real', which is not one of these"),
    ("[a, b][0]", "which is not one of these"),
    ("a if b else 0", "which is not one of these"),
    ("lambda: a", "which is not one of these"),
    ("(lambda x: x)(a)", "which is not one of these"),
    ("a == b", "which is not one of these"),
    ("True + a", "has 'True'"),
    ("'a'", "which is not one of these"),
    ("a + 1j", "which is not one of these"),
    ("a" + " + a" * 60, "has 241 characters, more than 200"),
    ("3*a", f"must span at most {MAX_SPAN:g} .* goes from 0 to 3; divide it by 1.2"),
    ("a + 1000", f"must stay within ±{LARGEST:g} .* reaches 1e\\+03"),
]


@pytest.mark.parametrize(("text", "words"), BAD, ids=[text[:20] for text, _ in BAD])
def test_what_is_no_function_of_a_and_b_is_refused_in_a_sentence(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as refused:
        operation(text)
    assert str(refused.value).startswith("Argument `operation` must")
    assert str(refused.value).endswith(".")


def test_nothing_of_an_expression_is_executed(tmp_path) -> None:
    file = tmp_path / "made"
    for text in (f"open({str(file)!r}, 'w')", f"a + __import__('os').mkdir({str(file)!r})"):
        with pytest.raises(InputError):
            operation(text)
    assert not file.exists()
