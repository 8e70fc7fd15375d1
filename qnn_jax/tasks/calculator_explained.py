"""Why a calculator's result is as it is: the text of its page."""

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
    """What the page about a run says beside its numbers.

    Args:
        summary: what summary.json holds.
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
            "Here a is x[0] and b is x[1]. A circuit's answer is an expectation value: a weighted "
            "sum of waves in its inputs. The gates that read the inputs decide which waves there "
            "are; training only weighs them. The feature map of 2022 reads a and b in angles 2a, "
            "2b and 2(π − a)(π − b). On the unit square the last one falls from 2π² to about 9, so "
            "its waves turn more than once where a straight slope is wanted.",
            f"The best that any observable after this feature map could reach is a mean error of "
            f"{least['any_observable']:.3f} (by regression on all Pauli strings, on a grid of "
            "points). The two-qubit RealAmplitudes behind it, with <ZZ>, reached "
            f"{least['its_ansatz']:.3f} in the best of several trainings on the same points. More "
            "training or more shots cannot go below the first number, and found nothing below the "
            "second. One training as it was done in 2022 ends near "
            f"{summary['baseline_2022']['median']:.3f}.",
        ),
        ("baseline_2022",),
        (("circuit_2022", circuit_2022(), "The circuit of 2022."),),
    )


def _reuploading(summary: Mapping[str, Any], layers: int) -> Explanation:
    return Explanation(
        "What re-uploading changes",
        (
            "Here every rotation reads one input times a weight, and each input is read again in "
            f"each of {layers} layers on both qubits (Pérez-Salinas et al., arXiv:1907.02085). So "
            "the frequencies of the waves are trained too. They can become so low that the unit "
            "square is a small part of a turn, and several of them together make a straight line. "
            "No classical layer reads the inputs: the answer is "
            f"{summary['head_gain']:.3f} · <ZZ> {_signed(summary['head_bias'])}.",
            f"Levenberg-Marquardt trained {summary['restarts']} restarts side by side; the "
            f"{summary['validation_count']:,} validation points chose one of them.",
        ),
        ("circuit", "curves"),
    )


def _shots(summary: Mapping[str, Any]) -> Explanation:
    return Explanation(
        "What shots cost",
        (
            "Tiny angles and a large factor in the head would also do in theory, but no device "
            "could read the result: <ZZ> from shots has a standard error of "
            "√((1 − <ZZ>²)/shots), and the head multiplies it. The factor is therefore kept within "
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
        "What a noisy device leaves",
        (
            "Noise pulls <ZZ> towards zero and readout errors shift it, by nearly the same amount "
            "for every input, so a line through a few known answers corrects most of it. The "
            f"circuit has only {two_qubit} two-qubit gates, so the pull is small. make eval-aer "
            "measures the error without that line; make eval-hardware measures it with the line, "
            'in the row "scale and shift undone".',
        ),
    )


def _signed(value: float) -> str:
    return f"{'−' if value < 0 else '+'} {abs(value):.3f}"
