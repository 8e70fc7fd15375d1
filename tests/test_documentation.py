"""The documentation names what there is, all of it, and its numbers are those of the results."""

import importlib
import importlib.util
import inspect
import json
import os
import pkgutil
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import qnn_jax

REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"
TUTORIALS = sorted((DOCS / "tutorials").glob("[0-9]*.md"))
#: Packages whose names are on the pages of the reference; `qnn_jax` itself is on its first page.
PACKAGES = [
    name
    for name in (f"qnn_jax.{module.name}" for module in pkgutil.iter_modules(qnn_jax.__path__))
    if hasattr(importlib.import_module(name), "__all__")
]
#: Pages whose Python code runs here; that of tutorials runs when the site is built.
PAGES = (
    "README.md",
    "docs/index.md",
    "docs/installation.md",
    "docs/guide.md",
    "docs/gpu.md",
    "docs/internals/extending.md",
)

_spec = importlib.util.spec_from_file_location("tables", DOCS / "tables.py")
tables = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tables)


def entries() -> dict[str, str]:
    """Full names in the reference, with the directive that documents each."""
    text = "\n".join(path.read_text("utf-8") for path in (DOCS / "reference").glob("*.md"))
    return {name: kind for kind, name in re.findall(r"^\.\. auto(\w+):: (\S+)$", text, re.M)}


def missing(package: str, documented: set[str]) -> list[str]:
    """Public names of a package that the reference lacks.

    A module is documented by its path, and what a package takes from another one, there.
    """
    module = importlib.import_module(package)
    lacking = []
    for name in module.__all__:
        value = getattr(module, name)
        paths = (package, getattr(value, "__module__", None))
        names = {getattr(value, "__name__", None), *(f"{path}.{name}" for path in paths)}
        if not names & documented:
            lacking.append(name)
    return lacking


@pytest.mark.parametrize("package", PACKAGES)
def test_the_reference_has_every_public_name(package: str) -> None:
    documented = set(entries())
    assert missing(package, documented) == []
    # One that is taken out is missed.
    name = importlib.import_module(package).__all__[0]
    assert missing(package, documented - {f"{package}.{name}"}) == [name]


def test_the_first_page_has_every_name_of_the_package_itself() -> None:
    page = (DOCS / "reference/index.md").read_text("utf-8")
    assert [name for name in qnn_jax.__all__ if f"`{name}`" not in page] == []


@pytest.mark.parametrize("name", sorted(entries()))
def test_every_entry_exists_and_says_what_it_is(name: str) -> None:
    package, _, attribute = name.rpartition(".")
    if entries()[name] == "module":
        assert importlib.import_module(name).__doc__
        return
    found = getattr(importlib.import_module(package), attribute)
    if entries()[name] == "data":
        pages = "".join(path.read_text("utf-8") for path in (DOCS / "reference").glob("*.md"))
        assert re.search(rf"autodata:: {re.escape(name)}\n   :no-value:\n\n   \w", pages)
    else:
        assert inspect.getdoc(found), f"{name} has no docstring"


def test_the_first_page_of_the_reference_links_every_page() -> None:
    page = (DOCS / "reference/index.md").read_text("utf-8")
    for path in (DOCS / "reference").glob("*.md"):
        assert path.stem == "index" or f"({path.name})" in page, path.name


@pytest.mark.parametrize("page", tables.PAGES)
def test_tables_are_those_of_the_stored_results(page: str) -> None:
    text = (REPOSITORY / page).read_text("utf-8")
    assert "<!-- table: " in text
    # Another number in a table is noticed, and each table is computed once.
    changed = re.sub(r"(<!-- table: .*?\n\| .*?\n.*?\n.*?)\d", r"\g<1>x", text, flags=re.S, count=1)
    assert changed != text
    assert tables.written(changed) == text, "run `python docs/tables.py`"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2.07, "2.1 s"),
        (0.0996, "0.10 s"),
        (0.0157, "16 ms"),
        (2.4e-4, "0.24 ms"),
        (9.45e-6, "9.4 µs"),
    ],
)
def test_times_have_two_digits(value: float, text: str) -> None:
    assert tables.seconds(value) == text.replace(" ", "\N{NO-BREAK SPACE}")


def test_numbers_in_tables_do_not_wrap() -> None:
    table = tables.markdown(["x"], [["−1.05 ± 0.73 ∗ (0.1 to 0.2), p = 0.01 in 2.5 s"]])
    row = table.splitlines()[-1].replace("\N{NO-BREAK SPACE}", "~")
    assert row == "| −1.05~±~0.73~∗ (0.1~to~0.2), p~=~0.01 in 2.5~s |"


def test_the_readme_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text("utf-8").splitlines()) <= 150


