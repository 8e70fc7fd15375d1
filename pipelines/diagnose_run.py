"""All diagnostics of one circuit, two at a time, and what is written about them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from qnn_jax import diagnostics
from qnn_jax.circuits import Circuit, PauliSum, real_amplitudes, zz_feature_map
from qnn_jax.errors import InputError
from qnn_jax.executor import exact
from qnn_jax.runs import RunDirectory, write_json_atomic
from qnn_jax.simulate import expectations, kernel_matrix
from qnn_jax.training.statistics import mean_interval

if TYPE_CHECKING:
    from pipelines.diagnose import DiagnoseConfig
    from pipelines.trained import Trained

#: The counts of samples at which the effective dimension is told.
COUNTS = (100, 300, 1_000, 3_000, 10_000, 100_000, 1_000_000)
#: The sizes at which gradients are compared, of the seed's kind of circuit.
QUBITS = (2, 5, 8)
#: How often the run's own circuit is repeated for the same.
REPEATS = (1, 3)
#: Data for what needs each sample's state or gradient, and for regressions.
_ROWS, _REGRESSION_ROWS, _DESCENT_ROWS, _KERNEL_ROWS = 100, 1600, 400, 200
#: Fourier rows that are written down, the largest coefficients first.
_MOST_ROWS = 500
#: Longer arrays have one entry a sample.
_MOST_ENTRIES = 90
#: Where each diagnostic comes from.
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


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is diagnosed.

    Attributes:
        circuit: with inputs and weights.
        observables: what its head reads.
        weights: trained, shape (num_weights,).
        inputs: data, shape (samples, num_inputs).
        targets: shape (samples,); -1 and 1 for a classifier.
        predictions: what the run makes of the inputs, shape (samples,); None for a classifier,
            whose labels no expectation value is to equal.
        class_names: of a classifier, what the targets -1 and 1 stand for.
        classical: a hybrid model's loss as a function of all its parameters, and how they are
            drawn; None where there is no classical part before the circuit.
    """

    circuit: Circuit
    observables: tuple[PauliSum, ...]
    weights: np.ndarray
    inputs: np.ndarray
    targets: np.ndarray
    predictions: np.ndarray | None = None
    class_names: tuple[str, str] | None = None
    classical: tuple[Callable[[Any], Any], Callable[[Any], Any]] | None = None


def diagnose_run(config: DiagnoseConfig) -> int:
    """Diagnose a finished run, write into its folder, say what was found."""
    from pipelines import trained

    started = time.monotonic()
    name = config.run or _newest(config.results_dir)
    with RunDirectory.existing(config.results_dir, name):
        run = trained.load(config.results_dir, name, config.data_dir, config.manual_dir)
        write_diagnosis(run, config.seed, config.samples)
    print(f"\n{time.monotonic() - started:.1f} s. To read: {run.path / 'diagnose.html'}")
    print(f"All numbers: {run.path / 'diagnose.json'}")
    return 0


def write_diagnosis(run: Trained, seed: int, samples: int) -> None:
    """Write diagnose.json, the pictures and diagnose.html into the run's folder."""
    from pipelines.diagnose_figures import draw_all
    from pipelines.diagnose_page import write

    started = time.monotonic()
    subject = subject_of(run)
    circuit = subject.circuit
    print(
        f"Run {run.path}: {circuit.num_qubits} qubits, {circuit.num_inputs} inputs, "
        f"{circuit.num_weights} weights",
        flush=True,
    )
    found = diagnose(subject, seed, samples, _say)
    write_json_atomic(
        run.path / "diagnose.json",
        {
            "run": run.path.name,
            "task": run.task,
            "seed": seed,
            "samples": samples,
            "seconds": round(time.monotonic() - started, 2),
            **{key: {"paper": PAPERS[key], **as_json(value)} for key, value in found.items()},
        },
    )
    pictures = draw_all(run.path / "figures", subject, found)
    write(run.path, run.path.name, subject, found, pictures)


def _newest(results_dir: Path) -> str:
    from pipelines import trained

    names = trained.newest(results_dir).values()
    return max(names, key=lambda name: (results_dir / name / "summary.json").stat().st_mtime)


def _say(name: str, sentence: str, seconds: float) -> None:
    print(f"  {name.replace('_', ' '):20} {sentence}  ({seconds:.1f} s)", flush=True)


def subject_of(run: Trained) -> Subject:
    """What is to be known of a finished run. Regressions look at test rows, training saw others."""
    targets = np.asarray(run.test.targets)
    inputs, weights = np.asarray(run.test.inputs), np.asarray(run.weights)
    if run.task == "fashion":
        signs = np.where(targets == targets.max(), 1.0, -1.0)
        return Subject(
            run.circuit,
            run.observables,
            weights,
            inputs,
            signs,
            class_names=_class_names(run),
            classical=_hybrid_loss(run),
        )
    rows = slice(0, _REGRESSION_ROWS)
    values = exact(run.circuit, run.observables, jnp.asarray(inputs[rows]), jnp.asarray(weights))
    return Subject(
        run.circuit,
        run.observables,
        weights,
        inputs[rows],
        targets[rows].astype(float),
        np.asarray(run.head(np.asarray(values.values)), float)[:, 0],
    )


