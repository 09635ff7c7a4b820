"""The section on defenses: three columns, the plane, the blocks, the advice, and what was not measured."""

import base64
import io
import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pypdf
import pytest

from auditor.comparison.advice import advise
from auditor.comparison.costs import Behaviour, costs_of
from auditor.defenses import DEFENSES
from auditor.findings import AuditReport, Timing
from auditor.report import (
    defended,
    defense_blocks,
    defenses,
    pdf_problem,
    remedies,
    render_html,
    render_json,
    render_markdown,
    render_pdf,
    wording,
)
from auditor.threat import Access
from tests.report.defended import FAILED, MEASURED, SKIPPED, held_out
from tests.report.example import leaky, many_defenses
from tests.report.hostile import hostile
from tests.report.test_html import Outline, text_of

SVG = "{http://www.w3.org/2000/svg}"
MASKED = "Score-only defenses that keep labels do not stop label-only attacks (Choquette-Choo et al. 2021)."


def plain(text):
    return text.replace("\u00a0", " ")


def told(cell):
    return plain(cell if isinstance(cell, str) else " / ".join(cell))


def rows_of(table):
    """Rows by title, without the number of the point."""
    return {re.sub(r"^\d+ ", "", told(row.cells[0])): row for row in table.rows}


def only(report, *names, **changes):
    """The report with these defenses alone, changed, and the advice that belongs to them."""
    kept = tuple(one.model_copy(update=changes) for one in report.defenses if one.card.id in names)
    return report.model_copy(update={"defenses": kept, "advice": advise(kept)})


def result(report, name):
    return next(one for one in report.defenses if one.card.id == name)


def facts(section, name):
    block = next(one for one in section.blocks if one.method.id == name)
    return {key: told(value) for key, value in block.method.facts}


@pytest.fixture(scope="module")
def many():
    return many_defenses()


@pytest.fixture(scope="module")
def section(many):
    return defenses.section(many)


@pytest.fixture(scope="module")
def page(many):
    return render_html(many)


# --- the table -------------------------------------------------------------------------------------------------------


def test_three_columns_and_the_cost_each_with_an_interval(section):
    rows = rows_of(section.table)
    assert [told(cell) for cell in rows["MID (beta 0.003)"].cells[1:]] == [
        "0.55 (0.54–0.56)",
        "0.57 (0.55–0.59) / by RMIA",
        "0.57 (0.55–0.59)",
        "89 % (89–90 %) / −1.4 (−1.8 to −1.0)",
    ]
    assert "accuracy on 5,000 non-members, its change on 2,500 non-members" in plain(section.table.caption)
    assert told(rows["Purifier (AAAI 2023)"].cells[2]).endswith("a probe: 0.66 (0.65–0.67)")


def test_an_output_time_defense_is_void_where_weights_are_released_and_a_retrained_one_measured(section):
    rows = rows_of(section.table)
    for one in MEASURED:
        assert (told(rows[one.title].cells[3]) == "void") == (one.acts_on == "output")
    assert any(remark.startswith("Void: whoever holds the file") for remark in section.remarks)
    assert (
        "with released weights Temperature 4 buys nothing" in facts(section, "temperature")["If weights are released"]
    )


def test_both_undefended_models_stand_above_what_is_held_against_them(section):
    titles = [told(row.cells[0]) for row in section.table.rows]
    twin = titles.index("Undefended: its retrained twin / where weights are released")
    target = titles.index("Undefended: the audited model / where scores are released")
    assert twin == 0
    assert [one.acts_on for one in MEASURED if f"{twin + 1} {one.title}" == titles[twin + 1]] == ["training"]
    assert titles[target + 1] == "11 Purifier (2020, basic)"


def test_parts_stand_behind_their_whole(section):
    rows = [(told(row.cells[0]).partition(" ")[2], row.mark) for row in section.table.rows]
    at = rows.index(("CALoR", ""))
    assert rows[at + 1 : at + 3] == [
        ("Low-rank header alone (CALoR)", "part"),
        ("Confidence adaptation alone (CALoR)", "part"),
    ]
    assert facts(section, "low-rank")["Part of"] == "CALoR"


