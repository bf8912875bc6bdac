"""The examples about files: examples/grep.py and examples/tail_log.py, as programs of their own."""

import subprocess
import sys
import time
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"
TIMEOUT_SECONDS = 50


def grep(*arguments, cwd):
    return subprocess.run(
        [sys.executable, EXAMPLES / "grep.py", *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        cwd=cwd,
        check=False,
    )


def test_grep_finds_what_grep_finds(tmp_path):
    for i in range(100):
        directory = tmp_path / str(i % 7)
        directory.mkdir(exist_ok=True)
        (directory / f"{i}.txt").write_text("".join(f"line {j}\n" for j in range(i)))
    (tmp_path / "binary").write_bytes(b"line 42\n\xff\xfe")
    (tmp_path / "loop").symlink_to(tmp_path)
    done = grep("line .*[29]2$", ".", cwd=tmp_path)
    expected = [
        f"{path.relative_to(tmp_path)}:{number}:{line}"
        for path in tmp_path.glob("*/*.txt")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if line in {"line 22", "line 92"}
    ]

    lines = [line for line in done.stdout.splitlines() if not line.startswith("binary")]
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(set(lines)) == sorted(line for line in expected if not line.startswith("loop"))
    assert grep("no such text", ".", cwd=tmp_path).returncode == 1


def test_tail_follows_files_that_grow_shrink_and_are_replaced(tmp_path):
    log, late = tmp_path / "log", tmp_path / "late"
    log.write_text("old line\n")
    with subprocess.Popen(
        [sys.executable, EXAMPLES / "tail_log.py", log, late], stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout.readline() == "following\n"
            # It has to have seen the end of the file.
            time.sleep(0.5)
            with log.open("a") as file:
                file.write("half a line")
                file.flush()
                time.sleep(0.2)
                file.write(", whole\n")
            assert child.stdout.readline() == f"{log}: half a line, whole\n"
            late.write_text("from the start\n")
            assert child.stdout.readline() == f"{late}: from the start\n"
            with log.open("a") as file:
                log.rename(tmp_path / "log.1")
                log.write_text("of the new file\n")
                file.write("last of the old\n")
            found = {child.stdout.readline() for _ in range(2)}
            assert found == {f"{log}: last of the old\n", f"{log}: of the new file\n"}
            log.write_text("new\n")
            assert child.stdout.readline() == f"{log}: new\n"
        finally:
            child.terminate()
        assert child.wait(TIMEOUT_SECONDS) == 0
