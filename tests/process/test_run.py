"""run_process: what it feeds, collects, checks and refuses."""

import asyncio
import errno
import subprocess
from functools import partial

import pytest

import uringtrio
from uringtrio import run_process

BIG = bytes(range(256)) * (8 * 2**20 // 256)


def test_result_says_what_became_of_the_command(run):
    done = run(run_process, ["true"])

    assert isinstance(done, subprocess.CompletedProcess)
    assert (done.args, done.returncode, done.stdout, done.stderr) == (["true"], 0, None, None)


def test_child_reads_the_end_unless_it_is_given_something(run):
    assert run(partial(run_process, ["cat"], capture_stdout=True)).stdout == b""


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_input_is_fed_and_output_collected(run, kind):
    done = run(
        partial(run_process, ["cat"], stdin=kind(b"hello"), capture_stdout=True)  # all of it
    )

    assert done.stdout == b"hello"
    assert type(done.stdout) is bytes
    assert done.stderr is None


def test_input_from_a_file(run, tmp_path):
    (tmp_path / "in").write_bytes(b"hello")

    async def main():
        with (tmp_path / "in").open() as source:
            return await run_process(["cat"], stdin=source, capture_stdout=True)

    assert run(main).stdout == b"hello"


def test_output_and_errors_are_kept_apart_or_mixed_in_order(run):
    command = ["sh", "-c", "echo out; echo err >&2; echo out"]
    apart = run(partial(run_process, command, capture_stdout=True, capture_stderr=True))
    mixed = run(partial(run_process, command, capture_stdout=True, stderr=subprocess.STDOUT))

    assert (apart.stdout, apart.stderr) == (b"out\nout\n", b"err\n")
    assert (mixed.stdout, mixed.stderr) == (b"out\nerr\nout\n", None)


def test_huge_output_on_both_pipes_while_the_input_is_fed(run):
    """Each of the three pipes is full many times: whoever served one after the other would hang."""
    done = run(
        partial(
            run_process,
            ["tee", "/dev/stderr"],
            stdin=BIG,
            capture_stdout=True,
            capture_stderr=True,
        )
    )

    assert done.stdout == BIG
    assert done.stderr == BIG


def test_child_that_closes_its_pipes_early(run):
    done = run(
        partial(
            run_process,
            ["sh", "-c", "exec <&- >&- 2>&-; sleep 0.05; exit 5"],
            stdin=BIG,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    )

    assert (done.returncode, done.stdout, done.stderr) == (5, b"", b"")


def test_child_that_exits_without_reading_its_input(run):
    assert run(partial(run_process, ["true"], stdin=BIG)).returncode == 0


def test_output_that_outlives_the_child_is_collected_to_its_end(run):
    command = ["sh", "-c", "(sleep 0.1; echo late) & echo early"]
    done = run(partial(run_process, command, capture_stdout=True))

    assert done.stdout == b"early\nlate\n"


def test_failure_raises_with_what_was_captured(run):
    command = ["sh", "-c", "echo out; echo err >&2; exit 3"]

    async def main():
        with pytest.raises(subprocess.CalledProcessError) as caught:
            await run_process(command, capture_stdout=True, capture_stderr=True)
        error = caught.value
        assert (error.cmd, error.returncode) == (command, 3)
        assert (error.stdout, error.stderr) == (b"out\n", b"err\n")
        with pytest.raises(subprocess.CalledProcessError) as caught:
            await run_process(["false"])
        assert caught.value.stdout is caught.value.stderr is None
        assert (await run_process(["false"], check=False)).returncode == 1

    run(main)


def test_death_by_a_signal_is_a_failure(run):
    async def main():
        with pytest.raises(subprocess.CalledProcessError, match="SIGKILL"):
            await run_process(["sh", "-c", "kill -9 $$"])

    run(main)


def test_what_cannot_be_started_is_raised_bare(run, tmp_path):
    async def main():
        with pytest.raises(FileNotFoundError) as caught:
            await run_process(["/does/not/exist"], capture_stdout=True)
        assert caught.value.filename == "/does/not/exist"
        with pytest.raises(FileNotFoundError):
            await run_process(["true"], cwd=tmp_path / "nowhere")
        with pytest.raises(PermissionError) as caught:
            await run_process([tmp_path])
        assert caught.value.errno == errno.EACCES

    run(main)


# In the background.


def test_started_child_is_a_process_while_it_runs(run):
    async def main():
        async with uringtrio.open_nursery() as nursery:
            process = await nursery.start(
                partial(run_process, ["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            )
            assert isinstance(process, uringtrio.Process)
            assert process.returncode is None
            await process.stdio.send_all(b"hello")
            assert await process.stdio.receive_some() == b"hello"
            await process.stdio.aclose()
        assert process.returncode == 0

    run(main)


def test_streams_that_are_served_are_not_the_callers(run):
    async def main():
        async with uringtrio.open_nursery() as nursery:
            process = await nursery.start(
                partial(run_process, ["cat"], stdin=b"x", stdout=subprocess.PIPE)
            )
            assert process.stdin is process.stdio is None
            async with process.stdout:
                assert await process.stdout.receive_some() == b"x"
            process = await nursery.start(
                partial(
                    run_process,
                    ["true"],
                    stdin=subprocess.PIPE,
                    capture_stdout=True,
                    capture_stderr=True,
                )
            )
            assert process.stdout is process.stderr is process.stdio is None
            await process.stdin.aclose()

    run(main)


def test_failure_in_the_background_comes_out_of_the_nursery(run):
    async def main():
        with pytest.raises(ExceptionGroup) as caught:
            async with uringtrio.open_nursery() as nursery:
                await nursery.start(partial(run_process, ["false"], capture_stderr=True))
        (error,) = caught.value.exceptions
        assert type(error) is subprocess.CalledProcessError
        assert error.stderr == b""

    run(main)


def test_what_cannot_be_started_comes_out_of_start(run):
    async def main():
        async with uringtrio.open_nursery() as nursery:
            with pytest.raises(FileNotFoundError):
                await nursery.start(run_process, ["/does/not/exist"])

    run(main)


# Bad input.


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"stdin": "text"}, UnicodeError, "stdin must be bytes, not str"),
        ({"stdin": subprocess.PIPE}, ValueError, "stdin=subprocess.PIPE .* pass the data"),
        ({"stdout": subprocess.PIPE}, ValueError, "stdout=subprocess.PIPE .* only way"),
        ({"stderr": subprocess.PIPE}, ValueError, "stderr=subprocess.PIPE .* only way"),
        (
            {"stdout": subprocess.DEVNULL, "capture_stdout": True},
            ValueError,
            "can't specify both stdout and capture_stdout",
        ),
        (
            {"stderr": None, "capture_stderr": True},
            ValueError,
            "can't specify both stderr and capture_stderr",
        ),
        ({"text": True}, TypeError, "the 'text' option is not supported"),
        ({"stdin": 1.5}, TypeError, "stdin must be None, .* not 1.5"),
        ({"shell": True}, TypeError, "command must be one str or bytes with shell=True"),
        ({"capture_output": True}, TypeError, "capture_output"),
    ],
)
def test_bad_options_are_refused(run, options, error, message):
    async def main():
        with pytest.raises(error, match=message):
            await run_process(["true"], **options)

    run(main)


def test_under_another_loop_says_where_it_belongs():
    with pytest.raises(RuntimeError, match="must be called from async context"):
        asyncio.run(run_process(["true"]))


# Crowds.


def test_200_children_at_once(run):
    count = 200

    async def main():
        processes = []
        async with uringtrio.open_nursery() as nursery:
            for number in range(count):
                command = ["sh", "-c", f"read line; exit {number % 100}"]
                processes.append(
                    await nursery.start(
                        partial(run_process, command, stdin=subprocess.PIPE, check=False)
                    )
                )
            assert len({process.pid for process in processes}) == count
            assert all(process.returncode is None for process in processes)
            for process in processes:
                await process.stdin.aclose()
        assert [process.returncode for process in processes] == [n % 100 for n in range(count)]

    run(main)


def test_each_of_many_concurrent_calls_gets_its_own_output(run):
    async def one(number):
        done = await run_process(["cat"], stdin=b"%d" % number, capture_stdout=True)
        assert done.stdout == b"%d" % number

    async def main():
        async with uringtrio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(one, number)

    run(main)