@pytest.mark.parametrize("wholes", [("mmd", "mmd-mixup", ""), ("mmd", "mmd", ""), ("", "mixup", "mmd")])
def test_whatever_is_part_of_what_none_is_lost(wholes, many):
    names = ("mmd-mixup", "mmd", "mixup")
    kept = tuple(
        one.model_copy(update={"card": one.card.model_copy(update={"part_of": whole})})
        for name, whole in zip(names, wholes, strict=True)
        for one in [result(many, name)]
    )
    placed = defended.by_whole(many.model_copy(update={"defenses": kept}))
    assert sorted(one.defense.card.id for one in placed) == sorted(names)


def test_costs_are_found_by_the_names_that_the_comparison_gives(many):
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 4
    vectors = rng.dirichlet(np.ones(4), 40).astype(np.float32)
    right, asking = vectors.argmax(1) == labels, Timing(phase="ask", wall_seconds=0.0, cpu_seconds=0.0)
    before = Behaviour(vectors, right, labels, rng.random(40) < 0.5, asking)
    after = Behaviour(vectors, ~right, labels, before.choosing, asking)
    one = result(many, "mid").model_copy(update={"costs": costs_of(before, after, same_weights=True)})
    assert defended.accuracy(one, "undefended").value == pytest.approx(right.mean())
    assert defended.accuracy(one, "defended").value == pytest.approx(1 - right.mean())


# --- remarks ---------------------------------------------------------------------------------------------------------


def test_what_keeps_labels_is_said_not_to_stop_label_only_attacks(many, section):
    everywhere = [*section.remarks, *section.advised.told, *(one for other in section.others for one in other.told)]
    (remark,) = [one for one in everywhere if MASKED in one]
    assert "Labels only" not in remark
    assert "Temperature 4" in remark
    assert "Purifier (AAAI 2023)," not in remark
    assert not any(MASKED in one for one in defenses.section(only(many, "purifier-2023", "mid")).remarks)


def test_the_tension_with_label_smoothing_stands_beside_confidence_adaptation(many, section):
    assert any("positive label smoothing makes model inversion easier" in one for one in section.remarks)
    assert not any("smoothing" in one for one in defenses.section(only(many, "mid", "low-rank")).remarks)


@pytest.mark.parametrize(
    ("seeds", "who"), [(1, "This defended file leaks"), (3, "Over 3 seeds the defended model leaks")]
)
def test_one_seed_speaks_of_the_file(seeds, who, many):
    section = defenses.section(only(many, "mid", seeds=seeds))
    assert facts(section, "mid")["Result"].startswith(f"{who} where weights are released: AUC 0.57 (0.55–0.59) by RMIA")
    assert any("what this defended file leaks" in one for one in section.remarks) == (seeds == 1)


# --- blocks ----------------------------------------------------------------------------------------------------------


def test_a_block_tells_all_that_is_known_of_a_defense(section):
    calor, mid, mmd, purifier = (facts(section, name) for name in ("calor", "mid", "mmd", "purifier"))
    assert "Confidence close to where the loss pins members (scores): AUC 0.84 (0.83–0.85)" in calor["Own probes"]
    assert "Noise averaged over 16 queries (scores): skipped, needs 4 shadows" in mid["Own probes"]
    assert (
        "Inversion error of members (MSE), by inversion-network (scores): 0.052 (0.049–0.055) instead of "
        "0.031 (0.029–0.033), change 0.021 (0.019–0.023); higher is better; 3 decoders, 800 records"
    ) in mid["Inversion"]
    assert "change −0.13 (−0.19 to −0.070); lower is better; 40 classes" in mid["Inversion"]
    assert (
        "Probability of the class by the evaluation networks, by MIFace on a copy without the neck's tanh (weights): "
        "0.29 (0.21–0.37) instead of 0.34"
    ) in calor["Inversion"]
    assert (
        "by the strongest of 3, chosen on the other half of the classes: MIFace on a copy without the neck's tanh "
        "(weights): 0.27 (0.17–0.37) instead of 0.35"
    ) in calor["Inversion"]
    assert facts(section, "mmd-mixup")["Own probes"] == (
        "The records that it held out while it trained are recognised among fresh ones (scores): AUC 0.53 (0.51–0.55), "
        "2,500 fresh records, 2,500 held-out records"
    )
    assert "Accuracy on non-members: 91 % (90–92 %) instead of 91 % (90–92 %), 5,000 non-members" in purifier["Costs"]
    assert "Labels changed 0.20 % (0.096–0.37 %), 5,000 non-members" in purifier["Costs"]
    assert purifier["Time"].startswith("fit it to the model: 31 s; answer")
    assert mmd["Chosen"] == "weight = 3.0, before anything was measured"
    assert mmd["Measured"] == "beside its retrained twin, with 8 shadows each, one seed"
    assert "not accepted at ICLR 2025" in calor["Its paper"]
    assert calor["Fidelity"] == "official-code-derived; changed: Optimiser and schedule are the owner's."
    assert "boundary: it needs" in facts(section, "labels-only")["Did not run"]


