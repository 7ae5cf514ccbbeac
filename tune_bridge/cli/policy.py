"""``tune-bridge policy``: what a population did to a run's configuration, for Ray to replay."""

from __future__ import annotations

import click

from tune_bridge.cli.ls import all_events
from tune_bridge.cli.options import TEXT
from tune_bridge.cli.place import Where, id_of, place_options
from tune_bridge.errors import InputError
from tune_bridge.files import write_text

__all__ = ["policy"]


@click.command(short_help="Write the policy of a population's run, for Ray's replay.")
@click.argument("sweep", type=TEXT)
@click.argument("run", type=TEXT)
@click.option("-o", "--output", "dst", type=TEXT, help="Write here; the default prints.")
@place_options
def policy(where: Where, sweep: str, run: str, dst: str | None) -> int:
    """Writes how RUN of SWEEP came to its configuration, as Ray writes pbt_policy_*.txt.

    \b
      tune-bridge policy 3f9c2d1a 3f9c2d1a-5b2e1_00003 -o policy.txt
      PopulationBasedTrainingReplay("policy.txt")     # trains one trial by it
    """
    from tune_bridge.engines.tune.policies import exploits, policies

    with where.read() as sweeps:
        told = policies(exploits(all_events(sweeps, id_of(sweep))))
        if run not in told:
            sweeps.run(run)  # says so when there is none
            raise InputError(
                f"run {run} has never gone on from another's checkpoint",
                path=sweep,
                expected=", ".join(sorted(told)) or "a sweep of a population",
            )
    if dst is None:
        click.echo(told[run], nl=False)
    else:
        write_text(dst, told[run])
    return 0
