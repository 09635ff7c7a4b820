"""What to do: no question of the declared release stays open without a word, and a command can be pasted."""

from dataclasses import replace

import pytest

from auditor.comparison.advice import advise
from auditor.defenses import DEFENSES
from auditor.findings import (
    Check,
    CheckLevel,
    DefenseCard,
    DefenseResult,
    Family,
    Fidelity,
    Metric,
    Paper,
    VerdictState,
)
from auditor.report import defended, pick, remedies, render_html, render_markdown, wording
from auditor.threat import Access
from tests.report.example import EXAMPLES, leaky, many_defenses, persons, well_behaved
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
    assert told.effect.startswith("Releasing labels only: the strongest of 10 attacks on labels (")
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


# --- inversion that leaks --------------------------------------------------------------------------------------------


def lowered(report, id_, auc=0.55, tpr=0.03, **changes):
    """The report with one defense alone, which brings membership under its limits."""
    (one,) = (defense for defense in report.defenses if defense.card.id == id_)
    strongest = tuple(
        altered(at, chosen_at=to(at.chosen_at, auc), adaptive=to(at.adaptive, auc)) for at in one.strongest
    )
    effects = tuple(
        altered(end, adaptive=to(end.adaptive, tpr)) if end.metric is Metric.TPR_AT_FPR and end.adaptive else end
        for end in one.effects
    )
    measured = (altered(one, strongest=strongest, effects=effects, **changes),)
    return altered(report, defenses=measured, advice=advise(measured))


def to(estimate, value):
    return replace(estimate, value=value, low=value - 0.01, high=value + 0.01)


def inverted(effect, by):
    """What an attack got, moved by so much, give or take a fifth."""
    return altered(effect, change=replace(effect.change, value=by, low=by - abs(by) / 5, high=by + abs(by) / 5))


def judged_so(report, family, **states):
    verdicts = tuple(
        altered(one, state=states[one.access]) if one.family is family and one.access in states else one
        for one in report.verdicts
    )
    return altered(report, verdicts=verdicts)


def test_a_defense_that_closes_membership_alone_is_no_release_where_training_data_is_rebuilt():
    first, second = remedies.actions(lowered(persons(), "mid"))
    assert first.title == (
        "Do not release the weights as they are; after retraining with MID (beta 0.003) membership lies under its "
        "limits, inversion was not shown to stop"
    )
    assert "It makes inversion harder: Inversion error of members (MSE) 0.052 (" in first.effect.replace("\u00a0", " ")
    assert second.title == "Training data can be rebuilt from what is released"
    assert second.effect.startswith("KED-MI, LOMMA")
    assert second.effect.endswith("No lesser release came out without a leak.")
    assert remedies.actions(lowered(leaky(), "mid"))[0].title.startswith("Release the file after retraining with MID")
    (bare, _) = remedies.actions(lowered(persons(), "mid", inversion=()))
    assert "Inversion was not measured against it." in bare.effect


@pytest.mark.parametrize("report", [persons(), undefended(persons()), lowered(persons(), "mid")])
def test_inversion_that_leaks_keeps_its_own_action_and_forbids_the_release(report):
    told = remedies.actions(report)
    assert told[0].title.startswith("Do not release the weights as they are")
    assert [one.title for one in told].count("Training data can be rebuilt from what is released") == 1
    assert not [one.title for one in told if one.title.startswith("Release ")]
    assert len({one.effect for one in told}) == len(told)


def test_a_lesser_release_without_a_leak_is_told_with_what_is_open_there():
    report = judged_so(persons(), Family.MEMBERSHIP, labels=VerdictState.NOTHING_FOUND)
    first, lesser, rebuilt = remedies.actions(report)
    assert first.title.startswith("Do not release")
    assert lesser.title == "Labels only instead of weights: no membership leak was found, inversion is not answered"
    assert rebuilt.title == "Training data can be rebuilt from what is released"
    assert "labels" not in rebuilt.effect.removeprefix(pick.released_inversion(report).sentence)
    alone = judged_so(report, Family.MEMBERSHIP, weights=VerdictState.NOTHING_FOUND)
    (told,) = remedies.actions(alone)
    assert told.effect.endswith("only came out without a membership leak; inversion is not answered there.")


def test_nothing_is_less_than_labels():
    report = planned(judged_so(persons(), Family.INVERSION, labels=VerdictState.LEAK_FOUND), release=Access.LABELS)
    assert "No lesser release" not in " ".join(one.effect for one in remedies.actions(report))


