"""Would other thresholds win on this machine? The alternatives to `Tuning`, measured in turn.

Each threshold is measured where it decides: a circuit at its edge, value and gradient, with the
value that is set beside others. All programs of a row are timed in turn, round after round, and the
least time of each counts. A row whose programs are the same tells nothing and says so.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from pipelines.benchmarks import cases
from qnn_jax import Circuit, expectations
from qnn_jax.simulate import xla
from qnn_jax.simulate.tuning import current, using

#: By how much an alternative has to be faster to win: less is noise.
MARGIN = 1.05


@dataclasses.dataclass(frozen=True)
class Question:
    """A threshold, what else it could be, and where that matters."""

    name: str
    others: tuple[Any, ...]
    family: str
    num_qubits: int
    depth: int
    batch: int = 1
    by_weights: bool = False
    """A batch has weights of its own for each sample, though there are inputs."""

    @property
    def circuit(self) -> Circuit:
        """The circuit."""
        return cases.FAMILIES[self.family](self.num_qubits, self.depth)


_ZZ, _SU2, _DATA, _RANDOM = cases.FAMILIES
QUESTIONS = (
    Question("adjoint_from", (13,), _ZZ, 12, 10),
    Question("adjoint_from", (11,), _ZZ, 11, 10),
    Question("fuse_register_up_to", (3,), _ZZ, 4, 3, 64),
    Question("fuse_register_up_to", (5,), _ZZ, 5, 3, 64),
    Question("matrix_bits", (4, 6), _SU2, 14, 5),
    Question("two_matrices_up_to", (11,), _SU2, 11, 5),
    Question("equal_up_to", (13,), _ZZ, 14, 5),
    Question("equal_up_to_complex", (15,), _DATA, 16, 2),
    Question("phases_from", (10,), _SU2, 9, 5),
    Question("longest_plan", (20, 60), _RANDOM, 6, 3),
    Question("uniform_bits", (3, 5), _RANDOM, 12, 10),
    Question("uniform_gates", (2, 6), _RANDOM, 12, 10),
    Question("uniform_small_bits", (2, 4), _RANDOM, 8, 10),
    Question("uniform_large_from", (99,), _RANDOM, 16, 10),
    Question("uniform_large_gates", (5, 20), _RANDOM, 16, 10),
    Question("uniform_toffolis", (0, 1, 4), _RANDOM, 12, 10),
    Question("batch_last_up_to", (0,), _RANDOM, 4, 5, 64),
    Question("blocks_from", (4, 12), _SU2, 7, 3, 64),
    Question("blocks_angles", (5, 12), _SU2, 7, 3, 64),
    Question("halves_from", (13,), _ZZ, 12, 10),
    Question("recompute_up_to", (0, 256), _SU2, 5, 10),
    Question("direct_bits", (5,), _ZZ, 6, 5),
    Question("sum_terms", (0, 16), _ZZ, 4, 3, 64),
    Question("sum_products", (0, 16384), _SU2, 5, 5),
    Question("one_row_gather_from", (2**30,), _SU2, 18, 2),
    Question("add_parts_from", (2**30,), _ZZ, 14, 2),
    Question("materialize", (False, "optimization_barrier"), _SU2, 4, 10, 64),
    Question("materialize", (False, "optimization_barrier"), _ZZ, 14, 5),
    Question("repeat_matrices", (False,), _SU2, 14, 5),
    Question("add_by_halves", (False,), _SU2, 4, 3, 64, by_weights=True),
)


def tuning(rounds: int) -> dict[str, Any]:
    """Measure every alternative and print which would win here."""
    backend = jax.default_backend()
    print(f"Thresholds on {backend}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print("seconds of value and gradient, in parts of those with the threshold as it is set\n")
    rows = []
    for question in QUESTIONS:
        row = measured(question, rounds)
        rows.append(row)
        print(line(row), flush=True)
    wins = [row for row in rows if row["winner"] != row["set"]]
    print(f"\n{len(wins)} of {len(rows)} thresholds would be set otherwise on this machine.")
    return {"backend": backend, "cores": os.cpu_count(), "load": os.getloadavg()[0], "rows": rows}


def measured(question: Question, rounds: int) -> dict[str, Any]:
    """What each value of a threshold takes, beside the value that is set."""
    as_set = getattr(current(), question.name)
    programs, texts = {}, set()
    for value in (as_set, *question.others):
        program, text = compiled(question, value)
        programs[str(value)] = program
        texts.add(text)
    least = timed(programs, rounds) if len(texts) > 1 else dict.fromkeys(programs, 0.0)
    best = min(least, key=least.__getitem__)
    wins = least[best] * MARGIN < least[str(as_set)]
    return {
        **dataclasses.asdict(question),
        "set": str(as_set),
        "seconds": least,
        "same_program": len(texts) == 1,
        "winner": best if wins else str(as_set),
    }


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    where = (
        f"{row['family']}, {row['num_qubits']} qubits, depth {row['depth']}, batch {row['batch']}"
    )
    if row["same_program"]:
        return f"{row['name']:20} {row['set']:>7}  the same program   {where}"
    base = row["seconds"][row["set"]]
    others = ", ".join(
        f"{value} takes {seconds / base:.2f}"
        for value, seconds in row["seconds"].items()
        if value != row["set"]
    )
    verdict = "" if row["winner"] == row["set"] else f"  -> {row['winner']} wins"
    return f"{row['name']:20} {row['set']:>7}  {others}{verdict}   {where}"


def compiled(question: Question, value: Any) -> tuple[Callable[[], Any], str]:
    """Value and gradient as a program, and the program's text."""
    circuit, n = question.circuit, question.num_qubits
    numbers = cases.problem(circuit)
    inputs = jnp.asarray(numbers["inputs"], jnp.float32)
    weights = jnp.asarray(numbers["weights"], jnp.float32)
    own_weights = question.by_weights or circuit.num_inputs == 0
    axes = (None, 0) if own_weights else (0, None)
    if question.batch > 1:
        scales = jnp.linspace(0.5, 1, question.batch)[:, None]
        inputs, weights = (inputs, scales * weights) if own_weights else (scales * inputs, weights)

    def total(i: Any, v: Any) -> Any:
        def one(i: Any, v: Any) -> Any:
            return expectations(circuit, "Z" * n, i, v)[0]

        return (jax.vmap(one, axes) if question.batch > 1 else one)(i, v).sum()

    barrier = value == "optimization_barrier"
    limits = current()
    if not barrier:
        limits = dataclasses.replace(limits, **{question.name: value})
    gather = xla._materialize
    jax.clear_caches()
    try:
        if barrier:
            xla._materialize = lax.optimization_barrier
        with using(limits):
            lowered = jax.jit(jax.value_and_grad(total, (0, 1))).lower(inputs, weights)
            program = lowered.compile()
    finally:
        xla._materialize = gather
    return lambda: program(inputs, weights), lowered.as_text()


def timed(programs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The least seconds of a call of each, all of them in turn in every round."""
    least = dict.fromkeys(programs, float("inf"))
    for run in programs.values():
        jax.block_until_ready(run())
    for _ in range(rounds):
        for name, run in programs.items():
            calls, began = 0, time.perf_counter()
            while calls < 1 or time.perf_counter() - began < 0.03:
                jax.block_until_ready(run())
                calls += 1
            least[name] = min(least[name], (time.perf_counter() - began) / calls)
    return least
