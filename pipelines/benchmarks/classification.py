"""Classification as Bowles, Ahmed and Schuld benchmark it (arXiv:2403.07059).

A cell is a family of problems at one size. In each cell every model first chooses its
hyperparameters by cross-validation on the training rows of seed 0, the numbers of a hybrid all in
one program. Then for each seed a problem is drawn, and the model is trained on it and tested once.
The file is written after each model, and a later call continues from there.
"""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from qnn_jax.circuits import Circuit, Expression, Op, w, x
from qnn_jax.data.dataset import ImageDataset
from qnn_jax.data.families import (
    Labelled,
    bars_and_stripes,
    fashion_pca,
    hidden_manifold,
    hyperplanes,
    linearly_separable,
    two_curves,
)
from qnn_jax.errors import InputError
from qnn_jax.stats import mean_interval

#: Rows to train and to test on; of images and of principal components more.
ROWS, IMAGES, COMPONENTS = (240, 60), (1000, 200), (250, 250)
#: Optimiser steps of a hybrid, and folds of the choice.
STEPS, FOLDS = 200, 3
#: Dimensions and difficulties; the paper has all from 2 to 20, with the same mean of about 11.
SIZES = (2, 10, 20)
#: More features are reduced to so many principal components where a circuit reads them directly.
MOST_REUPLOADED, MOST_IN_KERNEL = 20, 10
#: Layers of data re-uploading.
LAYERS = 3
#: The pair of classes that is told apart worst, as 3 and 5 are in MNIST.
CLOTHES = ("t-shirt/top", "shirt")

Draw = Callable[[int, int, ImageDataset | None], tuple[Labelled, Labelled]]


class Family(NamedTuple):
    """Problems of one kind.

    Attributes:
        draw: rows to train and to test on, of a size and a seed.
        published: mean test accuracies of the paper, by our names of the models.
        sizes: at which it is drawn.
        images: whether it needs Fashion-MNIST.
    """

    draw: Draw
    published: Mapping[str, float]
    sizes: Sequence[int] = SIZES
    images: bool = False


def _split(rows: Labelled, count: int) -> tuple[Labelled, Labelled]:
    return Labelled(*(a[:count] for a in rows)), Labelled(*(a[count:] for a in rows))


def _published(mlp: float, svc: float, dressed: float, reuploading: float) -> dict[str, float]:
    return {"MLP": mlp, "SVC": svc, "hybrid": dressed, "re-uploading": reuploading}


def _of_rows(draw: Callable[[int, int], Labelled]) -> Draw:
    return lambda size, seed, images: _split(draw(size, seed), ROWS[0])


_COUNT = sum(ROWS)
FAMILIES: Mapping[str, Family] = {
    "linearly separable": Family(
        _of_rows(lambda d, seed: linearly_separable(_COUNT, d, seed=seed)),
        _published(0.996, 0.991, 0.996, 0.855),
    ),
    "hidden manifold": Family(
        _of_rows(lambda d, seed: hidden_manifold(_COUNT, d, 6, seed=seed)),
        _published(0.808, 0.804, 0.794, 0.770),
    ),
    "hidden manifold diff": Family(
        _of_rows(lambda m, seed: hidden_manifold(_COUNT, 10, m, seed=seed)),
        _published(0.760, 0.793, 0.768, 0.710),
    ),
    "hyperplanes diff": Family(
        _of_rows(lambda k, seed: hyperplanes(_COUNT, 10, k, seed=seed)),
        _published(0.797, 0.769, 0.786, 0.785),
    ),
    "two curves": Family(
        _of_rows(lambda d, seed: two_curves(_COUNT, d, 5, 0.1, seed=seed)),
        _published(0.981, 0.989, 0.923, 0.947),
    ),
    "two curves diff": Family(
        _of_rows(lambda degree, seed: two_curves(_COUNT, 10, degree, 1 / (2 * degree), seed=seed)),
        _published(0.963, 0.973, 0.872, 0.822),
    ),
    "Fashion-PCA": Family(
        lambda d, seed, images: fashion_pca(images, d, *COMPONENTS, seed=seed),  # type: ignore[arg-type]
        {},
        images=True,
    ),
    "bars and stripes": Family(
        lambda side, seed, images: _split(
            bars_and_stripes(sum(IMAGES), side, seed=seed), IMAGES[0]
        ),
        {"CNN": 0.989},
        (4, 8),
    ),
}


