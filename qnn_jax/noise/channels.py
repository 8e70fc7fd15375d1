"""Channels as real Pauli-transfer matrices, shape (4**n, 4**n); their rates may be traced by JAX.

Digit k of an index is the k-th qubit's Pauli: 0 to 3 for I, X, Y and Z. A channel of numbers comes
as an array of NumPy in double precision; one of traced rates as an array of JAX, unchecked.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qnn_jax.circuits.arrays import as_numbers, finite_array
from qnn_jax.circuits.checks import num_qubits_of, of_type, real, several, shown
from qnn_jax.circuits.gates import GATES
from qnn_jax.circuits.op import Op
from qnn_jax.errors import InputError
from qnn_jax.noise.transfer import choi, evaluated, gate_transfer, transfer_of_kraus

#: What a channel may be off by: numbers that were rounded to single precision on their way.
TOLERANCE = 1e-6
#: The most qubits of a channel that is given or built.
MOST_QUBITS = 4


def depolarizing(probability: Any, num_qubits: int = 1) -> Any:
    """ρ → (1 - p) ρ + p I / 2**n, as Qiskit's `depolarizing_error`.

    Args:
        probability: p, from 0 to 4**n / (4**n - 1), where all Paulis but I are equally likely.
        num_qubits: n, at most 4.

    Raises:
        InputError: where the channel would not be completely positive.

    >>> print(depolarizing(0.1).diagonal())
    [1.  0.9 0.9 0.9]
    """
    n = _num_qubits(num_qubits)
    p = _rate("probability", probability, most=4**n / (4**n - 1))
    m = _namespace(p)
    return m.diag(m.concatenate([m.ones(1), (1 - p) * m.ones(4**n - 1)]))


def pauli(probabilities: Mapping[str, Any]) -> Any:
    """Paulis that happen with some probability: ρ → Σ p P ρ P.

    Args:
        probabilities: by label in Qiskit's order ("XI" is X on the second qubit); what is left of
            1 is the identity's, where that is not named.

    Raises:
        InputError: for labels of several lengths, and probabilities below 0 or above 1 in all.

    >>> print(pauli({"X": 0.25}).diagonal())
    [1.  1.  0.5 0.5]
    """
    of_type("probabilities", probabilities, Mapping, "a mapping from Pauli labels to numbers")
    labels = list(probabilities)
    for label in labels:
        if not isinstance(label, str) or not label or set(label) - set("IXYZ"):
            raise InputError(
                "Argument `probabilities` must have labels of the letters I, X, Y and Z, but has "
                f"{shown(label)}."
            )
        if len(label) != len(labels[0]):
            raise InputError(
                "Argument `probabilities` must have labels of one length, but has "
                f"{labels[0]!r} and {label!r}."
            )
    if not labels:
        raise InputError("Argument `probabilities` must have a label, but is empty.")
    n = _num_qubits(len(labels[0]), "probabilities")
    rates = [_rate("probabilities", rate) for rate in probabilities.values()]
    total: Any = sum(rates)
    rest = "I" * n not in probabilities
    if not _traced(total) and not (total <= 1 + TOLERANCE if rest else abs(total - 1) < TOLERANCE):
        raise InputError(
            f"Argument `probabilities` must sum to {'at most 1' if rest else '1'}, but sums to "
            f"{total:g}."
        )
    m = _namespace(*rates)
    digits = np.arange(4**n)[:, None] // 4 ** np.arange(n) % 4
    diagonal: Any = (1 - total) * np.ones(4**n) if rest else 0.0
    for label, rate in zip(labels, rates, strict=True):
        own = np.array(["IXYZ".index(letter) for letter in reversed(label)])
        odd = ((digits != own) & (digits != 0) & (own != 0)).sum(1) % 2
        diagonal = diagonal + rate * (1 - 2.0 * odd)
    return m.diag(m.asarray(diagonal))


def amplitude_damping(rate: Any) -> Any:
    """|1> decays to |0> with probability `rate`."""
    rate = _rate("rate", rate)
    m = _namespace(rate)
    return relaxing(m, m.sqrt(1 - rate), 1 - rate, rate)


def phase_damping(rate: Any) -> Any:
    """The phase of a qubit is lost: coherences shrink by √(1 - rate), as Qiskit's."""
    rate = _rate("rate", rate)
    m = _namespace(rate)
    return relaxing(m, m.sqrt(1 - rate), 1.0 + 0 * rate, 0 * rate)


