"""A noise model that is fitted to counts: maximum a posteriori, by Gauss-Newton on the likelihood.

The family begins at a published model. To each gate that has an error it adds a coherent rotation
and changes the depolarising rate; to each qubit it changes the relaxation in all its gates and both
readout errors. A prior around the published values keeps what the counts do not determine.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import chi2

from qnn_jax.circuits.arrays import finite_array
from qnn_jax.circuits.checks import is_integer, of_type, qubits_of, real, several, shown
from qnn_jax.circuits.checks import seed as checked_seed
from qnn_jax.circuits.circuit import Circuit, checked_circuit
from qnn_jax.errors import InputError
from qnn_jax.noise.channels import coherent, relaxing
from qnn_jax.noise.density import outcome_probabilities
from qnn_jax.noise.model import NoiseModel
from qnn_jax.noise.transfer import COMMUTE, choi

#: Standard deviations of the prior: of coherent angles in radians, of logarithms of rates, and of
#: logits of readout errors.
ANGLE_SPREAD, RATE_SPREAD = 0.1, 1.0
#: Rates that are published as less start here, since a logarithm needs a scale.
_LEAST_RATE = {1: 1e-4, 2: 1e-3}
_LEAST_READOUT = 1e-3
#: At least this part of a published rate remains, so that channels remain positive.
_KEPT = 0.05
#: A parameter is determined if the counts reduce its standard deviation to less than this part.
DETERMINED = 0.5
#: The least p-value at which the held-out counts are explained.
_CHANCE = 1e-3
#: Outcomes with fewer expected counts are counted together.
_LEAST_EXPECTED = 5.0
_STEPS = 40
_LEAST_PROBABILITY = 1e-6
#: The Pauli that a gate turns by: an over-rotation is one about it. Digit k is the k-th qubit.
_GENERATORS = {
    **dict.fromkeys(("sx", "sxdg", "x", "rx"), "X"),
    **dict.fromkeys(("y", "ry"), "Y"),
    **dict.fromkeys(("cx", "ecr"), "ZX"),
    **dict.fromkeys(("cz", "rzz", "cp"), "ZZ"),
    "rxx": "XX",
}


@dataclass(frozen=True, eq=False)
class Experiment:
    """Counts of a circuit for several settings of its angles.

    Attributes:
        circuit: whose inputs are the settings; it has no weights.
        qubits: which are measured; bit k of an outcome is `qubits[k]`.
        settings: angles in radians, shape (settings, circuit.num_inputs).
        counts: shape (settings, 2**len(qubits)), at least one shot for each setting.

    Raises:
        InputError: for other shapes, and counts that are negative or none.
    """

    circuit: Circuit
    qubits: tuple[int, ...]
    settings: np.ndarray
    counts: np.ndarray

    def __post_init__(self) -> None:
        circuit = checked_circuit(self.circuit)
        qubits = qubits_of(self.qubits)
        if circuit.num_weights:
            raise InputError(
                "Argument `circuit` must have no weights, because its settings are inputs, but has "
                f"{circuit.num_weights}."
            )
        if (
            not qubits
            or len(set(qubits)) < len(qubits)
            or not 0 <= min(qubits) <= max(qubits) < circuit.num_qubits
        ):
            raise InputError(
                f"Argument `qubits` must name different qubits below {circuit.num_qubits}, but is "
                f"{shown(qubits)}."
            )
        settings = finite_array("settings", self.settings, ("settings", circuit.num_inputs))
        counts = finite_array("counts", self.counts, (len(settings), 2 ** len(qubits)), least=0)
        if not counts.sum(1).all():
            raise InputError(
                f"Argument `counts` must have shots in every row, but row "
                f"{int(np.argmin(counts.sum(1)))} has none."
            )
        for name, value in (("qubits", qubits), ("settings", settings), ("counts", counts)):
            object.__setattr__(self, name, value)

    @property
    def shots(self) -> np.ndarray:
        """Of each setting, shape (settings,)."""
        return self.counts.sum(1)

    def rows(self, chosen: np.ndarray) -> Experiment:
        """Some of the settings."""
        return Experiment(self.circuit, self.qubits, self.settings[chosen], self.counts[chosen])


class Parameter(NamedTuple):
    """A number of a family of noise models; 0 is the published model."""

    name: str  # gate, qubits and what it is
    #: "angle" in radians, "rate" (logarithm of its ratio to the published one), or "readout"
    #: (difference of logits).
    kind: str
    spread: float  # standard deviation of the prior


class NoiseFamily:
    """Noise models around a published one, as a function of some parameters.

    At parameters of 0 it is the published one, whose readout is of qubits one by one. The gates of
    `circuits` have errors of their own, the readout errors of `measured` qubits may differ. Names
    call qubits by `labels`, by default their numbers.
    """

    def __init__(
        self,
        published: NoiseModel,
        circuits: Sequence[Circuit],
        measured: Sequence[int],
        labels: Sequence[int] | None = None,
    ) -> None:
        if published.read_together():
            raise InputError(
                "Argument `published` must have readout errors of qubits one by one, but has some "
                "of qubits that are read together."
            )
        self.published = published
        self.parameters: list[Parameter] = []
        self._channels: dict[tuple[str, tuple[int, ...]], Callable[[Any], Any]] = {}
        self._readout: list[tuple[int, np.ndarray, int]] = []
        self._numbers: dict[str, int] = {}
        num_qubits = max(circuit.num_qubits for circuit in circuits)
        self._called = list(range(num_qubits)) if labels is None else list(labels)
        ops = {(op.gate, op.qubits) for circuit in circuits for op in circuit.ops}
        for gate, qubits in sorted(ops):
            channel = published.channel(gate, qubits)
            if len(qubits) == 2 or (len(qubits) == 1 and channel is not None):
                self._add_gate(gate, qubits, channel)
        for qubit in sorted(measured):
            matrix = published.read(qubit)
            rates = np.array([1e-3, 1e-3] if matrix is None else [matrix[1, 0], matrix[0, 1]])
            logits = np.clip(rates, _LEAST_READOUT, 1 - _LEAST_READOUT)
            place = f"readout of qubit {self._called[qubit]}"
            first = self._add(f"{place}, 0 as 1", "readout", RATE_SPREAD)
            self._add(f"{place}, 1 as 0", "readout", RATE_SPREAD)
            self._readout.append((qubit, np.log(logits / (1 - logits)), first))

    @property
    def spreads(self) -> np.ndarray:
        """Standard deviations of the prior, shape (parameters,)."""
        return np.array([one.spread for one in self.parameters])

    def model(self, parameters: Any) -> NoiseModel:
        """The noise model, differentiable in its parameters, shape (parameters,)."""
        gates = dict(self.published.gates)
        for place, channel in self._channels.items():
            gates[place] = channel(parameters)
        readout = dict(self.published.readout)
        for qubit, logits, first in self._readout:
            wrong = jax.nn.sigmoid(logits + parameters[first : first + 2])
            readout[(qubit,)] = jnp.stack([jnp.stack([1 - wrong[0], wrong[1]]),
                                           jnp.stack([wrong[0], 1 - wrong[1]])])  # fmt: skip
        return NoiseModel(gates, readout, self.published.idle, self.published.num_qubits)

    def _add(self, name: str, kind: str, spread: float) -> int:
        """The number of the parameter of that name."""
        if name not in self._numbers:
            self._numbers[name] = len(self.parameters)
            self.parameters.append(Parameter(name, kind, spread))
        return self._numbers[name]

    def _add_gate(self, gate: str, qubits: tuple[int, ...], channel: Any) -> None:
        count = len(qubits)
        if channel is None:
            channel = np.eye(4**count)
        elif len(channel) == 4 and count == 2:
            channel = np.kron(channel, channel)
        where = "-".join(str(self._called[qubit]) for qubit in qubits)
        turns = []
        generator = _GENERATORS.get(gate)
        paulis = [generator] if generator else []
        paulis += [p for p in ("ZZ", "ZI", "IZ") if count == 2 and p != generator]
        for pauli in paulis:
            what = "over-rotation" if pauli == generator else f"{pauli} phase"
            turns.append((pauli, self._add(f"{gate} {where}, {what}", "angle", ANGLE_SPREAD)))
        losses = []
        for k, qubit in enumerate(qubits):
            published = -math.log1p(-min(max(float(channel[3 * 4**k, 0]), 0.0), 0.9))
            name = f"relaxation of qubit {self._called[qubit]}"
            losses.append((published, self._add(name, "rate", RATE_SPREAD)))
        least = [_relaxing(np, -(1 - _KEPT) * rate) for rate, _ in losses]
        mixing = _depolarising(functools.reduce(np.kron, least[::-1]) @ channel, count)
        mixes = self._add(f"{gate} {where}, depolarising", "rate", RATE_SPREAD)

        def changed(parameters: Any) -> Any:
            matrix = jnp.asarray(channel)
            parts = [
                _relaxing(jnp, _excess(rate, count, parameters[number])) for rate, number in losses
            ]
            matrix = functools.reduce(jnp.kron, parts[::-1]) @ matrix
            less = jnp.exp(-_excess(mixing, count, parameters[mixes]))
            scale = jnp.ones(4**count).at[1:].set(less)
            matrix = scale[:, None] * matrix
            for pauli, number in turns:
                matrix = _rotation(pauli, parameters[number]) @ matrix
            return matrix

        self._channels[gate, qubits] = changed


def _excess(published: float, count: int, parameter: Any) -> Any:
    """By how much a rate grows; at a parameter of 0 by nothing."""
    base = max(published, _LEAST_RATE[count])
    return jnp.maximum(base * (jnp.exp(parameter) - 1), -(1 - _KEPT) * published)


def _relaxing(m: Any, rate: Any) -> Any:
    """Amplitude damping of exp(-rate) as a Pauli-transfer matrix; a negative rate undoes some."""
    kept = m.exp(-rate)
    return relaxing(m, m.sqrt(kept), kept, 1 - kept)


def _depolarising(channel: np.ndarray, count: int) -> float:
    """The depolarising part of a channel: 4**n times its least share of a Pauli, once twirled."""
    shares = functools.reduce(np.kron, [COMMUTE] * count) @ np.diag(channel)
    return max(float(shares.min()), 0.0)


def _made_positive(channel: np.ndarray) -> np.ndarray:
    """The channel with as much depolarisation as makes it completely positive; mostly none."""
    least = float(np.linalg.eigvalsh(choi(channel)).min())
    if least >= 0:
        return channel
    mixed = np.zeros_like(channel)
    mixed[0, 0] = 1
    share = -least / (1 / len(channel) - least)
    return (1 - share) * channel + share * mixed


def _rotation(pauli: str, angle: Any) -> Any:
    """The transfer matrix of a rotation about a Pauli; its k-th letter is for the k-th qubit."""
    turn = coherent(f"r{pauli.replace('I', '').lower()}", angle)
    if "I" in pauli:
        turn = jnp.kron(*((turn, np.eye(4)) if pauli[0] == "I" else (np.eye(4), turn)))
    return turn


class Check(NamedTuple):
    """How well a noise model predicts counts that it was not fitted to."""

    settings: int  # how many were predicted
    #: rᵀ(S + JCJᵀ)⁻¹r of r = counts - expected, where S is the shots' covariance, C that of the
    #: parameters, and J = ∂expected/∂parameters. Where C is 0, it is Σ (counts - expected)² /
    #: expected.
    chi_square: float
    degrees: float  # of freedom
    p_value: float  # the probability that shot noise and the parameters' uncertainty give as much
    ratio: float  # root mean square of frequency - probability, in units of the shot noise's
    left: float  # root mean square of what is not shot noise, in probability

    @property
    def explained(self) -> bool:
        """Whether shot noise and the parameters' uncertainty explain the difference."""
        return self.p_value >= _CHANCE

    def __str__(self) -> str:
        text = (
            f"chi-square {self.chi_square:.0f} at {self.degrees:.0f} degrees of freedom, "
            f"{self.ratio:.2f} × shot noise on {self.settings} held-out settings"
        )
        if self.explained:
            return f"{text}: explained"
        return f"{text}: NOT explained, {self.left:.4f} root mean square in probability is left"


