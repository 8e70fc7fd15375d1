"""The pictures of a calculator, drawn without a display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipelines.figures import Picture, circuit_picture, save
from qnn_jax.executor import exact
from qnn_jax.models.calculator import CircuitRegressor, outputs, seed_circuit
from qnn_jax.operations import Operation
from qnn_jax.runs import RunDirectory

if TYPE_CHECKING:
    from pipelines.calculator_run import SeedModels
    from pipelines.trained import Trained

_OURS, _SEED, _BOUND, _MLP = "#5b3fd6", "#e08a1e", "#b2182b", "0.55"
_LEAST = {
    "its_ansatz": "best found for its ansatz",
    "any_observable": "least possible, any observable",
}
_GRID = 61  # points along each side of the unit square


def draw_all(
    run: RunDirectory,
    trained: Trained,
    calculates: Operation,
    seed_models: SeedModels,
    summary: Mapping[str, Any],
) -> dict[str, Picture]:
    """Draw every picture of a run into its folder `figures`, by name."""
    drawn = {}
    for name, figure, caption in (
        (
            "surfaces",
            surfaces(trained, calculates, seed_models),
            "What should come out, what the median model of 2022 and this circuit make of it; "
            "below, by how much they err (mind the scales).",
        ),
        (
            "seeds",
            seeds(seed_models, summary),
            "The model of 2022 with many seeds: mean L1 after each epoch (median, and where 95 % "
            "of the seeds are) on 50 samples, and at the end on 10,000 points.",
        ),
        (
            "shots",
            shots(summary),
            "Every further digit costs a hundred times the shots, down to the exact error.",
        ),
        (
            "curves",
            curves(run.read_metrics()),
            "Mean L1 on the validation points by epoch.",
        ),
        ("circuit", circuit_picture(trained.circuit), "The circuit."),
        ("seed_circuit", circuit_picture(seed_circuit()), "The circuit of 2022."),
    ):
        path = run.figures / f"{name}.png"
        save(figure, path, dpi=80)
        drawn[name] = Picture(path, caption)
    return drawn


def surfaces(trained: Trained, calculates: Operation, seed_models: SeedModels) -> Figure:
    """Truth, the median model of 2022 and ours over the unit square, and their errors."""
    side = np.linspace(0, 1, _GRID, dtype=np.float32)
    points = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    truth = calculates(points)
    final = seed_models.final
    median = int(np.argsort(final)[len(final) // 2])
    regressor = CircuitRegressor(seed_circuit(), 1.0)
    params = jnp.asarray(seed_models.params[:, median : median + 1])
    theirs = np.asarray(outputs(regressor, params, jnp.asarray(points)))[0]
    weights = jnp.asarray(trained.weights)
    values = exact(trained.circuit, trained.observables, jnp.asarray(points), weights).values
    ours = trained.head(np.asarray(values))[:, 0]

    figure = Figure(figsize=(10, 5.6), layout="constrained")
    grid: Any = figure.subplots(2, 3, sharex=True, sharey=True)
    levels = np.linspace(calculates.low, calculates.high, 11)
    for axes, title, surface in zip(
        grid[0],
        (calculates.text, "2022, median seed", "this circuit"),
        (truth, theirs, ours),
        strict=True,
    ):
        image = axes.contourf(
            side, side, surface.reshape(_GRID, _GRID), levels=levels, cmap="viridis", extend="both"
        )
        axes.set_title(title, fontsize=10)
        figure.colorbar(image, ax=axes)
    grid[1, 0].set_axis_off()
    for axes, surface in zip(grid[1, 1:], (theirs, ours), strict=True):
        error = (surface - truth).reshape(_GRID, _GRID)
        most = float(np.abs(error).max()) or 1.0
        image = axes.imshow(
            error, origin="lower", extent=(0, 1, 0, 1), cmap="RdBu_r", vmin=-most, vmax=most
        )
        axes.set_title(f"error, mean |·| = {np.abs(error).mean():.2g}", fontsize=10)
        figure.colorbar(image, ax=axes)
    for axes in (*grid[0], *grid[1, 1:]):
        axes.set(aspect="equal", xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
    for axes in (grid[0, 0], *grid[1, 1:]):
        axes.tick_params(labelbottom=True, labelleft=True)
        axes.set(xlabel="a", ylabel="b")
    return figure


def seeds(seed_models: SeedModels, summary: Mapping[str, Any]) -> Figure:
    """The distribution of the 2022 model's mean L1, by epoch and at the end."""
    found = summary["seed_model"]
    figure = Figure(figsize=(9, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = np.arange(1, len(found["median_by_epoch"]) + 1)
    left.fill_between(
        epochs, found["low_by_epoch"], found["high_by_epoch"], color=_SEED, alpha=0.25, linewidth=0
    )
    left.plot(epochs, found["median_by_epoch"], color=_SEED, label=f"{found['seeds']} seeds")
    if "reported_by_epoch" in found:
        left.plot(epochs, found["reported_by_epoch"], "k.--", linewidth=0.8, label="as reported")
    left.set(xlabel="epoch", ylabel="mean L1", ylim=(0, None))
    left.xaxis.set_major_locator(MaxNLocator(integer=True))
    left.legend(frameon=False, fontsize=8)
    final = seed_models.final
    right.hist(
        final,
        bins=min(40, max(5, len(final) // 5)),
        color=_SEED,
        alpha=0.7,
        label=f"2022, {len(final)} seeds",
    )
    if "reported_by_epoch" in found:
        right.axvline(
            found["reported_by_epoch"][-1], color="black", linestyle="--", label="as reported"
        )
    for name, style in (("its_ansatz", "-"), ("any_observable", ":")):
        right.axvline(
            summary["bounds"][name],
            color=_BOUND,
            linestyle=style,
            label=_LEAST[name],
        )
    right.axvline(summary["test_mean_l1"], color=_OURS, label="this circuit")
    right.set(xlabel="mean L1 at the end", ylabel="seeds", xlim=(-0.005, None))
    figure.legend(
        *right.get_legend_handles_labels(),
        loc="outside lower right",
        ncols=3,
        frameon=False,
        fontsize=8,
    )
    for axes in (left, right):
        axes.grid(alpha=0.25)
    return figure


def shots(summary: Mapping[str, Any]) -> Figure:
    """Mean L1 against shots: drawn and expected."""
    figure = Figure(figsize=(5.6, 3.8), layout="constrained")
    axes = figure.subplots()
    numbers = [int(name) for name in summary["shots"]]
    rows = list(summary["shots"].values())
    means = np.array([row["mean_l1"] for row in rows])
    spread = np.abs(np.array([row["interval"] for row in rows]).T - means)
    axes.errorbar(numbers, means, yerr=spread, fmt="o", color=_OURS, label="drawn shots")
    axes.plot(numbers, [row["expected"] for row in rows], color=_OURS, label="binomial prediction")
    axes.axhline(summary["test_mean_l1"], color="black", linestyle="--", label="exact")
    axes.set(xlabel="shots", ylabel="mean L1", xscale="log", yscale="log")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8)
    return figure


def curves(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Mean L1 on the validation points by epoch."""
    figure = Figure(figsize=(5.6, 3.8), layout="constrained")
    axes = figure.subplots()
    epochs = [row["epoch"] for row in rows]
    for name, metric, color, style, label in (
        ("circuit", "validation_l1", _OURS, "-", "circuit, best restart"),
        ("circuit", "validation_l1_median", _OURS, ":", "circuit, median restart"),
        ("mlp", "validation_l1", _MLP, "-", "MLP of equal size"),
    ):
        axes.plot(epochs, [row[name][metric] for row in rows], style, color=color, label=label)
    axes.set(xlabel="epoch", ylabel="validation mean L1", yscale="log" if rows else "linear")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
    if rows:
        axes.legend(frameon=False, fontsize=8)
    return figure
