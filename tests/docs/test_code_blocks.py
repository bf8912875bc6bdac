"""Every program in the documentation runs as it stands, and prints what the page says.

The rules for the pages, README.md and CHANGELOG.md among them:

* a `python` block is a whole program;
* a `text` block after it, under a line that begins with "It prints", is its output, in which
  `...` stands for anything; in docs/ a program without one prints nothing;
* a `sh` block of `make` commands names targets that exist;
* any other `python` or `sh` block is preceded by `<!-- not run: REASON -->`.
"""

import doctest
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>.*?) -->\n+)?"
    r"^```(?P<language>[^\s`]*)[^\n]*\n(?P<code>.*?)^```$"
    r"(?:\n\nIt prints[^\n]*:\n\n```text\n(?P<output>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
# Diagrams, and what Sphinx reads: see docs/extensions/reference.py.
NOT_CODE = {"text", "{toctree}", "{include}", "{eval-rst}", "{api}", "{missing-from-trio}"}


def blocks(*languages):
    return [
        pytest.param(page, block, id=f"{page.relative_to(ROOT)}:{index}")
        for page in PAGES
        for index, block in enumerate(BLOCK.finditer(page.read_text()))
        if block["language"] in languages
    ]


@pytest.mark.parametrize(("page", "block"), blocks("python"))
def test_program_runs_and_prints_what_the_page_says(page, block, tmp_path):
    if block["reason"]:
        return
    path = tmp_path / "program.py"
    path.write_text(block["code"])
    done = subprocess.run(
        [sys.executable, "-W", "error", path],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    if block["output"] is None:
        assert done.stdout == "" or page.parent == ROOT, "the page does not show the output"
    else:
        checker = doctest.OutputChecker()
        assert checker.check_output(block["output"], done.stdout, doctest.ELLIPSIS), done.stdout


@pytest.mark.parametrize(("page", "block"), blocks("sh"))
def test_commands_are_make_targets(page, block):
    if block["reason"]:
        return
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for line in block["code"].splitlines():
        command, target, *_ = line.split()
        assert (command, target) == ("make", target), f"{page}: `{line}` needs a reason"
        assert target in targets, f"{page}: no target {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_are_of_a_known_kind(page):
    text = page.read_text()
    found = [block["language"] for block in BLOCK.finditer(text)]

    assert set(found) <= {"python", "sh", *NOT_CODE}
    # Each fence belongs to a block that the rules above see.
    fences = len(re.findall(r"^ *```", text, re.MULTILINE))
    outputs = sum(block["output"] is not None for block in BLOCK.finditer(text))
    assert fences == 2 * (len(found) + outputs)


def test_readme_has_its_example():
    programs = [parameters.values[1]["code"] for parameters in blocks("python")]

    assert any("serve_tcp" in program for program in programs)
