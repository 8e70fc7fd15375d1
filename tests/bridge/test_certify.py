"""Certificates: right circuits get one, and every broken twin is refused at a named step."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, transpile
from qiskit.providers.fake_provider import GenericBackendV2
from qiskit.quantum_info import SparsePauliOp

from qnn_jax import Circuit, InputError, Op, w, x, zz_feature_map
from qnn_jax import real_amplitudes as ra
from qnn_jax.bridge import (
    Certificate,
    CertificationError,
    certification,
    certify,
    to_qiskit,
    to_sparse_pauli_op,
)
from qnn_jax.circuits import angles

CIRCUIT = zz_feature_map(2) + ra(2, reps=1)
DEVICE = GenericBackendV2(
    4, basis_gates=["cz", "rz", "sx", "x"], coupling_map=[(0, 1), (1, 2), (2, 3)], seed=3
)


def measured(circuit, bits=None):
    """What would run: the table form, measured, in the device's gates."""
    form = circuit if isinstance(circuit, QuantumCircuit) else to_qiskit(circuit)
    form = form.copy()
    full = QuantumCircuit(form.num_qubits, form.num_qubits)
    full.compose(form, inplace=True)
    full.measure(range(form.num_qubits), bits or range(form.num_qubits))
    return transpile(full, DEVICE, optimization_level=3, seed_transpiler=1)


@pytest.fixture(scope="module")
def certificate():
    return certify(CIRCUIT, ["ZZ", {"XI": 0.5, "IZ": -2.0}], DEVICE)


def test_a_right_circuit_is_certified(certificate):
    assert list(certificate.deviations) == [
        "named", "table", "expectations", "transpiled", "measured", "aer"
    ]  # fmt: skip
    exact = {k: v for k, v in certificate.deviations.items() if k != "aer"}
    assert max(exact.values()) < 1e-11
    assert 0 < certificate.deviations["aer"] < 0.15
    assert len(set(certificate.layout)) == 2
    assert set(certificate.layout) <= set(range(4))
    assert certificate.columns == tuple(range(CIRCUIT.num_angles))
    assert certificate.draws == 3
    assert not jax.config.jax_enable_x64  # it was on inside only


def test_certificates_are_json_both_ways(certificate):
    text = certificate.to_json()
    assert Certificate.from_json(text) == certificate
    packages = {"qnn-jax", "jax", "qiskit", "qiskit-aer", "qiskit-ibm-runtime"}
    assert set(json.loads(text)["versions"]) == packages
    assert "transpiled" in str(certificate)
    for bad in ("[]", "{", '{"circuit": 1}', text.replace("layout", "outlay")):
        with pytest.raises(InputError, match="must be JSON written by Certificate"):
            Certificate.from_json(bad)


def test_a_certificate_covers_what_was_compared_and_nothing_else(certificate):
    backend, layout = DEVICE.name, certificate.layout
    certificate.check(CIRCUIT, ["ZZ"], backend, layout)
    assert certificate.covers(CIRCUIT, [{"XI": 0.5, "IZ": -2.0}, "ZZ"])
    other = CIRCUIT.repeat(2)
    old = dataclasses.replace(certificate, versions={**certificate.versions, "qiskit": "0.1"})
    for one, arguments, message in (
        (certificate, (other, ["ZZ"]), "it is about another circuit"),
        (certificate, (CIRCUIT, ["ZI"]), "observable 'ZI' was not compared"),
        (certificate, (CIRCUIT, ["ZZ"], "FakeFez"), "it is about the device '.*', not 'FakeFez'"),
        (certificate, (CIRCUIT, ["ZZ"], backend, (9, 8)), r"it is about the qubits .*, not \(9, 8"),
        (old, (CIRCUIT, ["ZZ"]), "it was made with qiskit 0.1, not"),
    ):
        assert not one.covers(*arguments)
        with pytest.raises(InputError, match=message):
            one.check(*arguments)


