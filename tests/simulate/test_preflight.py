from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from simulator_references import random_circuit, x64

from qnn_jax import (
    Circuit,
    data_reuploading,
    efficient_su2,
    expectations,
    kernel_matrix,
    memory,
    quantum_geometric_tensor,
    real_amplitudes,
    statevector,
    z_feature_map,
    zz_feature_map,
)
from qnn_jax.errors import InputError
from qnn_jax.executors import exact
from qnn_jax.simulate import preflight
from qnn_jax.simulate.preflight import bytes_needed


@pytest.mark.parametrize("num_qubits", [34, 62])
def test_what_cannot_fit_is_refused_in_a_sentence(num_qubits):
    with pytest.raises(InputError, match=rf"at most 30 qubits .* but has {num_qubits}: "):
        statevector(Circuit(num_qubits), [], [])
    with pytest.raises(InputError, match="at most 30 qubits to be simulated"):
        expectations(Circuit(num_qubits), "Z" * num_qubits, [], [])


def test_gradient_must_be_known():
    with pytest.raises(InputError, match=r"Argument `gradient` must be one of .* but is 'shift'"):
        expectations(Circuit(1), "Z", [], [], gradient="shift")


@pytest.mark.slow_but_one
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
    inputs = jax.ShapeDtypeStruct((2**13, 28), jnp.float32)
    call = partial(exact, z_feature_map(28, reps=2), ("Z" * 28,))
    with pytest.raises(InputError, match=r"28 qubits in a batch of 8192 take about"):
        jax.eval_shape(call, inputs, jax.ShapeDtypeStruct((0,), jnp.float32))


FAMILIES = {
    "zz": lambda n: zz_feature_map(n, reps=1) + real_amplitudes(n, reps=4),
    "su2": lambda n: efficient_su2(n, reps=6),
    "re-uploading": lambda n: data_reuploading(n, 5),
    "uniform steps": lambda n: random_circuit(1, n, 60),
}


def formula_and_compiler(circuit, gradient, batch, shared=True):
    """Bytes by the formula that a batch is refused by, and by the compiler's own analysis."""
    n, asked = circuit.num_qubits, []
    inputs = jnp.ones((batch, circuit.num_inputs))
    weights = jnp.ones((circuit.num_weights,) if shared else (batch, circuit.num_weights))

    def value(inputs, weights):
        def one(inputs, weights):
            return expectations(circuit, "Z" * n, inputs, weights, gradient="reverse")[0]

        return jax.vmap(one, (0, None if shared else 0))(inputs, weights).sum()

    def check(num_qubits, itemsize, states=4, samples=1, derivatives=1, devices=1):
        asked.append(preflight._bytes(num_qubits, samples, states, itemsize))

    function = value if gradient is None else jax.grad(value, (0, 1))
    jax.clear_caches()  # what was traced before is not asked again
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preflight, "check_memory", check)
        compiled = jax.jit(function).lower(inputs, weights).compile()
    return max(asked), compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.slow_but_one
@pytest.mark.parametrize(
    ("name", "num_qubits", "gradient", "batch", "shared"),
    [
        ("zz", 9, None, 64, True),
        ("zz", 9, "reverse", 64, True),
        ("zz", 8, "reverse", 128, False),
        ("su2", 8, "reverse", 128, False),
        ("re-uploading", 8, "reverse", 128, True),
        pytest.param("re-uploading", 11, "reverse", 64, True, marks=pytest.mark.slow),
        pytest.param("su2", 11, "reverse", 64, False, marks=pytest.mark.slow),
        pytest.param("uniform steps", 9, "reverse", 64, True, marks=pytest.mark.slow),
    ],
)
def test_the_formula_knows_batches_and_reverse_mode(name, num_qubits, gradient, batch, shared):
    circuit = FAMILIES[name](num_qubits)
    formula, measured = formula_and_compiler(circuit, gradient, batch, shared)
    assert measured <= formula <= 4 * measured
    if shared:
        assert formula <= bytes_needed(circuit, gradient, batch=batch) <= 8 * measured


@pytest.mark.slow
def test_the_comparison_rejects_a_formula_without_matrices(monkeypatch):
    monkeypatch.setattr(preflight, "_OF_MATRICES", 0)
    formula, measured = formula_and_compiler(efficient_su2(8, reps=5), "reverse", 128, shared=False)
    assert formula < measured


