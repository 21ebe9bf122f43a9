from __future__ import annotations

from styleflow.evaluation.bootstrap import Measured
from styleflow.evaluation.calibration import CalibrationError
from styleflow.evaluation.calibration_tables import (
    calibrated_probabilities,
    calibration_table,
    operating_table,
    points_table,
)
from styleflow.evaluation.discrimination_tables import (
    Contender,
    dataset_table,
    generator_table,
    left_out_table,
    novelty_table,
    overall_table,
)
from styleflow.evaluation.metrics import DISCRIMINATION
from styleflow.evaluation.operating_points import Rates, choose_points
from styleflow.evaluation.predictions import Prediction, video_scores
from styleflow.evaluation.tables import Cell, Sampler, Table, coverage_table
from styleflow.packs import Calibration
from styleflow.report import Thresholds
from tests.evaluation.made_predictions import predictions, scored, subject

SAMPLER = Sampler(seed=0, resamples=60)
LINES = predictions(people=20)
SUBJECTS = [line.subject for line in LINES]
MODEL = Contender.of("model@1", LINES)
CHANCE = Contender(name="trivial statistics", values={line.subject.path: 0.0 for line in LINES})
CALIBRATION = Calibration(
    method="platt",
    slope=1.0,
    intercept=-1.0,
    thresholds=Thresholds(policy="test", weak=0.3, suspicious=0.6, strong=1.0),
    measured_on="drawn",
)


def cell(table: Table, row: object, column: str) -> Cell:
    return next(line for line in table.rows if line[0] == row)[table.columns.index(column)]


def measured(table: Table, row: object, column: str) -> Measured:
    found = cell(table, row, column)
    assert isinstance(found, Measured)
    return found


def test_the_trivial_statistics_stand_beside_the_model_with_the_lead_over_them() -> None:
    table = overall_table(SUBJECTS, [MODEL], CHANCE, LINES, SAMPLER)
    lead = measured(table, "model@1", "AUC lead")

    assert [row[0] for row in table.rows] == ["model@1", "trivial statistics", "model@1, frames"]
    assert measured(table, "trivial statistics", "auc").value == 0.5
    assert lead.value == (measured(table, "model@1", "auc").value or 0) - 0.5
    assert lead.low is not None
    assert lead.low > 0


def test_every_number_has_an_interval_around_it_or_a_reason() -> None:
    table = overall_table(SUBJECTS, [MODEL], CHANCE, LINES, SAMPLER)
    cells = [found for row in table.rows for found in row if isinstance(found, Measured)]

    assert len(cells) > 15
    for found in cells:
        if found.low is None:
            assert found.why
        else:
            assert found.value is not None
            assert found.high is not None
            assert found.low <= found.high


def test_pairs_are_counted_for_videos_and_not_for_frames() -> None:
    table = overall_table(SUBJECTS, [MODEL], None, LINES, SAMPLER)

    assert measured(table, "model@1", "paired").value is not None
    assert measured(table, "model@1, frames", "paired").value is None
    assert measured(table, "model@1", "AUC lead").why == "no trivial baseline"


def test_a_generator_is_held_against_all_reals_of_the_set() -> None:
    table = generator_table(SUBJECTS, MODEL, CHANCE, SAMPLER)

    assert [row[0] for row in table.rows] == ["swap", "talk"]
    assert (cell(table, "swap", "real"), cell(table, "swap", "fake")) == (20, 10)
    assert measured(table, "swap", "trivial AUC").value == 0.5


def test_generators_of_the_training_split_and_others_are_measured_apart_for_every_detector() -> None:
    table = novelty_table(SUBJECTS, [MODEL, CHANCE], {"swap", "never used here"}, SAMPLER)

    assert [row[:2] for row in table.rows] == [
        ("learnt from", "model@1"),
        ("learnt from", "trivial statistics"),
        ("new", "model@1"),
        ("new", "trivial statistics"),
    ]
    column = table.columns.index("auc")
    alone = generator_table(SUBJECTS, MODEL, CHANCE, SAMPLER)
    assert [row[column] for row in table.rows[::2]] == [measured(alone, name, "auc") for name in ("swap", "talk")]
    assert "(learnt from: swap; new: talk)" in table.note
    unknown = [*SUBJECTS, subject(900, "fake", generator="unknown")]
    assert "(learnt from: swap; new: talk)" in novelty_table(unknown, [MODEL], {"swap", "unknown"}, SAMPLER).note
    assert [row[0] for row in novelty_table(SUBJECTS, [MODEL], set(), SAMPLER).rows] == ["new"]


