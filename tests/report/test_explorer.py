"""The explorer in a real browser: its values against the cache, its address, keyboard, phones, dark, files."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from analysis.exhibits import Exhibit
from analysis.findings import of_kind
from analysis.questions import QUESTIONS
from analysis.results import cached
from tests.helpers.browsing import PHONE, WIDE, Watched, chromium, served, watch

RATES = "?experiment=learning_rate&metric=train_loss"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def site(book: Path) -> Iterator[str]:
    with served(book) as address:
        yield f"{address}/report/explorer.html"


@pytest.fixture
def watched(browser: Browser, site: str) -> Iterator[Watched]:
    with watch(browser, site.removesuffix("/report/explorer.html")) as watched:
        watched.page.set_viewport_size(WIDE)
        yield watched


def open_at(page: Page, address: str) -> Page:
    """Open the explorer and wait until it has drawn."""
    page.goto(address)
    expect(page.locator("#explorer tbody tr").first).to_be_visible()
    return page


def table(page: Page) -> list[list[str]]:
    """Return the texts of the table of values, without buttons."""
    rows: list[list[str]] = page.evaluate(
        """() => [...document.querySelectorAll("#explorer tbody tr")].map((row) => [...row.cells].map((cell) => {
             const copy = cell.cloneNode(true);
             copy.querySelectorAll("button").forEach((button) => button.remove());
             return copy.textContent.trim();
           }))"""
    )
    return rows


def control(page: Page, name: str) -> Locator:
    """Return one of the explorer's controls."""
    return page.locator(f"#explorer [name={name}]")


def position(page: Page, slider: str) -> str:
    """Return where a slider says that it is."""
    return control(page, slider).get_attribute("aria-valuetext") or ""


@pytest.mark.parametrize(
    ("experiment", "metric", "run"),
    [
        ("learning_rate", "train_loss", {"learning_rate": 8}),
        ("minibatch", "test_accuracy", {"batch_size": None, "learning_rate": 0.3, "hidden": "300"}),
        ("vanishing_gradient", "gradient_norm", {"hidden": "300-300", "activation": "relu", "layer": 2}),
        ("losses", "train_loss", {"loss": "quadratic", "learning_rate": 30, "init_scale": 1}),
    ],
)
def test_values_are_those_of_the_cache(
    watched: Watched, site: str, experiment: str, metric: str, run: dict[str, object]
) -> None:
    words = ",".join(f"{name}:{'all' if value is None else value}" for name, value in run.items())
    page = open_at(watched.page, f"{site}?experiment={experiment}&metric={metric}&seeds=each&run={words}")
    with page.expect_download() as download:
        page.get_by_role("button", name="as CSV").click()
    shown = pd.read_csv(download.value.path(), keep_default_na=False, dtype={"hidden": str})
    rows = cached(experiment).rows.rename(columns={"index": "layer"})
    rows = rows[rows["metric"] == metric]
    fields = list(shown.columns[2 : shown.columns.get_loc("seed")])
    for name in fields:
        (value,) = shown[name].unique()
        if name in run and run[name] is not None:
            assert value == run[name]
        if value == "all":
            rows = rows[rows[name].isna()]
        elif isinstance(value, str) and value in ("true", "false"):
            rows = rows[rows[name] == (value == "true")]
        else:
            rows = rows[rows[name] == value]
    assert len(shown) == len(rows)
    merged = shown.merge(rows, on=["seed", "update"], suffixes=("", "_cached"))
    assert len(merged) == len(rows)
    kept = pd.to_numeric(merged["value"].replace("", math.nan))
    finite = np.isfinite(merged["value_cached"])
    assert np.array_equal(np.isfinite(kept), finite)
    np.testing.assert_allclose(kept[finite], merged["value_cached"][finite], rtol=4e-4, atol=0.51e-4)
    np.testing.assert_allclose(merged["epoch"], merged["epoch_cached"], rtol=1e-6)
    ends = merged["seconds_cached"].max()
    np.testing.assert_allclose(merged["seconds"], merged["seconds_cached"], atol=0.05 * ends)


