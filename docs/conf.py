"""Sphinx settings: `make docs` builds the site into docs/_build/html, offline."""

import logging
import os
import re
from importlib.metadata import version as installed
from typing import Any

from sphinx.domains.python import PyObject
from sphinx.ext.napoleon.docstring import GoogleDocstring
from sphinx.util import inspect

# Notebooks and autodoc run on the CPU, wherever the site is built.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# The theme's colours set the level of all logs to INFO.
logging.getLogger("qiskit").setLevel(logging.WARNING)

project = "qnn_jax"
author = "The qnn_jax authors"
copyright = "2026, The qnn_jax authors. Apache-2.0"
version = release = installed("qnn-jax")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
# Links into other projects' documentation need a network: QNN_JAX_INTERSPHINX=1 makes them.
if os.environ.get("QNN_JAX_INTERSPHINX"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "jax": ("https://docs.jax.dev/en/latest", None),
        "flax": ("https://flax.readthedocs.io/en/latest", None),
    }

# Notebooks are what readers made of the tutorials.
exclude_patterns = ["_build", "**.ipynb*"]
templates_path: list[str] = []

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

# A tutorial that raises stops the build. "force": what was run before says nothing about today's
# library. QNN_JAX_DOCS_EXECUTION=off builds everything else in seconds.
nb_execution_mode = os.environ.get("QNN_JAX_DOCS_EXECUTION", "force")
if nb_execution_mode == "off":
    # The kernel says what language a cell is in, and no kernel runs.
    suppress_warnings = ["myst-nb.lexer"]
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 78
# Docstrings write code in single backticks.
default_role = "literal"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
# Otherwise an attribute `classes_` loses its underscore.
strip_signature_backslash = True

html_theme = "furo"
pygments_dark_style = "github-dark"
html_title = f"qnn_jax {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_use_index = html_domain_indices = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
linkcheck_ignore = [r"https?://.*"]


#: How annotations and defaults are written: without modules, each array once, aliases by name.
WORDING = (
    (r"~?\b(jaxlib\._jax|jaxtyping|collections\.abc|pathlib|numpy|np)\.", ""),
    (r"(?<![\w~.])(?=qnn_jax\.(?:\w+\.)+[A-Z])", "~"),
    (r"\b(\w+)\[Array, ('[^']*')\] \| \1\[ndarray, \2\]", r"\1[Array, \2]"),
    (r"\bAnyArray\b", "Array"),
    (r"(\[(?:Array|ndarray), ') +", r"\1"),
    (r"\bndarray\[(?:Any, Any|tuple\[[^]]*\], dtype\[\w+\])\]", "ndarray"),
    (r"Array \| ndarray \| bool \| number \| bool \| int \| float \| complex", "ArrayLike"),
    (r"\bCallable\[\[\.\.\.\]", "Callable[..."),
    (r", _\w+: [^,)]*", ""),
    (r"(?<=entanglement: )[^=]*Callable[^=]*(?= = )", "EntanglementLike"),
    (r"<(?:built-in )?function (\w+)[^>]*>", r"\1"),
    (r"<factory>|\blambda\b[^:]*: (?:\(\)|[^,)]*)|(?<== )_[A-Z_]+", "..."),
)


def readable(text: str | None) -> str | None:
    """Annotations and defaults as a reader would write them."""
    for pattern, words in WORDING if text else ():
        text = re.sub(pattern, words, text)
    return text


def as_called(
    app: Any, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: Any
) -> tuple[str | None, Any]:
    """The arguments that a caller has."""
    if what == "class" and signature:
        if getattr(obj, "_is_protocol", False):
            signature = ""
        elif signature.startswith("(*args"):
            # The metaclass of nnx has no arguments of its own.
            own = inspect.signature(obj.__init__, bound_method=True)
            signature = inspect.stringify_signature(
                own, show_return_annotation=False, unqualified_typehints=True
            )
        else:
            # Flax adds the fields `parent` and `name` to each module.
            signature = re.sub(r", parent: .*", ")", signature, flags=re.DOTALL)
    return readable(signature), readable(returns)


def with_bars(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """A bar in a docstring is a bar, as in |0>, and a star in a shape is a star.

    A value has the docstring of its class; the page says what the value is.
    """
    if what == "data":
        lines.clear()
    for number, line in enumerate(lines):
        if line.startswith((":vartype", ":type")):
            lines[number] = readable(line.replace("*", "\\*")) or ""
        elif not line.lstrip().startswith((">>>", "...")):
            parts = line.split("`")
            parts[::2] = [part.replace("|", "\\|") for part in parts[::2]]
            lines[number] = "`".join(parts)


def skip(app: Any, what: str, name: str, obj: Any, skipped: bool, options: Any) -> bool | None:
    """Leave out what other libraries add to a class."""
    # A function that is the default of a field is no method.
    if what == "class" and inspect.isfunction(obj) and "." not in obj.__qualname__:
        return True
    # Fields of named tuples are in the docstring; "Alias for field number 0" explains nothing.
    if type(obj).__name__ == "_tuplegetter" or name in {"parent", "name", "scope"}:
        return True
    # scikit-learn's metadata routing.
    if re.fullmatch(r"set_\w+_request|get_metadata_routing", name):
        return True
    return None


def setup(app: Any) -> None:
    """Register the functions above."""
    # A property's first line may have a colon; it is no type.
    GoogleDocstring._consume_inline_attribute = lambda self: (  # type: ignore[method-assign]
        "",
        self._dedent(self._consume_to_end()),
    )
    # Nor has what a function returns.
    GoogleDocstring._consume_returns_section = lambda self, preprocess_types=False: [  # type: ignore[method-assign]
        ("", "", self._dedent(self._consume_to_next_section()))
    ]
    # Docstrings say "Attributes", as Google's style does.
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"
    app.connect("autodoc-process-signature", as_called)
    app.connect("autodoc-process-docstring", with_bars)
    app.connect("autodoc-skip-member", skip)