@pytest.mark.parametrize(
    ("auc", "words"),
    [
        (0.515, "were not seen to be recognised among fresh ones (scores): AUC 0.52"),
        (0.47, "stand out from fresh ones, the model being less sure of them (scores): AUC 0.47"),
    ],
)
def testheld_out_records_are_told_by_the_whole_interval(auc, words):
    assert words in defense_blocks._probe(held_out(auc))


def testheld_out_records_are_no_members(many):
    mmd = next(one for one in many.defenses if one.card.id == "mmd-mixup")
    everywhere = mmd.model_copy(update={"probes": (held_out(0.99),)})
    assert defended.stronger_probe(everywhere, everywhere.strongest[0]) is None
    assert defended.stronger_probe(mmd.model_copy(update={"probes": ()}), mmd.strongest[0]) is None


def test_a_block_holds_every_declared_attack_before_and_after(section):
    table = next(one.effects for one in section.blocks if one.method.id == "purifier")
    cells = {told(row.cells[0]): [told(cell) for cell in row.cells[1:]] for row in table.rows}
    assert cells["LiRA on logits (weights), AUC"][1:] == ["–", "–", "–"]
    undefended, static, adaptive, change = cells["LiRA (scores), TPR at 1 % FPR"]
    assert [undefended, static, adaptive] == ["17 % (16–18 %)", "5.8 % (4.5–7.1 %)", "11 % (9.7–12 %)"]
    assert re.fullmatch(r"−6\.\d \(−\d\.\d to −\d\.\d\)", change)


@pytest.mark.parametrize("format_", [render_html, render_markdown, render_json])
def test_what_was_not_measured_is_told_with_its_reason_everywhere(format_, many):
    text = plain(format_(many))
    for one in (SKIPPED, FAILED):
        assert one.card.title in text
        assert one.reason in text


@pytest.mark.skipif(pdf_problem() is not None, reason="Pango is not installed")
def test_the_pdf_tells_it_too_and_holds_every_block():
    pages = pypdf.PdfReader(io.BytesIO(render_pdf(leaky()))).pages
    text = " ".join(" ".join(page.extract_text() for page in pages).split())
    for words in (
        SKIPPED.reason,
        FAILED.reason,
        "by the half on which that was chosen",
        "This defended file leaks where",
    ):
        assert words in text


# --- the plane -------------------------------------------------------------------------------------------------------


def svg_of(picture):
    return ET.fromstring(base64.b64decode(str(picture.uri).partition("base64,")[2]))  # noqa: S314 - our own SVG


def numbers_on(picture):
    """Where the numbers of the points stand, the key apart."""
    found = {}
    for text in svg_of(picture).iter(f"{SVG}text"):
        place = re.search(r"translate\(([\d.]+) ([\d.]+)\)|(?<!\w)x=", text.get("transform", ""))
        x, y = (float(text.get("x")), float(text.get("y"))) if place is None else map(float, place.groups())
        if re.fullmatch(r"\d+", text.text or "") and text.text not in found:
            found[text.text] = (x, y)
    return found


def test_no_two_numbers_cover_each_other():
    plane = defenses.section(many_defenses(Access.SCORES)).advised.plane
    found = numbers_on(plane)
    assert len(found) == len(MEASURED)
    for (_, one), (_, other) in combinations(found.items(), 2):
        assert abs(one[0] - other[0]) > 6 or abs(one[1] - other[1]) > 6


