"""Fourier spectra against closed forms, Qiskit's values and arXiv:2008.08605."""

import itertools
import math

import numpy as np
import pytest
from qiskit.quantum_info import Pauli, Statevector
from reference import in_qiskit

from qnn_jax import (
    Circuit,
    InputError,
    Op,
    data_reuploading,
    efficient_su2,
    real_amplitudes,
    strongly_entangling_layers,
    w,
    x,
    z_feature_map,
    zz_feature_map,
)
from qnn_jax.diagnostics import Spectrum, fourier_spectrum


def weights_of(circuit: Circuit, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-2, 2, circuit.num_weights)


def series(spectrum: Spectrum, samples: np.ndarray) -> np.ndarray:
    return np.exp(1j * samples @ spectrum.frequencies.T) @ spectrum.coefficients


def by_qiskit(circuit, label, samples, weights) -> np.ndarray:
    return np.array(
        [
            Statevector(in_qiskit(circuit, s, weights)).expectation_value(Pauli(label)).real
            for s in samples
        ]
    )


TURNED = strongly_entangling_layers(1, 1)
ENCODERS = {
    # arXiv:2008.08605: each Pauli rotation adds {-1, 0, 1}, on one qubit or on several.
    "one rotation": (Circuit(1, (Op("rx", 0, x[0]),)), [-1, 0, 1]),
    "two in parallel": (Circuit(2, (Op("rx", 0, x[0]), Op("rx", 1, x[0]))), [-2, -1, 0, 1, 2]),
    "two in sequence": (Circuit(1, (Op("rx", 0, x[0]),)).repeat(2), [-2, -1, 0, 1, 2]),
    "a phase": (Circuit(1, (Op("p", 0, 2 * x[0]),)), [-2, 0, 2]),
    "tripled": (Circuit(2, (Op("rx", 0, x[0]), Op("ry", 1, 3 * x[0]))), [*range(-4, 5)]),
    "a fraction": (Circuit(2, (Op("rz", 0, x[0] / 3), Op("rz", 1, -x[0] / 2))), None),
    "controlled": (Circuit(2, (Op("crx", (0, 1), x[0]),)), [-1, -0.5, 0, 0.5, 1]),
    "an axis that turns": (Circuit(1, (Op("r", 0, (1.0, x[0])),)), [-2, -1, 0, 1, 2]),
    "no rotation at all": (Circuit(1, (Op("global_phase", (), x[0]),)), [0]),
}


@pytest.mark.slow_but_one
@pytest.mark.parametrize("name", ENCODERS)
def test_frequencies_in_reach(name) -> None:
    encoder, wanted = ENCODERS[name]
    if wanted is None:
        wanted = sorted(a + b for a, b in itertools.product((-1 / 3, 0, 1 / 3), (-0.5, 0, 0.5)))
    n = encoder.num_qubits
    block = efficient_su2(n, reps=1)
    circuit = block + encoder + block
    if name == "two in sequence":
        circuit = block + ENCODERS["one rotation"][0] + block + ENCODERS["one rotation"][0] + block
    weights = weights_of(circuit)
    spectrum = fourier_spectrum(circuit, "Z" * n, weights)
    np.testing.assert_allclose(spectrum.frequencies[:, 0], wanted, atol=1e-12)
    samples = np.random.default_rng(1).uniform(-9, 9, (7, 1))
    np.testing.assert_allclose(
        series(spectrum, samples), by_qiskit(circuit, "Z" * n, samples, weights), atol=1e-12
    )
    np.testing.assert_allclose(spectrum.coefficients, spectrum.coefficients[::-1].conj())
    assert np.all(spectrum.used) or name in ("two in parallel", "tripled", "controlled")


def test_coefficients_in_closed_form() -> None:
    # cos(x0) cos(2 x1) sin(w)
    circuit = Circuit(
        3, (Op("ry", 0, x[0]), Op("ry", 1, 2 * x[1]), Op("ry", 2, w[0] + math.pi / 2))
    )
    spectrum = fourier_spectrum(circuit, "ZZZ", [-0.3])
    for frequency, coefficient in zip(spectrum.frequencies, spectrum.coefficients, strict=True):
        wanted = math.sin(0.3) / 4 if np.all(np.abs(frequency) == (1, 2)) else 0
        assert coefficient == pytest.approx(wanted, abs=1e-12)
    assert spectrum.used.sum() == 4
    assert len(spectrum.used) == 9


SCALED = [
    Circuit(1, (Op("rx", 0, w[0] * x[0] + w[1]),)),
    Circuit(1, (Op("ry", 0, 0.7 - w[0] * (2 * x[0]) / w[1]), Op("rx", 0, x[0] / w[1] * w[0]))),
    data_reuploading(2, 2, reps=2, rotations=["ry"]),
    Circuit(2, (Op("ry", 0, w[0] * (x[0] - 2 * x[1])), Op("cx", (0, 1)), Op("rx", 1, -x[1] * 3))),
    Circuit(1, (Op("h", 0), Op("rz", 0, (w[0] + w[1]) * x[0] + x[0] * w[0]), Op("h", 0))),
    Circuit(1, (Op("ry", 0, w[0]),), num_inputs=2),
    z_feature_map(2) + real_amplitudes(2, reps=1),
]


