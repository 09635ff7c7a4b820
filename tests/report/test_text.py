from datetime import UTC, datetime

import pytest

from auditor.findings import Measurement
from auditor.report.text import (
    cell,
    clean,
    counts,
    date,
    interval,
    level,
    link,
    listing,
    p_value,
    phrase,
    scaled,
    seconds,
    short,
    unit_of,
    whole,
)
from auditor.stats.estimate import Estimate

ESTIMATE = Estimate(0.1412, 0.1221, 0.1703, 0.95, "Clopper-Pearson", {"members": 5000, "non-members": 12345})


@pytest.mark.parametrize(
    ("number", "unit", "shown"),
    [
        (0.1412, "share", "14\u00a0%"),
        (0.0996, "share", "10\u00a0%"),
        (0.0031, "share", "0.31\u00a0%"),
        (0.0, "share", "0\u00a0%"),
        (1.0, "share", "100\u00a0%"),
        (0.9996, "share", "99.96\u00a0%"),
        (0.534, "", "0.53"),
        (0.997, "", "0.997"),
        (1.0, "", "1.0"),
        (-0.0213, "points", "−2.1\u00a0points"),
        (0.0213, "points", "+2.1\u00a0points"),
        (0.0, "points", "0\u00a0points"),
        (123456.0, "ms", "120,000\u00a0ms"),
    ],
)
def test_numbers_have_two_digits_and_their_unit(number, unit, shown):
    assert scaled(number, unit) == shown


def test_rounding_never_reaches_certainty():
    assert scaled(1 - 1e-5) < "1"
    assert "100" not in scaled(1 - 1e-4, "share")


def test_an_estimate_is_told_with_interval_and_n():
    assert phrase(ESTIMATE, "share") == "14\u00a0% (95\u00a0% interval 12–17\u00a0%)"
    assert cell(ESTIMATE, "share") == "14\u00a0% (12–17\u00a0%)"
    assert counts(ESTIMATE.n) == "5,000\u00a0members, 12,345\u00a0non-members"


def test_an_interval_with_a_sign_is_not_told_with_a_dash():
    change = Estimate(-0.02, -0.03, 0.01, 0.95, "t", {"seeds": 3})
    assert interval(change, "points") == "−3.0 to +1.0\u00a0points"
    assert interval(change) == "−0.030 to 0.010"


def test_declared_shares_get_no_digits_added():
    assert (level(0.01), level(0.95), level(0.001)) == ("1\u00a0%", "95\u00a0%", "0.1\u00a0%")


def test_small_p_values_stop_being_told():
    assert (p_value(3e-9), p_value(0.0213), p_value(1.0)) == ("< 0.0001", "0.021", "1.0")


def test_durations_and_dates():
    assert (seconds(12.3), seconds(412), seconds(5820)) == ("12\u00a0s", "6.9\u00a0min", "1.6\u00a0h")
    assert date(datetime(2026, 11, 2, tzinfo=UTC)) == "2\u00a0November\u00a02026"


def test_listing():
    assert [listing(items) for items in ([], ["a"], ["a", "b", "c"])] == ["", "a", "a, b and c"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("line\nbreak\tand\x00null", "line break and null"),
        ("\u202egnp.exe", "gnp.exe"),
        ("zero\u200bwidth \u2066isolate\u2069", "zerowidth isolate"),
        ("para\u2029graph", "para graph"),
        ("Ünïcode 猫", "Ünïcode 猫"),
    ],
)
def test_what_cannot_be_seen_is_not_printed(text, shown):
    assert clean(text) == shown


def test_long_text_is_cut():
    assert len(clean("x" * 10_000)) == 600
    assert short("x" * 10_000) == "x" * 59 + "…"


def test_a_long_line_ends_between_its_parts_and_counts_the_others():
    parts = [f"{index}: " + "x" * 97 for index in range(9)]
    told = whole(parts)
    assert told == "; ".join([*parts[:5], "and 4 more in the JSON"])
    assert whole(parts[:5]) == "; ".join(parts[:5])
    assert whole(["y" * 700, "z"]) == "and 2 more in the JSON"
    assert whole([]) == ""


def test_only_web_addresses_become_links():
    assert link("https://arxiv.org/abs/2112.03570")
    assert not any(link(url) for url in ("javascript:alert(1)", "file:///etc/passwd", "data:text/html,x", "//host/x"))


def test_a_unit_is_read_as_it_is_stated_and_guessed_from_no_name_or_method():
    assert unit_of(Measurement(name="found", estimate=ESTIMATE, unit="share")) == "share"
    assert unit_of(Measurement(name="TPR at 1 % FPR", estimate=ESTIMATE)) == ""
    assert unit_of(Measurement(name="latency", estimate=ESTIMATE, unit="ms")) == "ms"
