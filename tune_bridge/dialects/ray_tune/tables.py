"""What becomes of every argument of Ray Tune's searchers, schedulers, stoppers and calls.

One table per class, one line per argument::

    name=default | how | detail | attribute

- ``native``: the experiment holds it; the detail is the experiment's attribute.
- ``carried``: kept as plain data; importable functions by reference, domains as encoded nodes,
  nested searchers, schedulers and stoppers as ``{"Class": {arguments}}``.
- ``refused``: the detail says why; the default is accepted.

The last column is where a live object keeps the argument, when that is not ``_name``; ``-`` when it
is derived or not kept. Signatures are read off the tables, and a test compares them with Ray's.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = [
    "CALLS",
    "CLASSES",
    "MODULES",
    "OLD_ARGUMENTS",
    "REMOVED",
    "SCHEDULER_STRINGS",
    "SEARCHER_STRINGS",
    "Argument",
    "Table",
]

How = Literal["native", "carried", "refused"]


class Argument(NamedTuple):
    """One argument.

    Attributes:
        text: As in a ``def``: ``gamma=0.25``, ``**kwargs``.
        how: "native", "carried" or "refused".
        detail: Experiment's attribute, or why it is refused; may be empty.
        attribute: Where a live object keeps it; empty when nowhere that says it.
    """

    text: str
    how: How
    detail: str
    attribute: str

    @property
    def name(self) -> str:
        """The argument's name."""
        return self.text.partition("=")[0].strip("* ")


class Table(NamedTuple):
    """One class or function.

    Attributes:
        name: ``OptunaSearch``, or ``tune.run``.
        module: Where it is imported from.
        role: "searcher", "limiter", "scheduler", "stopper", "allocation" or "call".
        arguments: In the order of the signature.
    """

    name: str
    module: str
    role: str
    arguments: tuple[Argument, ...]

    @property
    def parameters(self) -> str:
        """The parameter list."""
        return ", ".join(argument.text for argument in self.arguments)

    def native(self, attribute: str) -> str | None:
        """The argument that says an attribute of the experiment, or None."""
        found = (a.name for a in self.arguments if (a.how, a.detail) == ("native", attribute))
        return next(found, None)

    def get(self, name: str) -> Argument:
        """An argument by name."""
        return next(argument for argument in self.arguments if argument.name == name)


def _table(name: str, module: str, role: str, lines: str) -> Table:
    arguments = []
    for line in filter(None, map(str.strip, lines.splitlines())):
        text, how, *rest = [part.strip() for part in line.split("|")]
        detail, attribute = (*rest, "", "")[:2]
        plain = text.partition("=")[0].strip("* ")
        place = {"": f"_{plain}", "-": ""}.get(attribute, attribute)
        arguments.append(Argument(text, how, detail, place))  # type: ignore[arg-type]
    return Table(name, module, role, tuple(arguments))


_GOAL = """
    metric=None | native | objective
    mode=None | native | objective
"""
_SPACE = "space=None | native | space"
_POINTS = "points_to_evaluate=None | native | points"

_SEARCH = "ray.tune.search"
_OBJECT = "an object of the library has no name to find it by"

