"""The widget's files as they are served. What they do in a browser is looked at by `python -m bench.widget`."""

from __future__ import annotations

import gzip
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from channels.web import signature_of
from gateway.routes.channels import BotSettings
from gateway.services import Ground
from gateway.widget import files
from tests.http_face import Server, served
from tests.web_visitors import Site, site

FOLDER = Path(files.__file__).parent
GUIDE = (Path(__file__).resolve().parent.parent / "docs" / "channels" / "web.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
async def server(ground: Ground) -> AsyncIterator[Server]:
    async with served(ground) as server:
        yield server


@pytest.fixture
async def shop(server: Server, workspace_id: str) -> Site:
    return await site(server, workspace_id, title="Ask <us> & find out")


async def test_the_script_is_one_file_that_any_page_may_load_and_keep(shop: Site) -> None:
    plain = await shop.api.get("/widget.js", headers={"X-API-Key": "", "Accept-Encoding": "identity"})
    assert (plain.status, plain.headers["Content-Type"]) == (200, "text/javascript; charset=utf-8")
    assert plain.headers["Access-Control-Allow-Origin"] == "*"
    assert plain.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert "max-age=" in plain.headers["Cache-Control"]
    text = plain.raw.decode()
    assert "/* style */" not in text
    assert ".launcher" in text
    packed = await shop.api.get("/widget.js", headers={"X-API-Key": ""}, auto_decompress=False)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.raw) == plain.raw
    assert len(packed.raw) < 20_000
    known = {"X-API-Key": "", "If-None-Match": plain.headers["ETag"]}
    again = await shop.api.get("/widget.js", headers=known)
    assert (again.status, again.raw, again.headers["ETag"]) == (304, b"", plain.headers["ETag"])
    changed = await shop.api.get("/widget.js", headers={"X-API-Key": "", "If-None-Match": '"other"'})
    assert changed.status == 200


def test_nothing_in_the_script_makes_markup_or_code_of_text() -> None:
    script = (FOLDER / "widget.js").read_text(encoding="utf-8")
    found = re.findall(
        r"\.(?:inner|outer)HTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setHTMLUnsafe", script
    )
    assert found == []
    style = (FOLDER / "widget.css").read_text(encoding="utf-8")
    assert "url(" not in style  # nothing is fetched from anywhere
    assert "`" not in style
    assert "${" not in style  # it stands in a template literal


async def test_the_demo_page_embeds_the_channel_under_a_strict_policy(shop: Site, server: Server) -> None:
    page = await shop.api.get(f"/widget/demo/{shop.account_id}", headers={"X-API-Key": ""})
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "unsafe" not in page.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    text = page.raw.decode()
    assert f'<script src="/widget.js" data-account="{shop.account_id}" async></script>' in text
    assert "Ask &lt;us&gt; &amp; find out" in text
    assert "{{" not in text
    assert (await shop.api.get("/widget/demo/acc_none", headers={"X-API-Key": ""})).status == 404


def test_the_guides_example_of_a_signature_is_true() -> None:
    found = re.search(r"secret `(.+?)`, user `(.+?)` and the time `(\d+)` the signature is\s+`([0-9a-f]{64})`", GUIDE)
    assert found
    assert signature_of(found[1], found[2], int(found[3])) == found[4]
    snippet = re.search(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    assert snippet
    names: dict[str, Any] = {}
    exec(snippet[1], names)
    assert names["vouch"](found[1], found[2], int(found[3]))["data-signature"] == found[4]


def test_the_guide_names_every_setting_and_attribute() -> None:
    script = (FOLDER / "widget.js").read_text(encoding="utf-8")
    attributes = {re.sub(r"([A-Z])", r"-\1", name).lower() for name in re.findall(r"\bdata\.([a-zA-Z]+)", script)}
    assert attributes
    assert [name for name in attributes if f"`data-{name}`" not in GUIDE] == []
    told = set(re.findall(r'emit\((?:error.status === 401 \? )?"(\w+)"', script))
    assert len(told) > 5
    assert [name for name in told if f"`{name}`" not in GUIDE] == []
    of_the_web = [name for name, field in BotSettings.model_fields.items() if "Web:" in (field.description or "")]
    assert len(of_the_web) > 5
    assert [name for name in of_the_web if f"`{name}`" not in GUIDE] == []