@pytest.mark.parametrize("circuit", SCALED)
def test_scaled_inputs_are_variables(circuit: Circuit) -> None:
    weights = weights_of(circuit, seed=3)
    label = "ZZ"[: circuit.num_qubits]
    spectrum = fourier_spectrum(circuit, label, weights)
    samples = np.random.default_rng(1).uniform(-9, 9, (9, circuit.num_inputs))
    wanted = by_qiskit(circuit, label, samples, weights)
    np.testing.assert_allclose(series(spectrum, samples), wanted, atol=1e-11)
    assert spectrum.harmonics.shape == (len(spectrum.coefficients), len(spectrum.variables))
    moved = spectrum._replace(frequencies=spectrum.frequencies * 1.01)  # the broken subject
    if spectrum.variables:
        assert np.abs(series(moved, samples) - wanted).max() > 1e-3


def test_a_cut_through_a_function_of_many_variables() -> None:
    circuit = data_reuploading(2, 2, reps=3, rotations=["ry", "ry"])  # 3^12 points in all
    weights = weights_of(circuit, seed=5)
    cut = fourier_spectrum(circuit, "ZZ", weights, fixed={1: 0.4})
    assert len(cut.variables) == 6
    assert np.all(cut.frequencies[:, 1] == 0)
    along = np.column_stack([np.linspace(-3, 3, 5), np.full(5, 0.4)])
    np.testing.assert_allclose(
        series(cut, along), by_qiskit(circuit, "ZZ", along, weights), atol=1e-11
    )
    beside = along + np.array([0, 0.5])
    assert np.abs(series(cut, beside) - by_qiskit(circuit, "ZZ", beside, weights)).max() > 1e-2
    with pytest.raises(InputError, match=r"`fixed` must be at most 1, but is 2"):
        fourier_spectrum(circuit, "ZZ", weights, fixed={2: 0.4})


def test_the_same_scale_is_one_variable() -> None:
    circuit = Circuit(
        1, (Op("rx", 0, 2 * w[0] * x[0]), Op("rx", 0, x[0] * (w[0] * 3) - w[0] * x[0]))
    )
    spectrum = fourier_spectrum(circuit, "Z", [0.5])
    assert spectrum.variables == ("w[0]*x[0]",)
    assert spectrum.units.tolist() == [2]
    assert spectrum.harmonics[:, 0].tolist() == [-2, -1, 0, 1, 2]
    np.testing.assert_allclose(spectrum.frequencies[:, 0], [-2, -1, 0, 1, 2])  # 2 · 0.5 · harmonic


def test_a_slope_that_cancels_is_none() -> None:
    spectrum = fourier_spectrum(Circuit(1, (Op("rx", 0, x[0] - x[0] + 1.0),)), "Z")
    assert spectrum.variables == ()
    assert spectrum.coefficients[0].real == pytest.approx(math.cos(1))


@pytest.mark.parametrize(
    ("circuit", "message"),
    [
        (
            zz_feature_map(2),
            r"`circuit` must have angles that are affine in the inputs .* gate 5, p on \(1,\), has "
            r"the angle 2\*\(π - x\[0\]\)\*\(π - x\[1\]\), so that its function is no Fourier",
        ),
        (Circuit(1, (Op("rx", 0, x[0].sin()),)), r"has the angle sin\(x\[0\]\)"),
        (Circuit(1, (Op("rx", 0, 1 / x[0]),)), r"has the angle 1/x\[0\]"),
        (Circuit(1, (Op("rx", 0, x[0] * x[0]),)), r"has the angle x\[0\]\*x\[0\]"),
        (Circuit(1, (Op("rx", 0, x[0] ** 2.0),)), r"has the angle x\[0\]\*\*2"),
        (
            Circuit(1, (Op("rx", 0, x[0]), Op("rz", 0, math.sqrt(2) * x[0]))),
            r"commensurate frequencies .* those of x\[0\] have the ratio 1\.41421356; write",
        ),
        (data_reuploading(4, 4), r"must need at most 1,048,576 points .* but needs [\d,]+, 3 × 3"),
    ],
)
def test_what_is_not_exact_is_refused(circuit: Circuit, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fourier_spectrum(circuit, "Z" * circuit.num_qubits, weights_of(circuit))


def test_one_observable_only() -> None:
    with pytest.raises(InputError, match="must have labels of 1 letters"):
        fourier_spectrum(TURNED, "ZZ", weights_of(TURNED))
