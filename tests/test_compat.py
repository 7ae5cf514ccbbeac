"""`compat_matrix.md` says what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from tune_bridge.compat import CALLS, matrix
from tune_bridge.compat_notations import NAMES, SPACES, notations

PAGE = Path(__file__).parent.parent / "compat_matrix.md"

SEED = """
HyperOpt; Grid search; Random search; BayesOpt; Nevergrad; Scikit-Optimize; Ax; BOHB;
`hp.choice`; `hp.randint`; `hp.pchoice`; `hp.uniform`; `hp.uniformint`; `hp.quniform`;
`hp.loguniform`; `hp.qloguniform`; `hp.normal`; `hp.qnormal`; `hp.lognormal`; `hp.qlognormal`;
Population Based Training (PBT); Asynchronous HyperBand (ASHA); HyperBand; HyperBand (BOHB);
Median Stopping Rule
"""
"""All rows of the three tables that the project started from."""


def rows() -> dict[str, str]:
    lines = [line for line in matrix().splitlines() if line.startswith("| ")]
    return {line.split(" | ")[0].removeprefix("| "): line for line in lines}


def test_the_page_is_not_stale() -> None:
    assert PAGE.read_text("utf-8") == matrix(), (
        "stale: python -m tune_bridge.compat > compat_matrix.md"
    )


@pytest.mark.parametrize("name", [name.strip() for name in SEED.split(";")])
def test_every_row_of_the_seed_is_there(name: str) -> None:
    assert name in rows()


@pytest.mark.parametrize(
    "name", [n for n in rows() if n.startswith(("`hp.", "`tune.")) and n.strip("`") not in CALLS]
)
def test_no_function_of_hyperopt_or_tune_is_lost(name: str) -> None:
    if name == "`tune.sample_from`":
        return
    cells = rows()[name].split(" | ")[1:]
    assert "**exact**" in cells[0] or "**carried**" in cells[0]
    assert all("not offered" not in cell and "not yet" not in cell for cell in cells)


def test_other_notations_have_no_gap() -> None:
    """Whatever is exact was read back; nothing is left for later, and losses have words."""
    cells = [cell for _, _, rows in notations() for row in rows for cell in row[1:]]
    assert len(cells) > len(NAMES) * len(SPACES)
    assert not [cell for cell in cells if "otherwise" in cell or "not yet" in cell]
    assert not [cell for cell in cells if cell == "not the same"]
    assert all(": " in cell for cell in cells if cell.startswith(("**not", "**app", "**ref")))
