"""Check the simulator on a GPU against float64 on the host, then measure it there.

    python -m pipelines.benchmarks.gpu --output gpu.json

One script of at most five minutes for a machine that has JAX, NumPy and jaxtyping and nothing else
of this project's: it imports qnn_jax and the standard library. The file is written again after
every result, so that a run that is cut off leaves what it found.

- `checks`: expectations, gradients, batches, states and samples in float32 beside a reference that
  applies gate after gate in NumPy in double precision. The exit status is 1 where one fails.
- `copy_bytes_per_second`: what a copy of a large array reads and writes.
- `cells`: seconds of a value, and of a value with its gradient. `copies` is the same time in copies
  of all states of the batch at that bandwidth: what a perfect simulator needs for each step.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from pipelines.benchmarks import cases
from qnn_jax.circuits import GATES, Circuit
from qnn_jax.circuits.angles import Expression, Symbol, evaluate, symbols
from qnn_jax.circuits.op import Op
from qnn_jax.simulate import bytes_needed, expectations, sample, statevector, tuning

Gradient: TypeAlias = Literal["auto", "reverse", "adjoint"]
#: What single precision may be wrong by, of values of up to 1 and of the largest slope.
TOLERANCE = 1e-4
SIZES = (12, 16, 20, 24, 26, 14, 18, 22)
BATCHES = (1, 64)
FAMILIES: Mapping[str, Callable[[int], Circuit]] = {
    "zz + real_amplitudes": lambda n: cases.feature_map_and_ansatz(n, 4),
    "efficient_su2": lambda n: cases.efficient_su2(n, 4),
    "random": lambda n: cases.random_circuit(n, 5),
}
_SHOTS = 2**18
_COPY = 2**28  # numbers: 1 GiB
_BIG = 2**26  # in a small run: 4 bytes each make 256 MiB


# The reference: NumPy, double precision, gate after gate.


def applied(matrix: np.ndarray, qubits: Sequence[int], state: np.ndarray) -> np.ndarray:
    """A gate on a state, shape (2**n,), in Qiskit's order; bit k of a row is qubits[k]."""
    n = state.size.bit_length() - 1
    axes = [n - 1 - q for q in reversed(qubits)]
    front = range(len(axes))
    tensor = np.moveaxis(state.reshape((2,) * n), axes, front)
    out = (matrix @ tensor.reshape(len(matrix), -1)).reshape(tensor.shape)
    return np.asarray(np.moveaxis(out, front, axes).reshape(-1))


def matrix_of(op: Op, angles: Sequence[float]) -> np.ndarray:
    """The gate's matrix at its angles, from the gate table."""
    rows = GATES[op.gate].matrix(np, *angles)
    return np.array([[complex(entry) for entry in row] for row in rows])


