"""Amplitude encoding: the angles in JAX prepare the vector, and have a gradient everywhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qnn_jax import InputError, amplitude_encoding, statevector
from qnn_jax.simulate.encoding import amplitude_angles


def prepared(vector: np.ndarray) -> np.ndarray:
    phases = np.iscomplexobj(vector)
    circuit = amplitude_encoding(vector.size.bit_length() - 1, phases=phases)
    return np.asarray(statevector(circuit, amplitude_angles(vector), []))


@pytest.mark.slow_but_one
@pytest.mark.parametrize("num_qubits", [1, 2, 3, 5])
def test_any_vector_is_prepared(num_qubits: int) -> None:
    rng = np.random.default_rng(num_qubits)
    size = 2**num_qubits
    single = np.zeros(size)
    single[size // 2] = -3.0
    sparse = rng.normal(size=size) * (rng.uniform(size=size) < 0.4)
    sparse[0] = 1.0
    for vector in (
        rng.normal(size=size),
        np.ones(size),
        single,
        sparse,
        rng.normal(size=size) + 1j * rng.normal(size=size),
    ):
        wanted = vector / np.linalg.norm(vector)
        np.testing.assert_allclose(
            prepared(vector.astype(np.result_type(vector))), wanted, atol=2e-6
        )
        if size > 2 and vector is not single and np.ptp(vector.real):
            assert np.abs(prepared(vector) - wanted[::-1]).max() > 1e-2


@pytest.mark.slow
def test_the_gradient_is_the_difference_quotient_and_finite_at_zeros() -> None:
    def state(vector):
        return statevector(amplitude_encoding(2), amplitude_angles(vector), []).real

    point = jnp.array([0.3, -0.7, 0.2, 0.5])
    jacobian = jax.jacobian(state)(point)
    exact = jax.jacobian(lambda v: v / jnp.linalg.norm(v))(point)  # the closed form
    np.testing.assert_allclose(jacobian, exact, atol=2e-6)
    for zeros in (jnp.array([1.0, 0, 0, 0]), jnp.array([0.0, 0, 0, 1])):
        assert np.isfinite(jax.jacobian(amplitude_angles)(zeros)).all()


@pytest.mark.parametrize("shape", [(3,), (1,), (0,), (2, 2)])
def test_other_lengths_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"`vector` must have shape \(2\*\*n,\) .* pad it"):
        amplitude_angles(jnp.zeros(shape))


@pytest.mark.parametrize("vector", [[0.0, 0.0], [1.0, jnp.nan], [jnp.inf, 0.0]])
def test_what_has_no_direction_is_refused(vector) -> None:
    with pytest.raises(
        InputError, match=r"`vector` must (be finite|not be 0 everywhere), but is \["
    ):
        amplitude_angles(jnp.array(vector))


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_vectors_may_be_as_small_or_large_as_numbers_are(scale) -> None:
    np.testing.assert_allclose(amplitude_angles([3 * scale, 4 * scale]), [1.8545904], rtol=1e-6)


def test_what_holds_no_numbers_is_refused() -> None:
    for value in (None, "ab", [[1.0], [1.0, 2.0]]):
        with pytest.raises(
            InputError, match=r"`vector` must (hold numbers|have rows of one length), but is"
        ):
            amplitude_angles(value)
