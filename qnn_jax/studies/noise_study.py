"""Where do shots and a device's errors matter, and what does training with them buy?

Parts of the study are ablations with `NoiseTwins` of `qnn_jax.tasks.table.NOISE_SETTINGS`. All of
their tests together are corrected by Holm's method. A quantum kernel with shots is a part of its
own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from qnn_jax.circuits.arrays import finite_array
from qnn_jax.circuits.checks import at_least, several
from qnn_jax.configs import ExecutionConfig
from qnn_jax.errors import InputError
from qnn_jax.stats import holm, mean_interval
from qnn_jax.studies.noise_twins import NoiseTwins
from qnn_jax.tasks.table import NOISE_SETTINGS
from qnn_jax.training.task import HYBRID, replaced, with_interval

#: Training and test points of the kernel.
KERNEL_TRAIN, KERNEL_TEST = 60, 200


class Part(NamedTuple):
    """One ablation of the study.

    Attributes:
        name: also of its folder.
        setting: its name in `NOISE_SETTINGS`.
        twins: the task.
        size: training examples.
        device: whose errors they are, or None.
        depth: blocks of the circuit, or None.
    """

    name: str
    setting: str
    twins: NoiseTwins
    size: int
    device: str | None
    depth: int | None = None


@dataclass(frozen=True)
class NoiseStudyConfig:
    """The size of the study.

    Attributes:
        devices: names of fake backends.
        depths: blocks of the circuit without a classical network.
        shots: in training and in the scores.
        images: most test examples of a score.
        size: training examples of the classifiers.
        epochs: of the circuit without a classical network.
    """

    devices: tuple[str, ...] = (
        "FakeYorktownV2",
        "FakeSantiagoV2",
        "FakeGuadalupeV2",
        "FakeFez",
        "FakeMarrakesh",
        "FakeKingston",
    )
    depths: tuple[int, ...] = (2, 3, 4, 6)
    shots: int = 1024
    images: int = 500
    size: int = 2000
    epochs: int = 30


def parts(config: NoiseStudyConfig) -> tuple[Part, ...]:
    """The ablations of the study, checked, the quick ones first."""
    devices = several("devices", config.devices, "names of fake backends")
    depths = several("depths", config.depths, "numbers of blocks")
    for name, values in (("devices", devices), ("depths", depths)):
        if not values or len(set(values)) < len(values):
            raise InputError(
                f"Argument `{name}` must hold one or more different values, but is {values}."
            )
    shots, images = at_least("shots", config.shots, 1), at_least("images", config.images, 1)
    size = at_least("size", config.size, 1)
    epochs = at_least("epochs", config.epochs, 1)
    found = []
    for device in (None, *devices):
        execution = ExecutionConfig("noisy" if device else "sampled", shots, device)
        for name, setting in NOISE_SETTINGS.items():
            if not (setting.errors if device else setting.shots):
                continue
            task = replace(setting.task, execution=execution)
            for depth in depths if setting.depth else (None,):
                if depth is not None:
                    task = replaced(replaced(task, setting.depth, depth), "training.epochs", epochs)
                words = "-".join(str(w) for w in (name, device or "shots", depth) if w is not None)
                twins = NoiseTwins(task, images)
                found.append(Part(words, name, twins, setting.size or size, device, depth))
    for one in found:
        one.twins.sized(one.size).check()
    return tuple(found)


def shot_floor(targets: np.ndarray, shots: int) -> float:
    """The mean L1 that shots leave where nothing else is wrong.

    One observable of values ±1 with a linear head, whose gain g is half the range of the targets,
    the least that reaches them all: a mean of N shots then has the standard error
    √((g² - (y - center)²) / N), and a normal deviate the mean absolute value √(2/π) of that.

    Args:
        targets: shape (count,), of at least two values.
        shots: at least 1.

    >>> found = shot_floor(np.array([-1.0, 0.0, 1.0]), 4096)
    >>> math.isclose(found, math.sqrt(2 / math.pi) / 64 / 3)
    True
    """
    at_least("shots", shots, 1)
    targets = finite_array("targets", targets, ("count",))
    gain = np.ptp(targets) / 2
    center = targets.min() + gain
    spread = np.sqrt(np.clip(gain**2 - (targets - center) ** 2, 0, None) / shots)
    return float(math.sqrt(2 / math.pi) * spread.mean())


def together(found: Sequence[tuple[Part, Mapping[str, Any]]]) -> dict[str, Any]:
    """The results of several ablations as one table, with all tests corrected together.

    Returns:
        JSON: "rows", one for each twin of each part, and "tests", how many were corrected.
    """
    rows = []
    for part, summary in found:
        for line in summary["table"]:
            row = {
                "part": part.name,
                "setting": part.setting,
                "device": part.device,
                "depth": part.depth,
                "shots": part.twins.shots,
                "metric": summary["metric"],
                "seeds": summary["seeds"],
                **{key: line[key] for key in ("twin", "mean", "interval", "gain", "gain_interval")},
                "p": line["p"],
            }
            rows.append(row)
    tested = [row for row in rows if row["twin"] != HYBRID]
    for row, corrected in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row["p_corrected"] = corrected
    return {"rows": rows, "tests": len(tested)}


def kernel_with_shots(
    shots: Sequence[int], seeds: int, first_seed: int = 0
) -> list[dict[str, Any]]:
    """Accuracy and positive semidefiniteness of a quantum kernel, against shots.

    The kernel is that of the ZZ feature map on two moons. With shots, each entry of the upper
    triangle is the share of shots that read all zeros after one state and the inverse of the other
    (arXiv:1804.11326): binomial, and 1 on the diagonal.

    Args:
        shots: of each entry; the exact kernel comes first in the result.
        seeds: draws of data and shots.
        first_seed: the others follow it.

    Returns:
        One row for each number of shots (0 is exact): means over seeds with 95 % intervals of the
        accuracy of a support vector classifier as it is ("accuracy") and with negative eigenvalues
        set to 0 ("accuracy_clipped"), the least eigenvalue, and the share of seeds where that is
        below -1e-6.
    """
    from sklearn.datasets import make_moons
    from sklearn.svm import SVC

    from qnn_jax import kernel_matrix, zz_feature_map

    at_least("seeds", seeds, 2)
    numbers = [0, *(at_least("shots", n, 1) for n in several("shots", shots, "numbers of shots"))]
    circuit, count = zz_feature_map(2), KERNEL_TRAIN + KERNEL_TEST
    scores: dict[int, list[tuple[float, float, float]]] = {n: [] for n in numbers}
    for seed in range(first_seed, first_seed + seeds):
        points, labels = make_moons(count, noise=0.15, random_state=seed)
        whole = np.asarray(kernel_matrix(circuit, points.astype(np.float32)), float)
        rng = np.random.default_rng(seed)
        for number in numbers:
            kernel = whole
            if number:
                drawn = rng.binomial(number, np.clip(whole, 0, 1)) / number
                kernel = np.triu(drawn, 1) + np.triu(drawn, 1).T + np.eye(count)
            train, test = kernel[:KERNEL_TRAIN, :KERNEL_TRAIN], kernel[KERNEL_TRAIN:, :KERNEL_TRAIN]
            values, vectors = np.linalg.eigh(train)
            clipped = (vectors * np.clip(values, 0, None)) @ vectors.T
            accuracies = [
                SVC(kernel="precomputed")
                .fit(gram, labels[:KERNEL_TRAIN])
                .score(test, labels[KERNEL_TRAIN:])
                for gram in (train, clipped)
            ]
            scores[number].append((*accuracies, float(values[0])))
    rows = []
    for number, of_seeds in scores.items():
        columns = np.array(of_seeds).T
        row: dict[str, Any] = {"shots": number, "seeds": seeds}
        names = ("accuracy", "accuracy_clipped", "least_eigenvalue")
        for name, values in zip(names, columns, strict=True):
            row[name] = float(values.mean())
            row[f"{name}_interval"] = mean_interval(values)
        row["indefinite"] = float(np.mean(columns[2] < -1e-6))
        rows.append(row)
    return rows


def text_of(study: Mapping[str, Any]) -> str:
    """The study as a table."""
    lines = [
        f"{'part':<28}{'twin':<14}{'score, 95 % interval':<32}{'lead of the hybrid':<32}"
        f"{'p (Holm, all)':<14}seeds"
    ]
    for row in study["rows"]:
        score, lead = with_interval(row["mean"], row["interval"], ".4f"), ""
        if row["twin"] != HYBRID:
            lead = with_interval(row["gain"], row["gain_interval"], "+.3g")
        p = f"{row['p_corrected']:.2g}" if "p_corrected" in row else ""
        lines.append(
            f"{row['part']:<28}{row['twin']:<14}{score:<32}{lead:<32}{p:<14}{row['seeds']}"
        )
    for name, value in study.get("floors", {}).items():
        lines.append(f"The floor that shots leave, {name}: mean L1 {value:.5f}")
    for row in study.get("kernel", ()):
        lines.append(
            f"kernel, {row['shots'] or 'exact':>6} shots: accuracy {row['accuracy']:.4f}, clipped "
            f"{row['accuracy_clipped']:.4f}, least eigenvalue {row['least_eigenvalue']:+.4f}, "
            f"indefinite in {row['indefinite']:.0%} of {row['seeds']} draws"
        )
    return "\n".join(lines)
