"""The programs that are timed: value and gradient of one problem, run a number of times.

The value is the sum over the batch. So the gradient with respect to shared arguments is summed,
and the gradient with respect to batched ones is each sample's own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

#: Up to this size steps run in a loop inside the compiled program, to exclude dispatch time.
LOOP_UP_TO_QUBITS = 12


class Program(Protocol):
    """Value and gradient, ready to run."""

    temp_bytes: int | None
    """Temporary memory of the compiled program, if known."""

    def run(self, steps: int) -> None:
        """Evaluate that many times and wait for the end."""

    def results(self) -> Mapping[str, Any]:
        """The results of the last run: `values`, `inputs_gradient`, `weights_gradient`."""


class OutOfMemoryError(Exception):
    """The program needs more memory than the machine has."""


def over_batch(value: Callable[..., Any], batched: str) -> Callable[..., Any]:
    """Vectorise the value of one sample over "inputs" or "weights" (or "" for none)."""
    import jax

    axes = {"": (None, None), "inputs": (0, None), "weights": (None, 0)}[batched]
    return jax.vmap(value, axes) if batched else lambda x, w: value(x, w)[None]


def value_and_gradient(values: Callable[..., Any]) -> Callable[..., Any]:
    """From the values of a batch: the values, and the gradients of their sum, by JAX."""
    import jax

    def total(x: Any, w: Any) -> Any:
        found = values(x, w)
        return found.sum(), found

    def step(x: Any, w: Any) -> Any:
        (_, found), gradients = jax.value_and_grad(total, (0, 1), has_aux=True)(x, w)
        return found, *gradients

    return step


class JaxProgram:
    """A step `(inputs, weights) -> (values, their gradients)`, compiled ahead of time.

    In a loop the number of steps is an argument, so one compilation serves any number. Each step
    moves inputs and weights by `rate` times the gradient, as in training; the rate is 0, which the
    compiler does not know, so no step can be removed and all results are equal.
    """

    def __init__(self, step: Callable[..., Any], inputs: Any, weights: Any, loop: bool) -> None:
        import jax
        import jax.numpy as jnp

        self.arguments = (jnp.asarray(inputs), jnp.asarray(weights), jnp.float32(0))
        self.loop = loop

        def repeated(x: Any, w: Any, rate: Any, steps: Any) -> Any:
            def body(_: Any, carry: Any) -> Any:
                (x, w), _ = carry
                found, of_x, of_w = step(x, w)
                return (x - rate * of_x, w - rate * of_w), (found, of_x, of_w)

            # Its shapes are known, and querying `step` for them would trace it twice.
            batch = next((a.shape[:1] for a in (x, w) if a.ndim == 2), (1,))
            empty = (jnp.zeros(batch, jnp.float32), jnp.zeros_like(x), jnp.zeros_like(w))
            return jax.lax.fori_loop(0, steps, body, ((x, w), empty))[1]

        if loop:
            self.compiled = jax.jit(repeated).lower(*self.arguments, jnp.int32(1)).compile()
        else:
            self.compiled = jax.jit(step).lower(*self.arguments[:2]).compile()
        analysis = self.compiled.memory_analysis()
        self.temp_bytes: int | None = analysis.temp_size_in_bytes if analysis else None

    def run(self, steps: int) -> None:
        """Evaluate that many times and wait for the end."""
        import jax
        import numpy as np

        if self.loop:
            self.found = self.compiled(*self.arguments, np.int32(steps))
        else:
            for _ in range(steps):
                self.found = self.compiled(*self.arguments[:2])
        jax.block_until_ready(self.found)

    def results(self) -> Mapping[str, Any]:
        """The results of the last run."""
        return named(*self.found)


def named(values: Any, of_inputs: Any, of_weights: Any) -> Mapping[str, Any]:
    """What `results` returns, from arrays."""
    return {
        "values": values.tolist(),
        "inputs_gradient": of_inputs.tolist(),
        "weights_gradient": of_weights.tolist(),
    }


def first_call(make: Callable[[], Program], memory_limit: float) -> tuple[Program, dict[str, Any]]:
    """Make a program and run it once; return its time and results, and the steps of a round.

    Raises:
        OutOfMemoryError: before running, if the compiled program does not fit.
    """
    began = time.monotonic()
    program = make()
    if (program.temp_bytes or 0) > memory_limit:
        raise OutOfMemoryError(f"needs {program.temp_bytes / 2**30:.1f} GiB")  # type: ignore[operator]
    program.run(1)
    seconds = time.monotonic() - began
    found = program.results()
    return program, {
        "first_call_seconds": seconds,
        "temp_bytes": program.temp_bytes,
        "steps": enough_steps(program),
        **found,
    }


def enough_steps(program: Program) -> int:
    """How many steps take about a tenth of a second; 1,000 where they take less."""
    steps = 1
    while (seconds := steps * timed(program, steps)) < 0.05 and steps < 1000:
        # By ten at most, since short runs are mostly dispatch.
        wanted = int(steps * 0.1 / max(seconds, 1e-9))
        steps = min(1000, max(2 * steps, min(10 * steps, wanted)))
    return steps


def timed(program: Program, steps: int) -> float:
    """Seconds of one step, averaged over one run of so many."""
    began = time.monotonic()
    program.run(steps)
    return (time.monotonic() - began) / steps
