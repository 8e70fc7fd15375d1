"""Every threshold that was found by measuring, and which backend takes which.

The numbers of `CPU` were measured on CPUs of 2 to 16 cores with jaxlib 0.10. A GPU takes the same
ones: on an NVIDIA H200 with jaxlib 0.11 they took 0.68 to 0.92 of the time of `PLAIN`, which leaves
the workarounds of the CPU's compiler out, in all seven circuits that were compared
(results/reference/bench/gpu-plain.json). Nothing is known of other backends: they take `PLAIN`.
What wins on a machine is measured again by

    make bench ARGS="--only tuning"

on a CPU, and on a GPU by `python -m pipelines.benchmarks.gpu`.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax


@dataclasses.dataclass(frozen=True)
class Tuning:
    """Thresholds of the planner and of the kernels. They change speed and memory, never values.

    Attributes:
        adjoint_from: qubits from which on `gradient="auto"` is the adjoint method. Below, storing
            the states is faster than uncomputing them; above, they no longer fit a core's cache.
        fuse_register_up_to: qubits up to which, in a batch of inputs that turn phases only, all
            gates between two such phases are one matrix: more arithmetic, fewer steps.
        matrix_bits: bits of a matrix step in a large register. More bits are fewer passes over the
            state and more arithmetic in each.
        two_matrices_up_to: qubits up to which a layer is two matrices of half the register each:
            there the number of operations counts, not their size.
        equal_up_to, equal_up_to_complex: qubits of a real and of a complex state up to which the
            matrices of a layer are of equal size: equal ones are built together, but the lowest,
            which is repeated, takes memory.
        join_below, join_up_to: a matrix that begins at a bit from 1 to below `join_below` joins the
            one at bit 0 where the two have at most `join_up_to` bits: it would be very many narrow
            products.
        phases_from: qubits from which on diagonals behind real gates are phases of their own: a
            complex matrix takes twice as long as a real one, and in a small register a pass.
        longest_plan, longest_plan_with_scans: how long a plan by layers may be before uniform steps
            replace it. A longer program is faster and takes longer to compile.
        longest_period: steps of the longest period that is looked for. Trades planning time.
        uniform_bits, uniform_gates: bits of a uniform step's matrix, and how many gates with
            angles go into it, those that come in a row on one qubit, as of U, being one. More are
            fewer passes over the state and more products of matrices.
        uniform_small_up_to: qubits up to which it is `uniform_small_bits`, `uniform_small_gates`.
        uniform_large_from: qubits from which on it is `uniform_large_gates`, and uniform steps
            replace complex matrices by layers where they are fewer: a pass over the state takes
            longer than many products of small matrices.
        uniform_toffolis: how many CCX and CSWAP an index map takes along. More would take longer
            than the steps they save.
        batch_last_up_to: steps up to which a batch with weights of its own is done gate by gate,
            the batch last. A longer program is faster and takes longer to compile.
        blocks_from, blocks_angles: from so many qubits on, where matrices have so many angles on
            average, such a batch is done by matrices instead, one for each sample.
        halves_from: qubits from which on the product state at the start is built as the product of
            two halves: less arithmetic, one more product.
        early_numbers: numbers up to which the adjoint method makes the matrices of all uniform
            steps at once. More take memory; each with its step takes longer.
        recompute_up_to: amplitudes up to which reverse mode does a scanned step again instead of
            storing all it knew.
        direct_bits: bits up to which phases come from a table of all signs, not from two halves.
        sum_terms, sum_columns: a product of matrices of up to so many terms and columns is written
            as a sum, which XLA fuses with its neighbours; a library is faster for larger ones.
        sum_products: multiplications up to which a product with a state is a sum, unless batched.
        one_row_gather_from: amplitudes from which on the real and the imaginary part are gathered
            one after the other: the indices take half the memory, the program is longer.
        loop_from: Pauli strings with X or Y from which on one loop measures them.
        add_parts_from: amplitudes from which on |ψ|² adds two arrays, not over an axis.
        compare_up_to: outcomes up to which samples are compared with all of them.
        materialize: store what XLA's CPU compiler would compute again for every use.
        repeat_matrices: repeat a matrix for every index above its bits, or else let the compiler
            transpose the state.
        repeat_up_to: numbers of a state up to which that is done also where the repeated matrix is
            larger than the state.
        add_by_halves: add over a leading axis by halves, or leave it to the compiler.
    """

    adjoint_from: int = 12
    fuse_register_up_to: int = 4
    matrix_bits: int = 5
    two_matrices_up_to: int = 8
    equal_up_to: int = 14
    equal_up_to_complex: int = 16
    join_below: int = 4
    join_up_to: int = 7
    phases_from: int = 9
    longest_plan: int = 30
    longest_plan_with_scans: int = 40
    longest_period: int = 64
    uniform_bits: int = 4
    uniform_gates: int = 4
    uniform_small_up_to: int = 10
    uniform_small_bits: int = 3
    uniform_small_gates: int = 2
    uniform_large_from: int = 14
    uniform_large_gates: int = 10
    uniform_toffolis: int = 2
    batch_last_up_to: int = 64
    blocks_from: int = 5
    blocks_angles: int = 7
    halves_from: int = 12
    early_numbers: int = 2**15
    recompute_up_to: int = 32
    direct_bits: int = 6
    sum_terms: int = 8
    sum_columns: int = 16
    sum_products: int = 2048
    one_row_gather_from: int = 2**18
    loop_from: int = 5
    add_parts_from: int = 2**12
    compare_up_to: int = 16
    materialize: bool = True
    repeat_matrices: bool = True
    repeat_up_to: int = 2**17
    add_by_halves: bool = True


CPU = Tuning()
#: The shape of the plan is the same, the kernels are JAX's own operations.
PLAIN = dataclasses.replace(CPU, materialize=False, repeat_matrices=False, add_by_halves=False)
_MEASURED = ("cpu", "gpu")
_ASKED: contextvars.ContextVar[Tuning | None] = contextvars.ContextVar("tuning", default=None)


def current() -> Tuning:
    """The thresholds of the backend that JAX computes on by default."""
    return _ASKED.get() or (CPU if jax.default_backend() in _MEASURED else PLAIN)


@contextlib.contextmanager
def using(tuning: Tuning) -> Iterator[None]:
    """Trace with other thresholds, to measure or to test them: programs traced before keep theirs.

    >>> with using(dataclasses.replace(CPU, adjoint_from=2)):
    ...     current().adjoint_from
    2
    """
    token = _ASKED.set(tuning)
    try:
        yield
    finally:
        _ASKED.reset(token)


def cached(function: Callable[..., Any]) -> Any:
    """The last 256 results of a function, kept for each set of thresholds."""

    @functools.lru_cache(maxsize=256)
    def kept(tuning: Tuning, *arguments: Any) -> Any:
        return function(*arguments)

    @functools.wraps(function)
    def found(*arguments: Any) -> Any:
        return kept(current(), *arguments)

    found.cache_clear, found.cache_info = kept.cache_clear, kept.cache_info  # type: ignore[attr-defined]
    return found
