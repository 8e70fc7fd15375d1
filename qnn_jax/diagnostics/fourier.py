"""The Fourier spectrum of a circuit's function: the possible and the used frequencies."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Complex, Float, Int

from qnn_jax.circuits.arrays import finite_array
from qnn_jax.circuits.circuit import Circuit, checked_circuit
from qnn_jax.circuits.observables import ObservableLike, PauliSum, observables_on
from qnn_jax.circuits.op import Op
from qnn_jax.diagnostics.affine import Slopes, Variable, hold, in_variables, slopes_of
from qnn_jax.diagnostics.checks import AnyArray
from qnn_jax.errors import InputError
from qnn_jax.noise.transfer import gate_transfer
from qnn_jax.simulate import expectations

#: Maximum number of points of the rescaled inputs that are simulated.
MAX_POINTS = 2**20
#: Ratios of frequencies count as rational up to this denominator.
_MAX_DENOMINATOR = 64


class Spectrum(NamedTuple):
    """f(x) = Σ coefficients[k] · exp(i frequencies[k] · x), exactly.

    The rows are all possible frequencies: with other weights, another observable or other gates
    without inputs, f has no others.

    Attributes:
        frequencies: in x, radians for each unit of an input, shape (rows, num_inputs).
        coefficients: at the given weights, shape (rows,); those of -frequency are conjugate.
        variables: the inputs as scaled by the circuit, for instance "w[0]*x[1]".
        harmonics: the frequencies as multiples of `units` in the variables, shape (rows,
            variables). A trained scale changes the frequencies, never the harmonics.
        units: the base frequency of each variable, in radians per unit of the variable.
    """

    frequencies: Float[np.ndarray, "rows inputs"]
    coefficients: Complex[np.ndarray, " rows"]
    variables: tuple[str, ...]
    harmonics: Int[np.ndarray, "rows variables"]
    units: Float[np.ndarray, " variables"]

    @property
    def used(self) -> Bool[np.ndarray, " rows"]:
        """The rows whose coefficient is not a rounding error."""
        return np.abs(self.coefficients) > 1e-9


def fourier_spectrum(
    circuit: Circuit,
    observable: ObservableLike,
    weights: Float[AnyArray, " weights"] = (),  # type: ignore[assignment]
    fixed: Mapping[int, float] | None = None,
) -> Spectrum:
    """The spectrum of x ↦ <observable>, by one FFT over a period of every rescaled input.

    The angles' expressions are checked to ensure that this is exact: each must be affine in the
    inputs, with commensurate coefficients. If weights scale an input, the variable is the product:
    F(w[0]*x[0], w[1]*x[0], …) is periodic in each, with a period independent of the weights.

    Args:
        circuit: the circuit.
        observable: one observable, as in `qnn_jax.expectations`.
        weights: shape (circuit.num_weights,).
        fixed: inputs by index that are fixed to a value, for the spectrum in the others: a cut
            through a function in which every scale is a variable of its own, which would need too
            many points.

    Returns:
        A `Spectrum`, computed in double precision.

    Raises:
        InputError: if an angle is not affine in the inputs, coefficients are not commensurate,
            or more than MAX_POINTS points would have to be simulated.

    Reference: Schuld, Sweke, Meyer, "The effect of data encoding on the expressive power of
    variational quantum machine learning models", arXiv:2008.08605.

    >>> from qnn_jax import Circuit, Op, w, x
    >>> twice = Circuit(1, (Op("rx", 0, x[0]), Op("rx", 0, x[0] + w[0])))
    >>> spectrum = fourier_spectrum(twice, "Z", [0.0])  # cos 2x
    >>> print(spectrum.frequencies[:, 0], spectrum.coefficients.real.round(3) + 0.0)
    [-2. -1.  0.  1.  2.] [0.5 0.  0.  0.  0.5]
    """
    (measured,) = observables_on(checked_circuit(circuit).num_qubits, [observable], "observable")
    values = finite_array("weights", weights, (circuit.num_weights,))
    circuit = hold(circuit, {} if fixed is None else fixed)
    slopes = slopes_of(circuit)
    variables = tuple(dict.fromkeys(v for gate in slopes for angle in gate for v in angle))
    read = [
        (angle, _harmonics(op, number))
        for op, gate in zip(circuit.ops, slopes, strict=True)
        for number, angle in enumerate(gate)
        if angle
    ]
    units = np.array([_unit(variable, read) for variable in variables])
    # For each angle with inputs, by how much it can shift the harmonics.
    moves = [
        [
            tuple(
                round(k * angle.get(variable, 0.0) / unit)
                for variable, unit in zip(variables, units, strict=True)
            )
            for k in harmonics
        ]
        for angle, harmonics in read
    ]
    highest = tuple(
        sum(max(abs(move[v]) for move in angle) for angle in moves) for v in range(len(variables))
    )
    sizes = tuple(2 * high + 1 for high in highest)
    if math.prod(sizes) > MAX_POINTS:
        raise InputError(
            f"Argument `circuit` must need at most {MAX_POINTS:,} points for an exact Fourier "
            f"spectrum, but needs {math.prod(sizes):,}, {' × '.join(map(str, sizes))} for "
            f"{', '.join(map(str, variables))}; cut it with `fixed`, or let layers share a scale."
        )
    with jax.enable_x64(True):
        table = np.asarray(
            _on_periods(in_variables(circuit, variables), measured, sizes, units, values)
        )
    rows = np.argwhere(_reachable(moves, sizes)) - np.array(highest, int)
    scales = [variable.scale(list(values)) for variable in variables]
    directions = np.zeros((len(variables), circuit.num_inputs))
    for v, variable in enumerate(variables):
        directions[v, variable.index] = units[v] * scales[v]
    coefficients = np.fft.fftn(table, axes=range(table.ndim))[tuple(rows.T)] / table.size
    return Spectrum(
        rows @ directions, np.atleast_1d(coefficients), tuple(map(str, variables)), rows, units
    )


def _harmonics(op: Op, number: int) -> tuple[float, ...]:
    """The k of U ⊗ U* ~ Σ exp(i k θ), where θ is one of the gate's angles, rising."""
    positive = gate_transfer(op.gate).frequencies[number]
    return (*(-k for k in reversed(positive)), 0.0, *positive)