def reuploading(num_features: int) -> Circuit:
    """Data re-uploading (arXiv:1907.02085): three features a qubit, rotated by w + w·x, then CZ."""
    n = max(2, -(-num_features // 3))
    ops, weights = [], 0
    for layer in range(LAYERS):
        for qubit in range(n):
            for place, gate in enumerate(("rz", "ry", "rz")):
                feature = 3 * qubit + place
                angle: Expression = w[weights]
                weights += 1
                if feature < num_features:
                    angle = angle + w[weights] * x[feature]
                    weights += 1
                ops.append(Op(gate, qubit, angle))
        if layer + 1 < LAYERS:
            ops += [Op("cz", (q, q + 1)) for q in range(n - 1)]
    return Circuit(n, tuple(ops))


class Found(NamedTuple):
    """A choice of hyperparameters, and their mean accuracy on the folds."""

    params: dict[str, Any]
    score: float


@dataclass(frozen=True)
class Hybrid:
    """A hybrid network of this library, or its twin.

    Attributes:
        member: "hybrid", or one of the twins.
        reuploads: whether the features enter a re-uploading circuit without a layer in front.
    """

    member: str = "hybrid"
    reuploads: bool = False

    @property
    def grid(self) -> Mapping[str, Sequence[float]]:
        """The numbers to choose from, all trained in one program."""
        rates, decays = (0.01, 0.05), (0.01, 0.3)
        return {"learning_rate": rates, "weight_decay": decays, "feature_scale": (1.0, 3.0)}

    def _made(self, rows: Labelled, seed: int) -> tuple[Any, Callable[[np.ndarray], np.ndarray]]:
        from qnn_jax import QuantumClassifier

        reduce = _reduced(rows.inputs, MOST_REUPLOADED if self.reuploads else None)
        count, features = reduce(rows.inputs).shape
        given: dict[str, Any] = {"member": self.member, "random_state": seed}
        if self.reuploads:
            given |= {"circuit": reuploading(features), "encoder": "none"}
        # One pass over all rows has as many steps as there are batches of 200.
        return QuantumClassifier(**given, max_iter=STEPS // max(1, count // 200)), reduce

    def choose(self, rows: Labelled) -> Found:
        """The numbers of the highest accuracy on folds."""
        from qnn_jax import QuantumSearch

        model, reduce = self._made(rows, 0)
        search = QuantumSearch(model, self.grid, cv=_folds())
        search.fit(reduce(rows.inputs), rows.labels)
        return Found(search.best_params_, search.best_score_)

    def accuracy(
        self, params: Mapping[str, Any], rows: Labelled, test: Labelled, seed: int
    ) -> float:
        """Trained on rows, tested on others."""
        model, reduce = self._made(rows, seed)
        model.set_params(**params).fit(reduce(rows.inputs), rows.labels)
        return float(model.score(reduce(test.inputs), test.labels))


class Searched:
    """A model that scikit-learn chooses on a grid and fits."""

    @property
    def grid(self) -> Mapping[str, Sequence[Any]]:
        """The hyperparameters to choose from."""
        raise NotImplementedError

    def _made(self, params: Mapping[str, Any], features: int, seed: int) -> Any:
        """The estimator with these hyperparameters."""
        raise NotImplementedError

    def choose(self, rows: Labelled) -> Found:
        """The point of the grid with the highest accuracy on folds."""
        from sklearn.model_selection import ParameterGrid, cross_val_score

        points = list(ParameterGrid(dict(self.grid)))
        models = [self._made(point, rows.inputs.shape[1], 0) for point in points]
        scores = [cross_val_score(model, *rows, cv=_folds()).mean() for model in models]
        place = int(np.argmax(scores))
        return Found(points[place], float(scores[place]))

    def accuracy(
        self, params: Mapping[str, Any], rows: Labelled, test: Labelled, seed: int
    ) -> float:
        """Trained on rows, tested on others."""
        return float(self._made(params, rows.inputs.shape[1], seed).fit(*rows).score(*test))


@dataclass(frozen=True)
class Kernel(Searched):
    """A support vector machine with a quantum kernel.

    Attributes:
        circuit: "zz", or its twin without entanglement, "z".
    """

    circuit: str

    @property
    def grid(self) -> Mapping[str, Sequence[Any]]:
        """Scales of the features, and penalties."""
        return {"scale": (0.1, 0.3, 1.0), "C": (1.0, 10.0, 100.0)}

    def _made(self, params: Mapping[str, Any], features: int, seed: int) -> Any:
        from sklearn.decomposition import PCA
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC

        from qnn_jax import QuantumKernel

        few = [PCA(MOST_IN_KERNEL), StandardScaler()] if features > MOST_IN_KERNEL else []
        kernel = QuantumKernel(self.circuit, scale=params["scale"])
        return make_pipeline(StandardScaler(), *few, SVC(kernel=kernel, C=params["C"]))


@dataclass(frozen=True)
class Classical(Searched):
    """A model of scikit-learn.

    Attributes:
        kind: "MLP" or "SVC".
    """

    kind: str

    @property
    def grid(self) -> Mapping[str, Sequence[Any]]:
        """The hyperparameters to choose from."""
        if self.kind == "SVC":
            return {"gamma": (0.01, 0.1, 1.0), "C": (0.1, 1.0, 10.0, 100.0)}
        return {
            "learning_rate_init": (0.001, 0.01),
            "alpha": (1e-4, 0.1),
            "hidden_layer_sizes": ((32,), (64, 64)),
        }

    def _made(self, params: Mapping[str, Any], features: int, seed: int) -> Any:
        from sklearn.neural_network import MLPClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC

        mlp = self.kind == "MLP"
        return make_pipeline(
            StandardScaler(), MLPClassifier(**params, random_state=seed) if mlp else SVC(**params)
        )


MODELS: Mapping[str, Hybrid | Searched] = {
    "hybrid": Hybrid(),
    "hybrid, separable": Hybrid("separable"),
    "hybrid, classical": Hybrid("classical"),
    "re-uploading": Hybrid(reuploads=True),
    "re-uploading, separable": Hybrid("separable", reuploads=True),
    "ZZ kernel": Kernel("zz"),
    "Z kernel, separable": Kernel("z"),
    "MLP": Classical("MLP"),
    "SVC": Classical("SVC"),
}
#: Each entangled model and what it is compared with.
PAIRS = (
    ("hybrid", "hybrid, separable"),
    ("hybrid", "hybrid, classical"),
    ("re-uploading", "re-uploading, separable"),
    ("ZZ kernel", "Z kernel, separable"),
    ("hybrid", "MLP"),
)


def _folds() -> Any:
    from sklearn.model_selection import StratifiedKFold

    return StratifiedKFold(FOLDS, shuffle=True, random_state=0)


def _reduced(inputs: np.ndarray, most: int | None) -> Callable[[np.ndarray], np.ndarray]:
    """The first principal components of these rows, where there are more features."""
    if most is None or inputs.shape[1] <= most:
        return lambda rows: rows
    from sklearn.decomposition import PCA

    found = PCA(most).fit(inputs)
    return lambda rows: np.asarray(found.transform(rows))


def settings() -> dict[str, Any]:
    """What numbers in the file depend on; a file of others is begun anew."""
    return {
        "rows": ROWS,
        "images": IMAGES,
        "components": COMPONENTS,
        "steps": STEPS,
        "folds": FOLDS,
        "layers": LAYERS,
        "clothes": CLOTHES,
        "grids": {name: model.grid for name, model in MODELS.items()},
    }


def classification(
    path: Path,
    seeds: int,
    families: Sequence[str],
    sizes: Sequence[int],
    data_dir: Path | None,
    manual_dir: Path | None,
) -> dict[str, Any]:
    """Fill a file of results, cell by cell, print the tables, and return what the file holds."""
    from qnn_jax.runs import read_json, write_json_atomic

    for name in families:
        if name not in FAMILIES:
            raise InputError(
                f"Argument `families` must be among {', '.join(FAMILIES)}, but has {name!r}."
            )
    known = sorted({size for name in families or FAMILIES for size in FAMILIES[name].sizes})
    for size in sizes:
        if size not in known:
            raise InputError(
                f"Argument `sizes` must be among {', '.join(map(str, known))}, but has {size}."
            )
    found = read_json(path) or {}
    now = json.loads(json.dumps(settings()))  # as they are read back
    if found.get("settings") != now:
        found = {"settings": now, "cells": {}}
    chosen = {
        name: [size for size in family.sizes if size in sizes or not sizes]
        for name, family in FAMILIES.items()
        if name in families or not families
    }
    chosen = {name: of_it for name, of_it in chosen.items() if of_it}
    images = _clothes(data_dir, manual_dir) if any(FAMILIES[f].images for f in chosen) else None
    for name, of_it in chosen.items():
        for size in of_it:
            cell = found["cells"].setdefault(f"{name}, {size}", {})
            done = 0.0
            for model in MODELS:
                if len(cell.get(model, {}).get("accuracies", ())) < seeds:
                    began, busy = time.monotonic(), time.process_time()
                    cell[model] = _filled(cell.get(model), name, size, model, seeds, images)
                    cell[model]["seconds"] += time.monotonic() - began
                    cell[model]["cpu_seconds"] += time.process_time() - busy
                    done += time.monotonic() - began
                    write_json_atomic(path, found)
            if done:
                told = ", ".join(f"{m} {np.mean(cell[m]['accuracies']):.3f}" for m in MODELS)
                print(f"{name}, {size}: {told} ({done:.0f} s)", flush=True)
    print(table(found, chosen))
    return found


def _clothes(data_dir: Path | None, manual_dir: Path | None) -> ImageDataset:
    from qnn_jax.data import load_fashion_mnist, progress_bar

    with progress_bar() as progress:
        return load_fashion_mnist(data_dir, manual_dir, progress).select(CLOTHES)


def _filled(
    before: dict[str, Any] | None,
    family: str,
    size: int,
    name: str,
    seeds: int,
    images: ImageDataset | None,
) -> dict[str, Any]:
    """A model in a cell, with as many seeds as asked for."""
    draw, model = FAMILIES[family].draw, MODELS[name]
    with warnings.catch_warnings():
        # Scikit-learn says that its MLP has not converged within its 200 passes.
        warnings.simplefilter("ignore")
        if before is None:
            found = model.choose(draw(size, 0, images)[0])
            before = {
                "params": found.params,
                "fold_accuracy": found.score,
                "accuracies": [],
                "seconds": 0.0,
                "cpu_seconds": 0.0,
            }
        for seed in range(len(before["accuracies"]), seeds):
            rows, test = draw(size, seed, images)
            before["accuracies"].append(model.accuracy(before["params"], rows, test, seed))
    return before


def table(found: Mapping[str, Any], families: Mapping[str, Sequence[int]]) -> str:
    """Mean test accuracies over these sizes of families and seeds, beside the published ones."""
    width = max(map(len, MODELS))
    lines = [
        "\nMean test accuracy over sizes and seeds (in brackets: published, arXiv:2403.07059, all "
        "sizes from 2 to 20)\n",
        " " * width + "".join(f"{name:>23}" for name in families),
    ]
    for model in MODELS:
        line = f"{model:<{width}}"
        for family in families:
            text = f"{_accuracies(found, family, families[family], model).mean():.3f}"
            if model in FAMILIES[family].published:
                text += f" ({FAMILIES[family].published[model]:.3f})"
            line += f"{text:>23}"
        lines.append(line)
    for family in families:
        other = {k: v for k, v in FAMILIES[family].published.items() if k not in MODELS}
        lines += [f"{family}: published {value:.3f} by {name}" for name, value in other.items()]
    lines.append("\nDifferences in points over all cells, with their 95 % interval\n")
    for first, second in PAIRS:
        gaps = np.concatenate(
            [
                _accuracies(found, *one, first) - _accuracies(found, *one, second)
                for one in families.items()
            ]
        )
        low, high = (100 * bound for bound in mean_interval(gaps))
        lines.append(f"{first} - {second}: {100 * gaps.mean():+.2f} ({low:+.2f} to {high:+.2f})")
    entries = [entry for cell in found["cells"].values() for entry in cell.values()]
    wall, cpu = (
        math.fsum(entry[name] for entry in entries) / 60 for name in ("seconds", "cpu_seconds")
    )
    lines.append(f"\n{wall:.1f} minutes in all, {cpu:.1f} minutes of one core")
    return "\n".join(lines)


def _accuracies(
    found: Mapping[str, Any], family: str, sizes: Sequence[int], model: str
) -> np.ndarray:
    """Of these sizes and all seeds."""
    cells = found["cells"]
    return np.concatenate([cells[f"{family}, {size}"][model]["accuracies"] for size in sizes])