def reference_state(circuit: Circuit, inputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The state that the circuit prepares."""
    state = np.zeros(2**circuit.num_qubits, complex)
    state[0] = 1
    for op in circuit.ops:
        angles = [evaluate(a, list(inputs), list(weights)) for a in op.angles]
        state = applied(matrix_of(op, angles), op.qubits, state)
    return state


_PAULIS = {
    "X": np.array([[0, 1], [1, 0]], complex),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.diag([1.0 + 0j, -1]),
}


def of_pauli(label: str, state: np.ndarray) -> np.ndarray:
    """A Pauli string, the letter of qubit 0 last, applied to a state."""
    for q, letter in enumerate(reversed(label)):
        state = applied(_PAULIS[letter], (q,), state) if letter != "I" else state
    return state


def reference(
    circuit: Circuit,
    labels: tuple[str, ...],
    factors: Sequence[float],
    inputs: np.ndarray,
    weights: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The values of Pauli strings, and the slopes of their weighted sum by inputs and weights.

    Backwards through the gates, arXiv:2009.02823; a gate's derivative is a difference of two
    matrices, right to about 1e-10.
    """
    state = reference_state(circuit, inputs, weights)
    moved = [of_pauli(label, state) for label in labels]
    values = np.array([np.vdot(state, each).real for each in moved])
    dual = sum((f * each for f, each in zip(factors, moved, strict=True)), np.zeros_like(state))
    slopes = {"x": np.zeros(circuit.num_inputs), "w": np.zeros(circuit.num_weights)}
    numbers = {"x": inputs, "w": weights}
    step = 1e-6
    for op in reversed(circuit.ops):
        angles = [evaluate(a, list(inputs), list(weights)) for a in op.angles]
        back = matrix_of(op, angles).conj().T
        state = applied(back, op.qubits, state)
        for k, expression in enumerate(op.angles):
            up, down = list(angles), list(angles)
            up[k] += step
            down[k] -= step
            turn = (matrix_of(op, up) - matrix_of(op, down)) / (2 * step)
            slope = 2 * np.vdot(dual, applied(turn, op.qubits, state)).real
            for symbol in set(symbols(expression)):
                slopes[symbol.vector][symbol.index] += slope * _partial(expression, symbol, numbers)
        dual = applied(back, op.qubits, dual)
    return values, slopes["x"], slopes["w"]


def _partial(expression: Expression, symbol: Symbol, numbers: dict[str, np.ndarray]) -> float:
    step, found = 1e-5, []
    for sign in (1, -1):
        vectors = {name: list(values) for name, values in numbers.items()}
        vectors[symbol.vector][symbol.index] += sign * step
        found.append(evaluate(expression, vectors["x"], vectors["w"]))
    return (found[0] - found[1]) / (2 * step)


# Checks.


def numbers_of(circuit: Circuit, batch: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Inputs in [0, 1] and weights in [-π, π] that single precision holds exactly."""
    rng = np.random.default_rng(7)
    inputs = rng.uniform(0, 1, (batch, circuit.num_inputs)).astype(np.float32)
    weights = rng.uniform(-math.pi, math.pi, (batch, circuit.num_weights)).astype(np.float32)
    return inputs.astype(float), weights.astype(float)


def checks(sizes: Sequence[int]) -> Iterator[dict[str, Any]]:
    """What was compared, by how much it differs, and whether that is little enough."""
    for family, make in FAMILIES.items():
        for n in sizes:
            circuit = make(n)
            labels = ("Z" * n, "X" + "I" * (n - 2) + "Y", "I" * (n - 1) + "Z")
            factors = (1.0, 2.0, -3.0)
            rows, columns = numbers_of(circuit, 3)
            wanted = [
                reference(circuit, labels, factors, rows[k], columns[0 if k < 2 else k])
                for k in range(3)
            ]
            yield from _check_one(family, n, circuit, labels, factors, rows[0], columns[0], wanted)
            yield from _check_batches(family, n, circuit, labels, factors, rows, columns, wanted)
    yield _check_sample()


def _check_one(
    family: str,
    n: int,
    circuit: Circuit,
    labels: tuple[str, ...],
    factors: Sequence[float],
    inputs: np.ndarray,
    weights: np.ndarray,
    wanted: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
) -> Iterator[dict[str, Any]]:
    state = statevector(circuit, jnp.asarray(inputs), jnp.asarray(weights))
    apart = np.max(abs(np.asarray(state) - reference_state(circuit, inputs, weights)))
    yield _row(family, n, "statevector", apart)
    for gradient in ("reverse", "adjoint"):

        def value(i: Any, v: Any, gradient: Any = gradient) -> Any:
            found = expectations(circuit, labels, i, v, gradient)
            return found @ jnp.asarray(factors, found.dtype), found

        of = jax.jit(jax.value_and_grad(value, (0, 1), has_aux=True))
        (_, values), slopes = of(_single(inputs), _single(weights))
        yield _row(family, n, f"expectations, {gradient}", np.max(abs(values - wanted[0][0])))
        yield _row(family, n, f"gradient, {gradient}", _apart(slopes, wanted[0][1:]))


def _check_batches(
    family: str,
    n: int,
    circuit: Circuit,
    labels: tuple[str, ...],
    factors: Sequence[float],
    rows: np.ndarray,
    columns: np.ndarray,
    wanted: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
) -> Iterator[dict[str, Any]]:
    """Rows 0 and 1 share their weights; rows 0 and 2 have weights of their own."""

    def value(i: Any, v: Any) -> Any:
        return expectations(circuit, labels, i, v) @ jnp.asarray(factors, jnp.float32)

    shared = jax.jit(jax.grad(lambda i, v: jax.vmap(value, (0, None))(i, v).sum(), (0, 1)))
    by_inputs, by_weights = shared(_single(rows[:2]), _single(columns[0]))
    of_two = [np.stack([wanted[0][1], wanted[1][1]]), wanted[0][2] + wanted[1][2]]
    yield _row(family, n, "gradient, batch of inputs", _apart((by_inputs, by_weights), of_two))
    own = jax.jit(jax.grad(lambda i, v: jax.vmap(value)(i, v).sum(), (0, 1)))
    found = own(_single(rows[[0, 2]]), _single(columns[[0, 2]]))
    of_two = [np.stack([wanted[0][k], wanted[2][k]]) for k in (1, 2)]
    yield _row(family, n, "gradient, batch of weights", _apart(found, of_two))


def _single(values: np.ndarray) -> Any:
    return jnp.asarray(values, jnp.float32)


def _apart(found: Sequence[Any], wanted: Sequence[np.ndarray]) -> float:
    """The largest difference, as a part of the largest slope where that is above 1."""
    pairs = [(np.asarray(a, float), b) for a, b in zip(found, wanted, strict=True) if b.size]
    largest = max(1.0, *(float(np.max(abs(b))) for _, b in pairs))
    return max(float(np.max(abs(a - b))) for a, b in pairs) / largest


def _check_sample() -> dict[str, Any]:
    circuit = FAMILIES["random"](4)
    inputs, weights = (rows[0] for rows in numbers_of(circuit))
    drawn = np.asarray(sample(circuit, inputs, weights, _SHOTS, jax.random.key(0)))
    chances = abs(reference_state(circuit, inputs, weights)) ** 2
    seen = np.bincount(drawn, minlength=16) / _SHOTS
    scatter = np.sqrt(chances * (1 - chances) / _SHOTS) + 1 / _SHOTS
    # In units of what is allowed, six standard deviations.
    worst = float(np.max(abs(seen - chances) / (6 * scatter)))
    return _row("random", 4, "sample", worst * TOLERANCE)


def _row(family: str, n: int, what: str, apart: float) -> dict[str, Any]:
    passed = bool(apart <= TOLERANCE)  # NaN is not
    return {"family": family, "n": n, "what": what, "apart": float(apart), "passed": passed}


# Times.


def seconds_of(function: Callable[[], Any], at_least: float) -> tuple[float, int]:
    """The median of single calls, of at least three and about so many seconds of them."""
    taken: list[float] = []
    while len(taken) < 3 or (sum(taken) < at_least and len(taken) < 50):
        began = time.perf_counter()
        jax.block_until_ready(function())
        taken.append(time.perf_counter() - began)
    return statistics.median(taken), len(taken)


def copy_bandwidth(count: int) -> float:
    """Bytes a second that a copy of so many float32 numbers reads and writes."""
    there = jnp.ones(count, jnp.float32)
    copy = jax.jit(lambda a: a + 1)
    jax.block_until_ready(copy(there))
    taken, _ = seconds_of(lambda: copy(there), 0.5)
    return 8 * count / taken


def measured(cell: dict[str, Any], bandwidth: float, at_least: float) -> dict[str, Any]:
    """A cell with seconds of the first call and of later ones; or why there are none."""
    family, n, batch, gradient = (cell[key] for key in ("family", "n", "batch", "gradient"))
    circuit = FAMILIES[family](n)
    rows, columns = numbers_of(circuit, batch)
    of_inputs = circuit.num_inputs > 0
    axes = (0, None) if of_inputs else (None, 0)
    inputs, weights = _single(rows), _single(columns)
    if batch == 1 or not of_inputs:
        inputs = inputs[0]
    if batch == 1 or of_inputs:
        weights = weights[0]

    def value(i: Any, v: Any) -> Any:
        def one(i: Any, v: Any) -> Any:
            return expectations(circuit, "Z" * n, i, v, gradient or "auto")[0]

        return (one if batch == 1 else jax.vmap(one, axes))(i, v).sum()

    function = jax.jit(value if gradient is None else jax.value_and_grad(value, (0, 1)))
    try:
        began = time.perf_counter()
        with tuning.using(tuning.PLAIN if cell["tuning"] == "PLAIN" else tuning.current()):
            jax.block_until_ready(function(inputs, weights))
        cell["first_call_seconds"] = time.perf_counter() - began
        cell["seconds"], cell["calls"] = seconds_of(lambda: function(inputs, weights), at_least)
    except Exception as error:  # what does not fit is a result, too
        return cell | {"failed": f"{type(error).__name__}: {str(error)[:300]}"}
    return cell | {"copies": cell["seconds"] * bandwidth / (2 * 8 * batch * 2**n)}


def cells(
    sizes: Sequence[int], batches: Sequence[int], families: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """What is measured; what matters most comes first."""

    def cell(
        family: str, n: int, batch: int, gradient: Gradient | None, tuning: str = "of this backend"
    ) -> dict[str, Any]:
        return {"family": family, "n": n, "batch": batch, "gradient": gradient, "tuning": tuning}

    for batch in batches:
        for n in sizes:
            for family in families:
                yield cell(family, n, batch, None)
                yield cell(family, n, batch, "auto")
        # Do the workarounds of the CPU's compiler help here, too?
        for n in sizes[:4]:
            for family in families:
                yield cell(family, n, batch, "auto", "PLAIN")
    # From how many qubits on is the adjoint method faster here?
    for n in sorted(sizes)[:4]:
        yield cell(families[0], n, batches[0], "reverse")
        yield cell(families[0], n, batches[0], "adjoint")


def main(argv: Sequence[str] | None = None) -> int:
    """Check, measure, and write what was found."""
    began = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--small", action="store_true", help="few qubits: a trial on a CPU")
    parser.add_argument("--seconds", type=float, default=270.0, help="when to end (270)")
    asked = parser.parse_args(argv)
    device = jax.devices()[0]
    found: dict[str, Any] = {
        "device": device.device_kind,
        "backend": jax.default_backend(),
        "jax": jax.__version__,
        "python": sys.version.split()[0],
        "small": asked.small,
        "checks": [],
        "cells": [],
    }

    def write() -> None:
        found["seconds"] = time.monotonic() - began
        asked.output.write_text(json.dumps(found, indent=1) + "\n")

    for row in checks((4,) if asked.small else (4, 13)):
        found["checks"].append(row)
        if not row["passed"]:
            print(f"FAILED: {row}", flush=True)
    wrong = sum(not row["passed"] for row in found["checks"])
    worst = max(row["apart"] for row in found["checks"])
    print(f"{len(found['checks'])} checks, {wrong} failed, worst {worst:.1e}", flush=True)
    write()
    bandwidth = copy_bandwidth(_BIG if asked.small else _COPY)
    found["copy_bytes_per_second"] = bandwidth
    print(f"{device.device_kind}: a copy moves {bandwidth / 1e9:,.0f} GB/s", flush=True)
    plan = cells(
        (4, 6) if asked.small else SIZES,
        (1, 4) if asked.small else BATCHES,
        list(FAMILIES) if asked.small else ["zz + real_amplitudes", "random"],
    )
    limit = (device.memory_stats() or {}).get("bytes_limit", math.inf)
    for cell in plan:
        family, n, batch, gradient = (cell[key] for key in ("family", "n", "batch", "gradient"))
        if time.monotonic() - began > asked.seconds:
            found["cells"].append(cell | {"not_run": True})
            continue
        automatic: Literal["adjoint", "reverse"] = "adjoint" if n >= 12 else "reverse"
        way = automatic if gradient == "auto" else gradient
        if bytes_needed(FAMILIES[family](n), way, batch=batch) > limit:
            found["cells"].append(cell | {"does_not_fit": True})
            continue
        cell = measured(cell, bandwidth, 0.05 if asked.small else 0.3)
        found["cells"].append(cell)
        taken = f"{1e3 * cell['seconds']:9.3f} ms" if "seconds" in cell else cell["failed"]
        whose = "plain kernels" if cell["tuning"] == "PLAIN" else ""
        print(
            f"{family:21} n={n:2} batch={batch:2} {gradient or 'value':8} {taken} {whose}",
            flush=True,
        )
        write()
    write()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
