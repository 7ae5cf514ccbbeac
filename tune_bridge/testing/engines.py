"""The conformance suite of engines: every promise of `tune_bridge.engines.base`, as tests.

A new engine is tested by a subclass that says how to make one::

    class TestMyEngine(EngineTestCase):
        @pytest.fixture
        def make(self):
            return functools.partial(make_engine, EXPERIMENT)

``make(sweep_id=..., seed=...)`` gives fresh engines of one experiment, whose metric is ``loss``, to
be minimized, whose budget is 4 to 30 runs, and which has no target. Class attributes say how much
is tried: engines that think long want less.
"""

# ruff: noqa: D102 - a test says what it promises by its name

from __future__ import annotations

import copy
import math
import random
import sys
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tune_bridge.engines import restore_engine
from tune_bridge.engines.base import Done, Ended, Engine, Start, Told, replay
from tune_bridge.engines.configs import canonical
from tune_bridge.errors import InputError
from tune_bridge.testing.simulation import Driver, Loss, noise

__all__ = ["EngineTestCase"]

Make = Callable[..., Engine]


def _states() -> tuple[Any, ...]:
    """The global random states."""
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    kind, keys, *rest = numpy.random.get_state() if numpy is not None else (None, None)
    return (
        random.getstate(),
        kind,
        None if keys is None else keys.tobytes(),
        *rest,
        None if torch is None else torch.random.get_rng_state().numpy().tobytes(),
    )


def _shake(seed: int) -> None:
    """Sets the global random states to something else."""
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