def test_inversion_that_leaks_alone_comes_first():
    states = dict.fromkeys(Access, VerdictState.NOTHING_FOUND)
    (told,) = remedies.actions(judged_so(persons(), Family.MEMBERSHIP, **states))
    assert told.title == "Do not release the weights as they are: training data can be rebuilt from what is released"
    unsure = judged_so(persons(), Family.MEMBERSHIP, weights=VerdictState.CANNOT_SAY)
    assert [one.title == told.title for one in remedies.actions(unsure)] == [True, False]


def test_a_defense_that_makes_inversion_easier_is_told_so():
    mid = next(one for one in leaky().defenses if one.card.id == "mid")
    network, face = mid.inversion
    easier = lowered(leaky(), "mid", inversion=(inverted(network, -0.01), inverted(face, -0.1)))
    told = remedies.actions(easier)[0].effect.replace("\u00a0", " ")
    assert "It makes inversion easier: Inversion error of members (MSE) 0.052 (" in told
    assert "instead of 0.031 (" in told
    assert "Probability" not in told
    assert "easier" not in remedies.actions(lowered(leaky(), "mid"))[0].effect
    beyond = altered(easier, plan=altered(easier.plan, release=Access.LABELS))
    assert "easier" not in " ".join(one.effect for one in remedies.actions(beyond))


def test_the_strongest_attack_that_knows_of_a_defense_stands_for_its_measure():
    calor = next(one for one in many_defenses().defenses if one.card.id == "calor")
    network, face, knowing, strongest = calor.inversion
    effects = (network, inverted(face, -0.13), inverted(knowing, 0.1), inverted(strongest, 0.05))
    told = defended.inversion_at(altered(calor, inversion=effects), Access.WEIGHTS)
    assert [(one.attack_id, one.chosen_from) for one in told] == [("inversion-network", 0), ("calor-no-tanh", 3)]
    assert [one.attack_id for one in defended.inversion_at(calor, Access.SCORES)] == ["inversion-network"]


# --- what else the first page tells ----------------------------------------------------------------------------------


def test_where_nothing_is_measured_a_lesser_release_comes_after_not_to_release():
    report = judged_so(undefended(leaky()), Family.MEMBERSHIP, labels=VerdictState.NOTHING_FOUND)
    titles = [one.title for one in remedies.actions(report)]
    assert titles[:2] == ["Do not release the weights as they are", "Release labels only instead of weights"]


def test_attacks_on_labels_that_reach_further_than_labels_only_was_told_to_are_named():
    purifier = next(one for one in leaky().defenses if one.card.id == "purifier")
    card = altered(purifier.card, id="labels-only", title="Labels only")
    report = planned(leaky(), release=Access.SCORES)
    reached = next(one for one in leaky().membership if one.card.id == "label-augment")
    low = tuple(altered(one, adaptive=to(one.adaptive, 0.51)) for one in purifier.strongest)
    fewer = altered(report, defenses=(altered(purifier, card=card, strongest=low),))
    fewer = altered(fewer, advice=advise(fewer.defenses))
    for told in (remedies.actions(fewer)[0].effect, wording.carrying_numbers(fewer)[2].beside):
        assert f"Attacks on labels in this report reach further: {reached.card.title}, AUC" in told
    assert wording.carrying_numbers(fewer)[2].title.endswith("AUC of the strongest of 10 attacks on labels")


def test_smoothing_and_what_no_paper_proposes_are_not_the_first_to_be_measured():
    paper = Paper(citation="Somebody, 2020", url="")
    first, second, third = (waiting(name, Access.WEIGHTS) for name in ("smooth", "own", "made"))
    smooth = altered(first, card=altered(first.card, paper=paper, for_comparison=True))
    made = altered(third, card=altered(third.card, paper=paper))
    assert remedies.actions(undefended(leaky(), smooth, second, made))[0].command.endswith("made,smooth,own")
    assert {row.card.id for row in DEFENSES if row.card.for_comparison} == {
        "label-smoothing",
        "negative-label-smoothing",
    }


def test_pictures_are_offered_where_an_attack_ran_that_makes_some():
    told = remedies.actions(well_behaved())[-1].effect
    assert "scan again with --show-records: the next report then holds pictures of training records" in told
    bare = altered(well_behaved(), inversion=())
    assert "--show-records" not in remedies.actions(bare)[-1].effect
    assert "20 are needed." in remedies.actions(bare)[-1].effect


def test_a_command_names_the_network_where_nothing_else_does():
    told = "named by --arch net.py:faces; all 18 tensors of the file fit"
    own = altered(leaky().model, architecture="net.py:faces", architecture_evidence=told)  # its folder is not told
    report = undefended(leaky(), waiting("soon", Access.WEIGHTS), model=own)
    assert "--run-dir NEW --arch FILE.py:FACTORY --defenses soon" in remedies.actions(report)[0].command
