"""`certify`: prove that all ways of running a circuit agree, before one of them is trusted.

At random inputs and weights, with the same numbers at every step:

    named         the named form, bound, in Qiskit        = JAX's state
    table         the table form, bound by column         = JAX's state
    expectations  SparsePauliOps on Qiskit's state        = JAX's expectation values
    transpiled    the ISA circuit through its layout      = JAX's state and expectation values
    measured      outcome probabilities of what runs      = JAX's expectation values
    aer           counts of what runs                     ~ JAX's expectation values

The last is statistical: counts must lie within the binomial's large-deviation bound,
P(p̂) ≤ exp(-shots · D(p̂ ‖ p)) for each side (Chernoff), at a total error of 1e-9. Every qubit's
X, Y and Z and a mixed string are compared beside the observables: ⟨Z…Z⟩ sees neither a swapped
qubit nor a wrong phase.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from qiskit import QuantumCircuit, transpile
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit.transpiler import CouplingMap
from qiskit_aer import AerSimulator

from qnn_jax.bridge.aer_executor import measured_forms
from qnn_jax.bridge.backend_names import check_fake_backend
from qnn_jax.bridge.certificate import (
    Certificate,
    CertificationError,
    circuit_hash,
    installed_versions,
)
from qnn_jax.bridge.export import angle_columns, assigned, to_qiskit
from qnn_jax.bridge.noise import SEED, check_gates, check_size, fake_backend, transpiled
from qnn_jax.bridge.observables import to_sparse_pauli_op
from qnn_jax.bridge.steps import measured_qubits, on_qubits, used_qubits
from qnn_jax.circuits.angles import evaluate
from qnn_jax.circuits.arrays import finite_array
from qnn_jax.circuits.bases import Basis, bases_of
from qnn_jax.circuits.checks import at_least, of_type, shown
from qnn_jax.circuits.checks import seed as checked_seed
from qnn_jax.circuits.circuit import Circuit, checked_circuit
from qnn_jax.circuits.observables import Observables, PauliSum, observables_on
from qnn_jax.errors import InputError
from qnn_jax.simulate import angles, expectations, statevector
from qnn_jax.simulate.measurement import MOST_SHOTS

#: Rounding of thousands of gates stays below it, any mistake far above.
TOLERANCE = 1e-10
#: How likely it is that counts of a right circuit are refused.
FALSE_ALARM = 1e-9
#: States of more qubits take too long in Qiskit.
MAX_QUBITS = 16


def certify(
    circuit: Circuit,
    observables: Observables,
    backend: Any = None,
    *,
    isa: QuantumCircuit | None = None,
    inputs: Any = None,
    weights: Any = None,
    draws: int = 3,
    shots: int = 4096,
    seed: int = 0,
) -> Certificate:
    """Compare JAX, Qiskit, the transpiled circuit and Aer; a certificate if all agree.

    Args:
        circuit: at most 16 qubits.
        observables: what is to be evaluated; every qubit's X, Y and Z are compared too.
        backend: what to transpile for: a Qiskit BackendV2 or the name of a fake backend; None
            takes a line of qubits with the gates rz, sx, x and cz.
        isa: the circuit that will run, if it is transpiled already: the table form with
            measurements, bit k of the outcome being the circuit's qubit k, so that observables are
            of I and Z. It is compared in place of circuits transpiled here.
        inputs: shape (draws, circuit.num_inputs), compared in place of random ones.
        weights: shape (circuit.num_weights,), compared in place of random ones.
        draws: how many random points, at least 1.
        shots: of Aer, for each point and basis, at least 1.
        seed: of the points and of Aer.

    Raises:
        InputError: for arguments that do not fit, and devices with too few qubits.
        CertificationError: which names the first step that failed.
    """
    checked_circuit(circuit)
    if circuit.num_qubits > MAX_QUBITS:
        raise InputError(
            f"Argument `circuit` must have at most {MAX_QUBITS} qubits to be certified, but has "
            f"{circuit.num_qubits}."
        )
    sums = observables_on(circuit.num_qubits, observables)
    draws, shots = at_least("draws", draws, 1, 10_000), at_least("shots", shots, 1, MOST_SHOTS)
    seed = checked_seed("seed", seed)
    device = _device(backend, circuit.num_qubits)
    if isa is not None:
        of_type("isa", isa, QuantumCircuit, "a QuantumCircuit")
        _check_isa(isa, circuit, sums, None if backend is None else device)
    points = _points(circuit, inputs, weights, draws, seed)
    run = _Run(circuit, sums, points)
    run.named()
    run.table()
    if isa is None:
        bases = bases_of(sums) + bases_of(probes(circuit.num_qubits))
        measured = transpiled(measured_forms(circuit, bases), device)
        layout = tuple(measured[0].layout.initial_index_layout(filter_ancillas=True))
        run.transpiled(device, layout)
    else:
        bases, measured = (_z_basis(circuit.num_qubits),), (isa,)
        layout = _measured_qubits(isa)
    run.measured(measured, bases)
    run.aer(measured, bases, shots, seed)
    return Certificate(
        circuit_hash(circuit),
        tuple(one.terms for one in sums),
        None if backend is None else device.name,
        layout,
        tuple(angle_columns(circuit).values()),
        run.deviations,
        len(points),
        shots,
        seed,
        installed_versions(),
    )


def probes(num_qubits: int) -> tuple[PauliSum, ...]:
    """X, Y and Z of every qubit, and a string that no order of qubits leaves as it is."""
    labels = [
        "I" * (num_qubits - 1 - q) + letter + "I" * q for letter in "XYZ" for q in range(num_qubits)
    ]
    mixed = ("ZXY" * num_qubits)[:num_qubits]
    return tuple(PauliSum(((label, 1.0),)) for label in dict.fromkeys([*labels, mixed]))


class _Run:
    """The points, JAX's results at them, and the steps with their worst deviations."""

    def __init__(
        self,
        circuit: Circuit,
        observables: tuple[PauliSum, ...],
        points: Sequence[tuple[Any, Any]],
    ) -> None:
        self.circuit, self.points = circuit, points
        self.deviations: dict[str, float] = {}
        self.compared = (*observables, *probes(circuit.num_qubits))
        strings = {label for one in self.compared for label, _ in one.terms}
        self.strings = sorted(strings | {"Z" * circuit.num_qubits})
        sums = tuple(PauliSum(((label, 1.0),)) for label in self.strings)
        with jax.enable_x64(True):
            self.tables = [np.asarray(angles(circuit, *point)) for point in points]
            self.states = [np.asarray(statevector(circuit, *point)) for point in points]
            self.values = [
                np.asarray(expectations(circuit, self.compared, *point)) for point in points
            ]
            found = [np.asarray(expectations(circuit, sums, *point)) for point in points]
        self.of_string = [dict(zip(self.strings, one, strict=True)) for one in found]

    def named(self) -> None:
        """The named form, bound by Qiskit's evaluation of its expressions."""
        form = to_qiskit(self.circuit, form="named")
        for (x, w), state in zip(self.points, self.states, strict=True):
            values = {
                parameter: {"x": x, "w": w}[parameter.vector.name][parameter.index]
                for parameter in form.parameters
            }
            ours = Statevector(assigned(form, values)).data
            self._compare("named", "the named form's amplitudes", ours, state)

    def table(self) -> None:
        """The table form, bound by JAX's angle table; and SparsePauliOps on its state."""
        operators = [to_sparse_pauli_op(one) for one in self.compared]
        states = [Statevector(one) for one in self._bound(to_qiskit(self.circuit, form="table"))]
        for state, ours in zip(states, self.states, strict=True):
            self._compare("table", "the table form's amplitudes", state.data, ours)
        for state, values in zip(states, self.values, strict=True):
            theirs = np.array([state.expectation_value(operator) for operator in operators])
            self._compare("expectations", "expectation values", theirs, values)

    def transpiled(self, device: Any, layout: Sequence[int]) -> None:
        """The ISA circuit without measurements: its state, and observables with the layout."""
        isa = transpile(
            to_qiskit(self.circuit, form="table"),
            device,
            optimization_level=3,
            seed_transpiler=SEED,
            initial_layout=list(layout),
        )
        places = isa.layout.final_index_layout(filter_ancillas=True)
        small, order = _cut(isa, places)
        operators = [
            _on(laid_out(to_sparse_pauli_op(one), isa), order, isa.num_qubits)
            for one in self.compared
        ]
        for k, one in enumerate(self._bound(small)):
            state = Statevector(one)
            padded = np.zeros(2 ** len(order), complex)
            padded[: len(self.states[k])] = self.states[k]  # all other qubits end in |0⟩
            theirs = np.array([state.expectation_value(operator) for operator in operators])
            self._compare("transpiled", "the ISA circuit's amplitudes", state.data, padded)
            self._compare("transpiled", "observables in its layout", theirs, self.values[k])

    def measured(self, circuits: Sequence[QuantumCircuit], bases: Sequence[Basis]) -> None:
        """The exact probabilities of the outcomes of what runs, read off as counts are."""
        for circuit, basis in zip(circuits, bases, strict=True):
            where = _measured_qubits(circuit)
            small = _cut(circuit, where)[0]
            for k, one in enumerate(self._bound(small)):
                values = self.of_string[k]
                each = np.abs(Statevector(one).data) ** 2
                each = each.reshape(-1, 2 ** len(where)).sum(axis=0)
                if set(basis.label) <= {"I", "Z"}:
                    exact = np.abs(self.states[k]) ** 2
                    self._compare("measured", "probabilities of outcomes", each, exact)
                theirs = np.array([_parity(np.arange(len(each)), m) @ each for m in basis.parities])
                ours = np.array([values[_label(basis.label, m)] for m in basis.parities])
                self._compare("measured", "outcome parities", theirs, ours)

    def aer(
        self, circuits: Sequence[QuantumCircuit], bases: Sequence[Basis], shots: int, seed: int
    ) -> None:
        """Counts of what runs, each within the binomial bound of its exact probability."""
        small = [_cut(circuit, _measured_qubits(circuit), measure=True)[0] for circuit in circuits]
        bound = [one for circuit in small for one in self._bound(circuit)]
        result = AerSimulator().run(bound, shots=shots, seed_simulator=seed).result()
        if not result.success:
            raise CertificationError("aer", f"Aer did not run: {result.status}")
        comparisons = sum(len(basis.parities) for basis in bases) * len(self.points)
        most = math.log(2 * comparisons / FALSE_ALARM)
        k = 0
        for basis in bases:
            for values in self.of_string:
                counts = {int(o, 16): c for o, c in result.results[k].data.counts.items()}
                outcomes, seen = np.array(list(counts)), np.array(list(counts.values()))
                k += 1
                for mask in basis.parities:
                    label = _label(basis.label, mask)
                    mean = float(_parity(outcomes, mask) @ seen / shots)
                    surprise = shots * _divergence((1 + mean) / 2, (1 + values[label]) / 2)
                    self._note("aer", abs(mean - values[label]))
                    if seen.sum() != shots or not surprise <= most:
                        raise CertificationError(
                            "aer",
                            f"{seen.sum()} of {shots} shots gave {mean:.4f} for {label}, whose "
                            f"exact value is {values[label]:.4f}; by chance that happens less than "
                            f"once in {1 / FALSE_ALARM:.0e} times.",
                        )

    def _bound(self, form: QuantumCircuit) -> list[QuantumCircuit]:
        """A circuit in table form at every point, its Parameters bound by name."""
        columns = angle_columns(self.circuit)
        return [
            assigned(form, {p: table[columns[p.name]] for p in form.parameters})
            for table in self.tables
        ]

    def _note(self, step: str, deviation: float) -> None:
        self.deviations[step] = max(self.deviations.get(step, 0.0), deviation)

    def _compare(self, step: str, what: str, theirs: np.ndarray, ours: np.ndarray) -> None:
        deviation = float(np.abs(theirs - ours).max())
        if not deviation <= TOLERANCE:  # `not <=` so that NaN fails too
            where = int(np.abs(theirs - ours).argmax())
            raise CertificationError(
                step,
                f"{what} differ from JAX's by {deviation:.3g} (number {where}, at most "
                f"{TOLERANCE:g} is allowed).",
            )
        self._note(step, deviation)