class LearnedNoise(NamedTuple):
    """A fitted noise model.

    Attributes:
        family: of the model.
        values: its parameters, shape (parameters,).
        covariance: of them, from Fisher information and prior, shape (parameters, parameters).
        before: how the published model predicts the held-out settings.
        after: how the fitted one does.
        held: by experiment, the numbers of the held-out settings.
        predicted: by experiment, probabilities of all settings by both models,
            shape (2, settings, outcomes).
    """

    family: NoiseFamily
    values: np.ndarray
    covariance: np.ndarray
    before: Check
    after: Check
    held: tuple[np.ndarray, ...]
    predicted: tuple[np.ndarray, ...]

    @property
    def noise(self) -> NoiseModel:
        """The model, with numbers of NumPy."""
        with jax.enable_x64(True):  # single precision would not be trace preserving enough
            # Under jit, channels are not checked before they are made positive.
            found = jax.jit(self.family.model)(jnp.asarray(self.values))
        model = jax.tree.map(lambda leaf: np.asarray(leaf, float), found)
        gates = {place: _made_positive(channel) for place, channel in model.gates.items()}
        return NoiseModel(gates, model.readout, model.idle, model.num_qubits)

    @property
    def stderr(self) -> np.ndarray:
        """Standard deviations of the parameters."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def undetermined(self) -> list[str]:
        """The parameters that the prior holds, not the counts."""
        return undetermined(self.family, self.covariance)


def undetermined(family: NoiseFamily, covariance: np.ndarray) -> list[str]:
    """The names of the parameters whose standard deviation is near the prior's."""
    loose = np.sqrt(np.diag(covariance)) > DETERMINED * family.spreads
    return [one.name for one, is_loose in zip(family.parameters, loose, strict=True) if is_loose]


