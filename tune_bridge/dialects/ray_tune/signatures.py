"""Ray Tune's functions and classes: signatures of Ray 2.60, without its private parameters."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

from tune_bridge.dialects.calls import Signature, parse_signatures
from tune_bridge.space import Integers, Normal, Uniform

__all__ = ["DOMAINS", "OWN", "SIGNATURES", "DomainRow", "OwnSignature"]


class DomainRow(NamedTuple):
    """One function of ``ray.tune`` that makes a domain with a law.

    Attributes:
        name: ``quniform``.
        parameters: Its parameters.
        kind: The distribution that it stands for.
        scale: "linear" or "log".
        names: The distribution's name of each parameter.
    """

    name: str
    parameters: str
    kind: type[Uniform | Normal | Integers]
    scale: str
    names: dict[str, str]

    @property
    def quantized(self) -> bool:
        """Whether it takes a quantum."""
        return "q" in self.names


_BOUNDS = {"lower": "low", "upper": "high"}
_MOMENTS = {"mean": "mu", "sd": "sigma"}
_Q = {"q": "q"}

DOMAINS = (
    DomainRow("uniform", "lower, upper", Uniform, "linear", _BOUNDS),
    DomainRow("quniform", "lower, upper, q", Uniform, "linear", _BOUNDS | _Q),
    DomainRow("loguniform", "lower, upper, base=None", Uniform, "log", _BOUNDS),
    DomainRow("qloguniform", "lower, upper, q, base=None", Uniform, "log", _BOUNDS | _Q),
    DomainRow("randn", "mean=0.0, sd=1.0", Normal, "linear", _MOMENTS),
    DomainRow("qrandn", "mean, sd, q", Normal, "linear", _MOMENTS | _Q),
    DomainRow("randint", "lower, upper", Integers, "linear", _BOUNDS),
    DomainRow("qrandint", "lower, upper, q=1", Integers, "linear", _BOUNDS | _Q),
    DomainRow("lograndint", "lower, upper, base=None", Integers, "log", _BOUNDS),
    DomainRow("qlograndint", "lower, upper, q, base=None", Integers, "log", _BOUNDS | _Q),
)

_DOMAIN_LINES = "\n".join(f"{row.name}({row.parameters})" for row in DOMAINS)


class OwnSignature(Signature):
    """A function of `tune_bridge.tune.domains`, which makes a live domain where Ray is loaded."""

    def resolve(self) -> Any:
        """The function, with Ray loaded.

        Raises:
            ImportError: Ray is not installed.
        """
        importlib.import_module("ray.tune")
        return super().resolve()


OWN: dict[str, Signature] = {
    name: OwnSignature(signature.name, signature.module, signature.parameters)
    for name, signature in parse_signatures(
        "tune_bridge.tune",
        """
        uniform(low, high, scale='linear', q=None, integer=False, exponents=False)
        normal(mu=0.0, sigma=1.0, scale='linear', q=None, integer=False)
        beta(a=1.0, b=1.0, q=None, integer=False)
        integers(low, high, step=1, log=False)
        choice(options, weights=None)
        """,
        prefix="domains",
    ).items()
}
"""Laws that ``ray.tune`` has no function for; the parameters are those of the space's classes."""

_ASHA = (
    "time_attr='training_iteration', metric=None, mode=None, max_t=100, grace_period=1, "
    "reduction_factor=4, brackets=1, stop_last_trials=True"
)

SIGNATURES: dict[str, Signature] = {
    **parse_signatures(
        "ray",
        f"""
        {_DOMAIN_LINES}
        choice(categories)
        grid_search(values)
        sample_from(func)
        run(run_or_experiment, *, name=None, metric=None, mode=None, stop=None, \
time_budget_s=None, config=None, resources_per_trial=None, num_samples=1, storage_path=None, \
storage_filesystem=None, search_alg=None, scheduler=None, checkpoint_config=None, verbose=None, \
progress_reporter=None, log_to_file=False, trial_name_creator=None, trial_dirname_creator=None, \
sync_config=None, export_formats=None, max_failures=0, fail_fast=False, restore=None, \
resume=None, resume_config=None, reuse_actors=False, raise_on_failed_trial=True, callbacks=None, \
max_concurrent_trials=None, keep_checkpoints_num=None, checkpoint_score_attr=None, \
checkpoint_freq=0, checkpoint_at_end=False, chdir_to_trial_dir='DEPRECATED', local_dir=None)
        Tuner(trainable=None, *, param_space=None, tune_config=None, run_config=None)
        TuneConfig(mode=None, metric=None, search_alg=None, scheduler=None, num_samples=1, \
max_concurrent_trials=None, time_budget_s=None, reuse_actors=False, trial_name_creator=None, \
trial_dirname_creator=None, chdir_to_trial_dir='DEPRECATED')
        RunConfig(name=None, storage_path=None, storage_filesystem=None, failure_config=None, \
checkpoint_config=None, sync_config=None, verbose=None, stop=None, callbacks=None, \
progress_reporter=None, log_to_file=False, local_dir=None)
        FailureConfig(max_failures=0, fail_fast=False)
        CheckpointConfig(num_to_keep=None, checkpoint_score_attribute=None, \
checkpoint_score_order='max', checkpoint_frequency=0, checkpoint_at_end=None)
        SyncConfig(sync_period=300, sync_timeout=1800, sync_artifacts=False, \
sync_artifacts_on_checkpoint=True)
        with_parameters(trainable, **kwargs)
        with_resources(trainable, resources)
        """,
        prefix="tune",
    ),
    **parse_signatures(
        "ray.tune.search.hyperopt",
        """
        HyperOptSearch(space=None, metric=None, mode=None, points_to_evaluate=None, \
n_initial_points=20, random_state_seed=None, gamma=0.25)
        """,
    ),
    **parse_signatures(
        "ray.tune.search",
        """
        BasicVariantGenerator(points_to_evaluate=None, max_concurrent=0, \
constant_grid_search=False, random_state=None)
        ConcurrencyLimiter(searcher, max_concurrent, batch=False)
        """,
    ),
    **parse_signatures(
        "ray.tune.schedulers",
        f"""
        FIFOScheduler()
        AsyncHyperBandScheduler({_ASHA})
        ASHAScheduler({_ASHA})
        """,
    ),
}
"""Signature by name, as people write it: ``tune.uniform``, ``HyperOptSearch``."""
