"""What observables see of a circuit: gates that change no expectation value are left out.

Backwards from the measurement, a gate is left out where all of its qubits are free, that is no gate
kept behind it acts on them and no observable has X or Y there: a gate on qubits that no observable
looks at, a diagonal one, which turns phases that Z does not see, and a permutation of basis states
that is affine, which turns strings of Z into others.
"""

from __future__ import annotations

from collections.abc import Sequence

from qnn_jax.circuits.observables import PauliSum, masks
from qnn_jax.simulate.gate_forms import Instruction
from qnn_jax.simulate.gf2 import on_bits


def visible(
    gates: Sequence[Instruction], observables: Sequence[PauliSum]
) -> tuple[list[Instruction], tuple[PauliSum, ...]]:
    """The gates that matter, and the observables to take behind the last of them."""
    num_qubits = observables[0].num_qubits
    labels = {label for one in observables for label, _ in one.terms}
    # Of each string the mask of its Zs, and whether its sign has changed.
    strings = {label: (masks(label)[1], 0) for label in labels}
    held = 0
    for label in labels:
        held |= masks(label)[0]
    kept: list[Instruction] = []
    for gate in reversed(gates):
        own = sum(1 << q for q in gate.qubits)
        seen = any(mask & own for mask, _ in strings.values())
        if not own & held and (not seen or gate.form.phases is not None):
            continue
        if not own & held and gate.form.affine is not None:
            affine = on_bits(gate.form.affine, gate.qubits, num_qubits)
            for label, (mask, sign) in strings.items():
                pulled, flipped = affine.pull(mask)
                strings[label] = pulled, sign ^ flipped
            continue
        kept.append(gate)
        held |= own
    if len(kept) == len(gates):
        return list(gates), tuple(observables)
    return kept[::-1], tuple(
        PauliSum(
            tuple(
                (_label(label, strings[label][0]), -c if strings[label][1] else c)
                for label, c in one.terms
            )
        )
        for one in observables
    )


def _label(label: str, signs: int) -> str:
    """The label with Z where `signs` says, beside the X and Y that it has."""
    flips, _, _ = masks(label)
    letters = [
        letter if flips >> q & 1 else "IZ"[signs >> q & 1]
        for q, letter in enumerate(reversed(label))
    ]
    return "".join(reversed(letters))