def test_kinds_are_told_by_shape_and_the_front_by_a_rim():
    plane = defenses.section(many_defenses(Access.SCORES)).advised.plane
    root = svg_of(plane)
    shapes, styles = dict[str, set[str]](), set()
    paths = {
        path.get("id"): re.sub(r"[-\d. \n]+", " ", path.get("d")) for path in root.iter(f"{SVG}path") if path.get("id")
    }
    for use in root.iter(f"{SVG}use"):
        style = use.get("style", "")
        styles.add(style)
        for name, color in (("output", "#0072b2"), ("training", "#e69f00")):
            if f"fill: {color}" in style:
                shapes.setdefault(name, set()).add(paths[use.get("{http://www.w3.org/1999/xlink}href")[1:]])
    assert shapes["output"].isdisjoint(shapes["training"])
    assert any("stroke: #000000; stroke-width: 1.5" in style for style in styles)


def test_the_key_names_every_point_and_what_it_stands_beside(section):
    drawn = {text.text for text in svg_of(section.advised.plane).iter(f"{SVG}text")}
    assert {"MID (beta 0.003)", "undefended: its retrained twin", "a probe made for that defense alone"} <= drawn
    assert not any(text and text.startswith("Purifier") for text in drawn)
    assert "where weights are released: MID (beta 0.003) AUC 0.57" in plain(section.advised.plane.alt)


def test_a_release_without_points_shows_those_of_the_next():
    section = defenses.section(only(leaky(), "purifier", "labels-only"))
    assert "where scores are released" in section.advised.plane.caption
    assert section.advised.told == ("No defense that counts under release of weights was measured.",)
    assert [one.title for one in section.others] == ["If an API returns scores"]
    assert section.others[0].plane is None


def test_the_same_findings_give_the_same_bytes(many, page):
    assert defenses.section(many_defenses()).advised.plane.uri == defenses.section(many).advised.plane.uri
    assert render_html(AuditReport.model_validate_json(render_json(many))) == page


# --- advice ----------------------------------------------------------------------------------------------------------


def test_the_advice_for_the_declared_release_comes_first_and_says_what_is_not_stopped(many, section):
    advice = defended.advice_at(many, Access.WEIGHTS)
    assert section.advised.title == "If the weights are released"
    assert section.advised.told[0] == f"{advice.sentence} {advice.not_stopped}"
    assert "Mix-up alone" in section.advised.told[1]
    assert [one.title for one in section.others] == ["If an API returns scores", "If an API returns labels only"]


def test_the_first_page_has_the_exact_numbers(many, page):
    number, action = wording.carrying_numbers(many)[2], remedies.actions(many)[0]
    advice = defended.advice_at(many, Access.WEIGHTS)
    assert (number.value, plain(number.interval)) == ("0.57", "95 % interval 0.55–0.59")
    assert plain(number.n) == "2,500 members, 2,500 non-members"
    assert plain(number.beside).startswith(
        "Undefended twin (8 shadows each): 0.74 (95 % interval 0.72–0.75). Accuracy: −1.4 points ("
    )
    assert action.effect.startswith(advice.sentence)
    assert advice.not_stopped == "Not stopped: RMIA (online)."
    assert action.effect.count("RMIA (online)") == 1
    first = text_of(page).partition("What this is not")[0]
    assert plain(advice.sentence).replace(" ", "") in first.replace(" ", "")


def test_where_nothing_is_worth_it_that_is_said_with_what_is_not_stopped(many):
    poor = only(many, "relaxloss")
    advice = defended.advice_at(poor, Access.WEIGHTS)
    number = wording.carrying_numbers(poor)[2]
    assert number.value == "none"
    assert number.beside == f"{advice.sentence} {advice.not_stopped}"
    assert remedies.actions(poor)[0].title == "Do not release the weights as they are"


def limited(report, **limits):
    return report.model_copy(update={"plan": report.plan.model_copy(update=limits)})


