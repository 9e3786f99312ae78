"""The guard tells a regression from noise, and is itself seen to notice one (`nox -s guard`)."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import _guard
import pytest
from _compare import NotMeasured
from _guard import Baseline, Judgement, is_well, judge, noticed, read, written
from _guarded import GUARDED, Pair
from _planted import PLANTS, Plant

BASELINE = Baseline(ratio=2.0, tolerance=1.25)


def measuring(*ratios: float) -> Callable[[], float]:
    return iter(ratios).__next__


def absent() -> float:
    raise NotMeasured("no rival here")


def judged(name: str, *attempts: float) -> Judgement:
    return Judgement(name=name, baseline=BASELINE, attempts=attempts)


def test_the_limit_itself_holds_at_once() -> None:
    judgement = judge("tick", measuring(2.5, 0.0), BASELINE)
    assert judgement.attempts == (2.5,)
    assert judgement.outcome == "holds"


def test_noise_passes() -> None:
    judgement = judge("tick", measuring(3.0, 2.6, 2.4), BASELINE)
    assert judgement.attempts == (3.0, 2.6, 2.4)
    assert judgement.outcome == "holds"


def test_a_regression_fails_every_attempt() -> None:
    judgement = judge("tick", measuring(3.0, 2.6, 2.51, 2.0), BASELINE)
    assert judgement.attempts == (3.0, 2.6, 2.51)
    assert judgement.outcome == "TOO HIGH"
    assert not is_well([judged("other", 1.0), judgement], all_measured=False)


def test_a_missing_rival_counts_where_all_are_to_be_measured() -> None:
    judgement = judge("tick", absent, BASELINE)
    assert judgement.outcome == "not measured"
    assert "no rival here" in str(judgement)
    assert is_well([judgement], all_measured=False)
    assert not is_well([judgement], all_measured=True)


def test_a_failing_program_is_not_a_missing_rival() -> None:
    def broken() -> float:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        judge("tick", broken, BASELINE)


def test_only_the_ratio_that_shows_a_slowdown_notices_it() -> None:
    bad, good = judged("tick", 3.0, 3.0, 3.0), judged("message", 2.0)
    assert noticed([bad, good], "tick")
    assert not noticed([bad, good], "message")
    assert not noticed([good], "tick")
    assert not noticed([bad, judged("message", 9.0)], "tick")


def test_a_baseline_that_is_far_too_high_is_said() -> None:
    assert not judged("tick", 1.6).is_stale
    assert judged("tick", 1.59).is_stale
    assert "record it" in str(judged("tick", 1.59))


def test_baselines_come_back_from_their_file() -> None:
    baselines = {"tick / bare": Baseline(ratio=1.234), 'a "quoted" one': BASELINE}
    assert read(written(baselines)) == baselines


def test_every_ratio_has_a_baseline() -> None:
    baselines = read(_guard.BASELINES.read_text("utf-8"))
    assert baselines.keys() == GUARDED.keys()
    assert all(one.tolerance < 1.5 for name, one in baselines.items() if name in shown())


def shown() -> set[str]:
    return {plant.shows for plant in PLANTS}


def test_every_plant_is_shown_by_a_ratio() -> None:
    assert shown() <= GUARDED.keys()
    for plant in PLANTS:
        assert callable(getattr(plant.owner, plant.method)), plant


def test_a_ratio_is_taken_turn_by_turn() -> None:
    pair = Pair(ours=measuring(1, 6, 9), base=measuring(1, 2, 3), repetitions=3)
    assert pair.ratio() == 3.0


class Victim:
    """Works 20 µs at a time, on a clock of its own, on which a loop takes 10 ns."""

    spent: ClassVar[float] = 0.0

    def work(self, number: int) -> int:
        Victim.spent += 20.0
        return number + 1


def cost_of_victim() -> float:
    """Time in µs of a call."""
    before = Victim.spent
    for number in range(20):
        assert Victim().work(number) == number + 1
    return (Victim.spent - before) / 20


def burn(loops: int) -> None:
    Victim.spent += loops * 0.01


@pytest.fixture
def _victim(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(ours=cost_of_victim, base=cost_of_victim)
    monkeypatch.setattr("_planted.GUARDED", {"victim": pair})
    monkeypatch.setattr("_planted._burn", burn)
    monkeypatch.setattr("_planted._seconds_of_a_loop", lambda: 1e-8)


@pytest.mark.usefixtures("_victim")
def test_a_plant_slows_by_half_and_is_gone_afterwards() -> None:
    plant = Plant(shows="victim", owner=Victim, method="work")
    slow, plain = plant.slowed(), Victim.work
    with slow:
        slowed = cost_of_victim()
    assert slowed == pytest.approx(1.5 * cost_of_victim())
    assert Victim.work is plain


@pytest.mark.usefixtures("_victim")
def test_a_plant_is_calibrated_where_a_loop_takes_longer_than_was_thought(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("_planted._seconds_of_a_loop", lambda: 4e-9)
    with Plant(shows="victim", owner=Victim, method="work").slowed():
        slowed = cost_of_victim()
    assert slowed == pytest.approx(1.5 * cost_of_victim(), rel=1e-3)


@pytest.mark.usefixtures("_victim")
def test_a_plant_beside_the_path_is_said() -> None:
    plant = Plant(shows="victim", owner=Baseline, method="__eq__")
    with pytest.raises(RuntimeError, match=r"Baseline\.__eq__ costs more"):
        plant.slowed()


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Costs of a made-up engine, which the guard measures; plants are slowdowns of it."""
    costs = {"tick": 2.0, "message": 3.0}
    pairs = {
        name: Pair(ours=functools.partial(costs.__getitem__, name), base=lambda: 1.0)
        for name in costs
    }
    plants = tuple(Plant(shows=name, owner=Plant, method=name) for name in costs)

    @contextlib.contextmanager
    def slowed(plant: Plant) -> Iterator[None]:
        costs[plant.shows] *= 1.5
        yield
        costs[plant.shows] /= 1.5

    monkeypatch.setattr(_guard, "GUARDED", pairs)
    monkeypatch.setattr(_guard, "PLANTS", plants)
    monkeypatch.setattr(Plant, "slowed", slowed)
    return costs


