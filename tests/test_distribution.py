"""`python -m build` makes a wheel and an sdist that work in an empty environment."""

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import qnn_jax

REPOSITORY = Path(__file__).parents[1]
SMOKE = """
import jax, qnn_jax
from qnn_jax.linen import QuantumLayer
circuit = qnn_jax.zz_feature_map(2) + qnn_jax.real_amplitudes(2)
layer = QuantumLayer(circuit, ("ZZ",))
params = layer.init(jax.random.key(0), jax.numpy.ones((3, 2)))
gradient = jax.grad(lambda p: layer.apply(p, jax.numpy.ones((3, 2))).sum())(params)
assert jax.numpy.abs(gradient["params"]["weights"]).max() > 0
print(qnn_jax.__version__, qnn_jax.__file__)
"""


def run(*words: object, cwd: Path) -> str:
    """What a command prints; its errors where it fails."""
    done = subprocess.run(
        [*map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", "sdist"])
def test_it_installs_into_an_empty_environment(kind: str, tmp_path: Path) -> None:
    build = (sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", tmp_path)
    run(*build, REPOSITORY, cwd=tmp_path)
    (archive,) = tmp_path.glob(f"qnn_jax-{qnn_jax.__version__}*")
    if kind == "sdist":
        with tarfile.open(archive) as files:
            names = {name.partition("/")[2] for name in files.getnames()}
        assert {"docs/conf.py", "tests/test_distribution.py", "requirements-docs.lock"} <= names
    uv = Path(sys.executable).parent / "uv"
    python = tmp_path / "empty/bin/python"
    run(uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "empty", cwd=tmp_path)
    # The versions of the lock, so that a new release of a dependency does not change this test.
    install = (uv, "pip", "install", "--quiet", "--python", python)
    run(*install, "--constraint", REPOSITORY / "requirements.lock", archive, cwd=tmp_path)
    version, where = run(python, "-c", SMOKE, cwd=tmp_path).split()
    assert version == qnn_jax.__version__
    assert Path(where).is_relative_to(tmp_path)
