"""Common parts of the commands: the next command's flags, and a progress report in lines."""

from types import SimpleNamespace

import pytest

from pipelines import command
from pipelines.eval_aer import AerConfig


def test_the_next_command_has_the_folders_that_this_one_was_given(tmp_path) -> None:
    assert command.same_folders(AerConfig()) == []
    flags = command.same_folders(AerConfig(results_dir=tmp_path, manual_dir=tmp_path / "a b"))
    assert flags == ["--results-dir", str(tmp_path), "--manual-dir", f"{tmp_path}/a b"]
    assert command.make("eval-aer", []) == "make eval-aer"
    assert (
        command.make("eval-aer", ["--run", "a b"]) == """make eval-aer ARGS='--run '"'"'a b'"'"''"""
    )


def test_a_countdown_says_what_is_left_and_nothing_of_what_is_short(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 1.0, 6.0, 8.0, 12.0, 20.0])
    # Not in the module `time` itself, which other threads read too.
    monkeypatch.setattr(command, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    report = command.countdown("FakeFez", every=5.0)
    for done in (0, 100, 150, 200, 400):
        report(done, 400)
    assert capsys.readouterr().err.splitlines() == [
        "FakeFez: 100 of 400 runs, about 15 s left",
        "FakeFez: 200 of 400 runs, about 11 s left",
    ]
