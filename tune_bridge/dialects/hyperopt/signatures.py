"""HyperOpt's functions: signatures, and the law that each one stands for.

HyperOpt writes most of them as ``hp.uniform(label, *args, **kwargs)``; the arguments are those of
the function of the same name in ``hyperopt.pyll.stochastic``, and these are recorded here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tune_bridge.dialects.calls import Signature, parse_signatures
from tune_bridge.space import Normal, Uniform

__all__ = ["LAWS", "REFUSED", "SIGNATURES", "Law", "refusal", "scope"]


class Law(NamedTuple):
    """One ``hp`` function with a distribution of its own.

    Attributes:
        name: ``quniform``.
        parameters: Its parameters after the label; the names are those of the distribution.
        kind: The distribution.
        fixed: Attributes of the distribution that the function decides.
    """

    name: str
    parameters: str
    kind: type[Uniform | Normal]
    fixed: dict[str, Any]

    @property
    def arguments(self) -> tuple[str, ...]:
        """Names of the parameters that are read."""
        return tuple(p for p in self.parameters.split(", ") if "=" not in p)


_LOG = {"scale": "log"}
_EXPONENTS = {"scale": "log", "exponents": True}

LAWS = (
    Law("uniform", "low, high", Uniform, {}),
    Law("quniform", "low, high, q", Uniform, {}),
    Law("uniformint", "low, high, q=1.0", Uniform, {"q": 1, "integer": True}),
    Law("loguniform", "low, high", Uniform, _EXPONENTS),
    Law("qloguniform", "low, high, q", Uniform, _EXPONENTS),
    Law("normal", "mu, sigma", Normal, {}),
    Law("qnormal", "mu, sigma, q", Normal, {}),
    Law("lognormal", "mu, sigma", Normal, _LOG),
    Law("qlognormal", "mu, sigma, q", Normal, _LOG),
)

_LINES = "\n".join(f"{law.name}(label, {law.parameters})" for law in LAWS)

SIGNATURES: dict[str, Signature] = {
    **parse_signatures(
        "hyperopt",
        f"""
        {_LINES}
        randint(label, low, high=None)
        choice(label, options)
        pchoice(label, p_options)
        """,
        prefix="hp",
    ),
    **parse_signatures("hyperopt.pyll", "int(obj)\nfloat(obj)", prefix="scope"),
    **parse_signatures(
        "hyperopt",
        """
        fmin(fn, space, algo=None, max_evals=None, timeout=None, loss_threshold=None, trials=None, \
rstate=None, allow_trials_fmin=True, pass_expr_memo_ctrl=None, catch_eval_exceptions=False, \
verbose=True, return_argmin=True, points_to_evaluate=None, max_queue_len=1, \
show_progressbar=True, early_stop_fn=None, trials_save_file='')
        tpe.suggest(new_ids, domain, trials, seed, prior_weight=1.0, n_startup_jobs=20, \
n_EI_candidates=24, gamma=0.25, verbose=True)
        rand.suggest(new_ids, domain, trials, seed)
        """,
    ),
    **parse_signatures("numpy", "random.default_rng(seed=None)"),
    **parse_signatures("functools", "partial(func, /, *args, **keywords)"),
}
"""Signature by name, as people write it: ``hp.uniform``, ``scope.int``, ``fmin``."""

for _name, _signature in SIGNATURES.items():
    if _name.startswith("hp.") or _name == "scope.int":
        _signature.makers = "tune_bridge.dialects.hyperopt.graph"


def scope(name: str) -> Signature:
    """The signature of a pyll operation; those without one of their own take anything."""
    full = f"scope.{name}"
    return SIGNATURES.get(full) or Signature(full, "hyperopt.pyll", "*args, **kwargs")


_OBJECTS = "an operation that calls what it is given, which no file may ask for"
_UNLABELLED = "a draw without a label, which no searcher can see"
_INNER = "one of HyperOpt's own, which is no part of a space"
_ARRAYS = "an operation on arrays and lists, which is not supported"

_REFUSED = {
    _OBJECTS: """
        Raise call call_method call_method_pure callpipe1 copy_call_method_pure curtime define
        define_if_new define_info define_pure getattr import_ inject map partial pdb_settrace
        undefine
    """,
    _UNLABELLED: """
        categorical choice lognormal loguniform normal one_of qlognormal qloguniform qnormal
        quniform randint randint_via_categorical rng_from_seed uniform
    """,
    _ARRAYS: """
        array_union array_union1 asarray bincount dict eq ge getitem gt kwswitch le len list lt max
        min pos_args range repeat str_join sum
    """,
    _INNER: """
        GMM1 GMM1_lpdf LGMM1 LGMM1_lpdf adaptive_parzen_normal adaptive_parzen_normal_orig
        ap_split_trials broadcast_best categorical_lpdf idxs_map idxs_take
        linear_forgetting_weights lognormal_cdf lognormal_lpdf normal_cdf qlognormal_lpdf
        randint_via_categorical_lpdf tpe_cat_pseudocounts uniq vchoice_merge vchoice_split
    """,
}

REFUSED: dict[str, str] = {name: why for why, names in _REFUSED.items() for name in names.split()}
"""HyperOpt's own operations that are not translated -> why. Other names are the author's."""


def refusal(name: str) -> str:
    """Why an operation is not translated; empty when it is. Names may come from a file."""
    if not name.isidentifier() or name.startswith("_"):
        return "no name of an operation"
    return REFUSED.get(name, "")
