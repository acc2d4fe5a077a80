"""Two searches on a Dask cluster; docs/tuning.md says how to start one and what each line is for.

python examples/dask_search.py tcp://SCHEDULER:PORT
"""

import sys
import warnings

import joblib
from dask.distributed import Client, WorkerPlugin
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, StratifiedKFold

import fastnn
from fastnn.estimators import MLPClassifier


class Warm(WorkerPlugin):
    """Load the kernels on every worker, those that join later too."""

    def setup(self, worker):  # noqa: D102
        fastnn.warmup()


def main(address):
    """Search with scikit-learn, and with fastnn."""
    # Ten epochs are meant to be few, and scikit-learn hands this on to its workers.
    warnings.filterwarnings("ignore", category=ConvergenceWarning)
    X, y, test_X, test_y = fastnn.datasets.load_mnist()
    X, y = X[:10_000], y[:10_000]
    # As lists: what is an array is kept on a single worker, and would be lost with that.
    folds = StratifiedKFold(3, shuffle=True, random_state=0).split(X, y)
    folds = [(train.tolist(), held_out.tolist()) for train, held_out in folds]
    classifier = MLPClassifier(
        solver="sgd", learning_rate="linear", learning_rate_init=0.1, max_iter=10, tol=0, threads=1
    )
    pixels = (X / 255).astype("float32")
    with Client(address) as client:
        client.register_plugin(Warm())
        client.amm.stop()  # The memory manager would leave each array on a single worker.
        # Sent to every worker, once, before the search.
        with joblib.parallel_config(backend="dask", scatter=[pixels, y]):
            grid = {"hidden_layer_sizes": [(32,), (128,)], "alpha": [1e-4, 0.1]}
            search = GridSearchCV(classifier, grid, cv=folds).fit(pixels, y)
        print(f"GridSearchCV: {search.best_params_}, accuracy {search.best_score_:.4f}")
        with joblib.parallel_config(backend="dask", scatter=[X, y]):
            found = fastnn.tune(
                X,
                y,
                {"hidden": [(32,), (128,), (64, 32)], "l2": [0, 1e-4]},
                folds=3,
                test=(test_X, test_y),
                threads=1,
            )
        print(found)
        print(f"test accuracy {found.test['accuracy']:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:2] or sys.exit(__doc__))