def design_covariance(family: NoiseFamily, experiments: Sequence[Experiment]) -> np.ndarray:
    """The covariance that a fit to such experiments will have; of their counts, only sums matter.

    It is the inverse of the Fisher information Σ shots · ∂p ∂pᵀ / p of the published model plus
    that of the prior.
    """
    published = np.zeros(len(family.parameters))
    found = [_Predictor(family, one)(published) for one in experiments]
    return _covariance(
        family, sum(_fisher(*f, e.shots) for f, e in zip(found, experiments, strict=True))
    )


def check_noise(
    family: NoiseFamily,
    values: np.ndarray,
    experiments: Sequence[Experiment],
    covariance: np.ndarray | None = None,
) -> Check:
    """Compare counts with what a model of the family predicts.

    `covariance` is that of `values`, None where they were not fitted.
    """
    found = [_Predictor(family, one)(values) for one in experiments]
    return _check(family, found, experiments, covariance)


def learn_noise(
    published: NoiseModel,
    experiments: Sequence[Experiment],
    *,
    held_out: float = 0.2,
    seed: int = 0,
    labels: Sequence[int] | None = None,
) -> LearnedNoise:
    """Fit a noise model to counts, beginning at a published one.

    Maximises the likelihood of the multinomial counts times a normal prior around the published
    values, by Gauss-Newton steps (Fisher scoring) with Levenberg's damping.

    Args:
        published: the errors that the device's maker has measured.
        experiments: circuits on the same qubits, with their counts.
        held_out: part of each experiment's settings that the fit does not see.
        seed: random seed of their choice.
        labels: what to call the qubits; by default their numbers.

    Raises:
        InputError: for another kind of argument, or too few settings to hold some out.

    >>> from qnn_jax import Op, x
    >>> from qnn_jax.noise import depolarizing
    >>> circuit = Circuit(1, (Op("sx", 0), Op("rz", 0, x[0]), Op("sx", 0)))
    >>> readout = [[0.98, 0.03], [0.02, 0.97]]
    >>> published = NoiseModel({"sx": depolarizing(0.001)}, readout)
    >>> angles = np.linspace(0, 3, 20)[:, None]
    >>> ones = np.round(1000 * (0.02 + 0.95 * (1 + np.cos(angles)) / 2))
    >>> counts = np.hstack([1000 - ones, ones])
    >>> found = learn_noise(published, [Experiment(circuit, (0,), angles, counts)])
    >>> found.after.explained
    True
    """
    of_type("published", published, NoiseModel, "a NoiseModel of qnn_jax.noise")
    parts = several("experiments", experiments, "a sequence of Experiments")
    for one in parts:
        of_type("experiments", one, Experiment, "a sequence of Experiments")
    share = real("held_out", held_out, above=0, below=1)
    random = np.random.default_rng(checked_seed("seed", seed))
    if not parts or min(len(one.settings) for one in parts) < 2:
        raise InputError(
            "Argument `experiments` must have at least 2 settings each, one of them to hold out, "
            f"but has {[len(one.settings) for one in parts]}."
        )
    for one in parts:
        published.check_circuit(one.circuit.num_qubits)
    if labels is not None:
        labels = several("labels", labels, "a number for each qubit")
        count = max(one.circuit.num_qubits for one in parts)
        if len(labels) != count or not all(map(is_integer, labels)):
            raise InputError(
                f"Argument `labels` must be an integer for each of the {count} qubits, but is "
                f"{shown(labels)}."
            )
    measured = sorted({qubit for one in parts for qubit in one.qubits})
    family = NoiseFamily(published, [one.circuit for one in parts], measured, labels)
    held, seen = [], []
    for one in parts:
        order = random.permutation(len(one.settings))
        count = min(max(1, round(share * len(order))), len(order) - 1)
        held.append(np.sort(order[:count]))
        seen.append(np.sort(order[count:]))
    predictors = [_Predictor(family, one) for one in parts]
    values, found, covariance = _fit(family, predictors, parts, seen)
    start = [predictor(np.zeros(len(values))) for predictor in predictors]
    kept = [one.rows(rows) for one, rows in zip(parts, held, strict=True)]

    def of_held(every: Any) -> list[Any]:
        return [(p[rows], j[rows]) for (p, j), rows in zip(every, held, strict=True)]

    return LearnedNoise(
        family,
        values,
        covariance,
        _check(family, of_held(start), kept, None),
        _check(family, of_held(found), kept, covariance),
        tuple(held),
        tuple(np.stack([a[0], b[0]]) for a, b in zip(start, found, strict=True)),
    )


