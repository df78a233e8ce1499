"""docs/hooks.md holds what it says: its templates run, its tables are those of the code, its events those told of."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import get_args

import yaml  # type: ignore[import-untyped]

from gateway import hooks
from gateway.commands.grammar import parser
from kernel.types import Json
from webhooks.hooks.calls import KEPT_DAYS
from webhooks.hooks.examples import examples
from webhooks.hooks.filters import FILTERS
from webhooks.hooks.recipe import LONGEST_TEXT, Call, Message, Passed, apply, compile_recipe
from webhooks.hooks.syntax import MOST_ITEMS, USUAL_ITEMS
from webhooks.hooks.template import compile_template
from webhooks.hooks.verify import TOLERANCE, Kind

TEXT = (Path(__file__).resolve().parent.parent / "docs" / "hooks.md").read_text(encoding="utf-8")


def table(head: str) -> list[list[str]]:
    lines = TEXT.splitlines()
    start = lines.index(next(line for line in lines if line.startswith(f"| {head} |"))) + 2
    rows = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


def test_its_template_says_what_it_looks_like() -> None:
    (told,) = re.findall(r"```toml\n(.*?)```", TEXT, re.S)
    recipe = compile_recipe(tomllib.loads(told), {"user_id": "ann"})
    failed: Json = {
        "service": "shop", "status": "failed", "at": 1_795_512_612, "run": {"id": 7},
        "errors": [{"code": f"E{n}", "message": "no *luck*"} for n in range(5)],
    }  # fmt: skip
    message = apply(recipe, Call(failed, {}, 0.0))
    assert isinstance(message, Message)
    assert message.text == (
        "**SHOP failed** in all regions, 2026-11-24 09:30 UTC\n- `E0` no \\*luck\\*\n- `E1` no \\*luck\\*\n"
        "- `E2` no \\*luck\\*\n- and 2 more\n[Run 7](https://ci.example.com/runs/7)"
    )
    assert message.key == "shop 7"
    fine = apply(recipe, Call({"service": "shop", "status": "fine"}, {}, 0.0))
    assert isinstance(fine, Message)
    assert fine.text == "shop is fine"
    assert isinstance(apply(recipe, Call({**failed, "environment": "staging"}, {}, 0.0)), Passed)


def test_the_table_of_filters_names_them_all() -> None:
    named = [sign for row in table("filter") for sign in re.findall(r"`([^`]+)`", row[0])]
    assert {sign.partition(":")[0] for sign in named} == set(FILTERS) - {"url_part", "code_in_table"}
    for sign in named:
        compile_template(f"{{{{ a | {sign} }}}}")


def test_what_stands_in_a_text_can_be_read() -> None:
    for sign, meaning in table("in a text"):
        compile_template(sign.strip("`").replace("…", "x"))
        if "each" in sign:
            assert f"at most {MOST_ITEMS} ({USUAL_ITEMS}, if" in meaning


def test_conditions_and_proofs() -> None:
    condition = re.search(r"objects: `(\{.*?\})`\. ", TEXT)
    assert condition
    compile_recipe({"text": "x", "ignore": yaml.safe_load(condition[1])}, {"user_id": "a"})
    assert {row[0].strip("`") for row in table("kind")} == set(get_args(Kind))
    assert f"`tolerance` seconds ({TOLERANCE})" in TEXT


def test_the_systems_are_told_of_the_events_that_their_templates_know() -> None:
    told = {
        kind
        for case in examples()["stripe"].template["cases"]
        for kind in ([case["when"]["type"]] if isinstance(case["when"]["type"], str) else case["when"]["type"]["$in"])
    }
    assert set(re.findall(r"enabled_events\[\]=([\w.]+)", TEXT)) == told
    assert set(re.findall(r"'events\[\]=(\w+)'", TEXT)) == {
        case["when"]["$header.x-github-event"] for case in examples()["github"].template["cases"]
    }
    (config,) = re.findall(r"```yaml\n(.*?)```", TEXT, re.S)
    assert yaml.safe_load(config)["receivers"][0]["webhook_configs"][0]["send_resolved"] is True
    window = examples()["alertmanager"].template["dedupe"]["seconds"]
    assert window == 240
    assert "within four minutes" in TEXT


def test_commands_and_limits() -> None:
    commands = re.findall(r"^    parley (hooks .*)$", TEXT, re.M)
    assert len(commands) >= 6
    for command in commands:
        parser().parse_args([part.strip("'") for part in re.findall(r"'[^']*'|\S+", command)])
    assert f"more than {hooks.LIMIT >> 20} MiB" in TEXT
    assert f"more than {hooks._CALLS.count} calls a minute" in TEXT
    assert f"remembered for {KEPT_DAYS} days" in TEXT
    assert f"at most {LONGEST_TEXT:,} characters" in TEXT
    assert set(examples()) == set(re.findall(r"--example (\w+)", TEXT))
