import os
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from qnn_jax.errors import InputError
from qnn_jax.runs import checkpoints, read_npz


class Moments(NamedTuple):
    mu: jax.Array
    nu: tuple


def tree():
    return {
        "params": {"encoder": {"kernel": jnp.arange(6.0).reshape(2, 3)}, "w": np.arange(4.0)},
        "optimizer": [Moments(jnp.ones(3), ()), np.uint32([1, 2]), None],
        "on": jnp.array([True, False]),
        "steps": 12,
        "rate": 0.1,
        "flag": True,
        "count": np.int32(7),
    }


def save(folder, epoch, **options):
    return checkpoints.save(folder, epoch, tree(), fingerprint="f", **options)


def test_a_checkpoint_reads_back_bit_for_bit(tmp_path):
    path = save(tmp_path / "new", 5)
    found = checkpoints.load(path, tree(), fingerprint="f")
    assert found.epoch == 5
    assert jax.tree.structure(found.tree) == jax.tree.structure(tree())
    for before, after in zip(jax.tree.leaves(tree()), jax.tree.leaves(found.tree), strict=True):
        before = np.asarray(before)
        assert np.asarray(after).tobytes() == before.tobytes()
        assert np.asarray(after).dtype == before.dtype
    assert isinstance(found.tree["optimizer"][0], Moments)
    assert type(found.tree["steps"]) is int
    assert type(found.tree["rate"]) is float
    assert found.tree["flag"] is True


def test_leaves_are_named_by_their_path(tmp_path):
    names = read_npz(save(tmp_path, 1)).keys()
    assert {"params/encoder/kernel", "optimizer/0/mu", "optimizer/1", "steps"} < names


def test_shapes_alone_serve_as_the_structure(tmp_path):
    path = checkpoints.save(tmp_path, 1, {"w": jnp.ones((2, 3))}, fingerprint="f")
    like = jax.eval_shape(lambda: {"w": jnp.ones((2, 3))})
    assert checkpoints.load(path, like, fingerprint="f").tree["w"].shape == (2, 3)


def test_nan_and_negative_zero_keep_their_bits(tmp_path):
    values = np.array([0x7FC00001, 0x80000000, 0x7F800000], np.uint32).view(np.float32)
    path = checkpoints.save(tmp_path, 1, jnp.asarray(values), fingerprint="f")
    assert checkpoints.load(path, values, fingerprint="f").tree.tobytes() == values.tobytes()


@pytest.mark.parametrize(
    ("like", "message"),
    [
        (
            {"a": {"w": np.zeros((3, 2))}, "b": 1},
            r"float64 of shape \(2, 3\) at `a/w`, but this model has float64 of shape \(3, 2\)",
        ),
        (
            {"a": {"w": np.zeros((2, 3), np.float32)}, "b": 1},
            r"float64 of shape \(2, 3\) at `a/w`, but this model has float32 of shape \(2, 3\)",
        ),
        (
            {"a": {"w": np.zeros((2, 3)), "z": np.zeros(1)}, "b": 1},
            r"has nothing at `a/z`, but this model has float64 of shape \(1,\)",
        ),
        (
            {"a": {"w": np.zeros((2, 3))}},
            r"has int64 of shape \(\) at `b`, but this model has nothing",
        ),
        ({"a": {"w": np.zeros((2, 3))}, "b": 1.0}, r"int64 .* at `b`, but .* has float64"),
    ],
)
def test_another_structure_is_refused_by_the_name_of_the_leaf(tmp_path, like, message):
    path = checkpoints.save(tmp_path, 1, {"a": {"w": np.zeros((2, 3))}, "b": 1}, fingerprint="f")
    with pytest.raises(
        InputError, match=message + r".*: give another `run` name, or `resume=False`"
    ):
        checkpoints.load(path, like, fingerprint="f")


def test_another_configuration_is_refused(tmp_path):
    with pytest.raises(InputError, match="was made under another configuration: give another"):
        checkpoints.load(save(tmp_path, 1), tree(), fingerprint="g")


def test_a_damaged_checkpoint_is_refused_and_the_one_before_is_offered(tmp_path):
    for epoch in (8, 9, 10):
        path = save(tmp_path, epoch)
    data = path.read_bytes()
    for broken in (b"", data[:-1], data[:100], b"\x00" * len(data)):
        path.write_bytes(broken)
        with pytest.raises(
            InputError,
            match=r"epoch-000010\.npz is damaged.*: delete it, and the same command continues from "
            r"epoch 9\.$",
        ):
            checkpoints.load(path, tree(), fingerprint="f")
    path.unlink()
    path = checkpoints.latest(tmp_path)
    assert checkpoints.load(path, tree(), fingerprint="f").epoch == 9


def test_a_damaged_checkpoint_with_none_before_it_offers_to_start_over(tmp_path):
    path = save(tmp_path, 1)
    path.write_bytes(b"")
    with pytest.raises(InputError, match=r"no checkpoint is before it, .* `resume=False` to"):
        checkpoints.load(path, tree(), fingerprint="f")


def test_a_renamed_checkpoint_is_refused(tmp_path):
    path = save(tmp_path, 1).rename(tmp_path / "epoch-000002.npz")
    with pytest.raises(InputError, match="because it holds epoch 1: correct the name"):
        checkpoints.load(path, tree(), fingerprint="f")


def test_the_latest_is_the_highest_epoch_whatever_the_clock_says(tmp_path):
    assert checkpoints.latest(tmp_path / "missing") is None
    for epoch in (9, 10, 1_000_000):
        os.utime(save(tmp_path, epoch), (2e9 - epoch, 2e9 - epoch))
    (tmp_path / "epoch-best.npz").touch()
    (tmp_path / ".epoch-2000000.npz.1.tmp").touch()
    assert checkpoints.latest(tmp_path) == tmp_path / "epoch-1000000.npz"


def test_only_the_last_few_are_kept_and_never_the_new_one_lost(tmp_path):
    for epoch in range(1, 6):
        save(tmp_path, epoch, keep=2)
    assert list(checkpoints.epochs(tmp_path)) == [4, 5]
    # After a rollback, later epochs are no reason to delete the new checkpoint.
    save(tmp_path, 2, keep=1)
    assert list(checkpoints.epochs(tmp_path)) == [2, 4, 5]
    with pytest.raises(InputError, match="Argument `keep` must be at least 1, but is 0"):
        save(tmp_path, 6, keep=0)


def test_a_file_in_place_of_the_folder_is_one_sentence(tmp_path):
    (tmp_path / "checkpoints").touch()
    with pytest.raises(InputError, match=r"^Cannot make .*checkpoints \(File exists\): give"):
        save(tmp_path / "checkpoints", 1)


@pytest.mark.parametrize("leaf", [jnp.zeros(2, jnp.bfloat16), jax.random.key(0), "text"])
def test_leaves_that_cannot_be_stored_are_refused(tmp_path, leaf):
    with pytest.raises(TypeError):
        checkpoints.save(tmp_path, 1, {"leaf": leaf}, fingerprint="f")
    assert not list(tmp_path.iterdir())


def test_two_leaves_of_one_path_are_refused(tmp_path):
    with pytest.raises(ValueError, match="Two leaves share a path"):
        checkpoints.save(tmp_path, 1, {"a": {"b": 1}, "a/b": 2}, fingerprint="f")