def test_planted_slowdowns_are_noticed(
    engine: dict[str, float], capsys: pytest.CaptureFixture[str]
) -> None:
    well = _guard.guard({"tick": Baseline(ratio=2.4), "message": Baseline(ratio=3.0)}, engine)
    assert [judgement.outcome for judgement in well] == ["holds", "holds"]
    assert _guard.plant(well) == 0
    assert capsys.readouterr().out.count("TOO HIGH") == 2


def test_slowdowns_that_are_none_are_not_noticed(
    engine: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Plant, "slowed", lambda plant: contextlib.nullcontext())
    well = _guard.guard({"tick": Baseline(ratio=2.0), "message": Baseline(ratio=3.0)}, engine)
    assert _guard.plant(well) == 2


@pytest.mark.parametrize("ci", ["", "true"])
def test_the_program_records_and_then_guards(
    engine: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ci: str
) -> None:
    file = tmp_path / "baselines.toml"
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(_guard, "BASELINES", file)
    assert _guard.main(["--record"]) == 0
    assert read(file.read_text("utf-8"))["tick"] == Baseline(ratio=2.0)
    assert _guard.main(["--planted"]) == 0
    engine["message"] *= 1.5
    assert _guard.main([]) == 1
    engine["message"] /= 1.5
    monkeypatch.setattr(_guard, "GUARDED", {"tick": Pair(ours=absent, base=absent)})
    assert _guard.main([]) == (1 if ci else 0)
    assert _guard.main(["--record"]) == 0
    assert read(file.read_text("utf-8"))["tick"] == Baseline(ratio=2.0)
