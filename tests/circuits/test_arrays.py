"""Arrays that callers hand over: what is no array of numbers is refused in a sentence."""

import numpy as np
import pytest

from qnn_jax.circuits.arrays import as_numbers
from qnn_jax.errors import InputError


@pytest.mark.parametrize("value", [[10**400], [[1.5, 10**30]], np.array([1, -(2**64)]), 2**64])
def test_integers_of_more_than_64_bits_are_refused(value):
    with pytest.raises(
        InputError,
        match="^Argument `weights` must hold real numbers, but has an integer of more than 64 "
        r"bits; write large numbers as floats, such as 1e30\.$",
    ):
        as_numbers("weights", value)


@pytest.mark.parametrize("value", [2**63, [2**64 - 1], [-(2**63)]])
def test_integers_of_64_bits_are_numbers(value):
    np.testing.assert_array_equal(as_numbers("weights", value), value)


def test_objects_are_not_called_integers():
    with pytest.raises(InputError, match=r"must hold real numbers, but is \['a', None\]\.$"):
        as_numbers("weights", ["a", None])