def test_without_a_device_a_line_of_qubits_stands_in():
    circuit = Circuit(3, (Op("ry", 0, w[0]), Op("cx", (0, 2)), Op("crx", (2, 1), x[0])))
    found = certify(circuit, "ZIX", draws=1)
    assert found.backend is None
    assert found.covers(circuit, "ZIX")
    assert found.draws == 1


def test_points_are_where_all_angles_are_defined():
    circuit = Circuit(1, (Op("ry", 0, angles.call("asin", x[0]) + angles.call("log", w[0])),))
    assert certify(circuit, "Z", draws=2).draws == 2
    assert certify(circuit, "Z", inputs=[[0.5]], weights=[2.0]).draws == 1
    with pytest.raises(InputError, match="every angle of the circuit is a finite number"):
        certify(circuit, "Z", inputs=[[1.5]])


# -------------------------------------------------------------------------------- broken twins


def swapped_parameters(circuit, form):
    built = to_qiskit(circuit, form=form)
    first, second = built.parameters[:2]
    return built.assign_parameters({first: second, second: first})


def reversed_qubits(circuit, form):
    return to_qiskit(circuit, form=form).reverse_bits()


def without_phase(circuit, form):
    built = to_qiskit(circuit, form=form)
    built.global_phase = 0
    return built


def one_sign(circuit, form):
    built = to_qiskit(circuit, form=form)
    position = next(k for k, item in enumerate(built.data) if item.operation.name == "ry")
    item = built.data[position]
    built.data[position] = item.replace(operation=type(item.operation)(-item.operation.params[0]))
    return built


@pytest.mark.parametrize("form", ["named", "table"])
@pytest.mark.parametrize("broken", [swapped_parameters, reversed_qubits, without_phase, one_sign])
def test_broken_exports_are_refused(broken, form, monkeypatch):
    circuit = Circuit(1, (Op("global_phase", (), 0.5),)).on([0], 2) + CIRCUIT
    monkeypatch.setattr(
        certification,
        "to_qiskit",
        lambda c, form, which=form: broken(c, form) if form == which else to_qiskit(c, form=form),
    )
    with pytest.raises(CertificationError, match=f"at step '{form}'") as caught:
        certify(circuit, "ZZ", draws=1)
    assert caught.value.step == form


def test_a_phase_that_is_lost_before_control_is_refused(monkeypatch):
    """Where it matters: under a control the dropped phase is a relative one."""
    inner = Circuit(1, (Op("rx", 0, w[0]), Op("global_phase", (), w[1])))
    circuit = Circuit(2, (Op("h", 0),)).then(inner.controlled())

    def dropped(circuit, form):
        lost = to_qiskit(Circuit(1, inner.ops[:1], 0, 2), form="table").control(annotated=False)
        built = QuantumCircuit(2)
        built.h(0)
        return built.compose(lost)

    assert certify(circuit, "ZX", draws=1).draws == 1
    monkeypatch.setattr(certification, "to_qiskit", dropped)
    run = certification._Run(circuit, (), [(np.zeros(0), np.array([0.4, 0.9]))])
    monkeypatch.setattr(certification, "angle_columns", lambda circuit: {"angle_0": 0})
    with pytest.raises(CertificationError, match="at step 'table': the table form's amplitudes"):
        run.table()


def test_reversed_labels_are_refused(monkeypatch):
    def backwards(one):
        operator = to_sparse_pauli_op(one)
        labels = [label[::-1] for label in operator.paulis.to_labels()]
        return SparsePauliOp(labels, operator.coeffs)

    monkeypatch.setattr(certification, "to_sparse_pauli_op", backwards)
    # ⟨ZZ⟩ alone could not tell; the observables that certify adds do.
    with pytest.raises(CertificationError, match="at step 'expectations'"):
        certify(CIRCUIT, "ZZ", draws=1)


def test_observables_without_their_layout_are_refused(monkeypatch):
    def left_where_they_are(operator, isa):
        return operator.apply_layout(None, num_qubits=isa.num_qubits)

    monkeypatch.setattr(certification, "laid_out", left_where_they_are)
    with pytest.raises(CertificationError, match="at step 'transpiled'"):
        certify(CIRCUIT, "ZZ", DEVICE, draws=1)


