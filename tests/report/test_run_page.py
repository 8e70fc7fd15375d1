"""report.html: titles, tables, the task's own sections, and the template's parts."""

import itertools
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from qnn_jax.configs import LeastSquaresConfig
from qnn_jax.report import write_run
from qnn_jax.report.page import Picture, Section, Table, write_page
from qnn_jax.runs import RunDirectory
from qnn_jax.tasks import Calculator, Seeds, train
from qnn_jax.tasks.fit import Finished
from qnn_jax.tasks.stored import config_of
from qnn_jax.training.task import ACCURACY, MEAN_L1


class Unexplained(Calculator):
    """A task without explanations."""

    def explanations(self, trained, splits):
        return ()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    (folder / "plain").mkdir()
    small = LeastSquaresConfig(epochs=2, batch_size=32, restarts=2)
    task = Calculator(training=small, baseline_2022=3)

    def publish(finished: Finished) -> None:
        write_run(folder / "add", finished)
        unexplained = replace(finished.trained, task=Unexplained(training=small))
        write_run(folder / "plain", finished._replace(trained=unexplained))

    with RunDirectory.open(folder, "add", config_of(task, Seeds(), "add"), True, ()) as run:
        train(task, run=run, publish=publish)
    return folder


def parts(page: str) -> dict[str, list[str]]:
    """The pictures of each section, by its title."""
    found = {}
    for section in re.split("<h2>", page):
        title, _, rest = section.partition("</h2>")
        found[title if rest else ""] = re.findall(r'src="figures/(\w+)\.png"', section)
    return found


@pytest.mark.slow
def test_a_task_explains_its_result_in_sections_with_their_pictures(results: Path) -> None:
    page = (results / "add/report.html").read_text()
    assert parts(page) == {
        "": ["surfaces", "residuals"],
        "Why the circuit of 2022 could not do this": ["baseline_2022", "circuit_2022"],
        "What re-uploading changes": ["circuit", "curves"],
        "The effect of shots": ["shots"],
        "The effect of device noise": [],
        "The circuit as text": [],
    }
    for name in itertools.chain.from_iterable(parts(page).values()):
        assert (results / f"add/figures/{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "<h1>Calculator: a + b</h1>" in page
    assert "<strong>Test mean L1 " in page
    assert "mean l1" not in page
    assert "<th>baseline 2022</th>" in page
    assert "median of 3 seeds" in page
    assert "the output is " in page
    assert not re.search(r"\bnan\b|\binf\b|\{|\}", page.split("</style>")[1])


@pytest.mark.slow
def test_a_task_without_explanations_has_all_its_pictures_on_top(results: Path) -> None:
    found = parts((results / "plain/report.html").read_text())
    assert found == {
        "": ["curves", "surfaces", "residuals", "circuit"],
        "The circuit as text": [],
    }


def test_metrics_have_names_for_titles_and_axes() -> None:
    assert (ACCURACY.heading, ACCURACY.quantity) == ("Test accuracy", "accuracy")
    assert (MEAN_L1.heading, MEAN_L1.quantity) == ("Test mean L1", "mean L1")


def test_axes_stretch_what_is_bounded() -> None:
    assert (ACCURACY.axis, MEAN_L1.axis) == ("logit", "log")
    assert replace(MEAN_L1, bounds=(-1.0, 1.0)).axis == "linear"
    assert replace(ACCURACY, bounds=(-math.inf, 1.0)).axis == "linear"


def test_a_page_escapes_what_it_is_given(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    section = Section(
        "a < b", ["<p> & q"], [Table(("<h>",), [("<c>", "1")])], [Picture("p", '"quoted"')], "<t>"
    )
    write_page(path, "<title>", "<line>", [section], "<note>")
    page = path.read_text().split("</style>")[1]
    for text in ("a &lt; b", "&lt;p&gt; &amp; q", "&lt;h&gt;", "&lt;c&gt;", "&lt;t&gt;"):
        assert text in page
    assert 'src="figures/p.png" alt="&#34;quoted&#34;"' in page
    for raw in ("<p> &", "<c>", "<t>", "<line>", "<note>"):
        assert raw not in page