def _class_names(run: Trained) -> tuple[str, str]:
    """The last class against the other one, or against all others."""
    from qnn_jax.runs import read_json

    names = (read_json(run.path / "summary.json") or {})["classes"]
    return (names[0] if len(names) == 2 else "all others"), names[-1]


def _hybrid_loss(run: Trained) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """The mean logit of noise images under a model's own initialisation, and the initialisation.

    Noise instead of the data: whether the circuit lets a gradient through to the convolutions does
    not depend on what they see, and the data need not be read again.
    """
    from pipelines.train_fashion import FashionConfig
    from pipelines.trained import finished
    from qnn_jax.models import HybridClassifier

    config = finished(run.path.parent, run.path.name).config
    assert isinstance(config, FashionConfig)
    model = HybridClassifier(config.model, max(2, int(run.test.targets.max()) + 1))
    pixels = np.random.default_rng(0).integers(0, 256, (16, 28, 28)).astype(np.uint8)
    images = jnp.asarray(pixels)

    def loss(params: Any) -> Any:
        logits: Any = model.apply({"params": params}, images)
        return jnp.mean(logits[:, 0])

    return loss, lambda key: model.init(key, images)["params"]


def diagnose(
    subject: Subject, seed: int, samples: int, say: Callable[[str, str, float], None]
) -> dict[str, Any]:
    """Every diagnostic that makes sense for the subject, by name.

    Two run at a time: most of their seconds are XLA's compilation, which does not hold Python. A
    diagnostic that refuses, as an exact Fourier spectrum does, leaves its sentence (an InputError)
    in place of its value.
    """
    work = _diagnostics(subject, jax.random.key(seed), samples)

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
            say(name, in_a_line(name, found[name]), seconds)
    return found


def _diagnostics(subject: Subject, key: Any, samples: int) -> Mapping[str, Callable[[], Any]]:
    circuit, observables, weights = subject.circuit, subject.observables, subject.weights
    inputs, targets = subject.inputs, subject.targets
    some = inputs[:_ROWS]
    # Distinct streams for distinct diagnostics, whatever else is asked for.
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
        # It was found on a part of the points, and is judged on all, as the other two are.
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
        """The whole spectrum; where that has too many points, a cut along each input."""
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
        for n in QUBITS:
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
            repeats: diagnostics.circuit_gradient_variances(
                circuit.repeat(repeats), observables[:1], keys["gradients"], draws, inputs
            )[0]
            for repeats in REPEATS
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

    # The longest first, so that two workers end together.
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
    """Rows whose targets go evenly from the lowest to the highest."""
    order = np.argsort(targets, kind="stable")
    return order[np.linspace(0, len(order) - 1, min(count, len(order))).astype(int)]


def _of(value: float, interval: Sequence[float], digits: int = 3) -> str:
    return f"{value:.{digits}f} ({interval[0]:.{digits}f} to {interval[1]:.{digits}f})"


def in_a_line(name: str, found: Any) -> str:
    """A diagnostic's result in a few words."""
    if isinstance(found, InputError):
        return f"refused: {found}"
    if name == "representation":
        least, ansatz = found["mean_l1"], found["ansatz"]
        return (
            f"least mean L1: {least['any_observable']:.4f} with any observable, "
            f"{least['ansatz']:.4f} found by {len(ansatz.starts)} fresh trainings of these gates "
            f"({ansatz.agreeing} agree); this run has {least['run']:.4f}"
        )
    if name == "fourier":
        counts = ", ".join(
            f"{int(one.used.sum()):,} of {len(one.used):,}"
            + ("" if cut == "all" else f" along {cut}")
            for cut, one in found.items()
        )
        return f"frequencies in use, of those in reach: {counts}"
    if name == "expressibility":
        return f"{_of(found.kl, found.interval)} nats from Haar-random states, which have 0"
    if name == "entanglement":
        random, trained = found["random"], found["trained"]
        return (
            f"{_of(random.mean, random.interval)} with random weights, "
            f"{_of(trained.mean, trained.interval)} trained; Haar-random states {random.haar:.3f}"
        )
    if name == "gradients_by_size":
        first, last = min(found), max(found)
        return "variance of a gradient " + ", ".join(
            f"{found[first][kind].mean:.3f} at {first} and {found[last][kind].mean:.4f} at {last} "
            f"qubits ({kind} observable)"
            for kind in found[first]
        )
    if name == "gradients":
        return "variance of a gradient " + ", ".join(
            f"{_of(one.mean, one.interval)} at {repeats} ×" for repeats, one in found.items()
        )
    if name == "classical_gradients":
        # The head's offset has the gradient 1, which does not vary.
        moving = [path for path in found if found[path].mean > 0] or list(found)
        low = min(moving, key=lambda path: found[path].mean)
        return f"smallest mean variance {found[low].mean:.2e}, at {low}"
    if name == "fisher":
        return (
            f"{found.rank} of {len(found.eigenvalues)} directions of the weights move the states; "
            f"on one sample at most {int(found.sample_ranks.max())}"
        )
    if name == "effective_dimension":
        last = -1
        return (
            f"{_of(found.values[last], found.intervals[last], 2)} of {found.parameters} at "
            f"{found.counts[last]:,} samples"
        )
    assert name == "kernel"
    aligned = found["alignment"]
    return f"alignment {_of(aligned.centred, aligned.centred_interval)} centred"


def as_json(value: Any) -> Any:
    """A diagnostic's result as JSON; long arrays are left to the pictures."""
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
