"""Classifier, regressor and search as scikit-learn's users meet them."""

import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, ParameterGrid, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

import qnn_jax
from pipelines import eval_aer, predict
from qnn_jax import Circuit, Op, QuantumClassifier, QuantumRegressor, QuantumSearch, w, x
from qnn_jax.errors import InputError
from qnn_jax.executors import sampled
from qnn_jax.tasks import load

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]
#: Rows in an order that means nothing.
MIXED = np.random.default_rng(0).permutation(len(X))
#: Small, so that a training takes a moment.
SMALL = {"n_qubits": 4, "hidden": (), "max_iter": 60, "learning_rate": 0.05, "random_state": 0}


@pytest.mark.slow
@parametrize_with_checks([QuantumClassifier(), QuantumRegressor()])
def test_scikit_learns_own_checks(estimator, check) -> None:
    check(estimator)


#: Those that a change is likely to break; all checks together take minutes.
QUICK = (
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_no_attributes_set_in_init",
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_parameters_default_constructible",
    "check_mixin_order",
    "check_estimator_tags_renamed",
    "check_estimators_unfitted",
    "check_get_params_invariance",
    "check_set_params",
)


@pytest.mark.parametrize("kind", [QuantumClassifier, QuantumRegressor])
def test_some_of_scikit_learns_checks(kind) -> None:
    done = []
    for estimator, check in estimator_checks_generator(kind()):
        if check.func.__name__ in QUICK:
            check(estimator)
            done.append(check.func.__name__)
    assert set(done) == set(QUICK)


@pytest.fixture(scope="module")
def fitted() -> QuantumClassifier:
    return QuantumClassifier(**SMALL).fit(X, NAMES)


def test_labels_of_text_are_learned(fitted) -> None:
    assert fitted.score(X, NAMES) > 0.93
    assert fitted.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    shares = fitted.predict_proba(X)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    assert (fitted.classes_[shares.argmax(axis=1)] == fitted.predict(X)).all()
    # One row at a time says the same as all at once.
    ones = np.concatenate([fitted.predict_proba(row[None]) for row in X[:5]])
    np.testing.assert_allclose(ones, shares[:5], atol=1e-6)
    assert len(fitted.loss_curve_) == fitted.n_iter_ == 60
    assert fitted.loss_curve_[-1] < fitted.loss_curve_[0]


def test_a_pickle_and_a_clone_are_what_they_were(fitted) -> None:
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    fresh = clone(fitted)
    with pytest.raises(NotFittedError):
        fresh.predict(X)
    np.testing.assert_array_equal(fresh.fit(X, NAMES).predict_proba(X), fitted.predict_proba(X))


@pytest.mark.slow
def test_an_executor_takes_the_predictions_elsewhere(fitted) -> None:
    few, many = (clone(fitted).fit(X, NAMES).set_params(executor=sampled(n)) for n in (8, 10**6))
    exact = fitted.predict_proba(X)
    off = [np.abs(one.predict_proba(X) - exact).mean() for one in (few, many)]
    assert off[1] < 0.01 < off[0]
    assert fitted.trained_.circuit.num_qubits == 4
    value, low, high = fitted.score_interval(X, NAMES)
    assert low < value < high
    assert value == fitted.score(X, NAMES)


def test_frames_keep_their_names(fitted) -> None:
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    model = QuantumClassifier(**SMALL).fit(frame, pd.Series(NAMES))
    assert model.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    np.testing.assert_array_equal(model.predict(frame), fitted.predict(X))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[["b", "a", "c", "d"]])


@pytest.mark.slow
def test_pipelines_and_searches_of_scikit_learn_take_it() -> None:
    pipe = make_pipeline(MinMaxScaler(), QuantumClassifier(**SMALL))
    scores = cross_val_score(pipe, X[MIXED], NAMES[MIXED], cv=2)
    assert scores.min() > 0.85
    grid = {"quantumclassifier__learning_rate": [1e-5, 0.05]}
    search = GridSearchCV(pipe, grid, cv=2).fit(X[MIXED], NAMES[MIXED])
    assert search.best_params_ == {"quantumclassifier__learning_rate": 0.05}