_SEARCHERS = (
    _table(
        "BasicVariantGenerator",
        _SEARCH,
        "searcher",
        f"""
        {_POINTS}
        max_concurrent=0 | native | max_concurrent | max_concurrent
        constant_grid_search=False | carried
        random_state=None | native | seed | -
        """,
    ),
    _table(
        "HyperOptSearch",
        f"{_SEARCH}.hyperopt",
        "searcher",
        f"""
        {_SPACE} {_GOAL} {_POINTS}
        n_initial_points=20 | carried | | -
        random_state_seed=None | native | seed | -
        gamma=0.25 | carried | | -
        """,
    ),
    _table(
        "BayesOptSearch",
        f"{_SEARCH}.bayesopt",
        "searcher",
        f"""
        {_SPACE} {_GOAL} {_POINTS}
        utility_kwargs=None | carried | | -
        random_state=42 | native | seed
        random_search_steps=10 | carried | | random_search_trials
        verbose=0 | carried
        patience=5 | carried
        skip_duplicate=True | carried
        analysis=None | refused | an ExperimentAnalysis is a file of results, not a setting
        repeat_float_precision=5 | carried | | repeat_float_precision
        """,
    ),
    _table(
        "NevergradSearch",
        f"{_SEARCH}.nevergrad",
        "searcher",
        f"""
        optimizer=None | carried | | _opt_factory
        optimizer_kwargs=None | carried
        {_SPACE} {_GOAL} {_POINTS}
        """,
    ),
    _table(
        "AxSearch",
        f"{_SEARCH}.ax",
        "searcher",
        f"""
        {_SPACE} {_GOAL} {_POINTS}
        parameter_constraints=None | carried
        outcome_constraints=None | carried
        ax_client=None | refused | {_OBJECT} | -
        **ax_kwargs | carried
        """,
    ),
    _table(
        "TuneBOHB",
        f"{_SEARCH}.bohb",
        "searcher",
        f"""
        {_SPACE}
        bohb_config=None | carried
        {_GOAL} {_POINTS}
        seed=None | native | seed
        max_concurrent=0 | native | max_concurrent
        """,
    ),
    _table(
        "OptunaSearch",
        f"{_SEARCH}.optuna",
        "searcher",
        f"""
        {_SPACE} {_GOAL} {_POINTS}
        sampler=None | refused | {_OBJECT}
        study_name=None | carried
        storage=None | refused | {_OBJECT}
        seed=None | native | seed
        evaluated_rewards=None | carried
        """,
    ),
    _table(
        "HEBOSearch",
        f"{_SEARCH}.hebo",
        "searcher",
        f"""
        {_SPACE} {_GOAL} {_POINTS}
        evaluated_rewards=None | carried
        random_state_seed=None | native | seed
        max_concurrent=8 | carried
        **kwargs | carried | | _hebo_config
        """,
    ),
    _table(
        "ZOOptSearch",
        f"{_SEARCH}.zoopt",
        "searcher",
        f"""
        algo='asracos' | carried
        budget=None | carried
        dim_dict=None | native | space
        {_GOAL} {_POINTS}
        parallel_num=1 | carried | | parallel_num
        **kwargs | carried | | kwargs
        """,
    ),
    _table(
        "SkOptSearch",
        f"{_SEARCH}.skopt",
        "searcher",
        f"""
        optimizer=None | refused | {_OBJECT}
        {_SPACE} {_GOAL} {_POINTS}
        evaluated_rewards=None | carried
        convert_to_python=True | carried
        """,
    ),
    _table(
        "ConcurrencyLimiter",
        _SEARCH,
        "limiter",
        """
        searcher | carried | | searcher
        max_concurrent | native | max_concurrent | max_concurrent
        batch=False | carried | | batch
        """,
    ),
    _table(
        "Repeater",
        _SEARCH,
        "limiter",
        """
        searcher | carried | | searcher
        repeat=1 | carried | | repeat
        set_index=True | carried
        """,
    ),
)

_ASHA = f"""
    time_attr='training_iteration' | carried
    {_GOAL}
    max_t=100 | carried
    grace_period=1 | carried | | -
    reduction_factor=4 | carried
    brackets=1 | carried | | -
    stop_last_trials=True | carried
"""
_HYPERBAND = f"""
    time_attr='training_iteration' | carried
    {_GOAL}
    max_t=81 | carried | | _max_t_attr
    reduction_factor=3 | carried | | _eta
    stop_last_trials=True | carried
"""
_PBT = f"""
    time_attr='time_total_s' | carried
    {_GOAL}
    perturbation_interval=60.0 | carried
"""
_SHARES = """
    add_bundles=False | carried | | add_bundles
    increase_by=None | carried | | increase_by
    increase_by_times=-1 | carried | | increase_by_times
    reserve_resources=None | carried | | reserve_resources
"""

_SCHEDULER_MODULES = {"PB2": "ray.tune.schedulers.pb2"}
"""Schedulers that Ray's package of schedulers does not import by itself."""

_SCHEDULERS = tuple(
    _table(name, _SCHEDULER_MODULES.get(name, "ray.tune.schedulers"), "scheduler", lines)
    for name, lines in (
        ("FIFOScheduler", ""),
        ("AsyncHyperBandScheduler", _ASHA),
        ("ASHAScheduler", _ASHA),
        ("HyperBandScheduler", _HYPERBAND),
        ("HyperBandForBOHB", _HYPERBAND),
        (
            "MedianStoppingRule",
            f"""
            time_attr='time_total_s' | carried
            {_GOAL}
            grace_period=60.0 | carried
            min_samples_required=3 | carried
            min_time_slice=0 | carried
            hard_stop=True | carried
            """,
        ),
        (
            "PopulationBasedTraining",
            f"""
            {_PBT}
            burn_in_period=0.0 | carried
            hyperparam_mutations=None | carried
            quantile_fraction=0.25 | carried
            resample_probability=0.25 | carried
            perturbation_factors=(1.2, 0.8) | carried
            custom_explore_fn=None | carried
            log_config=True | carried
            require_attrs=True | carried
            synch=False | carried
            """,
        ),
        (
            "PB2",
            f"""
            {_PBT}
            hyperparam_bounds=None | carried
            quantile_fraction=0.25 | carried
            log_config=True | carried
            require_attrs=True | carried
            synch=False | carried
            custom_explore_fn=None | carried
            """,
        ),
        ("PopulationBasedTrainingReplay", "policy_file | carried | | policy_file"),
        (
            "ResourceChangingScheduler",
            """
            base_scheduler=None | carried
            resources_allocation_function='default' | carried
            """,
        ),
    )
)

