"""The noise of a device as a value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import jax
import numpy as np

from qnn_jax.circuits.checks import is_integer, num_qubits_of, of_type, several, shown
from qnn_jax.circuits.gates import GATES
from qnn_jax.errors import InputError
from qnn_jax.noise.channels import (
    checked_channel,
    checked_gate,
    checked_readout_matrix,
    checked_time,
    thermal_relaxation,
)

#: Where something is: a gate anywhere, or a gate on some qubits.
Place: TypeAlias = "str | tuple[str, tuple[int, ...]]"


@dataclass(frozen=True, eq=False)
class Idle:
    """What qubits lose while they wait for others, from a schedule as late as possible.

    Attributes:
        durations: of gates in seconds, by name, or by name and qubits; a gate that is not named
            takes no time.
        t1: relaxation time of each qubit in seconds, infinite where it has none.
        t2: dephasing time of each qubit, at most 2 T1.
        excited: the population of |1> of each in equilibrium; none by default.
    """

    durations: Mapping[Any, float]
    t1: tuple[Any, ...]
    t2: tuple[Any, ...]
    excited: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        of_type("durations", self.durations, Mapping, "a mapping from gates to seconds")
        durations = {
            _place("durations", place): checked_time("durations", seconds, least=0.0)
            for place, seconds in self.durations.items()
        }
        t1 = several("t1", self.t1, "times, one a qubit")
        t2 = several("t2", self.t2, "times, one a qubit")
        excited = several("excited", self.excited, "populations, one a qubit") or (0.0,) * len(t1)
        for name, values in (("t2", t2), ("excited", excited)):
            if len(values) != len(t1):
                raise InputError(
                    f"Argument `{name}` must have a number for each of the {len(t1)} qubits that "
                    f"`t1` has, but has {len(values)}."
                )
        for numbers in zip(t1, t2, excited, strict=True):
            thermal_relaxation(numbers[0], numbers[1], 1.0, numbers[2])
        for name, value in (("durations", durations), ("t1", t1), ("t2", t2), ("excited", excited)):
            object.__setattr__(self, name, value)

    def duration(self, gate: str, qubits: tuple[int, ...]) -> float:
        """Of a gate on some qubits, in seconds."""
        return self.durations.get((gate, qubits), self.durations.get((gate, None), 0.0))

    def channel(self, qubit: int, seconds: float) -> Any:
        """What a qubit does in that time."""
        return thermal_relaxation(self.t1[qubit], self.t2[qubit], seconds, self.excited[qubit])


@dataclass(frozen=True, eq=False)
class NoiseModel:
    """What errors the gates and the readout of a device have. A pytree: its numbers may be traced.

    Attributes:
        gates: the channel that follows a gate, a Pauli-transfer matrix of
            `qnn_jax.noise.depolarizing` and its like: by the gate's name for all qubits, or by name
            and qubits, ("cx", (0, 1)), which goes before. A channel of one qubit after a gate on
            several acts on each of them. Gates that are not named have no error.
        readout: column-stochastic matrices, entry (read, prepared): one for every qubit, or by the
            qubit, or by a tuple of qubits that are read together, bit k of an outcome being the
            k-th of them.
        idle: what qubits lose while they wait, or None.
        num_qubits: of how many qubits the model is, or None for any number.

    Raises:
        InputError: for channels that are not trace preserving or not completely positive, matrices
            that are not stochastic, unknown gates, and qubits that are not there.

    >>> from qnn_jax.noise import depolarizing
    >>> NoiseModel({"cx": depolarizing(0.01, 2)}, readout=[[0.98, 0.03], [0.02, 0.97]])
    NoiseModel(cx, readout)
    """

    gates: Mapping[Any, Any] = field(default_factory=dict)
    readout: Any = None
    idle: Idle | None = None
    num_qubits: int | None = None

    def __post_init__(self) -> None:
        if self.num_qubits is not None:
            object.__setattr__(self, "num_qubits", num_qubits_of(self.num_qubits))
        of_type("gates", self.gates, Mapping, "a mapping from gates to channels")
        gates = {}
        for place, channel in self.gates.items():
            found = _place("gates", place)
            gates[found] = checked_channel("gates", channel)
            self._check_size(found, gates[found])
            self._check_qubits("gates", found[1] or ())
        readout = self.readout
        if readout is not None and not isinstance(readout, Mapping):
            readout = {None: checked_readout_matrix("readout", readout)}
            if len(readout[None]) != 2:
                raise InputError(
                    "Argument `readout` must be a matrix of shape (2, 2) where it is for every "
                    f"qubit, but has shape {readout[None].shape}."
                )
        elif readout is not None:
            readout = dict(self._readout_at(*item) for item in readout.items())
            seen = [qubit for place in readout for qubit in place or ()]
            if len(set(seen)) < len(seen):
                raise InputError(
                    f"Argument `readout` must name each qubit once, but names {sorted(seen)}."
                )
        if self.idle is not None:
            of_type("idle", self.idle, Idle, "an Idle or None")
            if self.num_qubits is not None and len(self.idle.t1) != self.num_qubits:
                raise InputError(
                    f"Argument `idle` must have times of {self.num_qubits} qubits, but has those "
                    f"of {len(self.idle.t1)}."
                )
        object.__setattr__(self, "gates", gates)
        object.__setattr__(self, "readout", readout or {})

    def _readout_at(self, place: Any, matrix: Any) -> tuple[tuple[int, ...] | None, Any]:
        array = checked_readout_matrix("readout", matrix)
        if place is None:
            qubits = None
        else:
            one = (place,) if is_integer(place) else place
            qubits = several("readout", one, "a mapping from qubits to matrices")
            if not all(is_integer(q) and q >= 0 for q in qubits) or len(set(qubits)) < len(qubits):
                raise InputError(
                    f"Argument `readout` must name different qubits of at least 0, but names "
                    f"{shown(place)}."
                )
            qubits = tuple(map(int, qubits))
            self._check_qubits("readout", qubits)
        if len(array) != 2 ** (1 if qubits is None else len(qubits)):
            raise InputError(
                f"Argument `readout` must have a matrix of 2**n outcomes for n qubits, but that of "
                f"{shown(place)} has shape {array.shape}."
            )
        return qubits, array

    def _check_size(self, place: tuple[str, tuple[int, ...] | None], channel: Any) -> None:
        gate, qubits = place
        count = GATES[gate].num_qubits if gate in GATES else len(qubits or ())
        if len(channel) not in (4, 4 ** (count or 1)):
            raise InputError(
                f"Argument `gates` must have a channel of 1 or {count} qubits for `{gate}`, but "
                f"has one of shape {channel.shape}."
            )

    def _check_qubits(self, name: str, qubits: tuple[int, ...]) -> None:
        if self.num_qubits is not None and any(q >= self.num_qubits for q in qubits):
            raise InputError(
                f"Argument `{name}` must name qubits below {self.num_qubits}, the number of "
                f"qubits, but names {qubits}."
            )

    def channel(self, gate: str, qubits: tuple[int, ...]) -> Any:
        """What follows a gate on some qubits; None where nothing does."""
        return self.gates.get((gate, qubits), self.gates.get((gate, None)))

    def read(self, qubit: int) -> Any:
        """The readout matrix of a qubit by itself; None where it has none."""
        return self.readout.get((qubit,), self.readout.get(None))

    def read_with(self, qubits: Sequence[int]) -> list[int]:
        """The qubits, and behind them those that are read together with one of them."""
        groups = [group for group in self.read_together() if set(group) & set(qubits)]
        return list(dict.fromkeys([*qubits, *(qubit for group in groups for qubit in group)]))

    def read_together(self) -> dict[tuple[int, ...], Any]:
        """The matrices of qubits that are read together."""
        return {place: m for place, m in self.readout.items() if place and len(place) > 1}

    def check_circuit(self, num_qubits: int) -> None:
        """Refuse a circuit of other qubits, by an InputError."""
        there = self.num_qubits
        if there is None and self.idle is not None:
            there = len(self.idle.t1)
        if there is not None and num_qubits != there:
            raise InputError(
                f"Argument `noise` must be of the circuit's {num_qubits} qubits, but is of {there}."
            )

    @property
    def is_traced(self) -> bool:
        """Whether any of its numbers has no value yet."""
        return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(self))

    def __repr__(self) -> str:
        parts = sorted({gate for gate, _ in self.gates})
        parts += ["readout"] * bool(self.readout) + ["idle"] * (self.idle is not None)
        return f"NoiseModel({', '.join(parts)})"


def _place(name: str, place: Any) -> tuple[str, tuple[int, ...] | None]:
    if isinstance(place, tuple):
        if len(place) != 2:
            raise InputError(
                f"Argument `{name}` must name gates, or pairs of a gate and qubits, but names "
                f"{shown(place)}."
            )
        return checked_gate(name, *place)
    return checked_gate(name, place, None)


# Keys are static, numbers are leaves; nothing is checked again when JAX puts a model together.


def _flatten(model: NoiseModel) -> tuple[Any, Any]:
    idle = model.idle
    times = None if idle is None else (idle.t1, idle.t2, idle.excited)
    keys = (
        tuple(model.gates),
        tuple(model.readout),
        None if idle is None else tuple(idle.durations.items()),
        model.num_qubits,
    )
    return (tuple(model.gates.values()), tuple(model.readout.values()), times), keys


def _unflatten(keys: Any, leaves: Any) -> NoiseModel:
    gates, readout, durations, num_qubits = keys
    idle = None
    if durations is not None:
        idle = object.__new__(Idle)
        t1, t2, excited = leaves[2]
        idle.__dict__.update(durations=dict(durations), t1=t1, t2=t2, excited=excited)
    model = object.__new__(NoiseModel)
    model.__dict__.update(
        gates=dict(zip(gates, leaves[0], strict=True)),
        readout=dict(zip(readout, leaves[1], strict=True)),
        idle=idle,
        num_qubits=num_qubits,
    )
    return model


jax.tree_util.register_pytree_node(NoiseModel, _flatten, _unflatten)


def kept_as_numbers(model: NoiseModel) -> NoiseModel:
    """The model with arrays of NumPy, where none of its numbers is traced."""
    return jax.tree.map(np.asarray, model)
