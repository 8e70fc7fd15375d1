"""Multiplexed rotations: a rotation whose angle depends on the values of other qubits.

The multiplexer turns `target` by α_p where the controls hold the number p (bit k of p is
`controls[k]`). It is 2**k rotations with CX between them, in the order of the Gray code
g(i) = i ^ (i >> 1): a CX before and after a rotation reverses its sense, so rotation i counts with
the sign (-1)^popcount(p & g(i)), and its angle is the Walsh transform of the α,

    θ_i = 2**-k Σ_p (-1)^popcount(p & g(i)) α_p.

Reference: Möttönen et al., arXiv:quant-ph/0404089.
"""

from __future__ import annotations

from collections.abc import Sequence

from qnn_jax.circuits.angles import AngleLike
from qnn_jax.circuits.checks import check_num_gates
from qnn_jax.circuits.op import Op


def gray(number: int) -> int:
    """The Gray code: neighbours differ in one bit."""
    return number ^ (number >> 1)


def multiplexed(
    gate: str, controls: Sequence[int], target: int, angles: Sequence[AngleLike]
) -> list[Op]:
    """The rotations "ry" or "rz" by the transformed angles θ_i, with CX between them.

    >>> [str(op) for op in multiplexed("ry", [0], 1, [0.5, 0.25])]
    ['ry(0.5)', 'cx', 'ry(0.25)', 'cx']
    """
    ops = []
    for i, angle in enumerate(angles):
        ops.append(Op(gate, target, angle))
        flipped = gray(i) ^ gray((i + 1) % len(angles))
        if flipped:
            ops.append(Op("cx", (controls[flipped.bit_length() - 1], target)))
    return ops


def where_all_controls_are_1(
    gate: str, controls: Sequence[int], target: int, angle: AngleLike
) -> list[Op]:
    """The rotation by `angle` where every control is 1, and by nothing elsewhere."""
    check_num_gates(2 ** len(controls))
    share = 2.0 ** -len(controls)
    signs = ((-1) ** gray(i).bit_count() for i in range(2 ** len(controls)))
    return multiplexed(gate, controls, target, [sign * share * angle for sign in signs])