def test_the_table_has_the_values_at_the_chosen_epoch(watched: Watched, site: str) -> None:
    page = open_at(watched.page, f"{site}{RATES}&run=learning_rate:2&pin=learning_rate:0.5&at=50")
    rows = cached("learning_rate").rows
    rows = rows[(rows["metric"] == "train_loss") & (rows["epoch"] == 50)]
    for (name, mean, least, largest, seeds, epoch), rate in zip(table(page), (0.5, 2.0), strict=True):
        values = rows[rows["learning_rate"] == rate]["value"]
        assert (name, seeds, epoch) == (f"η = {rate:g}", str(len(values)), "50")
        for text, expected in ((mean, values.mean()), (least, values.min()), (largest, values.max())):
            assert float(text) == pytest.approx(expected, rel=8e-4)


def test_pointing_at_the_chart_shows_the_values_there(watched: Watched, site: str) -> None:
    page = open_at(watched.page, f"{site}{RATES}&run=learning_rate:2")
    caption = page.locator("#explorer caption")
    expect(caption).to_have_text("train loss at epoch 2000")
    plot = page.locator("[data-part=chart] .u-over")
    plot.hover(position={"x": 200, "y": 100})
    expect(caption).not_to_have_text("train loss at epoch 2000")
    plot.click(position={"x": 200, "y": 100})
    page.mouse.move(5, 5)
    expect(caption).not_to_have_text("train loss at epoch 2000")
    chosen = parse_qs(urlsplit(page.url).query)["at"]
    assert caption.text_content() == f"train loss at epoch {chosen[0]}"


def test_the_address_keeps_what_is_chosen(watched: Watched, site: str) -> None:
    page = open_at(watched.page, f"{site}?experiment=adam_vs_sgd&metric=test_accuracy")
    control(page, "parameter-optimizer").select_option("adam")
    control(page, "pin-rates").click()
    control(page, "parameter-optimizer").select_option("sgd")
    control(page, "x").select_option("update")
    control(page, "seeds").select_option("mean")
    control(page, "ylog").check()
    expect(page).to_have_url(re.compile("ylog=1"))
    before = table(page)
    assert len(before) > 2
    again = open_at(page, page.url)
    assert table(again) == before
    expect(control(page, "parameter-optimizer")).to_have_value("sgd")
    expect(control(page, "ylog")).to_be_checked()


STATES = {
    each.label: f"?experiment={each.results[0]}&{each.explore}"
    for question in QUESTIONS
    for each in of_kind(question, Exhibit).values()
    if each.explore
}


@pytest.mark.parametrize("label", STATES)
def test_a_figures_link_shows_the_runs_that_it_names(watched: Watched, site: str, label: str) -> None:
    page = open_at(watched.page, site + STATES[label])
    asked, kept = (parse_qs(urlsplit(address).query) for address in (STATES[label], page.url))
    for name in set(asked) - {"run", "pin"}:
        assert kept[name] == asked[name], name
    run = dict(each.split(":") for each in kept["run"][0].split(","))
    for name, value in (each.split(":") for each in asked.get("run", [""])[0].split(",") if each):
        assert run[name] == value
    pins = [dict(each.split(":") for each in pin.split(",")) for pin in asked.get("pin", [])]
    shown = [run | dict(each.split(":") for each in pin.split(",")) for pin in kept.get("pin", [])]
    assert len(shown) == len(pins)
    for pin, setting in zip(pins, shown, strict=True):
        assert {name: setting[name] for name in pin} == pin


def test_an_address_that_names_nothing_known_shows_something(watched: Watched, site: str) -> None:
    page = open_at(watched.page, f"{site}?experiment=nothing&metric=x&run=a:b,c&pin=&at=never&x=y")
    assert table(page)