def refused(function, *arguments):
    """What is said where tracing a function is refused for memory, else nothing."""
    jax.clear_caches()
    try:
        jax.eval_shape(function, *arguments)
    except InputError as error:
        return str(error)
    return ""


def test_gradients_and_batches_are_refused_by_what_they_hold(monkeypatch):
    """Of 24 qubits values take 0.5 GiB and gradients 1: in 0.7 GiB one of them fits."""
    monkeypatch.setattr(preflight, "memory_bytes", lambda: int(0.7 * 2**30))
    circuit = zz_feature_map(24, reps=1) + real_amplitudes(24, reps=1)
    zeros = np.zeros(24), np.zeros(48)

    def value(inputs, weights, gradient="auto"):
        return expectations(circuit, "Z" * 24, inputs, weights, gradient)[0]

    assert not refused(value, *zeros)
    assert refused(jax.grad(value), *zeros) == (
        "Argument `circuit` must fit into memory, but its 24 qubits take about 1 GiB for their "
        "gradient and there are 0.7 GiB; each qubit less halves it."
    )
    assert 'gradient="adjoint" takes less' in refused(
        jax.grad(partial(value, gradient="reverse")), *zeros
    )
    several = np.zeros((2, 24)), zeros[1]
    assert "24 qubits in a batch of 2 take about 1 GiB and" in refused(
        jax.vmap(value, (0, None)), *several
    )
    monkeypatch.setattr(preflight, "memory_bytes", lambda: int(1.5 * 2**30))
    assert "a batch of 2 take about 2 GiB for their gradient" in refused(
        jax.grad(lambda i, v: jax.vmap(value, (0, None))(i, v).sum()), *several
    )


def test_many_small_gradients_are_refused(monkeypatch):
    monkeypatch.setattr(preflight, "memory_bytes", lambda: 2**30)
    circuit = real_amplitudes(10, reps=2)
    many = np.zeros((2**15, circuit.num_weights))

    def value(weights):
        return expectations(circuit, "Z" * 10, [], weights)[0]

    for function in (jax.vmap(jax.grad(value)), jax.grad(lambda v: jax.vmap(value)(v).sum())):
        said = refused(function, many)
        assert "10 qubits in a batch of 32768 take about" in said
        assert "take it in parts, as jax.lax.map(jax.grad(f), ..., batch_size=...) does" in said
        assert not refused(function, many[:512])


def test_states_side_by_side_are_refused(monkeypatch):
    monkeypatch.setattr(preflight, "memory_bytes", lambda: int(0.7 * 2**30))
    circuit = zz_feature_map(24, reps=1) + real_amplitudes(24, reps=0)
    inputs, weights = np.zeros((3, 24)), np.zeros(24)
    assert not refused(partial(statevector, circuit), inputs[0], weights)
    assert "a batch of 3" in refused(partial(kernel_matrix, circuit), inputs, inputs, weights)
    geometry = partial(quantum_geometric_tensor, circuit)
    assert "with 24 derivatives" in refused(geometry, inputs[0], weights)


def test_a_gradient_is_refused_before_its_forward_pass_runs(monkeypatch):
    """Without jit JAX runs that first, and keeps all that the gradient needs."""
    monkeypatch.setattr(preflight, "memory_bytes", lambda: 2**28)
    circuit = real_amplitudes(18, reps=30)
    ran = []
    jax.clear_caches()

    def value(weights):
        found = expectations(circuit, "Z" * 18, [], weights, gradient="reverse")[0]
        jax.debug.callback(lambda: ran.append(1))
        return found

    weights = np.zeros(circuit.num_weights)
    with pytest.raises(InputError, match="for their gradient"):
        jax.grad(value)(weights)
    with pytest.raises(InputError, match="for their gradient"):
        jax.vmap(jax.grad(value))(weights[None])
    jax.effects_barrier()
    assert not ran


def test_values_share_what_a_sample_keeps(monkeypatch):
    """The gradients of many observables take little more than that of one."""
    monkeypatch.setattr(preflight, "memory_bytes", lambda: 2**33)
    circuit = real_amplitudes(24, reps=2)
    labels = ["Z" + "I" * 23, "I" * 23 + "Z", "Z" * 24]

    def values(weights):
        return expectations(circuit, labels, [], weights, gradient="reverse")

    assert not refused(jax.jacrev(values), np.zeros(circuit.num_weights))
    monkeypatch.setattr(preflight, "memory_bytes", lambda: 2**32)
    said = refused(jax.jacrev(values), np.zeros(circuit.num_weights))
    assert "24 qubits with 3 derivatives take about" in said
    assert "take fewer derivatives at once" in said


