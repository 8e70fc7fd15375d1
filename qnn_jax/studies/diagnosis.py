"""What a trained model's circuit can represent, how much of that it uses, and how it trains."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from qnn_jax import diagnostics
from qnn_jax.circuits import Circuit, PauliSum, real_amplitudes, zz_feature_map
from qnn_jax.configs import check_diagnosis
from qnn_jax.data.source import silent
from qnn_jax.errors import InputError
from qnn_jax.executors import exact
from qnn_jax.runs.files import normalised
from qnn_jax.runs.schema import from_json
from qnn_jax.simulate import expectations, kernel_matrix
from qnn_jax.stats import mean_interval
from qnn_jax.tasks.stored import RESTORE
from qnn_jax.tasks.trained import Trained
from qnn_jax.training.task import Examples, with_interval

#: The counts of samples at which the effective dimension is computed.
COUNTS = (100, 300, 1_000, 3_000, 10_000, 100_000, 1_000_000)
#: Sizes for the comparison of gradients, for ZZ feature map and real amplitudes.
QUBITS = (2, 5, 8)
#: Numbers of repetitions of the model's own circuit for the same comparison.
REPEATS = (1, 3)
#: Number of examples for diagnostics per sample, and for regressions.
_ROWS, _REGRESSION_ROWS, _DESCENT_ROWS, _KERNEL_ROWS = 100, 1600, 400, 200
_NOISE_ROWS = 16
#: Number of Fourier rows that are written, the largest coefficients first.
_MOST_ROWS = 500
#: Longer arrays have one entry per sample.
_MOST_ENTRIES = 90
#: Source of each diagnostic.
PAPERS = {
    "representation": "arXiv:2101.11020",
    "fourier": "arXiv:2008.08605",
    "expressibility": "arXiv:1905.10876",
    "entanglement": "arXiv:quant-ph/0108104, arXiv:1905.10876",
    "gradients": "arXiv:1803.11173",
    "gradients_by_size": "arXiv:1803.11173, arXiv:2001.00550",
    "classical_gradients": "arXiv:1803.11173",
    "fisher": "arXiv:2102.01659, arXiv:2109.11676",
    "effective_dimension": "arXiv:2011.00027",
    "kernel": "Cristianini et al., NIPS 14 (2001); arXiv:1203.0550, arXiv:2105.02276",
}


@dataclass(frozen=True, eq=False)
class Subject:
    """The subject of a diagnosis.

    Attributes:
        circuit: with inputs and weights.
        observables: inputs of the head.
        weights: trained, shape (num_weights,).
        inputs: of the circuit, for every example, shape (samples, num_inputs).
        targets: shape (samples,); -1 and 1 for a classification.
        predictions: the model's outputs, shape (samples,); None for a classification, whose
            labels are not compared with an expectation value.
        class_names: of a classification, the meaning of the targets -1 and 1.
        classical: a network's output as a function of all its parameters, and their initialiser;
            None if there are no parameters before the circuit.
    """

    circuit: Circuit
    observables: tuple[PauliSum, ...]
    weights: np.ndarray
    inputs: np.ndarray
    targets: np.ndarray
    predictions: np.ndarray | None = None
    class_names: tuple[str, str] | None = None
    classical: tuple[Callable[[Any], Any], Callable[[Any], Any]] | None = None


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """All diagnostics of a trained model.

    Attributes:
        task: the name of the kind of task.
        subject: what was diagnosed.
        seed: random seed of all samples.
        samples: pairs of random states for the expressibility.
        values: results by the diagnostic's name; an InputError with the reason if a
            diagnostic does not apply.
        seconds: duration of all of them.
    """

    task: str
    subject: Subject
    seed: int
    samples: int
    values: Mapping[str, Any]
    seconds: float

    def line(self, name: str) -> str:
        """The result of a diagnostic, in a few words."""
        return in_a_line(name, self.values[name])

    def as_json(self) -> dict[str, Any]:
        """All numbers; arrays with an entry for every sample are left out."""
        return {
            "task": self.task,
            "seed": self.seed,
            "samples": self.samples,
            "seconds": round(self.seconds, 2),
            **{name: {"paper": PAPERS[name], **as_json(v)} for name, v in self.values.items()},
        }

    def __str__(self) -> str:
        return "\n".join(f"{_spaced(name):20} {self.line(name)}" for name in self.values)


def diagnose(
    trained: Trained,
    *,
    examples: Examples | None = None,
    seed: int = 0,
    samples: int = 5000,
    qubits: Sequence[int] = QUBITS,
    repeats: Sequence[int] = REPEATS,
    tell: Callable[[str], None] = silent,
) -> Diagnosis:
    """Compute every diagnostic that applies to a trained model.

    Two run at a time: most of their time is XLA compilation, which releases Python's lock. A
    diagnostic that does not apply, such as the exact Fourier spectrum of a circuit that is not
    affine in its inputs, has the reason (an InputError) in place of its value.

    Args:
        trained: the model, of any task.
        examples: for the diagnosis; by default the test examples of its task.
        seed: random seed of all samples.
        samples: pairs of random states for the expressibility; more expensive diagnostics take
            fewer, in proportion. At least 200.
        qubits: of the circuits whose gradients are compared.
        repeats: numbers of repetitions of the model's circuit for the same comparison.
        tell: called with a line for each finished diagnostic, for instance `print`.

    Raises:
        InputError: if an argument is invalid.

    >>> from qnn_jax.configs import LeastSquaresConfig
    >>> from qnn_jax.tasks import Calculator, train
    >>> training = LeastSquaresConfig(epochs=2, batch_size=32, restarts=2)
    >>> trained = train(Calculator(training=training, baseline_2022=0))
    >>> diagnose(trained, samples=100)
    Traceback (most recent call last):
    qnn_jax.errors.InputError: Argument `samples` must be an integer of at least 200, but is 100.
    """
    check_diagnosis(seed, samples)
    began = time.monotonic()
    subject = subject_of(trained, examples)
    work = _diagnostics(subject, jax.random.key(seed), samples, qubits, repeats)

    def timed(task: Callable[[], Any]) -> tuple[Any, float]:
        started = time.monotonic()
        try:
            value = task()
        except InputError as refusal:
            value = refusal
        return value, time.monotonic() - started

    found = {}
    with ThreadPoolExecutor(2) as pool:
        futures = {name: pool.submit(timed, task) for name, task in work.items()}
        for name, future in futures.items():
            found[name], seconds = future.result()
            tell(f"  {_spaced(name):20} {in_a_line(name, found[name])}  ({seconds:.1f} s)")
    return Diagnosis(trained.task.name, subject, seed, samples, found, time.monotonic() - began)


def subject_of(trained: Trained, examples: Examples | None = None) -> Subject:
    """The inputs of the diagnostics for a trained model."""
    if examples is None:
        splits = trained.splits()
        examples, class_names = splits.test, splits.class_names
    else:
        told = normalised(trained.summary.get("classes", ()))
        class_names = from_json(tuple[str, ...], told, "File summary.json, at `classes`,", RESTORE)
    targets = np.asarray(examples.targets)
    if not len(targets) or len(examples.inputs) != len(targets):
        raise InputError(
            "Argument `examples` must hold at least one example, and a target for each, but holds "
            f"{len(examples.inputs)} inputs and {len(targets)} targets."
        )
    rows = np.asarray(examples.inputs)
    what = trained.circuit, trained.observables, trained.weights
    classical = _before_the_circuit(trained, rows)
    if trained.task.metric.classes:
        last = max(len(class_names), int(targets.max()) + 1) - 1
        signs = np.where(targets == last, 1.0, -1.0)
        names = class_names or tuple(f"class {k}" for k in range(last + 1))
        pair = names[0] if last == 1 else "all others", names[last]
        return Subject(*what, trained.encode(rows), signs, class_names=pair, classical=classical)
    some = slice(0, _REGRESSION_ROWS)
    inputs = trained.encode(rows[some])
    outputs = trained.decide(trained.run(inputs).values)
    predictions = np.asarray(trained.task.metric.predictions(outputs), float)
    return Subject(*what, inputs, targets[some].astype(float), predictions, classical=classical)


def _before_the_circuit(
    trained: Trained, examples: np.ndarray
) -> tuple[Callable[[Any], Any], Callable[[Any], Any]] | None:
    """The mean output for noise as a function of the parameters, and the network's initialiser.

    Noise replaces the data: whether the circuit passes a gradient to the layers before it
    does not depend on their inputs.
    """
    network: Any = trained.network
    inputs = jnp.asarray(_noise(examples))
    encoder = jax.eval_shape(
        lambda key: network.init(key, inputs, method="encode"), jax.random.key(0)
    )
    if not jax.tree.leaves(encoder.get("params", {})):
        return None

    def output(params: Any) -> Any:
        return jnp.mean(network.apply({"params": params}, inputs)[:, 0])

    return output, lambda key: network.init(key, inputs)["params"]


def _noise(examples: np.ndarray) -> np.ndarray:
    """Noise in the shape and the range of a task's inputs: images of integers, or numbers."""
    rng, shape = np.random.default_rng(0), (_NOISE_ROWS, *examples.shape[1:])
    if np.issubdtype(examples.dtype, np.integer):
        return rng.integers(examples.min(), int(examples.max()) + 1, shape).astype(examples.dtype)
    low, high = examples.min(axis=0), examples.max(axis=0)
    return rng.uniform(low, high, shape).astype(examples.dtype)


