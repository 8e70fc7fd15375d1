"""The explanations on a calculator's page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qnn_jax.circuits import Circuit
from qnn_jax.operations import MAX_GAIN
from qnn_jax.tasks.baseline_2022 import circuit_2022
from qnn_jax.training.task import Explanation


def explanations(
    summary: Mapping[str, Any], circuit: Circuit, layers: int
) -> tuple[Explanation, ...]:
    """The sections of a run's page besides its numbers.

    Args:
        summary: the content of summary.json.
        circuit: of the run.
        layers: how often it reads its inputs.
    """
    found = [_reuploading(summary, layers), _shots(summary), _noise(circuit)]
    return (_circuit_of_2022(summary), *found) if "bounds" in summary else tuple(found)


def _circuit_of_2022(summary: Mapping[str, Any]) -> Explanation:
    least = summary["bounds"]
    return Explanation(
        "Why the circuit of 2022 could not do this",
        (
            "Here a is x[0] and b is x[1]. The circuit's output is an expectation value: a "
            "weighted sum of sines and cosines of its inputs. The gates that encode the inputs "
            "determine the frequencies; training determines only the weights. The feature map of "
            "2022 encodes a and b in angles 2a, 2b and 2(π − a)(π − b). On the unit square the "
            "last one falls from 2π² to about 9, more than a full period, whereas a + b is linear.",
            f"The lowest mean error with any observable after this feature map is "
            f"{least['any_observable']:.3f} (by regression on all Pauli strings, on a grid of "
            "points). The two-qubit RealAmplitudes with <ZZ> reached "
            f"{least['its_ansatz']:.3f} in the best of several trainings on the same points. More "
            "training or more shots cannot go below the first number, and several trainings found "
            "nothing below the second. One training as in 2022 ends near "
            f"{summary['baseline_2022']['median']:.3f}.",
        ),
        ("baseline_2022",),
        (("circuit_2022", circuit_2022(), "The circuit of 2022."),),
    )


def _reuploading(summary: Mapping[str, Any], layers: int) -> Explanation:
    return Explanation(
        "What re-uploading changes",
        (
            "Here the angle of every rotation is one input times a weight, and each input is "
            f"encoded again in each of {layers} layers on both qubits (Pérez-Salinas et al., "
            "arXiv:1907.02085). So training also determines the frequencies. They can become so "
            "low that the unit square is a small part of a period, and a sum of several such waves "
            "is almost linear. The inputs pass no classical layer: the output is "
            f"{summary['head_gain']:.3f} · <ZZ> {_signed(summary['head_bias'])}.",
            f"Levenberg-Marquardt trained {summary['restarts']} restarts in parallel; the one with "
            f"the lowest error on the {summary['validation_count']:,} validation points was kept.",
        ),
        ("circuit", "curves"),
    )


def _shots(summary: Mapping[str, Any]) -> Explanation:
    return Explanation(
        "The effect of shots",
        (
            "In theory, tiny angles and a large factor in the head would also work, but no device "
            "could measure the result: <ZZ> from shots has a standard error of "
            "√((1 − <ZZ>²)/shots), and the head multiplies it. The factor is therefore limited to "
            f"±{MAX_GAIN:g}. With 4,096 shots the mean error is "
            f"{summary['test_mean_l1_shots_4096']:.4f} (the binomial distribution predicts "
            f"{summary['shots_4096_expected']:.4f}). Every further digit takes a hundred times the "
            "shots.",
        ),
        ("shots",),
    )


def _noise(circuit: Circuit) -> Explanation:
    two_qubit = sum(len(op.qubits) == 2 for op in circuit.ops)
    return Explanation(
        "The effect of device noise",
        (
            "Noise reduces <ZZ> towards zero and readout errors shift it, by nearly the same "
            "amount for every input, so a line through a few known values corrects most of it. The "
            f"circuit has only {two_qubit} two-qubit gates, so the reduction is small. make "
            "eval-aer measures the error without this correction; make eval-hardware also measures "
            'it with the correction, in the row "scale and shift corrected".',
        ),
    )


def _signed(value: float) -> str:
    return f"{'−' if value < 0 else '+'} {abs(value):.3f}"
