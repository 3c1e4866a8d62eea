"""`operator/docs/serving-api.md` says what the server's limits and refusals are."""

import re
from pathlib import Path

from tests.contract.limit_tables import limit_rows, refusal_rows

DOCS = Path(__file__).resolve().parents[2] / "operator" / "docs"
PAGE = (DOCS / "serving-api.md").read_text()


def test_page_has_a_row_for_every_limit_and_no_other() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `MOORING_LIMIT_")]
    assert rows == list(limit_rows()), "write what `python -m tests.contract.limit_tables` prints"


def test_page_has_a_row_for_every_reason_of_a_refusal_and_no_other() -> None:
    table = PAGE.split("| reason | meaning |\n|---|---|\n", 1)[1].split("\n\n", 1)[0]
    assert table.splitlines() == list(refusal_rows())


def test_page_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^):#]+)\)", PAGE):
        assert (DOCS / target).exists(), target
