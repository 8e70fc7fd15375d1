"""Pictures of circuits, by Qiskit's drawer."""

from __future__ import annotations

from typing import Any, Literal

from qnn_jax.bridge.export import to_qiskit
from qnn_jax.circuits.checks import one_of
from qnn_jax.circuits.circuit import Circuit


def draw(circuit: Circuit, output: Literal["text", "mpl"] = "text") -> Any:
    """The circuit as Qiskit draws it, angles as expressions of x and w.

    Args:
        circuit: the circuit.
        output: "text" for text, "mpl" for a matplotlib figure.

    Returns:
        A string, or a `matplotlib.figure.Figure`.

    >>> from qnn_jax.circuits import Circuit, Op, w
    >>> print(draw(Circuit(2, (Op("ry", 0, w[0] / 2), Op("cx", (0, 1))))))
         ┌────────────┐
    q_0: ┤ Ry(w[0]/2) ├──■──
         └────────────┘┌─┴─┐
    q_1: ──────────────┤ X ├
                       └───┘
    """
    one_of("output", output, ("text", "mpl"))
    drawn = to_qiskit(circuit, form="named").draw(output, fold=-1 if output == "text" else 25)
    return "\n".join(map(str.rstrip, str(drawn).splitlines())) if output == "text" else drawn
