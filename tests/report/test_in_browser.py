"""Tables of a report in a browser: sorting and filtering."""

from __future__ import annotations

from pathlib import Path

import pytest

from browser import Watched, chromium
from imder.report.benchmark_report import benchmark_report
from imder.report.page import write_page

pytestmark = pytest.mark.slow
TITLE = "Differences from late-fusion, fixed protocol"


def test_tables_are_sorted_and_filtered(benchmark: Path, tmp_path: Path) -> None:
    write_page(benchmark_report(benchmark), tmp_path / "report.html")
    with chromium(devices=False) as browser:
        watched = Watched(browser, color_scheme="dark")
        page = watched.page
        page.goto((tmp_path / "report.html").as_uri())
        part = page.locator("details.table").filter(has=page.get_by_text(TITLE, exact=True))
        part.locator("summary").click()
        rows = part.locator("tbody tr")
        head = part.locator("thead th").nth(2)
        start = rows.all_inner_texts()

        def values() -> list[float]:
            texts = rows.locator("td:nth-child(3)").all_inner_texts()
            return [float(text.replace("−", "-").split()[0]) for text in texts]

        head.locator("button").click()
        assert head.get_attribute("aria-sort") == "ascending"
        assert values() == sorted(values())
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == "descending"
        assert values() == sorted(values(), reverse=True)
        head.locator("button").click()
        assert head.get_attribute("aria-sort") is None
        assert rows.all_inner_texts() == start

        field = part.get_by_label("filter rows")
        field.fill("audio LANGUAGE")
        shown = [text for text, row in zip(start, rows.all(), strict=True) if row.is_visible()]
        assert shown == [text for text in start if "audio" in text and "language" in text]
        assert 0 < len(shown) < len(start)
        assert part.get_by_role("status").inner_text() == f"{len(shown)} of {len(start)} rows"
        field.fill("")
        assert all(row.is_visible() for row in rows.all())
        assert watched.errors == []
        assert [url for url in watched.requests if not url.startswith(("file:", "data:"))] == []