def test_everything_works_from_the_keyboard(watched: Watched, site: str) -> None:
    page = open_at(watched.page, f"{site}{RATES}&run=learning_rate:0.5")
    control(page, "parameter-learning_rate").focus()
    page.keyboard.press("ArrowRight")
    assert position(page, "parameter-learning_rate") == "0.7"
    expect(page.locator("#explorer tbody")).to_contain_text("η = 0.7")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Pin this run")).to_be_focused()
    page.keyboard.press("Enter")
    unpin = page.get_by_role("button", name="Unpin η = 0.7")
    expect(unpin).to_be_visible()
    control(page, "at").focus()
    page.keyboard.press("Home")
    assert position(page, "at") == "epoch 0"
    page.keyboard.press("ArrowRight")
    expect(page.locator("#explorer caption")).to_have_text("train loss at epoch 1")
    unpin.focus()
    page.keyboard.press("Enter")
    expect(unpin).to_have_count(0)


def test_small_multiples_share_their_table_and_lead_back(watched: Watched, site: str) -> None:
    page = open_at(watched.page, f"{site}{RATES}&view=multiples&by=learning_rate")
    rates = cached("learning_rate").rows["learning_rate"].unique()
    expect(page.locator("#explorer .panel canvas")).to_have_count(len(rates))
    assert [row[0] for row in table(page)] == [f"η = {rate:g}" for rate in sorted(rates)]
    page.get_by_role("button", name="η = 0.9").click()
    expect(page.locator("#explorer .panel")).to_have_count(0)
    assert [row[0] for row in table(page)] == ["η = 0.9"]


def test_rates_are_chosen_and_pinned_in_the_chart_of_final_values(watched: Watched, site: str) -> None:
    page = open_at(watched.page, f"{site}{RATES}&run=learning_rate:0.001")
    plot = page.locator("[data-part=finals] .u-over")
    box = plot.bounding_box()
    assert box
    plot.click(position={"x": box["width"] - 4, "y": 50})
    fastest = max(cached("learning_rate").rows["learning_rate"])
    expect(page.locator("#explorer tbody")).to_contain_text(f"η = {fastest:g}")
    box = plot.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 50, steps=4)
    page.mouse.up()
    expect(page.get_by_role("button", name="Unpin η")).not_to_have_count(0)
    pinned = [float(row[0].removeprefix("η = ")) for row in table(page)]
    assert fastest in pinned
    assert 0.001 not in pinned


@pytest.mark.parametrize("experiment", ["learning_rate", "minibatch", "encoding"])
def test_it_fits_a_phone(watched: Watched, site: str, experiment: str) -> None:
    page = watched.page
    page.set_viewport_size(PHONE)
    open_at(page, f"{site}?experiment={experiment}&metric=test_accuracy")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    wide = page.evaluate(
        """() => [...document.querySelectorAll("#explorer select, #explorer canvas, #explorer button")]
             .filter((each) => !each.closest(".scroll") && each.getBoundingClientRect().right > innerWidth).length"""
    )
    assert wide == 0


def test_lines_follow_the_theme(watched: Watched, site: str) -> None:
    page = watched.page
    page.emulate_media(color_scheme="light")
    open_at(page, f"{site}{RATES}&run=learning_rate:2&pin=learning_rate:0.5")
    colours = "[...document.querySelectorAll('#explorer .swatch')].map((each) => each.style.borderTopColor)"
    light = page.evaluate(colours)
    page.emulate_media(color_scheme="dark")
    expect(page.locator("#explorer .swatch").first).not_to_have_css("border-top-color", light[0])
    dark = page.evaluate(colours)
    assert not set(light) & set(dark)


def test_it_works_from_a_file(browser: Browser, book: Path) -> None:
    address = (book / "report" / "explorer.html").as_uri()
    with watch(browser, address) as watched:
        page = open_at(watched.page, f"{address}{RATES}&run=learning_rate:2")
        page.get_by_role("button", name="Pin this run").click()
        expect(page).to_have_url(re.compile("pin="))
        control(page, "metric").select_option("test_accuracy")
        expect(page.locator("#explorer caption")).to_contain_text("test accuracy")
        with page.expect_download() as download:
            page.get_by_role("button", name="as CSV").click()
        assert download.value.path().read_text(encoding="utf-8").startswith("experiment,metric,")
