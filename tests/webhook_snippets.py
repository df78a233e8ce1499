"""How the snippets of docs/webhooks/verifying.md are run: each by a small program that reads cases and prints verdicts.

A case is a line: keys (separated by commas), id, timestamp, signatures, the body in base64 and the time, separated by
tabs. A verdict is a line: `ok` or `refused`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "webhooks" / "verifying.md"

_PYTHON = """
import base64, sys
from snippet import verify
for line in sys.stdin:
    keys, message_id, timestamp, signatures, body, now = line.rstrip("\\n").split("\\t")
    try:
        verify(keys.split(","), message_id, timestamp, signatures, base64.b64decode(body), int(now))
        print("ok")
    except ValueError:
        print("refused")
"""

_NODE = """
import { readFileSync } from "node:fs";
import { verify } from "./snippet.mjs";
for (const line of readFileSync(0, "utf8").split("\\n").filter(Boolean)) {
  const [keys, id, timestamp, signatures, body, now] = line.split("\\t");
  let verdict = "ok";
  try { verify(keys.split(","), id, timestamp, signatures, Buffer.from(body, "base64"), Number(now)); }
  catch (error) { if (error.constructor !== Error) throw error; verdict = "refused"; }
  console.log(verdict);
}
"""

_GO = """
package main
import ("bufio"; "encoding/base64"; "fmt"; "os"; "strconv"; "strings"; "time"; "example/webhooks")
func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		part := strings.Split(lines.Text(), "\\t")
		body, _ := base64.StdEncoding.DecodeString(part[4])
		now, _ := strconv.ParseInt(part[5], 10, 64)
		if webhooks.Verify(strings.Split(part[0], ","), part[1], part[2], part[3], body, time.Unix(now, 0)) == nil {
			fmt.Println("ok")
		} else {
			fmt.Println("refused")
		}
	}
}
"""

_RUBY = """
require_relative "snippet"
STDIN.each_line(chomp: true) do |line|
  keys, id, timestamp, signatures, body, now = line.split("\\t", -1)
  begin
    Webhooks.verify(keys.split(","), id, timestamp, signatures, body.unpack1("m0"), now: now.to_i)
    puts "ok"
  rescue ArgumentError
    puts "refused"
  end
end
"""

_PHP = """<?php
error_reporting(E_ALL);
set_error_handler(function ($number, $text) { throw new ErrorException($text); });
require __DIR__ . '/snippet.php';
while (($line = fgets(STDIN)) !== false) {
    [$keys, $id, $timestamp, $signatures, $body, $now] = explode("\\t", rtrim($line, "\\n"));
    try {
        verify_webhook(explode(',', $keys), $id, $timestamp, $signatures, base64_decode($body), (int) $now);
        echo "ok\\n";
    } catch (InvalidArgumentException $error) {
        echo "refused\\n";
    }
}
"""

_JAVA = """
import java.util.*;
public class Main {
    public static void main(String[] args) {
        Scanner lines = new Scanner(System.in, "UTF-8");
        while (lines.hasNextLine()) {
            String[] part = lines.nextLine().split("\\t", -1);
            byte[] body = Base64.getDecoder().decode(part[4]);
            try {
                Webhooks.verify(List.of(part[0].split(",")), part[1], part[2], part[3], body, Long.parseLong(part[5]));
                System.out.println("ok");
            } catch (SecurityException error) {
                System.out.println("refused");
            }
        }
    }
}
"""


@dataclass(frozen=True, slots=True)
class Language:
    """`fence` is the word behind the backticks; `build` runs before `run`; both name the program first."""

    fence: str
    snippet: str
    driver: str
    program: str
    run: tuple[str, ...]
    build: tuple[str, ...] = ()
    more: tuple[tuple[str, str], ...] = ()

    @property
    def there(self) -> bool:
        return shutil.which((self.build or self.run)[0]) is not None


LANGUAGES = (
    Language("python", "snippet.py", "main.py", _PYTHON, (sys.executable, "-W", "error", "main.py")),
    Language("javascript", "snippet.mjs", "main.mjs", _NODE, ("node", "main.mjs")),
    Language(
        "go", "webhooks/webhooks.go", "main.go", _GO, ("./verify",), ("go", "build", "-o", "verify", "."),
        (("go.mod", "module example\n\ngo 1.18\n"),),
    ),
    Language("ruby", "snippet.rb", "main.rb", _RUBY, ("ruby", "-w", "main.rb")),
    Language("php", "snippet.php", "main.php", _PHP, ("php", "main.php")),
    Language("java", "Webhooks.java", "Main.java", _JAVA, ("java", "Main"), ("javac", "Webhooks.java", "Main.java")),
)  # fmt: skip


def code(language: Language) -> str:
    """The snippet as the page has it."""
    found = re.findall(rf"^```{language.fence}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.S | re.M)
    assert len(found) == 1, language.fence
    return str(found[0])


def verdicts(language: Language, cases: Sequence[str], folder: Path) -> list[str]:
    """What the snippet makes of each case."""
    (folder / language.snippet).parent.mkdir(parents=True, exist_ok=True)
    files = {language.snippet: code(language), language.driver: language.program.lstrip("\n"), **dict(language.more)}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    if language.build:
        subprocess.run(language.build, cwd=folder, check=True, timeout=300)
    given = "".join(f"{case}\n" for case in cases).encode()
    done = subprocess.run(language.run, cwd=folder, input=given, stdout=subprocess.PIPE, check=True, timeout=120)
    return done.stdout.decode().split()
