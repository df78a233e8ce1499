"""docs/channels/adding.md is true: the channel that it builds, as it stands there, keeps the contract."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import channels
import kernel.settings
from kernel.types import Channel
from tests.contract_case import Sample
from tests.test_architecture import MAY_IMPORT, ROOMS, imported
from tests.test_channel_contract import CHECKS, Check, keeps

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "channels" / "adding.md").read_text(encoding="utf-8")
SETTING, CHANNEL, SAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.S | re.M)


@pytest.fixture(scope="module")
def pigeon() -> Iterator[tuple[Channel, Sample]]:
    """The page's channel and its samples, in a gateway that has the page's setting."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel.settings, "Settings", grown_settings(patch))
        channel = module(patch, "channels.pigeon", CHANNEL)
        patch.setattr(channels, "pigeon", channel, raising=False)
        yield channel.CHANNEL, module(patch, "tests.contract_pigeon", SAMPLES).SAMPLE


def grown_settings(patch: pytest.MonkeyPatch) -> Any:
    names = "Settings, _between, _http, _setting, dataclass"
    source = f"from kernel.settings import {names}\n\n@dataclass(frozen=True)\nclass Grown(Settings):\n    {SETTING}"
    return module(patch, "tests.contract_pigeon_settings", source).Grown


def module(patch: pytest.MonkeyPatch, name: str, source: str) -> Any:
    made = ModuleType(name)
    patch.setitem(sys.modules, name, made)
    exec(compile(source, f"docs/channels/adding.md:{name}", "exec"), made.__dict__)
    return made


@pytest.mark.parametrize("check", CHECKS, ids=[check.__name__ for check in CHECKS])
async def test_the_example_keeps_the_contract(check: Check, pigeon: tuple[Channel, Sample]) -> None:
    await keeps(check, *pigeon)


def test_the_example_keeps_the_rules_of_the_house() -> None:
    for name in imported(ast.parse(CHANNEL)):
        top = name.split(".")[0]
        assert top not in ROOMS or top in MAY_IMPORT["channels"], name
    for path, source in (("channels/pigeon/__init__.py", CHANNEL), ("tests/contract_pigeon.py", SAMPLES)):
        for command in (["check"], ["format", "--check", "--diff"]):
            ruff = [sys.executable, "-m", "ruff", *command, "--stdin-filename", path, "-"]
            found = subprocess.run(ruff, cwd=ROOT, input=source, capture_output=True, text=True)
            assert found.returncode == 0, found.stdout


def test_every_optional_function_is_explained() -> None:
    told = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.+?) \|", PAGE, re.M))))
    optional = {field.name for field in fields(Channel) if field.default is not MISSING}
    assert told == optional - {"idempotent", "called", "pace"}