def thermal_relaxation(t1: Any, t2: Any, time: Any, excited: Any = 0.0) -> Any:
    """What a qubit does while it waits: coherences fall as exp(-t/T2), populations as exp(-t/T1).

    Args:
        t1: relaxation time, above 0, in the unit of `time`; may be infinite.
        t2: dephasing time, above 0 and at most 2 T1; may be infinite.
        time: at least 0.
        excited: the population of |1> in equilibrium.

    Raises:
        InputError: where T2 is above 2 T1, which no channel does, or a number is out of bounds.
    """
    t1, t2 = (checked_time(name, value, above=0.0) for name, value in (("t1", t1), ("t2", t2)))
    time = checked_time("time", time, least=0.0)
    excited = _rate("excited", excited)
    if not _traced(t1, t2) and t2 > 2 * t1 * (1 + 1e-9):
        raise InputError(f"Argument `t2` must be at most 2 `t1`, which is {2 * t1:g}, but is {t2}.")
    m = _namespace(t1, t2, time, excited)
    stay, coherent = m.exp(-time / t1), m.exp(-time / t2)
    return relaxing(m, coherent, stay, (1 - stay) * (1 - 2 * excited))


def coherent(gate: str, angle: Any) -> Any:
    """A gate of one angle as an error: `coherent("rx", 0.02)` turns 0.02 radians too far.

    Raises:
        InputError: where `gate` is no gate of the table with one angle.
    """
    one = [name for name, row in GATES.items() if row.num_angles == 1 and row.num_qubits]
    if not isinstance(gate, str) or gate not in one:
        raise InputError(
            f"Argument `gate` must be a gate of one angle ({', '.join(one)}), but is {shown(gate)}."
        )
    angle = angle if _traced(angle) else real("angle", angle)
    m = _namespace(angle)
    return evaluated(m, gate_transfer(gate), m.asarray(angle)[None])


def kraus(operators: Any) -> np.ndarray:
    """The channel ρ → Σ K ρ K†.

    Args:
        operators: shape (count, 2**n, 2**n); bit k of a row's number is the k-th qubit.

    Raises:
        InputError: for another shape, and where Σ K†K is not the identity.
    """
    array = as_numbers("operators", operators, complex_too=True)
    size = array.shape[-1] if array.ndim == 3 else 0
    if array.ndim != 3 or array.shape[1] != size or size not in (2, 4, 8, 16) or not len(array):
        raise InputError(
            "Argument `operators` must have shape (count, 2**n, 2**n) for 1 to 4 qubits, but has "
            f"shape {array.shape}."
        )
    if not np.isfinite(array).all():
        raise InputError(f"Argument `operators` must be finite, but is {shown(operators)}.")
    gap = np.abs(np.einsum("kji,kjl->il", array.conj(), array) - np.eye(size)).max()
    if gap > TOLERANCE:
        raise InputError(
            "Argument `operators` must preserve the trace, but the sum of K†K differs from the "
            f"identity by {gap:.3g}."
        )
    return transfer_of_kraus(array.astype(complex))


def compose(*channels: Any) -> Any:
    """Channels of as many qubits each, one after the other, the first one first.

    Raises:
        InputError: where there is none, or their sizes differ.
    """
    found = [checked_channel("channels", channel) for channel in channels]
    if not found or any(channel.shape != found[0].shape for channel in found):
        raise InputError(
            "Argument `channels` must be channels of as many qubits each, but has the shapes "
            f"{[channel.shape for channel in found]}."
        )
    return functools.reduce(lambda first, then: then @ first, found)


