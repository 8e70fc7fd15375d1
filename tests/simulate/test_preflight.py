from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from simulator_references import random_circuit, x64

from qnn_jax import Circuit, expectations, real_amplitudes, statevector, zz_feature_map
from qnn_jax.errors import InputError
from qnn_jax.executor import exact
from qnn_jax.simulate.preflight import bytes_needed


@pytest.mark.parametrize("num_qubits", [34, 62])
def test_what_cannot_fit_is_refused_in_a_sentence(num_qubits):
    with pytest.raises(InputError, match=rf"must fit into memory, .* {num_qubits} qubits"):
        statevector(Circuit(num_qubits), [], [])
    with pytest.raises(InputError, match="must fit into memory"):
        expectations(Circuit(num_qubits), "Z" * num_qubits, [], [])


def test_gradient_must_be_known():
    with pytest.raises(InputError, match=r"Argument `gradient` must be one of .* but is 'shift'"):
        expectations(Circuit(1), "Z", [], [], gradient="shift")


@pytest.mark.parametrize("num_qubits", [14, 16])
@pytest.mark.parametrize("gradient", [None, "adjoint"])
def test_the_formula_bounds_the_compilers_own_count(num_qubits, gradient):
    circuit = zz_feature_map(num_qubits, reps=1) + real_amplitudes(num_qubits, reps=4)

    def value(weights):
        return expectations(circuit, "Z" * num_qubits, jnp.ones(num_qubits), weights, "adjoint")[0]

    function = value if gradient is None else jax.grad(value)
    compiled = jax.jit(function).lower(jnp.zeros(circuit.num_weights)).compile()
    measured = compiled.memory_analysis().temp_size_in_bytes
    needed = bytes_needed(circuit, gradient)
    assert measured <= needed <= 6 * measured


def test_a_batch_that_cannot_fit_is_refused():
    inputs = jax.ShapeDtypeStruct((2**13, 0), jnp.float32)
    call = partial(exact, Circuit(28), ("Z" * 28,))
    with pytest.raises(InputError, match=r"28 qubits in a batch of 8192 take about"):
        jax.eval_shape(call, inputs, jax.ShapeDtypeStruct((0,), jnp.float32))


@pytest.mark.parametrize(("gradient", "batch"), [(None, 8), ("reverse", 1), ("reverse", 8)])
@pytest.mark.parametrize("name", ["layers", pytest.param("uniform steps", marks=pytest.mark.slow)])
def test_the_formula_knows_batches_and_reverse_mode(name, gradient, batch):
    layers = zz_feature_map(9, reps=1) + real_amplitudes(9, reps=4)
    circuit = layers if name == "layers" else random_circuit(1, 9, 60)

    def value(weights):
        inputs = jnp.ones((batch, circuit.num_inputs))
        of_one = partial(expectations, circuit, "Z" * 9, weights=weights, gradient="reverse")
        return jax.vmap(lambda one: of_one(inputs=one)[0])(inputs).sum()

    function = value if gradient is None else jax.grad(value)
    compiled = jax.jit(function).lower(jnp.zeros(circuit.num_weights)).compile()
    measured = compiled.memory_analysis().temp_size_in_bytes
    needed = bytes_needed(circuit, gradient, batch=batch)
    assert measured <= needed <= 12 * measured, (measured, needed)


def compare_precision(num_qubits, circuit=None):
    """Angles of the ZZ map up to about ±50, float32 against float64."""
    circuit = circuit or zz_feature_map(num_qubits) + real_amplitudes(num_qubits, reps=2)
    rng = np.random.default_rng(0)
    inputs = np.pi + rng.uniform(-5, 5, circuit.num_inputs).astype(np.float32)
    inputs = inputs.astype(np.float32).astype(float)
    weights = rng.uniform(-50, 50, circuit.num_weights).astype(np.float32).astype(float)
    observables = ["Z" * num_qubits, "I" * (num_qubits - 1) + "Z", "Z" + "I" * (num_qubits - 1)]

    def both():
        value = jax.value_and_grad(
            lambda v: expectations(circuit, observables, inputs, v) @ jnp.arange(1.0, 4.0)
        )
        return value(jnp.array(weights))

    with x64(True):
        exact = both()
    single = both()
    assert single[0].dtype == jnp.float32
    np.testing.assert_allclose(single[0], exact[0], atol=1e-4)
    np.testing.assert_allclose(single[1], exact[1], atol=1e-4)


@pytest.mark.parametrize("num_qubits", [4, 10])
def test_float32_is_float64_to_1e_4(num_qubits):
    compare_precision(num_qubits)


def test_float32_is_float64_to_1e_4_in_uniform_steps():
    compare_precision(6, random_circuit(1, 6, 60))


@pytest.mark.slow
@pytest.mark.parametrize("num_qubits", [12, 16, 18, 20])
def test_float32_is_float64_to_1e_4_on_large_registers(num_qubits):
    compare_precision(num_qubits)
