"""report.html: a run's result and pictures on one page that opens anywhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from string import Template
from typing import TYPE_CHECKING, Any

from qnn_jax.circuits import Circuit
from qnn_jax.runs import RunDirectory, write_bytes_atomic

if TYPE_CHECKING:
    from pipelines.figures import Picture

#: How every page begins: its looks, and `$name` as its title and heading.
HEAD = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>$name</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto }
  body { padding: 0 1rem }
  table { border-collapse: collapse } td, th { padding: .2rem .9rem .2rem 0; text-align: left }
  img { max-width: 100% } figure { margin: 2rem 0 } figcaption { color: #555 }
  pre { overflow-x: auto; background: #f6f6f8; padding: .8rem; line-height: 1.2 }
</style>
<h1>$name</h1>
"""
_PAGE = Template(f"""{HEAD}<p><strong>$headline</strong></p>
<p>$verdict</p>
<table>$rows</table>
$figures
<h2>The circuit as text</h2>
<pre>$circuit</pre>
<p>All numbers: summary.json, metrics.jsonl, config.json, manifest.json in this folder.</p>
</html>
""")


def write(
    run: RunDirectory, summary: Mapping[str, Any], circuit: Circuit, pictures: Sequence[Picture]
) -> None:
    """Write report.html into the run's folder; pictures are referred to, not copied."""
    low, high = summary["test_interval"]
    classes = (
        " against ".join(summary["classes"])
        if len(summary["classes"]) == 2
        else (f"{len(summary['classes'])} classes")
    )
    rows = [
        ("hybrid", _accuracy(summary["test_accuracy"], summary["test_interval"])),
        *(
            (name.replace("_", " "), _accuracy(value, summary["baseline_intervals"][name]))
            for name, value in summary["baselines"].items()
        ),
        (
            "images",
            f"{summary['train_count']:,} to train, {summary['validation_count']:,} to "
            f"validate, {summary['test_count']:,} to test",
        ),
        (
            "parameters",
            f"{summary['parameters']['classical']:,} classical, "
            f"{summary['parameters']['quantum']} quantum",
        ),
        ("seed", str(summary["seed"])),
        ("circuit run by", summary["device"]),
        ("seconds", f"{summary['seconds']['total']:.1f}"),
    ]
    page = _PAGE.substitute(
        name=escape(f"Fashion-MNIST, {classes}"),
        headline=f"Test accuracy {summary['test_accuracy']:.4f} "
        f"(95 % interval {low:.4f} to {high:.4f})",
        verdict=escape(summary["verdict"]),
        rows="".join(f"<tr><th>{escape(k)}<td>{escape(v)}" for k, v in rows),
        figures="".join(
            f'<figure><img src="figures/{picture.path.name}" alt="{escape(picture.caption)}">'
            f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
            for picture in pictures
        ),
        circuit=escape(str(circuit)),
    )
    write_bytes_atomic(run.path / "report.html", page.encode())


def _accuracy(value: float, interval: Sequence[float]) -> str:
    return f"{value:.4f} ({interval[0]:.4f} to {interval[1]:.4f})"
