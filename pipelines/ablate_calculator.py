"""The twins of the calculator, and the program that trains one of them.

Every seed has its own points and restarts; all seeds of a twin descend side by side.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pipelines.ablate_run import Study, Trained
from pipelines.ablate_table import HYBRID, MEAN_L1, Twin
from pipelines.calculator_run import Points, draw, test_points
from pipelines.training_run import manifest_of
from qnn_jax.models.calculator import (
    STEPS,
    CircuitRegressor,
    Fit,
    MLPRegressor,
    Regressor,
    fit_points,
    outputs,
    start,
)
from qnn_jax.operations import Operation, operation

if TYPE_CHECKING:
    from pipelines.ablate import CalculatorConfig

# What a seed draws from, apart from what `make train-calculator` does: the test points are its.
_TRAIN, _CHOOSE, _INIT = 11, 12, 13


@dataclass(frozen=True)
class FrozenRegressor(CircuitRegressor):
    """The circuit with its weights as drawn: only gain and bias descend."""

    def __call__(
        self, params: Float[Array, "parameters lanes"], inputs: Float[Array, "2 lanes"]
    ) -> Float[Array, " lanes"]:
        """As the circuit; without a slope there is no step."""
        frozen = jax.lax.stop_gradient(params[:-2])
        return super().__call__(jnp.concatenate([frozen, params[-2:]]), inputs)


@dataclass(frozen=True)
class LayerRegressor:
    """2 → width tanh → 1 without biases in place of the circuit, then the head's bias.

    The head's gain is that of the layer's last weights.
    """

    width: int

    @property
    def num_parameters(self) -> int:
        """Kernels, and the bias of the head."""
        return 3 * self.width + 1

    def initial(
        self, key: Array, restarts: int, middle: float
    ) -> Float[Array, "parameters restarts"]:
        """Standard normal kernels, and a head that points at the middle of the targets."""
        kernels = jax.random.normal(key, (3 * self.width, restarts))
        return jnp.concatenate([kernels, jnp.full((1, restarts), middle)])

    def bounded(self, params: Float[Array, "parameters lanes"]) -> Float[Array, "parameters lanes"]:
        """Nothing is forbidden."""
        return params

    def __call__(
        self, params: Float[Array, "parameters lanes"], inputs: Float[Array, "2 lanes"]
    ) -> Float[Array, " lanes"]:
        """The outputs."""
        by_a, by_b, out = params[:-1].reshape(3, self.width, -1)
        return jnp.sum(out * jnp.tanh(by_a * inputs[0] + by_b * inputs[1]), axis=0) + params[-1]


@dataclass(frozen=True)
class LinearRegressor:
    """The head reads a and b: linear regression."""

    @property
    def num_parameters(self) -> int:
        """Two slopes and a bias."""
        return 3

    def initial(
        self, key: Array, restarts: int, middle: float
    ) -> Float[Array, "parameters restarts"]:
        """Standard normal slopes, and a bias at the middle of the targets."""
        slopes = jax.random.normal(key, (2, restarts))
        return jnp.concatenate([slopes, jnp.full((1, restarts), middle)])

    def bounded(self, params: Float[Array, "parameters lanes"]) -> Float[Array, "parameters lanes"]:
        """Nothing is forbidden."""
        return params

    def __call__(
        self, params: Float[Array, "parameters lanes"], inputs: Float[Array, "2 lanes"]
    ) -> Float[Array, " lanes"]:
        """The outputs."""
        return params[0] * inputs[0] + params[1] * inputs[1] + params[2]


def members_of(config: CalculatorConfig) -> list[tuple[Twin, Regressor]]:
    """The model and its twins, each with what it got."""
    circuit, bound = config.model.circuit(), config.model.weight_bound
    separable = circuit.without_entanglement()
    dropped = len(circuit.ops) - len(separable.ops)
    width = max(1, round(circuit.num_weights / 3))
    network = MLPRegressor(max(1, round((circuit.num_weights + 1) / 4)))
    return [
        (
            Twin(
                HYBRID,
                f"the model as is: the circuit of {len(circuit.ops)} gates with "
                f"{circuit.num_weights} weights reads a and b; gain and bias behind it",
            ),
            CircuitRegressor(circuit, bound),
        ),
        (
            Twin(
                "separable",
                f"the same without the {dropped} gates on two qubits; all others are kept, and "
                f"{len(separable.unused_weights) or 'none'} of the weights are unused",
                "the entangling gates",
            ),
            CircuitRegressor(separable, bound),
        ),
        (
            Twin(
                "frozen",
                f"the same circuit, its weights left as drawn (uniform in ±{bound:g}); gain and "
                "bias train",
                "training the circuit",
            ),
            FrozenRegressor(circuit, bound),
        ),
        (
            Twin(
                "classical",
                f"a layer of {3 * width} weights in place of the circuit (tanh, 2 → {width} → 1, "
                "no bias), and the head's bias",
                "the circuit in place of a classical layer of its size",
            ),
            LayerRegressor(width),
        ),
        (
            Twin(
                "bypass",
                "nothing in place of the circuit: the head reads a and b, which is linear "
                "regression",
                "the circuit in place of linear regression",
            ),
            LinearRegressor(),
        ),
        (
            Twin(
                "network",
                f"a classical network of equal size with biases: tanh, 2 → {network.width} → 1, "
                f"{network.num_parameters} parameters",
                "the circuit in place of a classical network of equal size",
            ),
            network,
        ),
    ]


def study(config: CalculatorConfig) -> Study:
    """An operation on a and b as something to ablate."""
    calculates = operation(config.operation)
    members = {twin.name: (twin, regressor) for twin, regressor in members_of(config)}
    test = test_points(config.seed, calculates)

    def train(
        size: int,
        name: str,
        stopping: Callable[[], bool],
        tell: Callable[[int, int, float], None],
    ) -> Trained | None:
        regressor = members[name][1]
        return train_twin(regressor, config, calculates, size, test.points, stopping, tell)

    return Study(
        task="calculator",
        about=f"{calculates.text}, a and b in [0, 1]",
        examples="points",
        metric=MEAN_L1,
        twins=tuple(twin for twin, _ in members.values()),
        sizes=tuple(sorted(config.sizes)),
        seeds=config.seeds,
        test_count=len(test.points.targets),
        train=train,
        facts=lambda size, name: {
            "parameters": parameters(members[name][1]),
            "batch_size": size,
            "passes": config.epochs * STEPS,
            "steps": config.epochs * STEPS,
        },
        work=lambda size, name: size * float(members[name][1].num_parameters),
        notes=(
            "Every seed draws its own training points, and every twin has the same ones.",
            f"All train alike: {config.epochs * STEPS} Levenberg-Marquardt steps on all training "
            f"points from {config.model.restarts} random starts, of which the one is taken that "
            "errs least on as many further points.",
            f"The {len(test.points.targets):,} test points only report; nothing was chosen by "
            "them. They are the same for all seeds.",
        ),
        manifest=manifest_of(config.seed, test),
    )


def parameters(regressor: Regressor) -> dict[str, int]:
    """How many are classical, the circuit's, and frozen."""
    weights = regressor.circuit.num_weights if isinstance(regressor, CircuitRegressor) else 0
    frozen = weights if isinstance(regressor, FrozenRegressor) else 0
    return {
        "classical": regressor.num_parameters - weights,
        "quantum": weights - frozen,
        "frozen": frozen,
    }


