"""docs/security.md and docs/capabilities.md promise only what a test tries: every test that they name is there."""

import re
from pathlib import Path

import pytest


def suites(root: Path) -> set[str]:
    """The suites of the unit tests."""
    return {
        name for path in (root / "Tests").rglob("*.swift")
        for name in re.findall(r"\b(?:struct|class|actor|enum|extension) (\w+Tests)\b", path.read_text())
    }


def named(text: str) -> list[str]:
    return re.findall(r"`((?:test_\w+(?:::test_\w+)?)|\w+Tests)`", text)


def missing(names: list[str], root: Path) -> list[str]:
    absent = []
    units = suites(root)
    for name in names:
        module, _, test = name.partition("::")
        file = root / "Tests/EndToEnd" / f"{module}.py"
        there = name in units or file.is_file() and (not test or re.search(rf"^(async )?def {test}\(", file.read_text(), re.M))
        if not there:
            absent.append(name)
    return absent


def test_every_cannot_names_a_test_that_is_there(root):
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (root / "docs/security.md").read_text().splitlines() if re.match(r"\| *(can|cannot)\b", line)
    ]
    cannots = [row for row in rows if row[0].startswith("cannot")]
    assert len(cannots) > 20
    for kind, what, tests in rows:
        if kind.startswith("cannot"):
            assert named(tests), f"no test: {what}"
            assert missing(named(tests), root) == [], what
        else:
            assert not tests, what


@pytest.mark.parametrize("page", ["docs/security.md", "docs/capabilities.md"])
def test_every_test_that_is_named_is_there(root, page):
    names = named((root / page).read_text())
    assert names
    assert missing(names, root) == []


def test_a_name_of_no_test_would_be_noticed(root):
    text = "`test_auth::test_nothing_of_the_kind`, `test_nowhere`, `NowhereTests`, `test_auth`, `JSONParsingTests`"
    assert missing(named(text), root) == ["test_auth::test_nothing_of_the_kind", "test_nowhere", "NowhereTests"]
