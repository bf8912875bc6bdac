"""open_file and open, given the same calls: same results, same exceptions, same bytes on disk."""

import functools
import os
import warnings

from hypothesis import HealthCheck, example, given, settings

import uringtrio

from .twins import programs, run_async_twin, run_sync_twin

# As many as the environment says, for a long run: others each time. By default always the same.
EXAMPLES = int(os.environ.get("URINGTRIO_FILE_EXAMPLES", "0"))


# Where such a write ends up depends on how much is read at once.
WRITTEN_AFTER_A_LONG_CHUNK = (
    None,
    {"mode": "w+", "encoding": "utf-16"},
    [("write", "v" * 9000), ("return", 0), ("read", 1), ("write", ""), ("read", 5000)],
    True,
)


def bytes_of(path):
    return path.read_bytes() if path.exists() else None


@settings(
    max_examples=EXAMPLES or 300,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(program=programs())
@example(program=WRITTEN_AFTER_A_LONG_CHUNK)
def test_open_file_does_what_open_does(program, tmp_path):
    content, options, steps, is_cached = program
    paths = [tmp_path / "left", tmp_path / "right"]
    for path in paths:
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
    with warnings.catch_warnings(action="ignore"):
        expected = run_sync_twin(paths[0], options, steps)
    found = uringtrio.run(
        functools.partial(run_async_twin, paths[1], options, steps, is_cached=is_cached)
    )

    assert found == expected
    assert bytes_of(paths[1]) == bytes_of(paths[0])