@pytest.mark.slow
def test_many_train_as_one_program_and_each_as_if_alone() -> None:
    grid = {"learning_rate": [0.01, 0.05], "weight_decay": [0.0, 0.1]}
    many = QuantumClassifier(**SMALL).fit_many(X, NAMES, grid)
    assert len(many) == 4
    for one, point in zip(many, ParameterGrid(grid), strict=True):
        assert {name: one.get_params()[name] for name in grid} == point
        alone = QuantumClassifier(**SMALL | point).fit(X, NAMES)
        np.testing.assert_allclose(one.predict_proba(X), alone.predict_proba(X), atol=2e-3)
    search = QuantumSearch(QuantumClassifier(**SMALL), {"learning_rate": [1e-5, 0.05]}, cv=2).fit(
        X[MIXED], NAMES[MIXED]
    )
    assert search.best_params_ == {"learning_rate": 0.05}
    assert search.cv_results_["split_test_scores"].shape == (2, 2)
    assert search.score(X, NAMES) > 0.85
    assert search.predict(X).shape == (150,)


def test_a_weight_is_how_often_a_row_is_there() -> None:
    weights = np.random.default_rng(1).integers(0, 3, len(X))
    weighted = QuantumClassifier(**SMALL).fit(X, NAMES, sample_weight=weights)
    repeated = QuantumClassifier(**SMALL).fit(X.repeat(weights, axis=0), NAMES.repeat(weights))
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-7)
    plain = QuantumClassifier(**SMALL).fit(X, NAMES)
    assert np.abs(plain.predict_proba(X) - weighted.predict_proba(X)).max() > 0.01


@pytest.mark.slow
def test_class_weights_move_the_border() -> None:
    rng = np.random.default_rng(0)
    labels = (np.arange(120) % 4 == 0).astype(int)
    points = rng.normal(size=(120, 2)) + labels[:, None]
    shares = [
        QuantumClassifier(**SMALL, class_weight=weight).fit(points, labels).predict(points).mean()
        for weight in (None, "balanced", {0: 1, 1: 100})
    ]
    assert shares[0] < shares[1] < shares[2]


@pytest.mark.slow
def test_early_stopping_keeps_the_best() -> None:
    rng = np.random.default_rng(0)
    noise, labels = rng.normal(size=(150, 8)), rng.integers(0, 2, 150)
    model = QuantumClassifier(
        **SMALL | {"max_iter": 300}, early_stopping=True, validation_fraction=0.3
    ).fit(noise, labels)
    curve = np.array(model.validation_curve_)
    assert model.n_iter_ == len(curve) < 300
    assert len(curve) - 1 - curve.argmin() == model.n_iter_no_change


@pytest.mark.slow
@pytest.mark.parametrize("member", ["separable", "frozen", "classical", "bypass", "linear"])
def test_twins_train_alike(member: str) -> None:
    model = QuantumClassifier(**SMALL | {"max_iter": 100}, member=member).fit(X, NAMES)
    assert model.score(X, NAMES) > 0.8
    assert ("quantum" in model.params_) == (member in ("separable", "frozen"))
    if member == "classical":
        with pytest.raises(InputError, match="`member` must be 'hybrid' or 'frozen' for what"):
            model.trained_  # noqa: B018


def test_circuits_of_ones_own() -> None:
    from qnn_jax.bridge import to_qiskit

    two = Circuit(2, (Op("ry", 0, x[0]), Op("ry", 1, x[1]), Op("cx", (0, 1)), Op("ry", 1, w[0])))
    points = np.random.default_rng(0).uniform(-1, 1, (80, 2))
    labels = points[:, 0] * points[:, 1] > 0
    given = {**SMALL, "encoder": "none", "observables": ("ZZ", "IZ", "ZI", "XX")}
    ours = QuantumClassifier(two, **given).fit(points, labels)
    theirs = QuantumClassifier(to_qiskit(two, "named"), **given).fit(points, labels)
    np.testing.assert_allclose(ours.predict_proba(points), theirs.predict_proba(points), atol=1e-5)
    assert ours.trained_.circuit == two
    assert set(ours.params_) == {"quantum", "head"}