class EngineTestCase:
    """Subclass it, give it a ``make`` fixture, and run pytest.

    Attributes:
        iterations: Reports of a program that runs to its end.
        agents: Agents at once.
        cuts: At how many places of a sweep a snapshot is tried.
        examples: Simulated sweeps with faults.
        steps: Steps of each before it is brought to its end.
        uses_all: Without faults, as many runs are started as the budget has.
    """

    iterations = 4
    agents = 4
    cuts = 6
    examples = 15
    steps = 40
    uses_all = True

    @pytest.fixture
    def make(self) -> Make:
        """Makes a fresh engine."""
        raise NotImplementedError(f"{type(self).__name__} needs a fixture 'make'")

    def driver(self, make: Make, *, seed: int = 1, loss: Loss = noise, **more: Any) -> Driver:
        """Agents for a fresh engine."""
        engine = make(sweep_id="sweep", seed=seed)
        options = {"iterations": self.iterations, "agents": self.agents, **more}
        return Driver(engine, loss=loss, **options)

    # Deterministic, restorable.

    def test_answers_follow_from_seed_and_events(self, make: Make) -> None:
        driver = self.driver(make).drain()
        _shake(99)
        again = make(sweep_id="sweep", seed=1)
        for event, answer in zip(driver.events, driver.answers, strict=True):
            assert again.handle(event) == answer

    def test_another_sweep_has_other_runs(self, make: Make) -> None:
        one = make(sweep_id="one", seed=1).ask(time=0.0)
        other = make(sweep_id="other", seed=1).ask(time=0.0)
        assert isinstance(one, Start)
        assert isinstance(other, Start)
        assert one.run != other.run
        assert canonical(one.config) == canonical(other.config)

    def test_snapshots_have_the_same_future(self, make: Make) -> None:
        driver = self.driver(make).drain()
        places = {len(driver.events) * i // self.cuts for i in range(self.cuts)}
        for place in sorted(places):
            engine = make(sweep_id="sweep", seed=1)
            replay(engine, driver.events[:place])
            snapshot = engine.snapshot()
            _shake(place)
            restored = restore_engine(snapshot)
            rest = zip(driver.events[place:], driver.answers[place:], strict=True)
            for event, answer in rest:
                assert restored.handle(event) == answer, f"restored before event {place}"

    # Polite.

    def test_global_states_and_outputs_are_left_alone(
        self, make: Make, capfd: pytest.CaptureFixture[str]
    ) -> None:
        _shake(3)
        make(sweep_id="warm", seed=1)  # what is loaded once may say what it likes
        capfd.readouterr()
        before = _states()
        driver = self.driver(make)
        assert _states() == before
        while driver.step():
            assert _states() == before
        driver.engine.snapshot()
        assert _states() == before
        assert capfd.readouterr() == ("", "")
        if "ray" in sys.modules:
            assert not sys.modules["ray"].is_initialized()

    def test_results_are_left_alone(self, make: Make) -> None:
        driver = self.driver(make)
        run = self._start(driver)
        result = {"loss": 1.0, "nested": {"a": [1, 2]}}
        kept = copy.deepcopy(result)
        driver.engine.tell(run, result, time=driver.time, checkpoint="c")
        assert result == kept

    # Honest.

    @pytest.mark.parametrize("value", [math.nan, None, "text", math.inf, -math.inf])
    def test_values_that_are_no_use(self, make: Make, value: Any) -> None:
        """Half of the runs report nothing usable; the sweep goes on to its end."""
        self._odd(make, lambda config, iteration: {"loss": value})

    def test_missing_metrics(self, make: Make) -> None:
        self._odd(make, lambda config, iteration: {"other": 1.0})

    def _odd(self, make: Make, odd: Loss) -> None:
        def loss(config: dict[str, Any], iteration: int) -> dict[str, Any]:
            good = noise(config, iteration)
            return good if int(good["loss"] * 1e6) % 2 else odd(config, iteration)

        driver = self.driver(make, loss=loss).drain()
        self._check_budget(driver, everything=False)
        self._check_budget(self.driver(make, loss=odd).drain(), everything=False)

    @pytest.mark.parametrize("retry", [False, True])
    def test_failures(self, make: Make, retry: bool) -> None:
        """Every program fails at once (and once more); the budget still is used."""
        driver = self.driver(make)
        failed: set[str] = set()
        for _ in range(10_000):
            if driver.done:
                break
            if len(driver.running) < self.agents:
                driver.ask()
            for run in list(driver.running):
                again = retry and run not in failed
                failed.add(run)
                driver.end(run, "failed" if len(failed) % 2 else "crashed", retry=again)
        assert driver.done
        self._check_budget(driver, everything=False)

    def test_silent_programs(self, make: Make) -> None:
        """Programs that end well and never report."""
        self._check_budget(self.driver(make, iterations=0).drain(), everything=False)

    def test_late_unknown_and_double_messages_change_nothing(self, make: Make) -> None:
        plain, noisy = self.driver(make), self.driver(make)
        answers = []
        more = True
        while more:
            said = len(noisy.answers)
            more = plain.step()
            assert noisy.step() == more
            answers += noisy.answers[said:]
            for run in sorted(noisy.over)[-2:]:
                noisy.say_late(Told(run, {"loss": -9.0}, noisy.time, "late"))
                noisy.say_late(Ended(run, "finished", noisy.time))
            noisy.say_late(Told("nobody", {"loss": -9.0}, noisy.time))
            noisy.say_late(Ended("nobody", "failed", noisy.time, retry=True))
        assert answers == plain.answers

    # Limits.

    def test_the_budget_is_kept(self, make: Make) -> None:
        self._check_budget(self.driver(make).drain(), everything=self.uses_all)

    def test_what_is_over_needs_no_checkpoints(self, make: Make) -> None:
        """The agents of all these tests delete what is not needed, at once."""
        driver = self.driver(make).drain()
        assert driver.engine.checkpoints() == set()

    def test_done_is_stable(self, make: Make) -> None:
        driver = self.driver(make).drain()
        for _ in range(3):
            assert isinstance(driver.ask(), Done)

    def test_a_lower_limit(self, make: Make) -> None:
        driver = self.driver(make)
        self._start(driver)
        self._start(driver)
        driver.limit(2)
        driver.drain()
        assert len(driver.configs) == 2

    def test_a_higher_limit_opens_the_sweep_again(self, make: Make) -> None:
        driver = self.driver(make)
        driver.limit(3)
        driver.drain()
        assert len(driver.configs) == 3
        driver.limit(4)
        driver.drain()
        assert len(driver.configs) == 4

    # What people want.

    def test_enqueued_points_run_once(self, make: Make) -> None:
        other = self.driver(make, seed=2)
        wanted = [other.configs[self._start(other)] for _ in range(2)]
        driver = self.driver(make)
        runs = [driver.enqueue(wanted[0])]
        for _ in range(6):
            driver.step()
        runs.append(driver.enqueue(wanted[1]))
        driver.drain()
        assert [canonical(driver.configs[run]) for run in runs] == [canonical(c) for c in wanted]
        self._check_budget(driver, everything=False)

    def test_an_enqueued_point_opens_the_sweep_again(self, make: Make) -> None:
        driver = self.driver(make).drain()
        config = next(iter(driver.configs.values()))
        run = driver.enqueue(config)
        driver.drain()
        assert run in driver.over

    def test_points_that_do_not_fit_are_refused(self, make: Make) -> None:
        driver = self.driver(make)
        with pytest.raises(InputError, match="no such parameter"):
            driver.enqueue({"no such parameter": 1})
        driver.drain()

    def test_a_person_can_try_a_failed_run_again(self, make: Make) -> None:
        driver = self.driver(make)
        run = self._start(driver)
        driver.end(run, "failed")
        driver.drain()
        driver.over.discard(run)
        driver.waiting.add(run)
        driver.end(run, "failed", retry=True)
        driver.drain()
        assert run in driver.over

    # Everything at once.

    def test_agents_that_crash_and_come_back(self, make: Make) -> None:
        suite = self

        class Machine(_Machine):
            def new(self, seed: int, agents: int) -> Driver:
                return suite.driver(make, seed=seed, agents=agents)

            def finish(self) -> None:
                suite._check_budget(self.driver, everything=False)

        health = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=self.examples,
                stateful_step_count=self.steps,
                deadline=None,
                suppress_health_check=health,
            ),
        )

    # Inside.

    @staticmethod
    def _start(driver: Driver) -> str:
        answer = driver.ask()
        assert isinstance(answer, Start), answer
        return answer.run

    @staticmethod
    def _check_budget(driver: Driver, *, everything: bool) -> None:
        """No run is lost, and no more are started than allowed."""
        experiment = driver.engine.experiment
        assert driver.over == driver.configs.keys()
        total = getattr(getattr(driver.engine, "proposer", None), "total", None)
        caps = [cap for cap in (total, experiment.run_cap) if cap is not None]
        assert not caps or len(driver.configs) <= min(caps)
        assert driver.configs
        if everything and caps:
            assert len(driver.configs) == min(caps)