def _diagnostics(
    subject: Subject, key: Any, samples: int, qubits: Sequence[int], repeats: Sequence[int]
) -> Mapping[str, Callable[[], Any]]:
    circuit, observables, weights = subject.circuit, subject.observables, subject.weights
    inputs, targets = subject.inputs, subject.targets
    some = inputs[:_ROWS]
    # Distinct random streams for distinct diagnostics, whichever of them run.
    keys = dict(zip(PAPERS, jax.random.split(key, len(PAPERS)), strict=True))

    def representation() -> dict[str, Any]:
        best = diagnostics.representation_bound(circuit, inputs, targets, weights)
        ansatz = diagnostics.ansatz_bound(
            circuit,
            observables,
            inputs[:_DESCENT_ROWS],
            targets[:_DESCENT_ROWS],
            keys["representation"],
        )
        # It was found on a part of the points and is evaluated on all, as the other two are.
        values = exact(circuit, observables, jnp.asarray(inputs), jnp.asarray(ansatz.weights))
        everywhere = np.asarray(values.values, float) @ ansatz.gains + ansatz.offset
        predictions = {
            "any_observable": best.predictions,
            "ansatz": everywhere,
            "run": subject.predictions,
        }
        errors = {name: np.abs(values - targets) for name, values in predictions.items()}
        return {
            "mean_l1": {name: float(one.mean()) for name, one in errors.items()},
            "interval": {name: mean_interval(one) for name, one in errors.items()},
            "any_observable": best,
            "ansatz": ansatz,
            "predictions": predictions,
        }

    def entanglement() -> dict[str, Any]:
        one, other = jax.random.split(keys["entanglement"])
        count = max(2, samples // 5)
        return {
            "random": diagnostics.entangling_capability(circuit, one, count, inputs),
            "trained": diagnostics.entangling_capability(circuit, other, count, inputs, weights),
        }

    def fourier() -> dict[str, diagnostics.Spectrum]:
        """The whole spectrum; if it has too many points, a cut along each input."""
        try:
            return {"all": diagnostics.fourier_spectrum(circuit, observables[0], weights)}
        except InputError as refusal:
            middle = dict(enumerate(np.median(inputs, axis=0).tolist()))
            try:
                return {
                    f"x[{i}]": diagnostics.fourier_spectrum(
                        circuit, observables[0], weights, {k: middle[k] for k in middle if k != i}
                    )
                    for i in middle
                }
            except InputError:
                raise refusal from None

    draws = max(8, samples // 25)

    def gradients_by_size() -> dict[int, Any]:
        by_size = {}
        for n in qubits:
            wider = zz_feature_map(n) + real_amplitudes(n, reps=2)
            for_rows, for_weights = jax.random.split(jax.random.fold_in(keys["gradients"], n))
            rows = jax.random.uniform(for_rows, (draws, n))
            both = diagnostics.circuit_gradient_variances(
                wider, ["Z" * n, "I" * (n - 1) + "Z"], for_weights, draws, rows
            )
            by_size[n] = dict(zip(("global", "local"), both, strict=True))
        return by_size

    def gradients() -> dict[int, Any]:
        return {
            count: diagnostics.circuit_gradient_variances(
                circuit.repeat(count), observables[:1], keys["gradients"], draws, inputs
            )[0]
            for count in repeats
        }

    def classical_gradients() -> dict[str, Any]:
        assert subject.classical
        tree = diagnostics.gradient_variance(
            *subject.classical, keys["classical_gradients"], max(8, samples // 150)
        )
        leaves = jax.tree_util.tree_leaves_with_path(
            tree, is_leaf=lambda leaf: isinstance(leaf, diagnostics.GradientVariance)
        )
        return {"/".join(str(part.key) for part in path): leaf for path, leaf in leaves}

    def effective_dimension() -> Any:
        for_weights, for_bootstrap = jax.random.split(keys["effective_dimension"])
        return diagnostics.effective_dimension(
            lambda w, x: expectations(circuit, observables, x, w),
            diagnostics.random_weights(circuit, for_weights, max(2, samples // 50)),
            some,
            COUNTS,
            for_bootstrap,
        )

    def kernel() -> dict[str, Any]:
        chosen = _evenly(targets, _KERNEL_ROWS)
        rows = jnp.asarray(inputs[chosen], jnp.float32)
        matrix = kernel_matrix(circuit, rows, weights=jnp.asarray(weights))
        values = targets[chosen] - (
            targets[chosen].mean() if subject.predictions is not None else 0
        )
        return {
            "alignment": diagnostics.kernel_alignment(matrix, values),
            "matrix": np.asarray(matrix),
            "targets": targets[chosen],
        }

    # The longest first, so that two workers end at about the same time.
    work: dict[str, Callable[[], Any]] = {"gradients_by_size": gradients_by_size}
    if subject.predictions is not None:
        work["representation"] = representation
    work["gradients"] = gradients
    work["fourier"] = fourier
    work["expressibility"] = lambda: diagnostics.expressibility(
        circuit, keys["expressibility"], samples, inputs=inputs
    )
    if circuit.num_qubits > 1:
        work["entanglement"] = entanglement
    work["fisher"] = lambda: diagnostics.fisher_spectrum(circuit, weights, some)
    work["effective_dimension"] = effective_dimension
    work["kernel"] = kernel
    if subject.classical:
        work["classical_gradients"] = classical_gradients
    return work


def _evenly(targets: np.ndarray, count: int) -> np.ndarray:
    """Rows whose targets are evenly spread from the lowest to the highest."""
    order = np.argsort(targets, kind="stable")
    return order[np.linspace(0, len(order) - 1, min(count, len(order))).astype(int)]


def _representation(found: Mapping[str, Any]) -> str:
    least, ansatz = found["mean_l1"], found["ansatz"]
    return (
        f"least mean L1: {least['any_observable']:.4f} with any observable, "
        f"{least['ansatz']:.4f} found by {len(ansatz.starts)} fresh trainings of these gates "
        f"({ansatz.agreeing} agree); this run has {least['run']:.4f}"
    )


def _fourier(found: Mapping[str, diagnostics.Spectrum]) -> str:
    counts = ", ".join(
        f"{int(one.used.sum()):,} of {len(one.used):,}" + ("" if cut == "all" else f" along {cut}")
        for cut, one in found.items()
    )
    return f"frequencies in use, of those in reach: {counts}"


def _expressibility(found: diagnostics.Expressibility) -> str:
    return f"{with_interval(found.kl, found.interval)} nats from Haar-random states, which have 0"


def _entanglement(found: Mapping[str, diagnostics.Entanglement]) -> str:
    random, trained = (
        with_interval(found[name].mean, found[name].interval) for name in ("random", "trained")
    )
    haar = found["random"].haar
    return f"{random} with random weights, {trained} trained; Haar-random states {haar:.3f}"


def _gradients_by_size(found: Mapping[int, Mapping[str, diagnostics.GradientVariance]]) -> str:
    first, last = min(found), max(found)
    return "variance of a gradient is " + ", ".join(
        f"{found[first][kind].mean:.3f} at {first} and {found[last][kind].mean:.4f} at {last} "
        f"qubits ({kind} observable)"
        for kind in found[first]
    )


def _gradients(found: Mapping[int, diagnostics.GradientVariance]) -> str:
    return "variance of a gradient is " + ", ".join(
        f"{with_interval(one.mean, one.interval)} at {repeats} ×" for repeats, one in found.items()
    )


def _classical_gradients(found: Mapping[str, diagnostics.GradientVariance]) -> str:
    # The gradient of the head's offset is constant 1 and does not vary.
    moving = [path for path in found if found[path].mean > 0] or list(found)
    low = min(moving, key=lambda path: found[path].mean)
    return f"smallest mean variance {found[low].mean:.2e}, at {low}"


def _fisher(found: diagnostics.FisherSpectrum) -> str:
    return (
        f"{found.rank} of {len(found.eigenvalues)} directions of the weights change the states; "
        f"on one sample at most {int(found.sample_ranks.max())}"
    )


def _effective_dimension(found: diagnostics.EffectiveDimension) -> str:
    value = with_interval(found.values[-1], found.intervals[-1], ".2f")
    return f"{value} of {found.parameters} at {found.counts[-1]:,} samples"


def _kernel(found: Mapping[str, Any]) -> str:
    aligned = found["alignment"]
    return f"alignment {with_interval(aligned.centred, aligned.centred_interval)} centred"


_LINES: Mapping[str, Callable[[Any], str]] = {
    "representation": _representation,
    "fourier": _fourier,
    "expressibility": _expressibility,
    "entanglement": _entanglement,
    "gradients": _gradients,
    "gradients_by_size": _gradients_by_size,
    "classical_gradients": _classical_gradients,
    "fisher": _fisher,
    "effective_dimension": _effective_dimension,
    "kernel": _kernel,
}


def in_a_line(name: str, found: Any) -> str:
    """A diagnostic's result in a few words."""
    return f"refused: {found}" if isinstance(found, InputError) else _LINES[name](found)


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def as_json(value: Any) -> Any:
    """A diagnostic's result as JSON; long arrays are only in the pictures."""
    if isinstance(value, InputError):
        return {"refused": str(value)}
    if isinstance(value, diagnostics.Spectrum):
        order = np.argsort(-np.abs(value.coefficients), kind="stable")[:_MOST_ROWS]
        return {
            "variables": list(value.variables),
            "reachable": len(value.used),
            "used": int(value.used.sum()),
            "units": value.units.tolist(),
            "largest": [
                {
                    "frequency": value.frequencies[k].tolist(),
                    "harmonic": value.harmonics[k].tolist(),
                    "coefficient": [value.coefficients[k].real, value.coefficients[k].imag],
                }
                for k in order
                if value.used[k]
            ],
        }
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {
            str(key): as_json(part)
            for key, part in value.items()
            if not isinstance(part, np.ndarray) or part.size <= _MOST_ENTRIES
        }
    if isinstance(value, np.ndarray) and np.iscomplexobj(value):
        return {"real": value.real.tolist(), "imag": value.imag.tolist()}
    return value.tolist() if isinstance(value, np.ndarray) else value