def test_the_citation_and_the_changelog_name_this_version() -> None:
    citation = (REPOSITORY / "CITATION.cff").read_text("utf-8")
    date = re.search(
        rf"^version: {re.escape(qnn_jax.__version__)}\ndate-released: (\S+)$", citation, re.M
    )
    assert date is not None
    changelog = (REPOSITORY / "CHANGELOG.md").read_text("utf-8")
    assert f"\n## {qnn_jax.__version__} ({date[1]})\n" in changelog


@pytest.mark.slow_but_one
@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_the_pages_runs(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = (REPOSITORY / page).read_text("utf-8")
    codes = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert codes
    # The snippets of a page are read from top to bottom.
    names = {"__name__": "page"}
    for code in codes:
        exec(compile(code, page, "exec"), names)
    if page == "README.md":
        assert "RZ(w[0]*x[1])" in capsys.readouterr().out


def pages() -> list[Path]:
    """All pages, and the README and its kind."""
    found = [path for path in DOCS.rglob("*.md") if "_build" not in path.parts]
    return [*found, *REPOSITORY.glob("*.md")]


@pytest.mark.parametrize("path", pages(), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_named_files_and_targets_exist(path: Path) -> None:
    text = path.read_text("utf-8")
    for name in re.findall(r"`((?:tests|examples|docs|qnn_jax|pipelines)/[\w/.-]+)`", text):
        assert "_build" in name or (REPOSITORY / name).exists(), name
    for link in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text):
        assert (path.parent / link).exists(), link
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    for target in re.findall(r"(?:^|`|do )make ([a-z-]+)", text, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_there_are_seven_tutorials() -> None:
    assert [int(path.name[0]) for path in TUTORIALS] == list(range(1, 8))


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_has_what_each_must_have(path: Path) -> None:
    text = path.read_text("utf-8")
    assert re.search(r"\*\*For\*\* .*\*\*Question:\*\*.*\*\*Runtime:\*\*", text, re.DOTALL)
    cells = re.findall(r"```\{code-cell\} python\n(.*?)```", text, re.DOTALL)
    assert any("\nassert " in f"\n{cell}" for cell in cells)
    assert any("plt.subplots" in cell for cell in cells)
    # What is longer is cut off on the page.
    assert [line for cell in cells for line in cell.splitlines() if len(line) > 92] == []
    assert "**Next:**" in text


class Links(HTMLParser):
    """The anchors of an HTML page, and what it links to or shows."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str | None] = {"", None}
        self.targets: set[str] = set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.anchors |= {value for name, value in attrs if name == "id"}
        self.targets |= {value for name, value in attrs if name in {"href", "src"} and value}


def dead_links(site: Path) -> list[str]:
    """Links within the site whose file or anchor does not exist."""
    pages = {path.resolve(): Links(path) for path in site.rglob("*.html")}
    dead = []
    for path, page in pages.items():
        for target in page.targets:
            url = urlsplit(target)
            file = (path.parent / unquote(url.path)).resolve() if url.path else path
            anchors = pages[file].anchors if file in pages else {""}
            if not url.scheme and not (file.exists() and unquote(url.fragment) in anchors):
                dead.append(f"{path.name}: {target}")
    return sorted(dead)


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "b.html").write_text('<h2 id="here">', "utf-8")
    links = ("b.html", "b.html#here", "#top", "b.html#gone", "c.html", "https://example.org/d")
    body = '<p id="top">' + "".join(f'<a href="{link}">' for link in links)
    (tmp_path / "a.html").write_text(body, "utf-8")
    assert dead_links(tmp_path) == ["a.html: b.html#gone", "a.html: c.html"]


@pytest.mark.slow
def test_the_site_builds_and_every_tutorial_runs(tmp_path: Path) -> None:
    sphinx = f"{sys.executable} -m sphinx --fail-on-warning -q -b html".split()
    done = subprocess.run(
        [*sphinx, "-d", str(tmp_path / "doctrees"), str(DOCS), str(tmp_path / "html")],
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert dead_links(tmp_path / "html") == []
    for path in TUTORIALS:
        page = (tmp_path / f"html/tutorials/{path.stem}.html").read_text("utf-8")
        assert 'class="cell_output' in page, path.name
        assert "data:image/png" in page or "../_images/" in page, path.name


def test_the_stored_runs_of_other_libraries_have_the_same_losses() -> None:
    folder = REPOSITORY / "results/reference/peers"
    found = {path.stem: json.loads(path.read_text("utf-8")) for path in folder.glob("*.json")}
    ours = found.pop("qnn_jax")["losses"]
    assert set(found) == {"pennylane", "torch_connector"}
    for other in found.values():
        assert other["losses"] == pytest.approx(ours, abs=1e-4)
    assert ours[-1] < ours[0]