class _Predictor:
    """Probabilities of an experiment's outcomes and their derivatives, in one program."""

    def __init__(self, family: NoiseFamily, one: Experiment) -> None:
        inputs = jnp.asarray(one.settings, jnp.result_type(float))

        def shares(values: Any) -> Any:
            nothing = jnp.zeros(0, inputs.dtype)
            model = family.model(values)
            found = outcome_probabilities(one.circuit, one.qubits, inputs, nothing, model)
            return found, found

        self._program = jax.jit(jax.jacfwd(shares, has_aux=True))

    def __call__(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Shapes (settings, outcomes) and (settings, outcomes, parameters)."""
        slopes, shares = self._program(jnp.asarray(values, jnp.result_type(float)))
        shares = np.maximum(np.asarray(shares, float), _LEAST_PROBABILITY)
        return shares / shares.sum(1, keepdims=True), np.asarray(slopes, float)


def _fit(
    family: NoiseFamily,
    predictors: Sequence[_Predictor],
    experiments: Sequence[Experiment],
    seen: Sequence[np.ndarray],
) -> tuple[np.ndarray, list[Any], np.ndarray]:
    """Parameters, probabilities with derivatives of all settings there, and the covariance."""
    counts = [one.counts[rows] for one, rows in zip(experiments, seen, strict=True)]
    shots = [one.sum(1) for one in counts]
    spreads = family.spreads

    def at(values: np.ndarray) -> tuple[float, list[Any]]:
        found = [predictor(values) for predictor in predictors]
        surprise = sum(
            -float((n * np.log(p[rows])).sum())
            for n, (p, _), rows in zip(counts, found, seen, strict=True)
        )
        return surprise + float(((values / spreads) ** 2).sum()) / 2, found

    values = np.zeros(len(spreads))
    loss, found = at(values)
    damping = 1e-3
    for _ in range(_STEPS):
        slope, matrix = -values / spreads**2, np.diag(spreads**-2.0)
        for n, s, (p, j), rows in zip(counts, shots, found, seen, strict=True):
            slope = slope + np.einsum("sk,skp->p", n / p[rows] - s[:, None], j[rows])
            matrix = matrix + _fisher(p[rows], j[rows], s)
        while damping < 1e6:
            step = np.linalg.solve(matrix + damping * np.diag(np.diag(matrix)), slope)
            trial, there = at(values + step)
            if trial < loss:
                break
            damping *= 10
        else:
            break
        gain, values, loss, found = loss - trial, values + step, trial, there
        damping = max(damping / 10, 1e-6)
        # Single precision leaves about this much of the likelihood uncertain.
        if gain < 1e-2:
            break
    fisher = sum(
        _fisher(p[rows], j[rows], s) for s, (p, j), rows in zip(shots, found, seen, strict=True)
    )
    return values, found, _covariance(family, fisher)


def _fisher(p: np.ndarray, j: np.ndarray, shots: np.ndarray) -> Any:
    return np.einsum("s,sk,skp,skq->pq", shots, 1 / p, j, j, optimize=True)


def _covariance(family: NoiseFamily, fisher: Any) -> np.ndarray:
    found: np.ndarray = np.linalg.inv(fisher + np.diag(family.spreads**-2.0))
    return found


def _check(
    family: NoiseFamily,
    found: Sequence[tuple[np.ndarray, np.ndarray]],
    experiments: Sequence[Experiment],
    covariance: np.ndarray | None,
) -> Check:
    count = len(family.parameters)
    chi_square = degrees = squares = noise = 0.0
    score, fisher = np.zeros(count), np.zeros((count, count))
    for (p, j), one in zip(found, experiments, strict=True):
        shots = one.shots[:, None]
        expected = shots * p
        large = expected >= _LEAST_EXPECTED
        rest = np.where(large, 0, expected).sum(1, keepdims=True)
        alone = rest >= 1.0
        # The last column is of the outcomes that are counted together.
        kept = np.hstack([large, alone])
        difference = one.counts - expected
        more = np.where(large, 0, difference).sum(1, keepdims=True)
        weights = np.where(kept, 1 / np.maximum(np.hstack([expected, rest]), 1e-9), 0)
        difference = np.hstack([difference, more])
        chi_square += float((weights * difference**2).sum())
        degrees += float(np.maximum(kept.sum(1) - 1, 0).sum())
        squares += float(((one.counts / shots - p) ** 2).sum())
        noise += float((p * (1 - p) / shots).sum())
        if covariance is not None:
            slopes = shots[:, :, None] * j
            together = np.where(large[:, :, None], 0, slopes).sum(1, keepdims=True)
            slopes = np.hstack([slopes, together])
            score += np.einsum("sk,sk,skp->p", weights, difference, slopes)
            fisher += np.einsum("sk,skp,skq->pq", weights, slopes, slopes, optimize=True)
    if covariance is not None:
        # (S + JCJᵀ)⁻¹ = S⁻¹ - S⁻¹J C (1 + FC)⁻¹ JᵀS⁻¹ with F = JᵀS⁻¹J (Woodbury).
        inner = np.linalg.solve(np.eye(count) + fisher @ covariance, score)
        chi_square -= float(score @ covariance @ inner)
    size = sum(p.size for p, _ in found)
    return Check(
        sum(len(one.settings) for one in experiments),
        chi_square,
        degrees,
        float(chi2.sf(chi_square, degrees)),
        math.sqrt(squares / noise),
        math.sqrt(max(squares - noise, 0) / size),
    )