def laid_out(operator: SparsePauliOp, isa: QuantumCircuit) -> SparsePauliOp:
    """An observable of the circuit on the device's qubits."""
    return operator.apply_layout(isa.layout)


def _device(backend: Any, num_qubits: int) -> Any:
    """The backend, with a line of Heron's gates in place of None."""
    if backend is None:
        size = max(num_qubits, 2)
        line = CouplingMap.from_line(size)
        return GenericBackendV2(
            size, basis_gates=["cz", "rz", "sx", "x"], coupling_map=line, seed=SEED
        )
    named = isinstance(backend, str)
    device = fake_backend(check_fake_backend(backend, "backend")) if named else backend
    if not hasattr(device, "target"):
        raise InputError(
            "Argument `backend` must be a Qiskit BackendV2 or the name of a fake backend, "
            f"but is {shown(backend)}."
        )
    check_size(device, num_qubits, device.name)
    return device


def _points(
    circuit: Circuit, inputs: Any, weights: Any, draws: int, seed: int
) -> list[tuple[Any, Any]]:
    """The given points, or random ones in [-4, 4] at which every angle is a number."""
    rows = fixed = None
    if inputs is not None:
        rows = finite_array("inputs", inputs, ("draws", circuit.num_inputs))
    if weights is not None:
        fixed = finite_array("weights", weights, (circuit.num_weights,))
    rng = np.random.default_rng(seed)
    points: list[tuple[Any, Any]] = []
    count = draws if rows is None else at_least("inputs", len(rows), 1)
    for attempt in range(100 * count):
        reach = 4 / (1 + attempt // count)  # smaller where functions are not defined everywhere
        x = rng.uniform(-reach, reach, circuit.num_inputs) if rows is None else rows[len(points)]
        w = rng.uniform(-reach, reach, circuit.num_weights) if fixed is None else fixed
        if _is_defined(circuit, x, w):
            points.append((x, w))
        if len(points) == count:
            return points
    raise InputError(
        "Arguments `inputs` and `weights` must be points at which every angle of the circuit is a "
        "finite number, but one given or 100 random ones are not."
    )


def _is_defined(circuit: Circuit, x: np.ndarray, w: np.ndarray) -> bool:
    try:
        return all(math.isfinite(evaluate(a, x.tolist(), w.tolist())) for a in circuit.angles)
    except (ArithmeticError, ValueError):
        return False


def _z_basis(num_qubits: int) -> Basis:
    """The basis of a circuit that is measured as it is: every qubit, and all together."""
    masks = dict.fromkeys([*(1 << q for q in range(num_qubits)), 2**num_qubits - 1])
    return Basis("Z" * num_qubits, tuple(masks), ())


def _check_isa(
    isa: QuantumCircuit, circuit: Circuit, observables: Sequence[PauliSum], device: Any
) -> None:
    """Refuse an ISA circuit that is not the table form, measured, in the device's gates."""
    for label in (label for one in observables for label, _ in one.terms):
        if set(label) - {"I", "Z"}:
            raise InputError(
                "Argument `observables` must hold I and Z only where `isa` is given, since its "
                f"outcomes say nothing about {label!r}."
            )
    unknown = {parameter.name for parameter in isa.parameters} - angle_columns(circuit).keys()
    if unknown:
        raise InputError(
            "Argument `isa` must be transpiled from to_qiskit(circuit), but has the parameter "
            f"{min(unknown)!r}."
        )
    bits, wanted = sorted(measured_qubits(isa)), [*range(circuit.num_qubits)]
    if bits != wanted:
        raise InputError(
            f"Argument `isa` must measure the circuit's qubits into the bits {wanted}, but "
            f"measures into the bits {bits}."
        )
    if device is not None:
        check_gates(isa, device.target, device.name)


def _measured_qubits(circuit: QuantumCircuit) -> tuple[int, ...]:
    """Which qubit each bit of the outcome is measured on."""
    return tuple(qubit for _, qubit in sorted(measured_qubits(circuit).items()))


def _cut(
    circuit: QuantumCircuit, first: Sequence[int], measure: bool = False
) -> tuple[QuantumCircuit, list[int]]:
    """The circuit on the qubits in use, those of `first` in front; and the order of all."""
    order = [*first, *(qubit for qubit in used_qubits([circuit]) if qubit not in first)]
    return on_qubits(circuit, order, measure), order


def _on(operator: SparsePauliOp, order: Sequence[int], num_qubits: int) -> SparsePauliOp:
    """An observable of the whole device on the qubits of `order`, where alone it acts."""
    terms = []
    for label, coefficient in zip(operator.paulis.to_labels(), operator.coeffs, strict=True):
        letters = dict(enumerate(reversed(label)))
        outside = {letters[q] for q in range(num_qubits) if q not in order}
        if outside - {"I"}:
            raise CertificationError(
                "transpiled", f"observable {label} acts on qubits that no gate prepares."
            )
        terms.append(("".join(letters[q] for q in reversed(order)), coefficient))
    return SparsePauliOp.from_list(terms)


def _label(basis: str, mask: int) -> str:
    """The string that is the parity of the bits of `mask` in a basis."""
    last = len(basis) - 1
    return "".join(letter if mask >> (last - k) & 1 else "I" for k, letter in enumerate(basis))


def _parity(outcomes: np.ndarray, mask: int) -> np.ndarray:
    """1 or -1 for each outcome."""
    return 1 - 2.0 * (np.bitwise_count(outcomes & mask) & 1)


def _divergence(seen: float, exact: float) -> float:
    """D(seen ‖ exact) of two coins, in nats; what is impossible up to rounding stays so."""
    exact = min(max(exact, 1e-9), 1 - 1e-9)
    return sum(q * math.log(q / p) for q, p in ((seen, exact), (1 - seen, 1 - exact)) if q > 0)
