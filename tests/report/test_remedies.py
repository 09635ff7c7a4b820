"""What to do: no question of the declared release stays open without a word, and a command can be pasted."""

import pytest

from auditor.comparison.advice import advise
from auditor.findings import Check, CheckLevel, DefenseCard, DefenseResult, Family, Fidelity, VerdictState
from auditor.report import remedies, render_html, render_markdown, wording
from auditor.threat import Access
from tests.report.example import EXAMPLES, leaky, well_behaved
from tests.report.test_html import text_of

COMMAND = "privaudit scan CHECKPOINT --data DIR --run-dir NEW"


def altered(report, **changes):
    return report.model_copy(update=changes)


def planned(report, **changes):
    return altered(report, plan=altered(report.plan, **changes))


def waiting(id_, *counts_for, budget="thorough", acts_on="training", part_of=""):
    card = DefenseCard(
        id=id_,
        title=id_.upper(),
        paper=None,
        fidelity=Fidelity.OWN,
        acts_on=acts_on,
        counts_for=counts_for,
        part_of=part_of,
    )
    return DefenseResult(card=card, status="skipped", reason=f"runs from --budget {budget}")


def undefended(report, *not_planned, **changes):
    waits = {one.card.id: one.reason.rpartition(" ")[2] for one in not_planned}
    report = planned(report, waits_for=waits)
    return altered(report, defenses=(), advice=(), defenses_not_planned=not_planned, **changes)


def opened(report, family, *reasons, release=Access.WEIGHTS, **changes):
    """The report with one verdict that cannot say."""
    verdicts = tuple(
        altered(one, state=VerdictState.CANNOT_SAY, sentence=reasons[0], reasons=reasons, **changes)
        if (one.family, one.access) == (family, release)
        else one
        for one in report.verdicts
    )
    return planned(altered(report, verdicts=verdicts), release=release)


@pytest.mark.parametrize("name", EXAMPLES)
def test_whatever_cannot_be_said_of_inversion_has_an_action(name):
    report = EXAMPLES[name]()
    found = [one for one in report.verdicts if (one.access, one.family) == (report.plan.release, Family.INVERSION)]
    told = [one.title for one in remedies.actions(report) if "Inversion is not answered" in one.title]
    assert len(told) == sum(one.state is VerdictState.CANNOT_SAY for one in found)


@pytest.mark.parametrize("render", [render_html, render_markdown])
def test_no_word_of_a_tile_covers_an_open_question(render):
    first = text_of(render(well_behaved())).partition("Contents")[0]
    assert "not the same as nothing found" in first


def test_the_cheapest_defenses_that_count_are_one_command_away():
    report = undefended(
        leaky(),
        waiting("late", Access.WEIGHTS),
        waiting("soon", *Access, budget="standard"),
        waiting("part", Access.WEIGHTS, budget="standard", part_of="soon"),
        waiting("scores-only", Access.SCORES, budget="standard", acts_on="output"),
    )
    assert remedies.actions(report)[0].command == f"{COMMAND} --defenses soon"
    quick = remedies.actions(planned(report, release=Access.SCORES, budget="quick"))[0]
    assert quick.command == f"{COMMAND} --release scores --budget quick --defenses soon,scores-only"


def test_shadows_of_the_owner_rule_out_defenses_that_train():
    report = undefended(leaky(), waiting("soon", Access.WEIGHTS))
    assert not remedies.actions(planned(report, shadow_source="given"))[0].command


def test_a_defended_checkpoint_is_told_so_instead_of_to_defend_it():
    carried = altered(leaky().model, wrapper="purifier")
    report = undefended(leaky(), waiting("soon", Access.WEIGHTS), waiting("purifier", Access.SCORES), model=carried)
    first = remedies.actions(report)[0]
    assert "carries PURIFIER already: audit the undefended model" in first.effect
    assert first.command == COMMAND.replace("CHECKPOINT", "UNDEFENDED")
    assert wording.carrying_numbers(report)[2].value == "none measured"


def test_a_command_is_code_and_cannot_end_it():
    report = undefended(leaky(), waiting("a`;rm -rf ~`", Access.WEIGHTS))
    assert remedies.actions(report)[0].command.endswith("--defenses 'a`;rm -rf ~`'")
    assert f"`{COMMAND} --defenses 'a;rm -rf ~'`" in render_markdown(report)


def test_labels_behind_labels_only_are_the_labels_release():
    purifier = next(one for one in leaky().defenses if one.card.id == "purifier")
    labels = altered(purifier, card=altered(purifier.card, id="labels-only", title="Labels only"))
    report = altered(leaky(), defenses=(labels,), advice=advise((labels,)))
    told = remedies.actions(report)[1]
    assert told.title == "Releasing labels only leaks less, but still leaks"
    assert told.effect.startswith("Releasing labels only: the strongest attack that knows of it")
    assert "For scores: Labels only" in wording.carrying_numbers(report)[2].beside
    unsure = opened(report, Family.MEMBERSHIP, "No.", release=Access.LABELS)
    assert "whether it leaks is not answered" in remedies.actions(planned(unsure, release=Access.WEIGHTS))[1].title


def test_a_model_that_did_not_learn_its_members_is_checked_first():
    warned = Check(id="members-learned", title="x", level=CheckLevel.WARN, sentence="It is no better on members.")
    report = altered(well_behaved(), checks=(*well_behaved().checks, warned))
    assert remedies.actions(report)[1].title.startswith("Make sure that train/ holds")
    assert "It is no better on members." in text_of(render_html(report)).partition("Contents")[0]
    assert len(remedies.actions(report)) == 3


def test_an_open_membership_question_has_its_reason_and_its_remedy():
    wide = opened(well_behaved(), Family.MEMBERSHIP, "AUC could be as high as 0.64.", too_wide=True)
    power = tuple(altered(one, decided=False, needed=7000) for one in wide.plan.power)
    told = remedies.actions(planned(wide, power=power))[0]
    assert told.title == "Membership is not answered for release of weights"
    assert told.effect == "AUC could be as high as 0.64. Evaluate at least 7,000 records a side."


def test_inversion_that_a_larger_budget_asks_more_of_names_it():
    report = opened(leaky(), Family.INVERSION, "No inversion attack ran for weights.")
    ran, *others = report.inversion
    many = tuple(str(label) for label in range(20))
    idle = altered(ran, status="skipped", reason="runs from --budget standard", record_excess=(), class_excess=())
    report = planned(report, budget="quick", waits_for={ran.card.id: "standard"})
    asked = altered(report, inversion=(idle,), data=altered(report.data, classes=many))
    told = remedies.actions(asked)[-1]
    assert told.effect == "No inversion attack ran for weights. Attacks that wait for a larger budget: 1."
    assert told.command == COMMAND
    done = altered(asked, inversion=())
    assert "No budget of this version asks more" in remedies.actions(done)[-1].effect
    assert others
