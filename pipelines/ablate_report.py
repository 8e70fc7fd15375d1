"""report.html of an ablation: the answer, its pictures, the tables, and how it was done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from string import Template
from typing import TYPE_CHECKING, Any

from pipelines.ablate_table import HYBRID, Metric
from pipelines.report import HEAD
from qnn_jax.runs import RunDirectory, write_bytes_atomic

if TYPE_CHECKING:
    from pipelines.ablate_run import Study
    from pipelines.figures import Picture

_PAGE = Template(f"""{HEAD}<p><strong>$headline</strong></p>
$quick
$verdicts
$figures
<h2>The twins, and what each got</h2>
<table>$twins</table>
<h2>All numbers</h2>
$tables
<p>Intervals hold 95 % (Student, over seeds). The lead is the hybrid's, paired by seed, in $unit;
its test counts all flips of the differences' signs (two-sided), corrected for the number of twins
of a size (Holm). Seconds are of all seeds together, compiling included.</p>
<h2>How it was done</h2>
$notes
<p>Every seed's score: ablate.json in this folder; beside it config.json and manifest.json.</p>
</html>
""")


def write(
    run: RunDirectory, summary: Mapping[str, Any], study: Study, pictures: Sequence[Picture]
) -> None:
    """Write report.html into the run's folder; pictures are referred to, not copied."""
    page = _PAGE.substitute(
        name=escape(f"What was the quantum part worth? {study.about}"),
        headline=escape(summary["headline"]),
        quick="<p>This was a quick look: fewer seeds, sizes and steps than an answer takes.</p>"
        if summary["quick"]
        else "",
        verdicts=_paragraphs(summary["verdicts"]),
        figures="".join(
            f'<figure><img src="figures/{picture.path.name}" alt="{escape(picture.caption)}">'
            f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
            for picture in pictures
        ),
        twins="".join(
            f"<tr><th>{escape(twin.name)}<td>{escape(twin.what)}" for twin in study.twins
        ),
        tables="".join(_table(summary, study, size) for size in reversed(study.sizes)),
        unit=escape(study.metric.unit),
        notes=_paragraphs(study.notes),
    )
    write_bytes_atomic(run.path / "report.html", page.encode())


def _paragraphs(sentences: Sequence[str]) -> str:
    return "".join(f"<p>{escape(sentence)}</p>\n" for sentence in sentences)


def _table(summary: Mapping[str, Any], study: Study, size: int) -> str:
    lines = [line for line in summary["table"] if line["size"] == size]
    first = lines[0]
    metric, unit = escape(study.metric.title), escape(study.metric.unit)
    head = (
        f"<tr><th>twin<th>{metric}<th>worst seed<th>lead in {unit}<th>p<th>p, corrected"
        "<th>parameters<th>seconds"
    )
    return (
        f"<h3>{size:,} {escape(study.examples)}: each seen {first['passes']:,} times in "
        f"{first['steps']:,} steps, batches of {first['batch_size']}, {study.seeds} seeds</h3>\n"
        f"<table>{head}{''.join(_line(line, study.metric) for line in lines)}</table>\n"
    )


def _line(line: Mapping[str, Any], metric: Metric) -> str:
    of_twin = (
        metric.lead(line["gain"], line["gain_interval"]),
        f"{line['p']:.2g}",
        f"{line['p_corrected']:.2g}",
    )
    diverged = f"; {line['diverged']} seeds diverged" if line["diverged"] else ""
    cells = (
        metric.score(line["mean"], line["interval"]) + diverged,
        f"{line['worst']:{metric.form}}",
        *(("", "", "") if line["twin"] == HYBRID else of_twin),
        " + ".join(f"{count:,} {kind}" for kind, count in line["parameters"].items() if count),
        f"{line['seconds']:.1f}",
    )
    return f"<tr><th>{escape(line['twin'])}" + "".join(f"<td>{escape(cell)}" for cell in cells)
