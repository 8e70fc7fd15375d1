"""report.html of a calculator: the result, and why it comes out so, in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from string import Template
from typing import TYPE_CHECKING, Any

from pipelines.report import HEAD
from qnn_jax.circuits import Circuit
from qnn_jax.operations import MAX_GAIN
from qnn_jax.runs import RunDirectory, write_bytes_atomic

if TYPE_CHECKING:
    from pipelines.figures import Picture

_PAGE = Template(f"""{HEAD}<p><strong>$headline</strong></p>
<p>$verdict</p>
<table>$rows</table>
$surfaces

<h2>Why the circuit of 2022 could not do this</h2>
<p>A circuit's answer is an expectation value: a weighted sum of a few waves in its inputs. Which
waves there are is settled by the gates that read the inputs; training only weighs them. The
feature map of 2022 reads a and b in angles 2a, 2b and 2(π − a)(π − b). On the unit square the last
one sweeps from 2π² down to 9, so its waves turn several times where a straight slope is wanted. The
best that <em>any</em> observable after this feature map could reach is a mean error of
<strong>$any_observable</strong> (by regression on all Pauli strings, on a grid of points). The
two-qubit RealAmplitudes behind it, with ⟨ZZ⟩, reached <strong>$its_ansatz</strong> in the best of
several trainings on the same points. More training or more shots cannot go below the first, and
found nothing below the second. One training as it was done then ends near $median.</p>
$seeds
$seed_circuit

<h2>What re-uploading changes</h2>
<p>Here every rotation reads one input times a weight, and each input is read again in each of
$layers layers on both qubits (Pérez-Salinas et al., arXiv:1907.02085). So the waves themselves are
trained: their frequencies may shrink until the unit square is a gentle part of a turn, and enough
of them together make a straight line. Nothing classical goes around the circuit: what comes out is
$gain · ⟨ZZ⟩ + $bias.</p>
$circuit
$curves

<h2>What shots cost</h2>
<p>Tiny angles and a huge factor in the head would also do on paper, and no device could read it
out: shots blur ⟨ZZ⟩ by √((1 − ⟨ZZ⟩²)/shots), and the head multiplies that. Its factor is therefore
kept within ±$most_gain. With 4,096 shots the mean error is $shots_4096 (binomial prediction
$expected); every further digit takes a hundred times the shots.</p>
$shots

<h2>What a noisy device leaves</h2>
<p>Noise pulls ⟨ZZ⟩ towards zero and readout errors shift it, nearly the same for every input, so
that a line through a few known answers takes most of it back. The circuit has $two_qubit two-qubit
gates to keep that pull small. What is left without that line is measured by
<code>make eval-aer ARGS="--run $run"</code>, and with it by
<code>make eval-hardware ARGS="--run $run"</code>, in the row "scale and shift undone".</p>

<h2>The circuit as text</h2>
<pre>$text</pre>
<p>All numbers: summary.json, metrics.jsonl, config.json, manifest.json in this folder.</p>
</html>
""")


def write(
    run: RunDirectory,
    summary: Mapping[str, Any],
    circuit: Circuit,
    pictures: Mapping[str, Picture],
) -> None:
    """Write report.html into the run's folder; pictures are referred to, not copied."""
    intervals, sizes = summary["baseline_intervals"], summary["baseline_parameters"]
    rows = [
        ("this circuit, exact", _error(summary["test_mean_l1"], summary["test_interval"])),
        (
            "this circuit, 4,096 shots",
            _error(summary["test_mean_l1_shots_4096"], summary["test_interval_shots_4096"]),
        ),
        *(
            (
                f"{name.replace('_', ' ')} ({sizes[name]} parameters)",
                _error(value, intervals[name]),
            )
            for name, value in summary["baselines"].items()
        ),
        (
            "points",
            f"{summary['train_count']:,} to train, {summary['validation_count']:,} to choose one "
            f"of {summary['restarts']} restarts, {summary['test_count']:,} to test",
        ),
        (
            "parameters",
            f"{summary['parameters']['classical']} classical, "
            f"{summary['parameters']['quantum']} quantum",
        ),
        ("seed", str(summary["seed"])),
        ("circuit run by", summary["device"]),
        ("seconds", f"{summary['seconds']['total']:.1f}"),
    ]
    page = _PAGE.substitute(
        {name: _figure(picture) for name, picture in pictures.items()},
        name=escape(f"The quantum calculator: {summary['operation']}"),
        headline=f"Mean error {_error(summary['test_mean_l1'], summary['test_interval'])}, "
        "95 % interval in brackets",
        verdict=escape(summary["verdict"]),
        rows="".join(f"<tr><th>{escape(k)}<td>{escape(v)}" for k, v in rows),
        any_observable=f"{summary['bounds']['any_observable']:.3f}",
        its_ansatz=f"{summary['bounds']['its_ansatz']:.3f}",
        median=f"{summary['seed_model']['median']:.3f}",
        layers=run.config["model"]["layers"],
        gain=f"{summary['head_gain']:.3f}",
        most_gain=f"{MAX_GAIN:g}",
        bias=f"{summary['head_bias']:.3f}",
        shots_4096=f"{summary['test_mean_l1_shots_4096']:.4f}",
        expected=f"{summary['shots_4096_expected']:.4f}",
        two_qubit=sum(len(op.qubits) == 2 for op in circuit.ops),
        run=escape(run.path.name),
        text=escape(str(circuit)),
    )
    write_bytes_atomic(run.path / "report.html", page.encode())


def _figure(picture: Picture) -> str:
    return (
        f'<figure><img src="figures/{picture.path.name}" alt="{escape(picture.caption)}">'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
    )


def _error(value: float, interval: tuple[float, float]) -> str:
    return f"{value:.2g} ({interval[0]:.2g} to {interval[1]:.2g})"