def test_a_batch_of_unknown_size_is_not_judged():
    circuit = real_amplitudes(2)
    (size,) = jax.export.symbolic_shape("b")
    many = jax.vmap(lambda v: expectations(circuit, "ZZ", [], v)[0])
    weights = jax.ShapeDtypeStruct((size, circuit.num_weights), np.float32)
    exported = jax.export.export(jax.jit(many))(weights)
    batch = np.linspace(0, 1, 3 * circuit.num_weights, dtype=np.float32).reshape(3, -1)
    np.testing.assert_allclose(exported.call(batch), many(batch), atol=1e-6)


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)])
def test_a_batch_may_be_empty(axes):
    circuit = zz_feature_map(3, reps=1) + real_amplitudes(3, reps=1)
    vectors = [
        np.ones(size) if axis is None else np.ones((0, size))
        for axis, size in zip(axes, (circuit.num_inputs, circuit.num_weights), strict=True)
    ]

    def total(inputs, weights):
        one = jax.vmap(lambda i, v: expectations(circuit, "ZZZ", i, v)[0], axes)
        return one(inputs, weights).sum()

    slopes = jax.grad(total, (0, 1))(*map(jnp.asarray, vectors))
    assert [slope.shape for slope in slopes] == [vector.shape for vector in vectors]
    assert not any(slope.any() for slope in slopes)


def test_a_containers_limit_is_the_memory_that_counts(monkeypatch, tmp_path):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "_CONTAINER_LIMITS", (tmp_path / "none", limit))
    there = preflight.memory_bytes()
    limit.write_text("max\n")
    assert preflight.memory_bytes() == there
    limit.write_text(f"{2**20}\n")
    assert preflight.memory_bytes() == 2**20
    with pytest.raises(InputError, match=r"there are 0\.000977 GiB; each qubit less halves it"):
        statevector(Circuit(24), [], [])


@pytest.mark.parametrize(
    "wrong", [{"gradient": "shift"}, {"batch": 0}, {"batch": 1.5}, {"itemsize": 2}]
)
def test_arguments_of_the_formula_are_checked(wrong):
    with pytest.raises(InputError, match=f"Argument `{next(iter(wrong))}` must be"):
        bytes_needed(Circuit(2), **wrong)


def compare_precision(num_qubits, circuit=None, rtol=0.0):
    """The gates of the ZZ map turn by up to about ±50; float32 against float64."""
    circuit = circuit or zz_feature_map(num_qubits) + real_amplitudes(num_qubits, reps=2)
    rng = np.random.default_rng(0)
    inputs = np.pi + rng.uniform(-5, 5, circuit.num_inputs).astype(np.float32)
    inputs = inputs.astype(np.float32).astype(float)
    weights = rng.uniform(-50, 50, circuit.num_weights).astype(np.float32).astype(float)
    observables = ["Z" * num_qubits, "I" * (num_qubits - 1) + "Z", "Z" + "I" * (num_qubits - 1)]

    def all_three():
        def value(inputs, weights):
            return expectations(circuit, observables, inputs, weights) @ jnp.arange(1.0, 4.0)

        found, slopes = jax.value_and_grad(value, (0, 1))(jnp.array(inputs), jnp.array(weights))
        return found, *slopes

    with x64(True):
        exact = all_three()
    single = all_three()
    assert single[0].dtype == jnp.float32
    for ours, wanted in zip(single, exact, strict=True):
        np.testing.assert_allclose(ours, wanted, atol=1e-4, rtol=rtol)


@pytest.mark.slow
@pytest.mark.parametrize("num_qubits", [4, 10])
def test_float32_is_float64_to_1e_4(num_qubits):
    compare_precision(num_qubits)


@pytest.mark.slow
def test_float32_is_float64_to_1e_4_in_uniform_steps():
    compare_precision(6, random_circuit(1, 6, 60), rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("num_qubits", [12, 16, 18, 20])
def test_float32_is_float64_to_1e_4_on_large_registers(num_qubits):
    compare_precision(num_qubits)
