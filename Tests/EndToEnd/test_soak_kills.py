"""A few kills of `make soak-kills KILLS=10000`."""

from pathlib import Path

from soak_kills import soak


def test_daemons_killed_at_once_lose_nothing(binary: Path, tmp_path: Path):
    found = soak(binary, tmp_path, kills=30, daemons=2, seed=7)
    assert found["lost"] == [] and found["kills"] == 30
    assert found["acknowledged"] >= 30, "hardly anything was acknowledged between the kills"
