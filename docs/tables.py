"""Write the tables of README.md and of the pages from the files in results/reference.

    python docs/tables.py            # write
    python docs/tables.py --check    # say which file differs, exit 1

A table stands between `<!-- table: NAME -->` and `<!-- end -->`.
"""

import json
import re
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from qnn_jax.stats import holm, mean_interval, sign_flip_test

ROOT = Path(__file__).parents[1]
PAGES = (
    "README.md",
    "docs/results.md",
    "docs/gpu.md",
    "docs/internals/performance.md",
)


def stored(name: str) -> Any:
    """A file of results/reference."""
    return json.loads((ROOT / "results/reference" / name).read_text("utf-8"))


def markdown(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown, whose numbers do not wrap."""
    header = list(header)
    lines = [header, ["---"] * len(header), *([_unbroken(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _unbroken(cell: str) -> str:
    """A cell with no-break spaces in numbers with units, in intervals and before marks."""
    space = r" (?=[±∗×%=/])|(?<=[±=/]) |(?<=\d) (?=(?:s|ms|points)\b)"
    cell = re.sub(space, "\N{NO-BREAK SPACE}", cell)
    return re.sub(
        r"\([−+\d][^()]*\)", lambda match: match[0].replace(" ", "\N{NO-BREAK SPACE}"), cell
    )


def sideways(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """The table with its rows as columns: for few rows of many cells."""
    (corner, *names), *lines = zip(header, *rows, strict=True)
    return markdown((corner, *names), lines)


def seconds(value: float) -> str:
    """A time with two significant digits, in the unit that suits it."""
    unit, size = next(
        ((unit, size) for unit, size in (("s", 1.0), ("ms", 1e-3)) if value >= 0.0995 * size),
        ("µs", 1e-6),
    )
    return f"{_two_digits(value / size)}\N{NO-BREAK SPACE}{unit}"


def _two_digits(value: float) -> str:
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 0.995 else f"{value:.2f}"


def _five_seeds() -> tuple[list[float], list[float]]:
    found = [stored(f"seeds/seed-{seed}.json") for seed in range(5)]
    return (
        [run["test_accuracy"] for run in found],
        [run["baselines"]["classical"] for run in found],
    )


def _with_range(values: list[float]) -> str:
    return f"{statistics.median(values):.4f} ({min(values):.4f} to {max(values):.4f})"


def fashion() -> str:
    """T-shirt against trouser."""
    hybrid, classical = _five_seeds()
    run = stored("seeds/seed-0.json")
    counts = f"{run['train_count']:,}", f"{run['test_count']:,}"
    return markdown(
        ("model", "trained on", "tested on", "accuracy"),
        (
            ("the 2022 project, Qiskit TorchConnector", "400 images", "80 images", "0.975"),
            ("this library, hybrid", *counts, f"**{_with_range(hybrid)}**"),
            (
                "this library, classical layer of equal size in place of the circuit",
                counts[0],
                f"the same {counts[1]}",
                _with_range(classical),
            ),
        ),
    )


_TWINS = {
    "separable": "without entangling gates",
    "frozen": "with an untrained circuit",
    "classical": "a classical layer of equal size in place of the circuit",
    "bypass": "nothing in place of the circuit",
    "network": "the classical network alone",
    "pixels": "logistic regression on pixels",
}


def _difference(row: dict[str, Any]) -> str:
    half = (row["gain_interval"][1] - row["gain_interval"][0]) / 2
    star = " ∗" if row["p_corrected"] < 0.05 else ""
    return f"{row['gain']:+.2f} ± {half:.2f}{star}".replace("-", "−")


def _verdict(row: dict[str, Any]) -> str:
    if row["p_corrected"] >= 0.05:
        said = "no measurable difference"
    else:
        said = f"the circuit {'raised' if row['gain'] > 0 else 'lowered'} the accuracy"
    return f"{said}: {_difference(row).removesuffix(' ∗')} points"


def _ablation_row(size: int, twin: str) -> dict[str, Any]:
    rows = stored("ablate/summary.json")["table"]
    return next(row for row in rows if (row["size"], row["twin"]) == (size, twin))


def ablation() -> str:
    """The hybrid network minus each twin."""
    sizes = stored("ablate/summary.json")["sizes"]
    return markdown(
        ("twin", *(f"{size:,} images" for size in sizes)),
        (
            (what, *(_difference(_ablation_row(size, twin)) for size in sizes))
            for twin, what in _TWINS.items()
        ),
    )


def calculator() -> str:
    """A sum of two numbers."""
    run, job = stored("calculator/summary.json"), stored("calculator/eval-hardware.json")
    low, high = run["baseline_intervals"]["baseline_2022"]
    quantum = str(sum(run["parameters"].values()))
    parameters = {name: str(count) for name, count in run["baseline_parameters"].items()}
    errors = run["baselines"]
    return markdown(
        ("model", "parameters", f"mean abs. error on {run['test_count']:,} points"),
        (
            ("constant 1.0", parameters["constant"], f"{errors['constant']:.3f}"),
            ("the 2022 project, as reported (50 samples)", "8", "0.160"),
            (
                "the 2022 model, median of 100 seeds (95 % of them)",
                parameters["baseline_2022"],
                f"{errors['baseline_2022']:.3f} ({low:.3f} to {high:.3f})",
            ),
            ("**this, exact**", quantum, f"**{run['test_mean_l1']:.4f}**"),
            ("this, 4,096 shots", quantum, f"{run['test_mean_l1_shots_4096']:.3f}"),
            (
                f"this, {job['shots']:,} shots on simulated {job['backend']}, recalibrated",
                quantum,
                f"{job['recalibrated']['mean_l1']:.3f}",
            ),
            ("linear regression", parameters["linear_regression"], "0"),
            ("MLP of equal size", parameters["mlp_equal_size"], f"{errors['mlp_equal_size']:.7f}"),
        ),
    )


#: Test accuracies of arXiv:2403.07059, means over sizes: MLP, SVC, dressed circuit, re-uploading.
_PUBLISHED = {
    "linearly separable": (0.996, 0.991, 0.996, 0.855),
    "hidden manifold": (0.808, 0.804, 0.794, 0.770),
    "hidden manifold diff": (0.760, 0.793, 0.768, 0.710),
    "hyperplanes diff": (0.797, 0.769, 0.786, 0.785),
    "two curves": (0.981, 0.989, 0.923, 0.947),
    "two curves diff": (0.963, 0.973, 0.872, 0.822),
}
_PUBLISHED_OF = {"MLP": 0, "SVC": 1, "hybrid": 2, "re-uploading": 3}


#: What each circuit of the benchmark is compared with.
_OPPONENTS = (
    ("hybrid", "hybrid, separable"),
    ("hybrid", "hybrid, classical"),
    ("re-uploading", "re-uploading, separable"),
    ("ZZ kernel", "Z kernel, separable"),
    ("hybrid", "MLP"),
    ("hybrid", "SVC"),
)


def _accuracies() -> dict[str, dict[str, list[float]]]:
    """Of each model on each family of problems, all sizes and draws in the same order."""
    found: dict[str, dict[str, list[float]]] = {}
    for name, models in stored("bench/classification.json")["cells"].items():
        family = found.setdefault(name.rpartition(",")[0], {})
        for model, cell in models.items():
            family.setdefault(model, []).extend(cell["accuracies"])
    return found


def classification() -> str:
    """Mean test accuracies of classifiers on the problems of arXiv:2403.07059."""
    found = _accuracies()

    def cell(model: str, family: str) -> str:
        mean = statistics.mean(found[family][model])
        if model not in _PUBLISHED_OF or family not in _PUBLISHED:
            return f"{mean:.3f}"
        return f"{mean:.3f} ({_PUBLISHED[family][_PUBLISHED_OF[model]]:.3f})"

    models = next(iter(found.values()))
    return markdown(
        ("model", *found), ((model, *(cell(model, family) for family in found)) for model in models)
    )


def _lead(one: str, other: str, families: Iterable[str]) -> tuple[np.ndarray, str]:
    """By how much a model is ahead of another, problem by problem, and that in points."""
    found = _accuracies()
    differences = 100 * np.concatenate(
        [np.subtract(found[family][one], found[family][other]) for family in families]
    )
    low, high = mean_interval(differences)
    text = f"{np.mean(differences):+.1f} ± {(high - low) / 2:.1f}".replace("-", "−")
    return differences, text


def leads() -> str:
    """Circuits minus what stands beside them on the same problems, in points."""
    families = list(_accuracies())
    cells = {(pair, family): _lead(*pair, [family]) for pair in _OPPONENTS for family in families}
    corrected = holm([sign_flip_test(differences) for differences, _ in cells.values()])
    stars = {key: " ∗" if p < 0.05 else "" for key, p in zip(cells, corrected, strict=True)}
    return sideways(
        ("problems", *families, "all"),
        (
            (
                f"{one} − {other}",
                *(
                    cells[(one, other), family][1] + stars[(one, other), family]
                    for family in families
                ),
                _lead(one, other, families)[1],
            )
            for one, other in _OPPONENTS
        ),
    )


def kernel() -> str:
    """A quantum kernel with shots."""
    rows = stored("noise/kernel.json")["kernel"]
    return markdown(
        ("shots for each entry", "accuracy", "negative eigenvalues removed", "least eigenvalue"),
        (
            (
                f"{row['shots']:,}" if row["shots"] else "exact",
                f"{row['accuracy']:.3f}",
                f"{row['accuracy_clipped']:.3f}",
                f"{row['least_eigenvalue']:.2f}".replace("-0.00", "0.00").replace("-", "−"),
            )
            for row in rows
        ),
    )


def noise_settings() -> str:
    """How well the circuit alone learns, by how it is trained."""
    found = stored("noise/settings.json")
    rows = [
        (
            f"{row['blocks']} blocks",
            f"{row['gain']:g}, {'trained' if row['trained_gain'] else 'fixed'}",
            f"0 to {'π' if row['angles'] == 1 else 'π / 2'}",
            f"{row['learning_rate']:g}",
            str(row["epochs"]),
            f"{row['accuracy']:.3f} ± {row['deviation']:.3f}",
        )
        for row in found["rows"]
    ]
    rows += [
        (f"{name} on the same 16 pixels", "", "", "", "", f"{accuracy:.3f}")
        for name, accuracy in found["twins"].items()
    ]
    return markdown(("model", "gain", "angles", "learning rate", "epochs", "accuracy"), rows)


def noise_cost() -> str:
    """What a device's errors cost circuits that were trained exactly."""
    return markdown(
        ("device", "blocks", "exact", "with errors", "recalibrated", "rms error", "slope"),
        (
            (
                row["device"],
                str(row["blocks"]),
                *(f"{row[name]:.3f}" for name in ("exact", "noisy", "recalibrated")),
                *(f"{row[name]:.2f}" for name in ("rms_error", "slope")),
            )
            for row in stored("noise/cost.json")["rows"]
        ),
    )


def variance() -> str:
    """A regression with shots, by the weight of the variance in the loss."""
    found = stored("noise/variance.json")["rows"]
    shots = list(dict.fromkeys(row["shots"] for row in found))

    def line(name: str, rows: list[dict[str, Any]]) -> Iterator[str]:
        yield name
        by_shots = {row["shots"]: row for row in rows}
        for number in shots:
            row = by_shots.get(number)
            yield f"{row['mean']:.2f} ({row['median']:.2f})" if row else ""

    weights = dict.fromkeys(row["weight"] for row in found if row["weight"] is not None)
    lines = [
        line(f"weight {weight:g}", [row for row in found if row["weight"] == weight])
        for weight in weights
    ]
    lines.append(line("shots in training", [row for row in found if row["weight"] is None]))
    return markdown(("training", *(f"{number:,} shots" for number in shots)), lines)


def noise() -> str:
    """A regression, trained with shots."""
    return _noise("regression")


def noise_circuit() -> str:
    """A circuit without a classical network, trained with a device's errors and shots."""
    return _noise("circuit")


def _noise(setting: str) -> str:
    """Training with shots and a device's errors, and what it leads other trainings by."""
    parts: dict[str, dict[str, Any]] = {}
    for row in stored("noise/study.json")["rows"]:
        if row["setting"] == setting:
            parts.setdefault(row["part"], {})[row["twin"]] = row

    names = {
        "ideal": "no device",
        "blind": "exact training",
        "recalibrated": "… recalibrated",
        "noise-aware": "with errors",
        "hybrid": "with shots" if setting == "regression" else "with errors and shots",
    }
    names = {k: text for k, text in names.items() if any(k in part for part in parts.values())}
    beside = [name for name in ("blind", "recalibrated") if name in names]
    digits, unit = (1, " points") if setting == "circuit" else (4, "")

    def lead(row: dict[str, Any]) -> str:
        low, high = row["gain_interval"]
        text = f"{row['gain']:+.{digits}f}{unit} ({low:+.{digits}f} to {high:+.{digits}f})"
        return f"{text}, p = {row['p_corrected']:.1g}".replace("-", "−")

    def cells(part: dict[str, Any]) -> Iterator[str]:
        own = part["hybrid"]
        blocks = f"{own['depth']} blocks, " if own["depth"] else ""
        yield f"{blocks}{own['device'] or 'shots only'}"
        for name in names:
            yield f"{part[name]['mean']:.{digits + 2 if setting == 'circuit' else digits}f}"
        for name in beside:
            yield lead(part[name])

    leads = ("lead over exact training", "lead over recalibration")
    return sideways(("setting", *names.values(), *leads[: len(beside)]), map(cells, parts.values()))


def twin() -> str:
    """What corrections of a device with hidden errors remove of its systematic error."""
    what = {
        "calculator": "a + b, two qubits, mean error",
        "sine": "a sine, two qubits, mean error",
        "pooled": "four classes of clothes, four qubits without a classical network, accuracy",
    }
    ways = ("recalibrated", "tuned_published", "tuned_learned", "tuned_device")

    def removed(row: dict[str, Any]) -> str:
        return f"{row['score']:.4f} ({100 * row['removed']:.0f} %)".replace("(-", "(−")

    def jobs(table: dict[str, Any]) -> str:
        # None is more than were tried.
        found = sorted(float("inf") if n is None else n for n in table["jobs"])
        middle = found[(len(found) - 1) // 2]
        most = f"more than {table['most_jobs']}"
        return most if middle == float("inf") else f"{middle:.0f}"

    tables = stored("bench/twin.json")["table"]
    return sideways(
        (
            "task",
            "devices",
            "exact",
            "untuned",
            "scale and shift corrected",
            "tuned, published errors",
            "tuned, learned twin",
            "tuned on the device",
            "its jobs for the twin's result",
        ),
        (
            (
                text,
                str(tables[name]["cells"]),
                f"{tables[name]['exact']:.4f}",
                f"{tables[name]['rows']['plain']['score']:.4f}",
                *(removed(tables[name]["rows"][way]) for way in ways),
                jobs(tables[name]),
            )
            for name, text in what.items()
            if name in tables
        ),
    )


def evaluation() -> str:
    """The trained classifier with exact values, on Aer, and as one job on a simulated device."""
    aer, job = stored("fashion/eval-aer.json"), stored("fashion/eval-hardware.json")
    rows = [("exact", aer["exact"])]
    rows += [(f"Aer, {int(shots):,} shots", found) for shots, found in aer["shots"].items()]
    rows += [
        (f"Aer, {found['shots']:,} shots, noise of {name}", found)
        for name, found in aer["noisy"].items()
    ]
    rows += [
        (
            f"one job on simulated {job['backend']}, {job['shots']:,} shots: as measured",
            job["plain"],
        ),
        ("… readout errors inverted", job["mitigated"]),
        ("… scale and shift corrected with anchors", job["recalibrated"]),
    ]
    return markdown(
        (
            f"the {aer['test_count']:,} test images, trained weights",
            "accuracy",
            "rms error of ⟨ZZ⟩",
        ),
        (
            (
                name,
                f"{found['accuracy']:.4f}",
                f"{found.get('expectation_rms', found.get('rms', 0)):.3f}",
            )
            for name, found in rows
        ),
    )


def training() -> str:
    """An epoch of the hybrid network and of networks without a circuit."""
    names = {
        "hybrid": "hybrid network",
        "without circuit": "the same network without the circuit",
        "stock, without circuit": "the same on stock `nn.Conv` and `nn.max_pool`",
    }
    networks = stored("bench/training.json")["networks"]
    return markdown(
        ("network", "compile", "an epoch", "hybrid takes"),
        (
            (
                what,
                f"{networks[name]['compile_seconds']:.1f} s",
                f"{networks[name]['epoch_seconds']:.2f} s",
                f"{networks[name]['hybrid_over_this']:.2f} ×",
            )
            for name, what in names.items()
        ),
    )


def scan() -> str:
    """A member of a scan beside other ways to train it."""
    epochs = stored("bench/scan.json")["epochs"]
    alone = stored("bench/calculator.json")
    rows = [
        (name, f"{found['member_epoch_seconds'] * 1e3:.0f} ms", f"{found['scan_over_this']:.2f} ×")
        for name, found in epochs.items()
    ]
    table = markdown(("an epoch of one member of", "takes", "a scan of 16 takes"), rows)
    return (
        f"{table}\n\n{alone['trainings']:,} complete trainings of the 2022 calculator take "
        f"{alone['seconds']:.0f} s in one program, and one of them alone takes "
        f'{alone["seconds_alone"] * 1e3:.0f} ms (`make bench ARGS="--only calculator"`).'
    )


_PEERS = {
    "tensorcircuit": "TensorCircuit",
    "pennylane": "PennyLane",
    "lightning": "lightning",
    "qujax": "qujax",
}


def simulator() -> str:
    """Value and gradient beside other simulators."""
    rows = []
    for cell in stored("bench/simulator.json")["cells"]:
        engines = cell["engines"]
        ours = engines["qnn_jax"]
        peers = {
            name: engines[name]
            for name in _PEERS
            if engines.get(name, {}).get("outcome") == "measured"
        }
        if ours["outcome"] != "measured" or not peers:
            continue
        step = min(peers, key=lambda name: peers[name]["seconds"])
        # lightning compiles nothing, so its first call is no compilation to compare with.
        compiled = {name: found for name, found in peers.items() if name != "lightning"}
        first_calls = {name: found["first_call_seconds"] for name, found in compiled.items()}
        first = min(first_calls, key=lambda name: first_calls[name], default=None)
        rows.append(
            (
                cell["family"] + (f", batch of {cell['batch']}" if cell["batch"] > 1 else ""),
                f"{cell['num_qubits']}, {cell['depth']}",
                f"{seconds(ours['seconds'])} ({seconds(ours['first_call_seconds'])})",
                _beside(step, peers[step]["seconds"], ours["seconds"]),
                "others > 30 s"
                if first is None
                else _beside(
                    first, compiled[first]["first_call_seconds"], ours["first_call_seconds"]
                ),
            )
        )
    return markdown(
        ("circuit", "qubits, depth", "ours", "fastest other, step", "fastest other, first call"),
        rows,
    )


def forward() -> str:
    """Values alone of circuits that do not repeat, and what a pass over the state takes."""

    def rows() -> Iterator[tuple[str, ...]]:
        for cell in stored("bench/forward.json")["cells"]:
            measured = (cell["engines"][name] for name in ("qnn_jax", "qsim", "aer", "qulacs"))
            yield (
                f"{cell['num_qubits']}, {cell['depth']}",
                *(seconds(engine["seconds"]) for engine in measured),
                *(seconds(value) for value in cell["passes"].values()),
            )

    return markdown(
        (
            "qubits, depth",
            "ours",
            "qsim",
            "Aer",
            "qulacs, double precision",
            "a copy",
            "a permutation",
            "a matrix on 4 qubits",
        ),
        rows(),
    )


def noise_speed() -> str:
    """Value and gradient of noisy circuits beside other simulators of density matrices."""
    peers = {"tensorcircuit": "TensorCircuit, DMCircuit", "pennylane": "PennyLane, default.mixed"}

    def rows() -> Iterator[tuple[str, ...]]:
        for cell in stored("bench/noise.json")["cells"]:
            yield (
                f"{cell['num_qubits']} qubits, depth {cell['depth']}, batch of {cell['batch']}",
                *(
                    f"{seconds(cell['engines'][name]['seconds'])} "
                    f"({seconds(cell['engines'][name]['first_call_seconds'])})"
                    for name in ("qnn_jax", *peers)
                ),
                f"{cell['ratio_seconds']:.0f} × ({cell['ratio_first_call_seconds']:.1f} ×)",
            )

    return markdown(("circuit", "ours", *peers.values(), "the faster one takes"), rows())


def _beside(name: str, value: float, ours: float) -> str:
    text = f"{_PEERS[name]} {seconds(value)}"
    return f"**{text}**" if value < ours else text


def sharded() -> str:
    """What states over eight devices send, in states of a device."""

    def states(row: dict[str, Any], name: str) -> str:
        return f"{row[name] / row['state']:.2f}"

    return markdown(
        (
            "circuit",
            "layers",
            "all-to-alls",
            "sent",
            "bound",
            "gradient sends",
            "gradient's memory",
            "XLA's own partition sends",
            "pairwise exchange sends",
        ),
        (
            (
                row["circuit"],
                str(row["layers"]),
                str(row["exchanges"]),
                states(row, "sent"),
                f"{row['bound']:.2f}",
                *(
                    (states(row, "gradient_sent"), f"{row['gradient_memory']:.2f}")
                    if row["gradient_sent"]
                    else ("no weights", "")
                ),
                states(row, "gspmd_sent"),
                str(row["pairwise"]),
            )
            for row in stored("bench/sharded.json")["circuits"]
        ),
    )


def estimators() -> str:
    """Our estimators beside those of qiskit-machine-learning."""
    found = stored("bench/estimators.json")
    fit, kernel = found["fit"], found["kernel"]
    rows = (
        (
            f"`QuantumClassifier.fit`, {fit['rows']} rows, {fit['qubits']} qubits, to a loss of "
            f"{fit['loss']:.3f}",
            fit,
            "VQC",
        ),
        (
            f"Gram matrix of {kernel['rows']:,} rows, {kernel['qubits']} qubits",
            kernel,
            "FidelityStatevectorKernel",
        ),
    )
    return markdown(
        ("", "ours, first call", "ours", "qiskit-machine-learning", "times ours"),
        (
            (
                name,
                seconds(row["first_seconds"]),
                seconds(row["seconds"]),
                f"{other} {seconds(row['seconds_of_qiskit'])}",
                f"{row['ratio']:,.0f} (first call {row['ratio_first']:,.0f})",
            )
            for name, row, other in rows
        ),
    )


def folds() -> str:
    """Our default estimators and an MLP, on tables of scikit-learn."""
    return markdown(
        ("table", "rows", "ours", "MLP of equal size", "difference", "parameters"),
        (
            (
                name.replace("_", " "),
                f"{row['rows']:,}",
                f"{statistics.mean(row['scores']):.3f}",
                f"{statistics.mean(row['scores_of_mlp']):.3f}",
                f"{statistics.mean(row['scores']) - statistics.mean(row['scores_of_mlp']):+.3f} "
                f"{row['metric']}".replace("-", "−"),
                f"{row['parameters']:,}, {row['parameters_of_mlp']:,}",
            )
            for name, row in stored("bench/estimators.json")["tables"].items()
        ),
    )


def gpu() -> str:
    """The simulator on a GPU."""
    found = stored("bench/gpu.json")
    cells = {
        (cell["n"], cell["batch"], cell["gradient"]): cell["seconds"]
        for cell in found["cells"]
        if cell["family"] == "zz + real_amplitudes" and "gradient" in cell
    }
    passed = sum(check["passed"] for check in found["checks"])
    rows = (
        (
            str(n),
            seconds(cells[n, 1, None]),
            seconds(cells[n, 1, "auto"]),
            seconds(cells[n, 64, "auto"]) if (n, 64, "auto") in cells else "not measured",
        )
        for n in sorted({n for n, batch, _ in cells if batch == 1})
    )
    table = markdown(("qubits", "value", "value and gradient", "the same, batch of 64"), rows)
    return (
        f"zz + real_amplitudes, 4 repetitions, on one {found['device']}:\n\n{table}\n\n"
        f"{passed} of {len(found['checks'])} comparisons with float64 passed."
    )


def summary() -> str:
    """The README's table: what the circuit changes, question by question."""
    hybrid, classical = _five_seeds()
    large, small = (_ablation_row(size, "classical") for size in (12000, 50))
    run = stored("calculator/summary.json")
    networks = stored("bench/training.json")["networks"]
    (cell,) = (
        cell
        for cell in stored("bench/simulator.json")["cells"]
        if (cell["family"], cell["batch"], cell["num_qubits"], cell["depth"])
        == ("zz + real_amplitudes", 1, 16, 10)
    )
    engines = cell["engines"]
    noisy = stored("bench/noise.json")["cells"][-1]
    twins = {
        row["twin"]: row
        for row in stored("noise/study.json")["rows"]
        if row["part"] == "circuit-FakeYorktownV2-6"
    }
    twin = stored("bench/twin.json")["table"]["calculator"]
    removed = {name: f"{100 * row['removed']:.0f} %" for name, row in twin["rows"].items()}
    aware, blind, recalibrated = (twins[name] for name in ("hybrid", "blind", "recalibrated"))
    families = _accuracies()
    accuracy = {
        model: statistics.mean(value for family in families.values() for value in family[model])
        for model in ("hybrid", "hybrid, separable", "MLP")
    }
    return markdown(
        ("question", "with the circuit", "beside it", "conclusion"),
        (
            (
                "T-shirt or trouser? Accuracy on 2,000 images, median of 5 seeds",
                f"{statistics.median(hybrid):.4f}",
                f"classical layer {statistics.median(classical):.4f}",
                f"{_verdict(large)} over 20 seeds",
            ),
            (
                "the same, trained on 50 images, mean of 20 seeds",
                f"{small['mean'] + small['gain'] / 100:.3f}",
                f"classical layer {small['mean']:.3f}",
                _verdict(small),
            ),
            (
                f"{len(families)} families of problems of arXiv:2403.07059, mean accuracy",
                f"{accuracy['hybrid']:.3f}",
                f"without entangling gates {accuracy['hybrid, separable']:.3f}, "
                f"MLP {accuracy['MLP']:.3f}",
                "no measurable difference: "
                f"{_lead('hybrid', 'hybrid, separable', families)[1]} points",
            ),
            (
                f"Four classes on simulated {aware['device']}, {aware['depth']} blocks without a "
                f"classical network, mean of {aware['seeds']} seeds",
                f"trained with its errors {aware['mean']:.3f}",
                f"trained exactly {blind['mean']:.3f}, with recalibrated values "
                f"{recalibrated['mean']:.3f}",
                f"training with the device gained {blind['gain']:.1f} points "
                f"({blind['gain_interval'][0]:.1f} to {blind['gain_interval'][1]:.1f})",
            ),
            (
                "a + b with two qubits? Mean error",
                f"{run['test_mean_l1']:.4f}",
                f"classical network {run['baselines']['mlp_equal_size']:.7f}",
                f"it can; the circuit of 2022 had {run['baselines']['baseline_2022']:.2f}",
            ),
            (
                f"a + b on {twin['cells']} simulated devices with hidden errors: part of the "
                "systematic error that is removed",
                f"tuned through what one job learned {removed['tuned_learned']}",
                f"recalibrated {removed['recalibrated']}, tuned on the device in "
                f"{twin['most_jobs']} jobs {removed['tuned_device']}",
                "the learned device corrects more than recalibration "
                f"(p = {twin['p']['recalibrated']:.1g})",
            ),
            (
                "Time for an epoch of 12,000 images",
                f"{networks['hybrid']['epoch_seconds']:.2f} s",
                f"without the circuit {networks['without circuit']['epoch_seconds']:.2f} s",
                "the circuit costs no measurable time",
            ),
            (
                "Time for value and gradient, 16 qubits, depth 10",
                seconds(engines["qnn_jax"]["seconds"]),
                f"lightning.qubit {seconds(engines['lightning']['seconds'])}",
                "[more circuits and simulators](docs/internals/performance.md)",
            ),
            (
                f"the same, {noisy['num_qubits']} qubits, batch of {noisy['batch']}, "
                "with noise after every gate",
                seconds(noisy["engines"]["qnn_jax"]["seconds"]),
                f"TensorCircuit {seconds(noisy['engines']['tensorcircuit']['seconds'])}",
                "exact density matrices, values compared first",
            ),
        ),
    )


TABLES: dict[str, Callable[[], str]] = {
    table.__name__: table
    for table in (
        fashion,
        ablation,
        calculator,
        evaluation,
        classification,
        leads,
        kernel,
        noise_settings,
        noise_cost,
        variance,
        noise,
        noise_circuit,
        twin,
        training,
        scan,
        simulator,
        forward,
        noise_speed,
        gpu,
        sharded,
        estimators,
        folds,
        summary,
    )
}


def written(text: str) -> str:
    """A page's text with its tables written again."""
    return re.sub(
        r"(<!-- table: (\w+) -->\n).*?(?=<!-- end -->)",
        lambda match: f"{match[1]}{TABLES[match[2]]()}\n",
        text,
        flags=re.DOTALL,
    )


def main(arguments: list[str]) -> int:
    """Write all pages, or compare them."""
    differ = []
    for name in PAGES:
        path = ROOT / name
        text = path.read_text("utf-8")
        if (new := written(text)) != text:
            differ.append(name)
            if "--check" not in arguments:
                path.write_text(new, "utf-8")
    for name in differ:
        print(f"{name} {'differs' if '--check' in arguments else 'is written'}")
    return int(bool(differ) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