_ALLOCATIONS = tuple(
    _table(name, "ray.tune.schedulers.resource_changing_scheduler", "allocation", lines)
    for name, lines in (
        ("DistributeResources", _SHARES),
        (
            "DistributeResourcesToTopJob",
            f"""
            {_SHARES}
            metric=None | carried | | metric
            mode=None | carried | | mode
            """,
        ),
    )
)

_STOPPERS = tuple(
    _table(name, "ray.tune.stopper", "stopper", lines)
    for name, lines in (
        ("NoopStopper", ""),
        ("MaximumIterationStopper", "max_iter | carried"),
        ("TimeoutStopper", "timeout | carried | | _timeout_seconds"),
        ("FunctionStopper", "function | carried | | _fn"),
        ("CombinedStopper", "*stoppers | carried"),
        (
            "ExperimentPlateauStopper",
            """
            metric | carried
            std=0.001 | carried
            top=10 | carried
            mode='min' | carried
            patience=0 | carried
            """,
        ),
        (
            "TrialPlateauStopper",
            """
            metric | carried
            std=0.01 | carried
            num_results=4 | carried
            grace_period=4 | carried
            metric_threshold=None | carried
            mode=None | carried
            """,
        ),
    )
)

_SESSION = "what a session shows or calls while it runs is given to Ray, not written to a file"
_RESUME = "to go on with an old experiment is asked of Ray, with its folder"
_TUNE_CONFIG = """
    metric=None | native | objective
    search_alg=None | native | searcher
    scheduler=None | native | scheduler
    num_samples=1 | native | num_samples
    max_concurrent_trials=None | native | max_concurrent
    time_budget_s=None | carried
    reuse_actors=False | carried
    trial_name_creator=None | carried
    trial_dirname_creator=None | carried
    chdir_to_trial_dir='DEPRECATED' | refused | RAY_CHDIR_TO_TRIAL_DIR in the environment decides it
"""
_LOCAL = "local_dir=None | refused | storage_path says where results go"

_CALLS = tuple(
    _table(f"tune.{name}", "ray", "call", lines)
    for name, lines in (
        (
            "run",
            f"""
            run_or_experiment | native | program or trainable
            * | native |
            name=None | native | name
            metric=None | native | objective
            mode=None | native | objective
            stop=None | native | stop
            time_budget_s=None | carried
            config=None | native | space
            resources_per_trial=None | native | resources
            num_samples=1 | native | num_samples
            storage_path=None | carried
            storage_filesystem=None | refused | {_OBJECT}
            search_alg=None | native | searcher
            scheduler=None | native | scheduler
            checkpoint_config=None | carried
            verbose=None | carried
            progress_reporter=None | refused | {_SESSION}
            log_to_file=False | carried
            trial_name_creator=None | carried
            trial_dirname_creator=None | carried
            sync_config=None | carried
            export_formats=None | carried
            max_failures=0 | carried
            fail_fast=False | carried
            restore=None | carried
            resume=None | carried
            resume_config=None | refused | {_RESUME}
            reuse_actors=False | carried
            raise_on_failed_trial=True | carried
            callbacks=None | refused | {_SESSION}
            max_concurrent_trials=None | native | max_concurrent
            keep_checkpoints_num=None | carried
            checkpoint_score_attr=None | carried
            checkpoint_freq=0 | carried
            checkpoint_at_end=False | carried
            chdir_to_trial_dir='DEPRECATED' | refused | RAY_CHDIR_TO_TRIAL_DIR in the environment \
decides it
            {_LOCAL}
            """,
        ),
        (
            "Tuner",
            """
            trainable=None | native | program or trainable
            * | native |
            param_space=None | native | space
            tune_config=None | native | see TuneConfig
            run_config=None | native | see RunConfig
            """,
        ),
        ("TuneConfig", f"mode=None | native | objective\n{_TUNE_CONFIG}"),
        (
            "RunConfig",
            f"""
            name=None | native | name
            storage_path=None | carried
            storage_filesystem=None | refused | {_OBJECT}
            failure_config=None | native | see FailureConfig
            checkpoint_config=None | carried
            sync_config=None | carried
            verbose=None | carried
            stop=None | native | stop
            callbacks=None | refused | {_SESSION}
            progress_reporter=None | refused | {_SESSION}
            log_to_file=False | carried
            {_LOCAL}
            """,
        ),
        ("FailureConfig", "max_failures=0 | carried\nfail_fast=False | carried"),
        (
            "CheckpointConfig",
            """
            num_to_keep=None | carried
            checkpoint_score_attribute=None | carried
            checkpoint_score_order='max' | carried
            checkpoint_frequency=0 | carried
            checkpoint_at_end=None | carried
            """,
        ),
        (
            "SyncConfig",
            """
            sync_period=300 | carried
            sync_timeout=1800 | carried
            sync_artifacts=False | carried
            sync_artifacts_on_checkpoint=True | carried
            """,
        ),
        (
            "with_parameters",
            """
            trainable | native | program or trainable
            **kwargs | carried | plain values; an object has no name to find it by
            """,
        ),
        (
            "PlacementGroupFactory",
            """
            bundles | native | resources
            strategy='PACK' | native | resources
            *args | native | resources
            **kwargs | native | resources
            """,
        ),
        (
            "with_resources",
            """
            trainable | native | program or trainable
            resources | native | resources
            """,
        ),
    )
)