@pytest.mark.parametrize(
    ("limits", "title", "left"),
    [
        ({"auc_limit": 0.9, "tpr_limit": 0.9}, "Release the file after retraining with MID (beta 0.003)", ""),
        (
            {"auc_limit": 0.58, "tpr_limit": 0.9},
            "Do not release the weights as they are; after retraining with MID (beta 0.003) they leak less, but a leak",
            "AUC has an interval that reaches above its limit of 0.58.",
        ),
        (
            {"auc_limit": 0.56, "tpr_limit": 0.9},
            "Do not release the weights",
            "AUC lies above its limit of 0.56: a leak remains.",
        ),
        (
            {"auc_limit": 0.9, "tpr_limit": 0.02},
            "Do not release the weights",
            "TPR at 1 % FPR lies above its limit of 2 %: a leak remains.",
        ),
        (
            {"auc_limit": 0.56, "tpr_limit": 0.02},
            "Do not release the weights",
            "AUC lies above its limit of 0.56 and TPR at 1 % FPR lies above its limit of 2 %: a leak remains.",
        ),
    ],
)
def test_a_defense_closes_a_leak_only_if_its_intervals_end_under_the_limits(limits, title, left, many):
    action = remedies.actions(limited(many, **limits))[0]
    assert action.title.startswith(title)
    assert left in plain(action.effect)
    assert ("limit" in action.effect) == bool(left)


def test_a_change_that_was_not_shown_is_no_closed_leak(many):
    mid = result(many, "mid")
    unsure = tuple(
        one.model_copy(update={"change": result(many, "label-smoothing").strongest[0].change}) for one in mid.strongest
    )
    report = limited(only(many, "mid", strongest=unsure), auc_limit=0.9, tpr_limit=0.9)
    told = remedies.actions(report)[0].title
    assert told == "Do not release the weights as they are: no measured defense was shown to leak less"


def test_an_attack_made_for_the_defense_counts_where_it_does_better(many):
    """Its number stands on the card, is held against the limit, and can undo what others were shown to lose."""
    (probe,) = (one for one in result(many, "calor").probes if one.auc is not None)
    probe = probe.model_copy(update={"auc": replace(probe.auc, value=0.62, low=0.61, high=0.63)})
    report = limited(only(many, "mid", probes=(probe,)), auc_limit=0.6, tpr_limit=0.9)
    told = remedies.actions(report)[0]
    assert told.title.endswith("they leak less, but still leak")
    assert f"AUC of {probe.title} lies above its limit of 0.60: a leak remains." in told.effect
    assert told.effect.endswith(report.advice[-1].not_stopped)
    beside = plain(wording.carrying_numbers(report)[2].beside)
    assert f"More by an attack made for it, {probe.title}: AUC 0.62 (95 % interval 0.61–0.63), 5,000 members" in beside
    worse = probe.model_copy(update={"auc": replace(probe.auc, value=0.75, low=0.73, high=0.77)})
    report = limited(only(many, "mid", probes=(worse,)), auc_limit=0.9, tpr_limit=0.9)
    assert "no measured defense was shown to leak less" in remedies.actions(report)[0].title


def test_the_page_of_the_documentation_names_every_defense_in_the_box():
    page = (Path(__file__).parents[2] / "docs" / "defenses.md").read_text(encoding="utf-8")
    assert [one.card.id for one in DEFENSES if f"`{one.card.id}`" not in page] == []


# --- strangers -------------------------------------------------------------------------------------------------------


def test_hostile_strings_stay_text(many):
    poisoned = hostile(many)
    page = render_html(poisoned)
    outline = Outline(page)
    assert outline.open == []
    assert outline.all("script") == [{}]
    assert page.count("<script") == 1
    assert not any("\u202e" in part or "A" * 601 in part for part in outline.text)
    assert all(attrs["href"].startswith("#") for attrs in outline.all("a"))
    section = defenses.section(poisoned)
    assert [row.mark for row in section.table.rows].count("part") == 6


def test_hostile_titles_stay_text_on_the_plane(many):
    poisoned = hostile(many)
    measured = tuple(
        one.model_copy(update={"costs": known.costs})
        for one, known in zip(poisoned.defenses, many.defenses, strict=True)
    )
    plane = defenses.section(poisoned.model_copy(update={"defenses": measured})).advised.plane
    drawn = ET.tostring(svg_of(plane), encoding="unicode")
    assert "&lt;script&gt;" in drawn
    assert "<script" not in drawn
    assert "\u202e" not in drawn


def test_a_report_without_what_newer_ones_hold_still_renders(many):
    bare = tuple(
        one.model_copy(update={"strongest": (), "costs": (), "probes": (), "accuracy_change": None})
        for one in many.defenses
    )
    text = text_of(render_html(many.model_copy(update={"defenses": bare, "advice": ()})))
    assert "skipped: no attack ran both with and without it" in text
    assert "Declared attacks on Temperature 4" in text