@pytest.mark.slow
def test_values_are_learned_in_their_unit() -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (120, 2))
    values = 1e6 + 2e3 * np.sin(2 * points[:, 0]) * points[:, 1]
    model = QuantumRegressor(**SMALL | {"hidden": (16,), "max_iter": 200}).fit(points, values)
    assert model.score(points, values) > 0.8
    mean, low, high = model.score_interval(points, values)
    assert low < mean < high < 1e3


@pytest.mark.slow
@pytest.mark.parametrize(("classes", "n_qubits"), [(2, 4), (8, 4), (9, 5), (40, 8)])
def test_many_classes_take_more_qubits(classes: int, n_qubits: int) -> None:
    points = np.random.default_rng(0).normal(size=(80, 3))
    model = QuantumClassifier(hidden=(), max_iter=1, random_state=0)
    circuit = model.fit(points, np.arange(80) % classes).trained_.circuit
    assert circuit.num_qubits == n_qubits
    given = model.set_params(n_qubits=2).fit(points, np.arange(80) % classes)
    assert given.trained_.circuit.num_qubits == 2


PARTS = (X[MIXED[:100]], NAMES[MIXED[:100]], X[MIXED[100:]], NAMES[MIXED[100:]])


@pytest.mark.slow
def test_a_saved_estimator_is_a_run(tmp_path: Path, capsys) -> None:
    model = QuantumClassifier(**SMALL).fit(*PARTS[:2])
    model.save(tmp_path / "iris", *PARTS)
    again = load(tmp_path / "iris")
    assert again.summary["test_accuracy"] == pytest.approx(model.score(*PARTS[2:]))
    assert (again.summary["train_count"], again.summary["test_count"]) == (100, 50)
    splits = again.splits()
    assert splits.class_names == ("setosa", "versicolor", "virginica")
    np.testing.assert_allclose(
        again.outputs(splits.test.inputs), model._outputs(PARTS[2]), atol=1e-4
    )
    # What the commands make of it, from files alone.
    np.savez(tmp_path / "new.npz", x=X[:7])
    where = ["--run", "iris", "--results-dir", str(tmp_path)]
    assert predict.main([*where, "--data", str(tmp_path / "new.npz")]) == 0
    rows = (tmp_path / "iris/predictions.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["y", *model.predict(X[:7])]
    flags = [
        "--shots",
        "100000",
        "--noisy-shots",
        "16",
        "--images",
        "20",
        "--backend",
        "FakeManilaV2",
    ]
    assert eval_aer.main([*where, *flags]) == 0
    told = json.loads((tmp_path / "iris/eval-aer.json").read_text())
    assert told["exact"]["accuracy"] == pytest.approx(told["shots"]["100000"]["accuracy"], abs=0.1)


@pytest.mark.slow
def test_a_saved_regressor_has_its_unit(tmp_path: Path) -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (60, 4))
    values = 1e4 + 300 * points[:, 0]
    model = QuantumRegressor(**SMALL).fit(points[:40], values[:40])
    model.save(tmp_path / "line", points[:40], values[:40], points[40:], values[40:])
    again = load(tmp_path / "line")
    found = again.predict(again.splits().test.inputs)
    np.testing.assert_allclose(found, model.predict(points[40:]), atol=0.1)
    assert again.summary["test_r2"] == pytest.approx(
        model.score(points[40:], values[40:]), abs=1e-3
    )


