"""What the release binary carries and what it needs."""

import re
import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def stripped(binary, tmp_path_factory) -> Path:
    copy = tmp_path_factory.mktemp("stripped") / binary.name
    subprocess.run(["strip", "-o", copy, binary], check=True)
    return copy


def test_it_is_at_most_40_mb_stripped(stripped):
    assert stripped.stat().st_size <= 40_000_000


def test_it_still_runs_when_stripped(stripped):
    assert subprocess.run([stripped, "--version"], capture_output=True, timeout=30).returncode == 0


def test_it_holds_neither_foundation_nor_its_networking_nor_icu(binary):
    """Static linking leaves the mangled module names in the symbols; FoundationEssentials has another prefix."""
    symbols = subprocess.run(["nm", binary], capture_output=True, text=True, check=True).stdout
    assert "$s4Core" in symbols, "no symbols to look at: is this the binary before stripping?"
    for what in ["$s10Foundation", "$s21FoundationNetworking", "$s30FoundationInternationalization", "icudt"]:
        assert what not in symbols, what


def test_it_needs_only_libraries_that_every_debian_has(binary):
    needed = set(re.findall(r"NEEDED.*\[(.*)\]", subprocess.run(
        ["readelf", "-d", binary], capture_output=True, text=True, check=True).stdout))
    assert needed
    known = r"lib(c|m|stdc\+\+|gcc_s|dl|pthread|rt|util|z|crypto|ssl|sqlite3)\.so[.\d]*|ld-linux.*"
    assert not [name for name in needed if not re.fullmatch(known, name)]
