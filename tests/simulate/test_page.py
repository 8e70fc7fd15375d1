"""The page that explains the simulator says what happens."""

import doctest
from pathlib import Path

import qnn_jax.simulate

PAGE = Path(qnn_jax.simulate.__file__).parent / "README.md"


def test_the_examples_of_the_page_run():
    failed, tried = doctest.testfile(str(PAGE), module_relative=False)
    assert tried >= 3
    assert not failed


def test_the_page_names_what_there_is():
    """Each `module.name` of the page exists."""
    import importlib
    import re

    named = re.findall(r"`(\w+)\.(_?\w+)(?:\.\w+)?`", PAGE.read_text())
    modules = {path.stem for path in PAGE.parent.glob("*.py")}
    found = [(module, name) for module, name in named if module in modules and name != "py"]
    assert len(found) > 10
    for module, name in found:
        assert hasattr(importlib.import_module(f"qnn_jax.simulate.{module}"), name), (module, name)