@pytest.mark.slow
def test_what_is_no_run_is_not_saved(tmp_path: Path, fitted) -> None:
    with pytest.raises(NotFittedError):
        QuantumClassifier().save(tmp_path / "run", *PARTS)
    with pytest.raises(InputError, match=r"^Argument `X` must be what the estimator was fitted on"):
        fitted.save(tmp_path / "run", *PARTS)
    with pytest.raises(InputError, match=r"`y_test` must hold classes .*'setosa', .* has 'daisy'"):
        fitted.save(tmp_path / "run", X, NAMES, X[:2], ["daisy", "setosa"])
    with pytest.raises(ValueError, match="X has 3 features, but"):
        fitted.save(tmp_path / "run", X, NAMES, X[:, :3], NAMES)
    twin = clone(fitted).set_params(member="bypass", max_iter=1).fit(X, NAMES)
    with pytest.raises(InputError, match="`member` must be 'hybrid' or 'frozen' for what"):
        twin.save(tmp_path / "run", X, NAMES, X, NAMES)
    assert not (tmp_path / "run").exists()
    few = clone(fitted).set_params(max_iter=1).fit(X[49:102], NAMES[49:102])
    with pytest.raises(InputError, match="at least 3 rows of each class"):
        few.save(tmp_path / "run", X[49:102], NAMES[49:102], X[60:70], NAMES[60:70])
    assert not list((tmp_path / "run").iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"circuit": "xyz"}, "`circuit` must be one of 'dense_angle'"),
        ({"circuit": 3}, "`circuit` must be a Circuit, a QuantumCircuit or one of dense_angle"),
        ({"circuit": Circuit(1, (Op("ry", 0, w[0]),))}, "`circuit` must read at least one input"),
        (
            {"encoder": "none", "circuit": "zz"},
            "`circuit` must read as many inputs as there are features, 4",
        ),
        ({"encoder": "conv"}, "`encoder` must be one of"),
        ({"n_qubits": 0}, "`n_qubits` must be an integer of at least 2"),
        ({"n_qubits": "all"}, "`n_qubits` must be an integer of at least 2"),
        ({"observables": ("ZZZ",)}, "`observables` must have labels of 2 letters"),
        ({"hidden": 4}, "`hidden` must be a sequence of integers"),
        ({"hidden": (0,)}, "`hidden` must hold at most"),
        ({"member": "other"}, "`member` must be one of"),
        ({"learning_rate": 0}, "`learning_rate` must be above 0"),
        ({"weight_decay": -1}, "`weight_decay` must be at least 0"),
        ({"feature_scale": -1}, "`feature_scale` must be above 0"),
        ({"max_iter": 0}, "`max_iter` must be an integer of at least 1"),
        ({"batch_size": 0}, "`batch_size` must be an integer of at least 1"),
        ({"early_stopping": "yes"}, "`early_stopping` must be True or False"),
        ({"early_stopping": True, "validation_fraction": 1.0}, "`validation_fraction` must be"),
        ({"executor": 3}, "`executor` must be"),
    ],
)
def test_parameters_that_cannot_be_are_refused(changes, message: str) -> None:
    with pytest.raises(InputError, match=f"^Argument {message}"):
        QuantumClassifier(**{"n_qubits": 2, **changes}).fit(X, NAMES)


def test_data_that_cannot_be_learned_are_refused_as_scikit_learn_does() -> None:
    model = QuantumClassifier(**SMALL)
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        model.fit(sparse.csr_array(X), NAMES)
    with pytest.raises(ValueError, match="NaN"):
        model.fit(np.full_like(X, np.nan), NAMES)
    with pytest.raises(ValueError, match="at least two classes, but the data have one class only"):
        model.fit(X, np.zeros(len(X)))
    with pytest.raises(ValueError, match="Unknown label type"):
        model.fit(X, X[:, 0])
    with pytest.raises(ValueError, match=r"[Ss]ample weights must contain"):
        model.fit(X, NAMES, sample_weight=np.zeros(len(X)))
    with pytest.raises(InputError, match="`grid` must be one of 'learning_rate'"):
        model.fit_many(X, NAMES, {"n_qubits": [2, 3]})
    with pytest.raises(InputError, match="`early_stopping` must be False for estimators that"):
        clone(model).set_params(early_stopping=True).fit_many(X, NAMES, {"learning_rate": [0.1]})
    with pytest.raises(InputError, match="`estimator` must be a QuantumClassifier or a reg"):
        QuantumSearch(MinMaxScaler(), {"learning_rate": [0.1]}).fit(X, NAMES)


def test_the_names_are_the_packages_own() -> None:
    for name in ("QuantumClassifier", "QuantumRegressor", "QuantumKernel", "QuantumSearch"):
        assert getattr(qnn_jax, name).__module__ == "qnn_jax.estimators"