def _unit(variable: Variable, read: Sequence[tuple[Slopes, Sequence[float]]]) -> float:
    """The largest frequency of which all of a variable's frequencies are multiples."""
    found = {k * abs(angle[variable]) for angle, ks in read if variable in angle for k in ks}
    sizes = sorted(size for size in found if size > 0)
    if not sizes:
        return 1.0  # no harmonics
    ratios = [Fraction(size / sizes[0]).limit_denominator(_MAX_DENOMINATOR) for size in sizes]
    for size, ratio in zip(sizes, ratios, strict=True):
        if abs(size / sizes[0] - float(ratio)) > 1e-9 * float(ratio):
            raise InputError(
                "Argument `circuit` must have commensurate frequencies for an exact Fourier "
                f"spectrum, but those of {variable} have the ratio {size / sizes[0]:.9g}; write "
                "one of the factors as a weight, which makes it a variable of its own."
            )
    return sizes[0] / math.lcm(*(ratio.denominator for ratio in ratios))


def _reachable(moves: Sequence[Sequence[tuple[int, ...]]], sizes: tuple[int, ...]) -> np.ndarray:
    """The possible sums of one shift per angle, as a boolean array with the zero in the middle."""
    box = np.zeros(sizes, bool)
    box[tuple(size // 2 for size in sizes)] = True
    for angle in moves:
        # No sum leaves the array, so `roll` never wraps around.
        axes = tuple(range(len(sizes)))
        box = np.logical_or.reduce([np.roll(box, move, axes) for move in angle])
    return box


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _on_periods(
    circuit: Circuit,
    observable: PauliSum,
    sizes: tuple[int, ...],
    units: Array,
    weights: Array,
) -> Array:
    """The function on a grid over one period of every variable, shape `sizes`."""

    def one(index: Array) -> Array:
        place = jnp.stack(jnp.unravel_index(index, sizes)) if sizes else jnp.zeros(0)
        inputs = 2 * jnp.pi * place / jnp.asarray(sizes, float) / units
        return expectations(circuit, [observable], inputs, weights)[0]

    count = math.prod(sizes)
    return lax.map(one, jnp.arange(count), batch_size=min(count, 4096)).reshape(sizes)
