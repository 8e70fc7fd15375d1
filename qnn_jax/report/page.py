"""One self-contained HTML page: a headline, tables, pictures, a circuit as text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jinja2

from qnn_jax.runs import write_bytes_atomic

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
)


class Table(NamedTuple):
    """Rows of cells under a heading row, which may be empty."""

    heading: Sequence[str]
    rows: Sequence[Sequence[str]]


class Picture(NamedTuple):
    """A picture in the page's folder `figures`, with a caption of one sentence."""

    name: str
    caption: str


class Section(NamedTuple):
    """A part of a page; the first one needs no title."""

    title: str = ""
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    text: str = ""


def render(template: str, **values: object) -> str:
    """A template of this package with its values, which are escaped."""
    return _TEMPLATES.get_template(template).render(**values)


def write_page(
    path: Path, title: str, headline: str, sections: Sequence[Section], note: str
) -> None:
    """Write a page; pictures are linked, not embedded."""
    page = render("page.html.j2", title=title, headline=headline, sections=sections, note=note)
    write_bytes_atomic(path, page.encode())
