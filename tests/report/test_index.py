"""results/index.html: what is in it, that nothing in a run can change the page, that it works."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from pipelines import report
from qnn_jax.errors import InputError
from qnn_jax.report.index import write_index


def add(folder: Path, name: str, metric: str = "accuracy", value: float = 0.9, **more) -> None:
    run = folder / name
    run.mkdir(parents=True)
    summary = {
        "task": "toy",
        "data": "<b>dots</b>",
        "metric": metric,
        "better": "less" if metric == "mean_l1" else "more",
        f"test_{metric}": value,
        "test_interval": [value - 0.1, value + 0.1],
        "parameters": {"classical": 1000, "quantum": 234},
        "seconds": {"total": 12.34},
        "baselines": {"linear": 0.5, "classical": 0.7},
        **more,
    }
    (run / "summary.json").write_text(json.dumps(summary))
    lines = [
        {"epoch": k + 1, "hybrid": {f"validation_{metric}": value * k / 500}} for k in range(500)
    ]
    lines[3]["hybrid"] = {f"validation_{metric}": None}
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (run / "report.html").write_text("")


class Cells(HTMLParser):
    """The rows of the table, and addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.links, self.loads, self._in = [], [], [], False

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self._in = True
        elif tag == "a":
            self.links.append(found["href"])
        self.loads += [found[name] for name in ("src", "srcset") if name in found]
        self.loads += [found["href"]] if tag == "link" else []

    def handle_endtag(self, tag):
        self._in = self._in and tag not in ("td", "th")

    def handle_data(self, data):
        if self._in:
            self.rows[-1][-1] += data


def read(path: Path) -> tuple[Cells, dict]:
    text = path.read_text("utf-8")
    cells = Cells()
    cells.feed(text)
    (data,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', text, re.S)
    return cells, json.loads(data)


def test_all_trainings_stand_side_by_side(tmp_path: Path, capsys) -> None:
    add(tmp_path, "one")
    add(tmp_path, "two words", "mean_l1", 0.25)
    (tmp_path / "ablate").mkdir()
    (tmp_path / "ablate/summary.json").write_text('{"headline": "no training"}')
    (tmp_path / "half").mkdir()  # not finished
    assert report.main(["--results-dir", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"Open {tmp_path / 'index.html'}\n"
    cells, data = read(tmp_path / "index.html")
    head, one, two = cells.rows
    assert head[1:7] == ["run", "task", "data", "metric", "test", "95 % interval"]
    assert one[1:11] == [
        "one", "toy", "<b>dots</b>", "accuracy", "0.9", "0.8 to 1", "classical", "0.7", "1,234",
        "12.3",
    ]  # fmt: skip
    # Of an error the least is the best.
    assert two[7:9] == ["linear", "0.5"]
    assert cells.links == ["one/report.html", "two%20words/report.html"]
    assert cells.loads == [], "the page is self-contained"
    curve = data["curves"]["one"]
    assert len(curve) <= 201
    assert curve[-1] == [500, pytest.approx(0.9 * 499 / 500)]
    assert all(epoch != 4 for epoch, _ in curve)


def test_no_text_of_a_run_becomes_a_part_of_the_page(tmp_path: Path) -> None:
    name = "a<script>alert(1)<"
    add(tmp_path, name, data="</script><script>alert(1)</script>", task='"><img src=x>')
    text = write_index(tmp_path).read_text("utf-8")
    assert text.count("<script") == 2
    assert "<img" not in text
    assert list(read(tmp_path / "index.html")[1]["curves"]) == [name]


def test_what_cannot_be_shown_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^Argument `results_dir` must hold a finished run, but"):
        write_index(tmp_path)
    add(tmp_path, "odd", test_interval="wide")
    message = (
        r'^File .*odd/summary.json has "wide" at `test_interval`, which must be a list of 2: d'
    )
    with pytest.raises(InputError, match=message):
        write_index(tmp_path)
    assert not (tmp_path / "index.html").exists()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"test_accuracy": None}, "has null at `test_accuracy`, which must be a finite number"),
        ({"seconds": {"total": 1e999}}, "has Infinity at `seconds.total`, which must be a finite"),
        ({"parameters": {"quantum": "many"}}, 'has "many" at `parameters.quantum`, which must be'),
        ({"baselines": {"linear": 10**400}}, "has more at `baselines.linear`, which must be a fin"),
        ({"seconds": 3}, "has 3 at `seconds`, which must be an object"),
    ],
)
def test_a_damaged_summary_is_a_sentence(tmp_path: Path, damage, message: str) -> None:
    add(tmp_path, "odd", **damage)
    text = (tmp_path / "odd/summary.json").read_text().replace("Infinity", "1e999")
    (tmp_path / "odd/summary.json").write_text(text)
    with pytest.raises(InputError, match=f"^File .*odd/summary.json {message}.*: delete the run"):
        write_index(tmp_path)


def test_lines_that_are_no_metrics_are_left_out_of_the_curve(tmp_path: Path) -> None:
    add(tmp_path, "one")
    rows = ['{"epoch": 1e999}', "[" * 100_000, "7", '{"epoch": 3, "hybrid": 5}', '{"epoch": 4}']
    rows.append('{"epoch": 9, "hybrid": {"validation_accuracy": 0.5}}')
    (tmp_path / "one/metrics.jsonl").write_text("\n".join(rows))
    write_index(tmp_path)
    assert read(tmp_path / "index.html")[1]["curves"] == {"one": [[9, 0.5]]}


BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)


@pytest.mark.skipif(not BROWSER, reason="no Chromium is installed")
def test_a_browser_sorts_and_draws(tmp_path: Path) -> None:
    add(tmp_path, "a", value=0.5)
    add(tmp_path, "b", value=0.9)
    page = write_index(tmp_path)
    # The page's own handlers, called as a user's click would.
    act = (
        "<script>const heads = [...document.querySelectorAll('th button')];"
        "const test = heads.find(one => one.textContent === 'test'); test.click(); test.click();"
        "document.querySelector('input').click();</script></html>"
    )
    page.write_text(page.read_text("utf-8").replace("</html>", act), "utf-8")
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert re.findall(r"<td>([ab])</td>", done.stdout) == ["b", "a"]
    assert 'data-run="b"' in done.stdout