BROKEN_ISA = {
    "swapped parameters": lambda: measured(swapped_parameters(CIRCUIT, "table")),
    "bits in the other order": lambda: measured(CIRCUIT, bits=[1, 0]),
    "one sign": lambda: measured(one_sign(CIRCUIT, "table")),
    "another circuit": lambda: measured(Circuit(2, CIRCUIT.ops[:-1], 2, 4)),
}


def test_an_isa_circuit_that_will_run_is_certified():
    found = certify(CIRCUIT, "ZZ", DEVICE, isa=measured(CIRCUIT))
    assert list(found.deviations) == ["named", "table", "expectations", "measured", "aer"]
    assert found.deviations["measured"] < 1e-12


@pytest.mark.parametrize("name", BROKEN_ISA)
def test_broken_isa_circuits_are_refused(name):
    with pytest.raises(CertificationError, match="at step 'measured'"):
        certify(CIRCUIT, "ZZ", isa=BROKEN_ISA[name](), draws=1)


@pytest.mark.parametrize("fault", ["wrong counts", "dropped shots"])
def test_counts_outside_of_the_binomial_bound_are_refused(fault, monkeypatch):
    class Broken(certification.AerSimulator):
        def run(self, circuits, shots, **options):
            if fault == "dropped shots":
                return super().run(circuits, shots=shots - 1, **options)
            flipped = []
            for one in circuits:
                copy = one.copy_empty_like()
                copy.ry(0.4, 0)  # a rotation that no one asked for
                flipped.append(copy.compose(one))
            return super().run(flipped, shots=shots, **options)

    monkeypatch.setattr(certification, "AerSimulator", Broken)
    with pytest.raises(CertificationError, match=r"at step 'aer': 409[56] of 4096 shots"):
        certify(CIRCUIT, "ZZ", draws=1)


# ------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: certify(Circuit(17), "Z" * 17), "at most 16 qubits to be certified, but has 17"),
        (lambda: certify(CIRCUIT, "ZZ", 7), "`backend` must be a Qiskit BackendV2 or the name"),
        (lambda: certify(CIRCUIT, "ZZ", "FakeFes"), "FakeFez"),
        (
            lambda: certify(zz_feature_map(5), "Z" * 5, DEVICE),
            "`backend` must have at least 5 qubits, as the circuit",
        ),
        (lambda: certify(CIRCUIT, "ZZ", inputs=[1.0, 2.0]), r"must have shape \(draws, 2\)"),
        (
            lambda: certify(CIRCUIT, "ZZ", isa=to_qiskit(CIRCUIT)),
            r"`isa` must measure the circuit's qubits into the bits \[0, 1\], .* bits \[\]",
        ),
        (
            lambda: certify(Circuit(1, (Op("rx", 0, x[0]),)), "Z", isa=_into_bit_one()),
            r"`isa` must measure the circuit's qubits into the bits \[0\], .* bits \[1\]",
        ),
        (lambda: certify(CIRCUIT, "ZX", isa=measured(CIRCUIT)), "outcomes say nothing about 'ZX'"),
        (
            lambda: certify(Circuit(2, (Op("h", 0),)), "ZZ", isa=measured(CIRCUIT)),
            "must be transpiled from to_qiskit.circuit., but has the parameter 'angle_",
        ),
        (
            lambda: certify(Circuit(2, (Op("h", 0),)), "ZZ", DEVICE, isa=_untranspiled()),
            "consist of gates of .* but has `h` on qubit 0",
        ),
    ],
)
def test_refusals(call, message):
    with pytest.raises(InputError, match=message):
        call()


def _into_bit_one():
    circuit = to_qiskit(Circuit(1, (Op("rx", 0, x[0]),)))
    circuit.add_register(ClassicalRegister(1, "a"), ClassicalRegister(1, "b"))
    circuit.measure(0, circuit.cregs[1][0])
    return circuit


def _untranspiled():
    circuit = to_qiskit(Circuit(2, (Op("h", 0),)))
    circuit.measure_all()
    return circuit
