import pytest

from auditor.comparison.advice import advise
from auditor.findings import Family, Metric, Verdict, VerdictState
from auditor.report import defended, pick, remedies, wording
from auditor.threat import Access
from tests.report.example import EXAMPLES, confounded, leaky, well_behaved


def _plan(report, **changes):
    return report.model_copy(update={"plan": report.plan.model_copy(update=changes)})


def test_the_headline_is_the_best_primary_attack_that_the_release_allows():
    chosen = {}
    for release in Access:
        shown = pick.headline(_plan(leaky(), release=release))
        chosen[release] = (shown.attack.card.id, shown.endpoint.metric)
    assert chosen == {
        Access.WEIGHTS: ("lira-weights", Metric.TPR_AT_FPR),
        Access.SCORES: ("lira-scores", Metric.TPR_AT_FPR),
        Access.LABELS: ("label-augment", Metric.TPR_AT_FPR),
    }


def test_a_number_that_n_is_too_small_for_is_no_headline():
    report = leaky()
    results = tuple(
        result.model_copy(
            update={
                "outcome": result.outcome.model_copy(
                    update={
                        "endpoints": tuple(
                            end.model_copy(update={"appendix": end.metric is Metric.TPR_AT_FPR})
                            for end in result.outcome.endpoints
                        )
                    }
                )
            }
        )
        if result.outcome.status == "completed"
        else result
        for result in report.membership
    )
    shown = pick.headline(report.model_copy(update={"membership": results}))
    assert shown.endpoint.metric is Metric.AUC


def test_a_tile_is_a_leak_if_either_family_is():
    report = well_behaved()
    leak = Verdict(
        access=Access.WEIGHTS,
        family=Family.INVERSION,
        state=VerdictState.LEAK_FOUND,
        sentence="Records were rebuilt.",
        reasons=("x",),
    )
    verdicts = tuple(v for v in report.verdicts if (v.access, v.family) != (leak.access, leak.family))
    changed = report.model_copy(update={"verdicts": (*verdicts, leak)})
    assert pick.state_at(report, Access.WEIGHTS) is VerdictState.NOTHING_FOUND
    assert pick.state_at(changed, Access.WEIGHTS) is VerdictState.LEAK_FOUND
    assert not any("MID" in action.title for action in remedies.actions(changed))


def test_an_output_defense_is_no_remedy_for_released_weights():
    outputs_only = with_defenses(leaky(), lambda defense: defense.card.acts_on == "output")
    assert defended.advised(leaky(), Access.WEIGHTS).defense.card.id == "mid"
    assert defended.advised(outputs_only, Access.WEIGHTS) is None
    assert defended.advised(outputs_only, Access.SCORES).defense.card.id == "purifier"


def with_defenses(report, kept):
    """The report with these defenses alone, and the advice that belongs to them."""
    measured = tuple(filter(kept, report.defenses))
    return report.model_copy(update={"defenses": measured, "advice": advise(measured)})


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_action_has_an_effect_and_there_are_at_most_three(name):
    actions = remedies.actions(EXAMPLES[name]())
    assert 1 <= len(actions) <= 3
    assert all(action.title and action.effect for action in actions)


def test_the_action_follows_the_verdict():
    assert remedies.actions(leaky())[0].title == (
        "Do not release the weights as they are; after retraining with MID (beta 0.003) they leak less, but still leak"
    )
    assert "retrained once with MID" in remedies.actions(leaky())[0].effect
    assert remedies.actions(well_behaved())[0].title.startswith("Membership calls for no change")
    assert [action.title for action in remedies.actions(confounded())] == [
        "Settle first: Blind classifier",
        "Settle first: Random split",
        "Inversion is not answered, which is not the same as nothing found",
    ]


def test_a_lesser_release_is_offered_where_nothing_was_found():
    report = leaky()
    labels = report.verdict(Access.LABELS, Family.MEMBERSHIP)
    changed = tuple(
        v.model_copy(update={"state": VerdictState.NOTHING_FOUND}) if v is labels else v for v in report.verdicts
    )
    titles = [action.title for action in remedies.actions(report.model_copy(update={"verdicts": changed}))]
    assert "Release labels only instead of weights" in titles


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_three_numbers_have_interval_and_n_and_something_beside_them(name):
    for number in wording.carrying_numbers(EXAMPLES[name]()):
        assert number.beside
        assert number.value in ("none", "none measured", "not measured", "Cannot say") or (number.interval and number.n)


def test_a_failed_control_stands_beside_the_number_that_it_puts_in_doubt():
    assert "Blind classifier (fail): AUC 0.83" in wording.carrying_numbers(confounded())[0].beside


def test_attacks_that_did_not_run_are_told():
    not_run = {card.id: reason for card, reason in pick.not_run(leaky())}
    assert set(not_run) == {"quantile", "boundary", "boundary-repulsion"}
    assert "did not converge" in not_run["quantile"]
    assert "9 attacks" in wording.scope(leaky())
    assert wording.best_of_all(leaky()).endswith("Attacks not run may do better.")


def test_a_secondary_attack_does_not_contradict_the_primary_ones():
    told = wording.best_of_all(leaky())
    assert told.startswith("Under release of weights the best of 3 primary membership attacks, LiRA on logits")
    assert "on the half it was not chosen on" in told


def test_after_a_leak_the_best_primary_attack_is_one_that_found_it():
    """A TPR that reads like guessing is not told where the test of the AUC found the leak."""
    report = leaky()
    results = tuple(
        result.model_copy(update={"outcome": result.outcome.model_copy(update={"endpoints": tuple(
            end.model_copy(update={"rejected": end.metric is Metric.AUC}) for end in result.outcome.endpoints
        )})}) if result.outcome.status == "completed" else result
        for result in report.membership
    )  # fmt: skip
    assert "reached AUC" in wording.best_of_all(report.model_copy(update={"membership": results}))


def test_a_report_without_results_still_has_words():
    empty = leaky().model_copy(
        update={"membership": (), "inversion": (), "defenses": (), "controls": (), "verdicts": (), "checks": ()}
    )
    values = [number.value for number in wording.carrying_numbers(empty)]
    assert values == ["not measured", "not measured", "none"]
    assert remedies.actions(empty)[0].title == "Audit again"


def test_where_nothing_helps_the_weights_a_defended_lesser_release_is_offered():
    actions = remedies.actions(with_defenses(leaky(), lambda defense: defense.card.acts_on == "output"))
    first, second, third = (action.title for action in actions)
    assert first == "Do not release the weights as they are"
    assert second == ("Releasing scores only, behind the defense Purifier (2020, basic), leaks less, but still leaks")
    assert third.startswith("Inversion is not answered")
    assert actions[0].effect == "No defense that counts under release of weights was measured."
    assert actions[1].effect.startswith("This file with Purifier (2020, basic): the strongest of 10 attacks refitted")
    assert "AUC lies above its limit of 0.60 and TPR at 1\u00a0% FPR lies above its limit of" in actions[1].effect