CLASSES: dict[str, Table] = {
    table.name: table for table in (*_SEARCHERS, *_SCHEDULERS, *_ALLOCATIONS, *_STOPPERS)
}
"""Searchers, schedulers and stoppers by class name."""

CALLS: dict[str, Table] = {table.name: table for table in _CALLS}
"""``tune.run``, ``tune.Tuner`` and what they are given, by name."""

MODULES: dict[str, tuple[str, ...]] = {
    "basic_variant": ("BasicVariantGenerator",),
    "concurrency_limiter": ("ConcurrencyLimiter",),
    "repeater": ("Repeater",),
    **{
        table.module.rpartition(".")[2]: (table.name,)
        for table in _SEARCHERS
        if table.module != _SEARCH
    },
}
"""Module below ``ray.tune.search`` -> its class."""

SEARCHER_STRINGS = {
    "random": "BasicVariantGenerator",
    "variant_generator": "BasicVariantGenerator",
    "ax": "AxSearch",
    "hyperopt": "HyperOptSearch",
    "bayesopt": "BayesOptSearch",
    "bohb": "TuneBOHB",
    "nevergrad": "NevergradSearch",
    "optuna": "OptunaSearch",
    "zoopt": "ZOOptSearch",
    "hebo": "HEBOSearch",
}
"""``ray.tune.search.SEARCH_ALG_IMPORT``."""

SCHEDULER_STRINGS = {
    "fifo": "FIFOScheduler",
    "async_hyperband": "AsyncHyperBandScheduler",
    "asynchyperband": "AsyncHyperBandScheduler",
    "median_stopping_rule": "MedianStoppingRule",
    "medianstopping": "MedianStoppingRule",
    "hyperband": "HyperBandScheduler",
    "hb_bohb": "HyperBandForBOHB",
    "pbt": "PopulationBasedTraining",
    "pbt_replay": "PopulationBasedTrainingReplay",
    "pb2": "PB2",
    "resource_changing": "ResourceChangingScheduler",
}
"""``ray.tune.schedulers.SCHEDULER_IMPORT``."""

REMOVED: dict[str, str] = {
    "local_dir": "storage_path says where results go",
    "chdir_to_trial_dir": "the environment variable RAY_CHDIR_TO_TRIAL_DIR decides it",
    "upload_dir": "storage_path says where results go, a bucket as well",
    "loggers": "callbacks report results",
    "ray_auto_init": "call ray.init() before, or leave it to Ray",
    "global_checkpoint_period": "the environment variable TUNE_GLOBAL_CHECKPOINT_S says it",
    "trial_executor": "Ray has one executor; leave it out",
    "queue_trials": "Ray queues trials by itself; leave it out",
    "run_errored_only": "Tuner.restore(..., restart_errored=True) does it",
    "sync_function": "sync_config=tune.SyncConfig(...) says how files are copied",
    "sync_to_cloud": "sync_config=tune.SyncConfig(...) says how files are copied",
    "sync_to_driver": "sync_config=tune.SyncConfig(...) says how files are copied",
    "sync_on_checkpoint": "sync_config=tune.SyncConfig(...) says how files are copied",
    "with_server": "Tune has no server any more; leave it out",
    "server_port": "Tune has no server any more; leave it out",
    "max_concurrent": "max_concurrent_trials limits trials at once",
    "trial_resources": "resources_per_trial says what a trial needs",
    "repeat": "num_samples says how often the space is drawn",
    "reward_attr": 'metric="..." with mode="max" says it',
}
"""Arguments of ``tune.run`` that Ray once had, and what says it today."""

OLD_ARGUMENTS = ("reward_attr", "max_concurrent", "use_early_stopped_trials")
"""Arguments of searchers and schedulers of Ray 0.7 to 1.x that the recording twins still take."""