def checked_channel(name: str, channel: Any) -> Any:
    """A Pauli-transfer matrix that is trace preserving and completely positive, else refused.

    Traced numbers are taken as they are.
    """
    array = _square(name, channel)
    sizes = [4**n for n in range(1, MOST_QUBITS + 1)]
    if array.ndim != 2 or array.shape[0] != array.shape[1] or len(array) not in sizes:
        raise InputError(
            f"Argument `{name}` must be a Pauli-transfer matrix of shape (4**n, 4**n) for 1 to "
            f"{MOST_QUBITS} qubits, but has shape {array.shape}."
        )
    if isinstance(array, jax.Array):
        return array
    first = array[0] - np.eye(len(array))[0]
    if np.abs(first).max() > TOLERANCE:
        raise InputError(
            f"Argument `{name}` must be a channel that preserves the trace, the first row of whose "
            f"matrix is 1, 0, …, 0, but it differs by {np.abs(first).max():.3g}."
        )
    least = float(np.linalg.eigvalsh(choi(array)).min())
    if least < -TOLERANCE:
        raise InputError(
            f"Argument `{name}` must be a completely positive channel, but its Choi matrix has the "
            f"eigenvalue {least:.3g}."
        )
    return array


def _square(name: str, value: Any, least: float = -math.inf) -> Any:
    """A square matrix of numbers of at least `least`; traced numbers are taken as they are."""
    if _traced(value):
        return jnp.asarray(value)
    try:
        size = len(value)
    except Exception:  # whatever a foreign type raises
        size = 0
    return finite_array(name, value, (size, size), least)


def relaxing(m: Any, coherence: Any, population: Any, pumped: Any) -> Any:
    """The matrix that multiplies X and Y by `coherence`, Z by `population`, and adds to Z."""
    diagonal = m.diag(m.stack([coherence * 0 + 1.0, coherence, coherence, population]))
    corner = np.zeros((4, 4))
    corner[3, 0] = 1
    return diagonal + pumped * corner


def _traced(*values: Any) -> bool:
    return any(isinstance(value, jax.core.Tracer) for value in values)


def _namespace(*values: Any) -> Any:
    return jnp if _traced(*values) else np


def _rate(name: str, value: Any, most: float = 1.0) -> Any:
    """A probability, traced or a number."""
    return _scalar(name, value) if _traced(value) else real(name, value, 0, most)


def checked_time(name: str, value: Any, least: float = -math.inf, above: float = -math.inf) -> Any:
    """A time, traced, a number or infinity."""
    if _traced(value):
        return _scalar(name, value)
    if isinstance(value, float | np.floating) and value == math.inf:
        return math.inf
    return real(name, value, least=least, above=above)


def _scalar(name: str, value: Any) -> Any:
    if value.ndim or not jnp.issubdtype(value.dtype, jnp.floating):
        raise InputError(
            f"Argument `{name}` must be one real number, but has dtype {value.dtype} and shape "
            f"{value.shape}."
        )
    return value


def _num_qubits(value: Any, name: str = "num_qubits") -> int:
    n = num_qubits_of(value, name=name)
    if n > MOST_QUBITS:
        raise InputError(
            f"Argument `{name}` must be of at most {MOST_QUBITS} qubits for a channel, but is of "
            f"{n}."
        )
    return n


def checked_readout_matrix(name: str, matrix: Any) -> Any:
    """A column-stochastic matrix, entry (read, prepared), of 1 to 4 qubits, else refused."""
    array = _square(name, matrix, least=-TOLERANCE)
    size = len(array) if array.ndim else 0
    if array.shape != (size, size) or size not in (2, 4, 8, 16):
        raise InputError(
            f"Argument `{name}` must have square matrices of 2**n outcomes for 1 to 4 qubits, but "
            f"one has shape {array.shape}."
        )
    if isinstance(array, np.ndarray) and np.abs(array.sum(0) - 1).max() > TOLERANCE:
        raise InputError(
            f"Argument `{name}` must have matrices whose columns, of the prepared states, sum to "
            f"1, but one has the sums {array.sum(0)}."
        )
    return array


def checked_gate(name: str, gate: Any, qubits: Any) -> tuple[str, tuple[int, ...] | None]:
    """The name of a gate of the table and the qubits that it is on; None for any."""
    if not isinstance(gate, str) or (gate not in GATES and gate != "unitary"):
        raise InputError(
            f"Argument `{name}` must name Qiskit's standard gates, as 'cx' is, or pairs of a name "
            f"and qubits, but names {shown(gate)}."
        )
    if qubits is None:
        return gate, None
    where = several(name, qubits, "pairs of a gate's name and a tuple of qubits")
    row = GATES.get(gate)
    found = Op(gate, where, (0.0,) * row.num_angles).qubits if row else tuple(map(int, where))
    return gate, found
