"""Searches for a good reader of handwritten digits.

HyperOpt proposes, and ASHA stops the runs that fall behind. Written with Ray Tune's names, and kept
as a sweep:

    python experiment.py                              # writes sweep.yaml
    tune-bridge convert experiment.py -o sweep.yaml   # the same
"""

from tune_bridge import tune
from tune_bridge.hyperopt import hp
from tune_bridge.tune.schedulers import ASHAScheduler
from tune_bridge.tune.suggest.hyperopt import HyperOptSearch

tune_config = tune.run(
    "train.py",
    name="digits",
    search_alg=HyperOptSearch(
        {
            "lr": hp.loguniform("lr", -9.2, 0.0),  # e**-9.2 is 0.0001, e**0 is 1
            "hidden": hp.uniformint("hidden", 8, 96),
            "activation": hp.choice("activation", ["relu", "tanh", "logistic"]),
        },
        metric="mean_loss",
        mode="min",
        n_initial_points=5,  # random ones first; with Tune's 20 all of ours would be random
        random_state_seed=5,
    ),
    scheduler=ASHAScheduler(metric="mean_loss", mode="min", max_t=30, grace_period=3),
    num_samples=16,
)

if __name__ == "__main__":
    tune_config.save("sweep.yaml")
