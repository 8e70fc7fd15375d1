"""`make eval-aer` as a user runs it: on the reference models, with few examples and shots."""

import contextlib
import io
import json
import re
from pathlib import Path

import pytest
import reference_models
from as_programs import check_bad_flags

from pipelines import eval_aer

FEW = ("--images", "60", "--shots", "50", "200", "--noisy-shots", "100")
DEVICE = ("--backend", "FakeManilaV2", "--backend", "FakeFez")


def saved(folder: Path, name: str = "fashion") -> Path:
    """A finished run."""
    run = folder / name
    getattr(reference_models, name)().save(run)
    return run


def flags(folder: Path, data_dir: Path, *more: str) -> list[str]:
    return ["--results-dir", str(folder), "--data-dir", str(data_dir), *FEW, *more]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> tuple[str, Path]:
    """The output for two runs, and their folder."""
    results = tmp_path_factory.mktemp("results")
    saved(results)
    saved(results, "calculator")
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert eval_aer.main(flags(results, data_dir, *DEVICE)) == 0
    return out.getvalue(), results


def test_it_prints_that_it_simulates_and_the_next_command(evaluated) -> None:
    out, results = evaluated
    run = results / "fashion"
    assert "no quantum computer" in out.splitlines()[0]
    assert f"{run}: 60 of 2,000 test images, 2 qubits, <ZZ>" in out
    assert f"{results / 'calculator'}: 60 of 10,000 test points, 2 qubits, <ZZ>" in out
    for name in ("exact", "50 shots", "200 shots", "FakeManilaV2", "FakeFez"):
        assert re.search(rf"^{name} +0\.\d{{4}}   0\.\d{{4}} to [01]\.\d{{4}} ", out, re.M), name
    assert re.search(r"FakeFez .*qubits \d+, \d+; errors of 2025-02-26$", out, re.M)
    following = out.splitlines()[-1]
    assert following.startswith("Next: make eval-hardware ARGS='--run fashion --results-dir ")
    assert f"--results-dir {results} --data-dir " in following


def test_it_writes_its_files(evaluated) -> None:
    run = evaluated[1] / "fashion"
    found = json.loads((run / "eval-aer.json").read_text())
    assert found["device"] == "simulated"
    assert found["test_count"] == 60
    assert list(found["shots"]) == ["50", "200"]
    assert list(found["noisy"]) == ["FakeManilaV2", "FakeFez"]
    leaves = [found["exact"], *found["shots"].values(), *found["noisy"].values()]
    for leaf in leaves:
        low, high = leaf["interval"]
        assert low <= leaf["accuracy"] <= high
        assert leaf["seconds"] > 0
    for leaf in leaves[1:]:
        difference = leaf["accuracy"] - found["exact"]["accuracy"]
        assert leaf["difference_to_exact"] == pytest.approx(difference)
        assert leaf["changed_predictions"] >= abs(difference) * 60 - 1e-9
    # The deviation of shots is proportional to 1/sqrt(shots); noise adds to it.
    fifty, more = (found["shots"][k]["expectation_rms"] for k in ("50", "200"))
    assert 1.3 < fifty / more < 3
    for leaf in found["noisy"].values():
        assert leaf["shots"] == 100
        assert len(set(leaf["layout"])) == 2
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", leaf["calibration"])
    assert (run / "figures/eval-aer.png").read_bytes()[:4] == b"\x89PNG"
    assert not list(run.glob(".*.tmp"))
    values = json.loads((run.parent / "calculator/eval-aer.json").read_text())
    for leaf in (values["exact"], values["shots"]["50"], values["noisy"]["FakeFez"]):
        assert leaf["interval"][0] <= leaf["mean_l1"] <= leaf["interval"][1]
        assert "changed_predictions" not in leaf
    assert values["shots"]["50"]["mean_l1"] > 5 * values["exact"]["mean_l1"]


def test_the_certificates_cover_what_was_run(evaluated) -> None:
    from qnn_jax.bridge import Certificate
    from qnn_jax.models import ModelConfig

    run = evaluated[1] / "fashion"
    found = json.loads((run / "eval-aer.json").read_text())
    circuit = ModelConfig().circuit()
    for name, backend in (("aer", None), ("FakeManilaV2", "fake_manila"), ("FakeFez", "fake_fez")):
        certificate = Certificate.from_json((run / f"certificate-{name}.json").read_text())
        layout = found["noisy"][name]["layout"] if backend else None
        certificate.check(circuit, "ZZ", backend, layout)
        assert not certificate.covers(circuit + circuit.shift_weights(6), "ZZ", backend)


def test_nothing_is_evaluated_without_a_certificate(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qnn_jax.bridge import CertificationError, certification, to_qiskit

    run = saved(tmp_path)

    def with_qubits_swapped(circuit, form="table"):
        return to_qiskit(circuit, form).reverse_bits()

    monkeypatch.setattr(certification, "to_qiskit", with_qubits_swapped)
    with pytest.raises(CertificationError):
        eval_aer.main(flags(tmp_path, data_dir, *DEVICE))
    assert not (run / "eval-aer.json").exists()
    assert not list(run.glob("certificate-*"))


@pytest.mark.slow
def test_a_certificate_is_used_again_and_a_damaged_one_is_not(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qnn_jax.bridge import certification

    made = []
    certify = certification.certify
    monkeypatch.setattr(certification, "certify", lambda *a: made.append(a[2]) or certify(*a))
    run = saved(tmp_path)
    again = flags(tmp_path, data_dir, "--backend", "FakeManilaV2")
    assert eval_aer.main(again) == eval_aer.main(again) == 0
    assert made == [None, "FakeManilaV2"]
    (run / "certificate-FakeManilaV2.json").write_text("{}")
    assert eval_aer.main(again) == 0
    assert made == [None, "FakeManilaV2", "FakeManilaV2"]


def test_bad_flags_are_answered_before_jax_and_qiskit_load(tmp_path: Path) -> None:
    bad = [
        (("--shots", 0), "`--shots` must be an integer of at least 1, but is 0"),
        (("--noisy-shots", -3), "`--noisy-shots` must be an integer of at least 1, but is -3"),
        (("--images", -1), "`--images` must be an integer of at least 0, but is -1"),
        (("--run", "a/b"), "`--run` must be 1 to 100 letters"),
        (("--backend", "FakeFezz"), "did you mean FakeFez"),
        ((), "must hold a finished run"),
        (("--run", "other"), "`--run` must name a finished run"),
    ]
    check_bad_flags("eval_aer", bad, tmp_path)