def test_fakes_of_one_person_give_a_number_without_an_interval() -> None:
    reals = [line for line in LINES if line.subject.label == "real"]
    fakes = [scored(subject(n, "fake", generator="scene", identity="person-1"), 1.0) for n in range(3)]
    lines = [*reals, *fakes]
    table = generator_table([line.subject for line in lines], Contender.of("m", lines), None, SAMPLER)
    found = measured(table, "scene", "auc")

    assert found.value is not None
    assert (found.low, found.high, found.why) == (None, None, "one identity gives no interval")


def test_a_data_set_with_one_class_says_so_and_gives_no_number() -> None:
    lonely = [scored(subject(n, "real", dataset="street"), 0.1 * n) for n in range(4)]
    lines = [*LINES, *lonely]
    table = dataset_table([line.subject for line in lines], Contender.of("m", lines), None, SAMPLER)

    assert measured(table, "drawn", "auc").value is not None
    for name in DISCRIMINATION:
        assert measured(table, "street", name).value is None
    assert measured(table, "street", "auc").why == "no fake video"


def test_a_group_of_which_nothing_was_scored_says_so() -> None:
    table = generator_table(SUBJECTS, Contender(name="m", values={}), None, SAMPLER)

    assert measured(table, "swap", "auc").why == "no video was scored"


def test_each_generator_left_out_has_its_own_networks_row() -> None:
    table = left_out_table({"swap": LINES, "talk": predictions(gap=0.0, seed=3)}, SAMPLER)

    assert cell(table, "swap", "fake") == 10
    assert (measured(table, "swap", "auc").value or 0) > (measured(table, "talk", "auc").value or 1)


def test_calibration_is_told_before_and_after() -> None:
    scores = video_scores(LINES)
    probabilities = calibrated_probabilities(scores, CALIBRATION, seed=0)
    table = calibration_table(scores, probabilities, SAMPLER)
    names = [row[0] for row in table.rows]

    assert names[:2] == ["logit as it is", "the pack's calibration"]
    assert "platt + SCTL, cross-fitted" in names
    before, after = (measured(table, name, "brier").value for name in (names[0], "platt, cross-fitted"))
    assert before is not None
    assert after is not None
    assert after < before


def test_a_fit_that_is_impossible_stands_there_with_its_reason() -> None:
    scores = video_scores(predictions(gap=-4.0))
    probabilities = calibrated_probabilities(scores, None, seed=0)
    table = calibration_table(scores, probabilities, SAMPLER)

    assert isinstance(probabilities["platt, cross-fitted"], CalibrationError)
    found = measured(table, "platt, cross-fitted", "ece")
    assert found.value is None
    assert "says nothing" in (found.why or "")


def test_the_packs_thresholds_are_held_against_the_videos() -> None:
    table = operating_table(video_scores(LINES), CALIBRATION, SAMPLER)

    assert [row[0] for row in table.rows] == ["weak", "suspicious", "strong"]
    assert measured(table, "strong", "of fakes").value == 0
    assert (measured(table, "weak", "of fakes").value or 0) > (measured(table, "weak", "of reals").value or 1)


def test_a_pack_that_abstains_says_over_how_many_videos() -> None:
    wide = CALIBRATION.model_copy(update={"abstain": (0.0, 0.3)})
    table = operating_table(video_scores(LINES), wide, SAMPLER)
    abstains, weak = (measured(table, word, "of reals").value or 0 for word in ("abstains", "weak"))

    assert [row[0] for row in table.rows] == ["abstains", "weak", "suspicious", "strong"]
    assert abstains + weak == 1
    assert cell(table, "abstains", "accuracy") == "-"


def test_a_rate_without_support_is_marked() -> None:
    scores = video_scores(LINES)
    rates = Rates(weak=0.2, suspicious=0.1, strong=0.01, cleared_fakes=0.2)
    table = points_table(choose_points(scores, CALIBRATION.slope / (1 + abs(scores.values)), rates))

    assert str(cell(table, "strong", "supported")).startswith("no")
    assert cell(table, "weak", "supported") == "yes"


def test_every_video_of_the_manifest_is_counted_once() -> None:
    lost = [
        Prediction(subject=subject(50, "real"), outcome="failed", reason="corrupt_media: broken at 3"),
        Prediction(subject=subject(51, "fake"), outcome="not_applicable", reason="no_face"),
    ]
    table = coverage_table([*LINES, *lost])

    assert table.rows == (
        ("failed", "corrupt_media", 1, 0),
        ("not_applicable", "no_face", 0, 1),
        ("scored", "-", 20, 20),
    )
