"""Better expectation values from a noisy device: an executor around another one. Imports no JAX.

Readout errors are measured on basis states and inverted; what noise is left acts on expectation
values roughly as a scale and a shift (QuantumNAT, arXiv:2110.11331), which anchors undo: examples
from the training set whose exact values are known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np

from qnn_jax.circuits.arrays import finite_array
from qnn_jax.circuits.checks import of_type
from qnn_jax.circuits.circuit import Circuit, checked_circuit
from qnn_jax.circuits.observables import Observables, observables_on
from qnn_jax.errors import InputError
from qnn_jax.executors.counts import Estimate, estimate
from qnn_jax.executors.executor import Executor, Expectations, checked_executor
from qnn_jax.executors.readout import Readout, checked_readout

Measured = TypeVar("Measured", Estimate, Expectations)


class Affine(NamedTuple):
    """measured ≈ scale · exact + shift, for each observable, shapes (observables,)."""

    scale: np.ndarray
    shift: np.ndarray

    def undo(self, measured: Measured) -> Measured:
        """What the exact values were, as far as scale and shift tell.

        Raises:
            InputError: where `measured` is of other observables, or a scale is 0.
        """
        found = _checked_affine(self, "scale", "shift")
        measured = _checked("measured", measured, ("rows", len(found.scale)))
        values, stderr = measured.values, measured.stderr
        # In the dtype of the values, which may be traced by JAX.
        scale, shift = (np.asarray(number, values.dtype) for number in found)
        return measured._replace(values=(values - shift) / scale, stderr=stderr / np.abs(scale))


def _checked_affine(affine: Affine, *names: str) -> Affine:
    """Refuse what is no scale and shift; messages call them by these names."""
    scale = finite_array(names[0], affine.scale, ("observables",))
    shift = finite_array(names[-1], affine.shift, scale.shape)
    if not scale.all():
        raise InputError(f"Argument `{names[0]}` must not be 0, but is {scale}.")
    return Affine(scale, shift)


def _checked(name: str, value: Measured, shape: tuple[int | str, ...]) -> Measured:
    """Refuse what is no result of a shape. What an executor gives may be traced, or NaN."""
    what = "an Estimate, as estimate gives it, or Expectations"
    of_type(name, value, (Estimate, Expectations), what)
    if isinstance(value, Estimate):
        values = finite_array(f"{name}.values", value.values, shape)
        stderr = np.asarray(value.stderr, float)
        # Of a single shot nothing is known: its standard error is infinite.
        finite_array(f"{name}.stderr", np.where(stderr == np.inf, 0, stderr), values.shape, least=0)
        return Estimate(values, stderr)
    found = np.shape(value.values)
    if len(found) != len(shape) or found[-1] != shape[-1]:
        raise InputError(
            f"Argument `{name}` must have values of shape {shape}, but of shape {found}."
        )
    return value


def fit_affine(measured: Measured, exact: np.ndarray) -> Affine:
    """Scale and shift from anchors.

    The measured values are fitted as a function of the exact ones, since only they are noisy: the
    other way round their noise would flatten the line.

    Args:
        measured: of the anchors, shape (anchors, observables).
        exact: their exact values, of the same shape.

    Raises:
        InputError: where the exact values of an observable are too alike to fit a line, or where
            the device shows nothing of them.
    """
    exact = finite_array("exact", exact, ("anchors", "observables"))
    measured = _checked("measured", measured, exact.shape)
    spread = exact - exact.mean(axis=0)
    power = (spread**2).sum(axis=0)
    if len(exact) < 3 or (power < 1e-6 * len(exact)).any():
        raise InputError(
            "Argument `exact` must hold at least 3 anchors whose exact values differ, but "
            f"there are {len(exact)} with spreads {np.sqrt(power / max(len(exact), 1))}."
        )
    scale = (spread * measured.values).sum(axis=0) / power
    noise = np.sqrt((spread**2 * measured.stderr**2).sum(axis=0)) / power
    if (np.abs(scale) <= 3 * noise).any():
        raise InputError(
            f"Argument `measured` must follow the exact values, but its slope is {scale} with a "
            f"standard error of {noise}: use more shots or another backend."
        )
    return Affine(scale, measured.values.mean(axis=0) - scale * exact.mean(axis=0))


def mitigated(
    executor: Executor, readout: Readout | None = None, affine: Affine | None = None
) -> Executor:
    """Another executor, and what its noise did undone: readout errors first, then the rest.

    Args:
        executor: where the circuit runs. For `readout` its record must hold `counts`, as those of
            `bridge.aer` do.
        readout: of the circuit's qubits in their order, as `fit_readout` finds it on the very
            qubits of the device that the circuit runs on.
        affine: scale and shift of each observable, as `fit_affine` finds them from values of the
            same executor with the same `readout`.

    Returns:
        An executor with the record of the one that it wraps. With `affine` alone it can be
        differentiated and transformed where that one can. Standard errors are those of the
        corrected values; that of the calibration is not in them.

    Raises:
        InputError: where there is nothing to undo, or readout errors would be inverted after a
            scale; from the executor where `readout` or `affine` is of another number of qubits or
            observables, or there are no counts.
    """
    if readout is None and affine is None:
        raise InputError(
            "Argument `readout` or `affine` of `mitigated` must be given, but both are None."
        )
    if readout is not None and isinstance(executor, _Mitigated):
        raise InputError(
            "Argument `executor` of `mitigated` must not be mitigated itself where `readout` is "
            "given, because counts come before its correction; give both corrections at once."
        )
    if readout is not None:
        of_type("readout", readout, Readout, "a Readout, as fit_readout gives it,")
        readout = checked_readout(readout, readout.num_qubits)
    if affine is not None:
        of_type("affine", affine, Affine, "an Affine, as fit_affine gives it,")
        affine = _checked_affine(affine, "affine")
    return _Mitigated(checked_executor(executor), readout, affine)


# By identity: arrays have no hash, and Flax hashes the executor of a layer.
@dataclass(frozen=True, eq=False)
class _Mitigated:
    executor: Executor
    readout: Readout | None
    affine: Affine | None

    def __call__(
        self, circuit: Circuit, observables: Observables, inputs: Any, weights: Any, key: Any = None
    ) -> Expectations:
        sums = observables_on(checked_circuit(circuit).num_qubits, observables)
        if self.readout is not None:
            checked_readout(self.readout, circuit.num_qubits)
        if self.affine is not None and np.shape(self.affine.scale) != (len(sums),):
            raise InputError(
                f"Argument `affine` must be of {len(sums)} observables, as many as are measured, "
                f"but has shape {np.shape(self.affine.scale)}."
            )
        found = self.executor(circuit, sums, inputs, weights, key)
        if self.readout is not None:
            counts = getattr(found.record, "counts", None)
            if counts is None:
                raise InputError(
                    "Argument `executor` of `mitigated` must leave counts in its record for "
                    "`readout` to be inverted, as `bridge.aer` does, but leaves "
                    f"{type(found.record).__name__}; give `affine` alone."
                )
            array = found.values.__array_namespace__().asarray
            dtype = found.values.dtype
            values, stderr = (array(n, dtype) for n in estimate(counts, sums, self.readout))
            found = Expectations(values, stderr, found.record)
        return found if self.affine is None else self.affine.undo(found)