class _Machine(RuleBasedStateMachine):
    """Agents and people who do what they like, in any order."""

    driver: Driver

    def new(self, seed: int, agents: int) -> Driver:
        raise NotImplementedError

    def finish(self) -> None:
        raise NotImplementedError

    @initialize(seed=st.integers(0, 3), agents=st.integers(1, 12))
    def begin(self, seed: int, agents: int) -> None:
        self.seed = seed
        self.driver = self.new(seed, agents)

    def _pick(self, runs: Iterable[str], number: int) -> str:
        names = sorted(runs)
        return names[number % len(names)]

    @rule()
    def someone_is_free(self) -> None:
        if len(self.driver.running) < self.driver.agents:
            self.driver.ask()

    @precondition(lambda self: self.driver.running)
    @rule(number=st.integers(0, 99), times=st.integers(1, 5))
    def a_program_works(self, number: int, times: int) -> None:
        run = self._pick(self.driver.running, number)
        for _ in range(times):
            if run in self.driver.running:
                self.driver.work(run)

    @precondition(lambda self: self.driver.running)
    @rule(number=st.integers(0, 99), value=st.sampled_from([math.nan, None, 1e9, 0.0]))
    def a_program_reports_oddly(self, number: int, value: float | None) -> None:
        result: dict[str, Any] = {"other": 1} if value is None else {"loss": value}
        self.driver.report(self._pick(self.driver.running, number), result)

    @precondition(lambda self: self.driver.running)
    @rule(
        number=st.integers(0, 99),
        state=st.sampled_from(["failed", "crashed", "killed", "finished"]),
        retry=st.booleans(),
    )
    def a_run_ends(self, number: int, state: Any, retry: bool) -> None:
        run = self._pick(self.driver.running, number)
        self.driver.end(run, state, retry=retry and state != "finished")

    @precondition(lambda self: self.driver.paused or self.driver.waiting)
    @rule(number=st.integers(0, 99))
    def a_person_kills_a_run_that_waits(self, number: int) -> None:
        runs = {*self.driver.paused, *self.driver.waiting}
        self.driver.end(self._pick(runs, number), "killed")

    @precondition(lambda self: self.driver.over)
    @rule(number=st.integers(0, 99))
    def a_message_is_late(self, number: int) -> None:
        run = self._pick(self.driver.over, number)
        self.driver.say_late(Told(run, {"loss": 0.5}, self.driver.time))
        self.driver.say_late(Ended(run, "finished", self.driver.time))

    @rule()
    def the_process_is_killed(self) -> None:
        self.driver.engine = restore_engine(self.driver.engine.snapshot())

    def teardown(self) -> None:
        if not hasattr(self, "driver"):
            return
        self.driver.drain()
        self.finish()
        # The log alone brings a fresh engine to the same answers.
        again = self.new(self.seed, 1).engine
        for event, answer in zip(self.driver.events, self.driver.answers, strict=True):
            assert again.handle(event) == answer
