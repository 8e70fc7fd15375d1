"""The README's Python code runs, and its commands and files exist."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
README = (REPOSITORY / "README.md").read_text("utf-8")


@pytest.mark.slow
def test_the_examples_run(capsys) -> None:
    examples = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(examples) >= 2
    for example in examples:
        exec(compile(example, "README.md", "exec"), {"__name__": "readme"})
    assert "RZ(w[0]*x[1])" in capsys.readouterr().out


def test_named_files_and_targets_exist() -> None:
    for path in re.findall(r"`(tests/[\w/.]+)`", README) + re.findall(
        r"\]\((?!http)([^)#]+)\)", README
    ):
        assert (REPOSITORY / path).exists(), path
    makefile = (REPOSITORY / "Makefile").read_text("utf-8")
    for target in re.findall(r"(?:^|`|do )make ([a-z-]+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
