"""From a table to a score with 1,024 shots on a simulated IBM device."""

from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from qnn_jax import QuantumClassifier
from qnn_jax.bridge import aer

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
model = QuantumClassifier(random_state=0).fit(X_train, y_train)
for name, executor in (("exact", None), ("FakeFez", aer(1024, "FakeFez", seed=0))):
    model.set_params(executor=executor)
    accuracy, low, high = model.score_interval(X_test, y_test)
    print(f"{name}: {accuracy:.3f} ({low:.3f} to {high:.3f})")