def train_twin(
    regressor: Regressor,
    config: CalculatorConfig,
    calculates: Operation,
    size: int,
    test: Points,
    stopping: Callable[[], bool],
    tell: Callable[[int, int, float], None],
) -> Trained | None:
    """Train one twin for all seeds in one program, and test it; None where stopped.

    Args:
        regressor: the twin.
        config: for its seeds, epochs and restarts.
        calculates: what is learned.
        size: training points of a seed.
        test: what the scores are of.
        stopping: whether to leave; asked between epochs.
        tell: hears finished epochs, all epochs, and the seconds that they took.
    """
    began = time.monotonic()
    seeds = config.every_seed()
    train, chosen_by = (
        Points(
            *map(np.stack, zip(*(draw(int(s), calculates, at, size) for s in seeds), strict=True))
        )
        for at in (_TRAIN, _CHOOSE)
    )
    keys = jax.vmap(lambda s: jax.random.fold_in(jax.random.key(s), _INIT))(seeds)
    fits = jax.vmap(lambda key: start(regressor, key, config.model.restarts, calculates.middle))(
        keys
    )
    rate = jnp.asarray(config.learning_rate, jnp.float32)
    program = _epoch.lower(regressor, fits, train, chosen_by, rate).compile()
    compiled = time.monotonic()
    for epoch in range(config.epochs):
        fits, errors = program(fits, train, chosen_by, rate)
        errors.block_until_ready()
        if stopping():
            return None
        tell(epoch + 1, config.epochs, time.monotonic() - compiled)
    scores = np.asarray(_scores(regressor, fits.params, errors, test), float)
    return Trained(
        [float(score) for score in scores],
        int(np.sum(~np.isfinite(scores))),
        (compiled - began, time.monotonic() - compiled),
    )


@functools.partial(jax.jit, static_argnames="regressor")
def _epoch(
    regressor: Regressor, fits: Fit, train: Points, chosen_by: Points, rate: Array
) -> tuple[Fit, Array]:
    """Some steps of every seed; and the error of each of its restarts, (seeds, restarts)."""

    def one(fit: Fit, train: Any, chosen_by: Any) -> tuple[Fit, Array]:
        (new,), (told,) = fit_points((regressor,), (fit,), *train, *chosen_by, rate)
        return new, told.validation_l1

    return jax.vmap(one)(fits, train, chosen_by)


@functools.partial(jax.jit, static_argnames="regressor")
def _scores(regressor: Regressor, params: Array, errors: Array, test: Points) -> Array:
    """The mean L1 on the test points of every seed's best restart."""
    best = jnp.take_along_axis(params, jnp.argmin(errors, axis=1)[:, None, None], axis=2)

    def one(params: Array) -> Array:
        found = outputs(regressor, params, jnp.asarray(test.inputs))[0]
        return jnp.abs(found - test.targets).mean()

    return jax.lax.map(one, best)
