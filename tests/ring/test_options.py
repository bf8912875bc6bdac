"""RingOptions refuses what no kernel takes, and says what it would take."""

import dataclasses

import pytest

from uringtrio import RingOptions


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("entries", 0),
        ("entries", -1),
        ("entries", 32769),
        ("cq_entries", 511),
        ("cq_entries", 65537),
        ("buffer_count", -1),
        ("buffer_count", 65536),
        ("buffer_size", 0),
        ("buffer_size", (1 << 20) + 1),
        ("sqpoll_idle_ms", -1),
        ("iowq_max_workers", -1),
        ("spin_us", -1),
        ("spin_us", 1_000_001),
    ],
)
def test_value_out_of_range_is_told_the_range(name, value):
    with pytest.raises(ValueError, match=rf"RingOptions\({name}={value}\) must be from \d+ to \d+"):
        RingOptions(**{name: value})


@pytest.mark.parametrize("count", [3, 5, 100, 1000])
def test_buffer_count_must_be_a_power_of_two(count):
    with pytest.raises(ValueError, match=f"power of two or 0, not {count}"):
        RingOptions(buffer_count=count)


@pytest.mark.parametrize("name", ["entries", "cq_entries", "buffer_count", "buffer_size"])
@pytest.mark.parametrize("value", [1.0, "8", None])
def test_value_that_is_no_int_is_a_type_error(name, value):
    with pytest.raises(TypeError, match=f"{name}=...*must be an int"):
        RingOptions(**{name: value})


@pytest.mark.parametrize("count", [0, 1, 2, 256, 32768])
def test_buffer_counts_that_work(count):
    assert RingOptions(buffer_count=count).buffer_count == count


def test_limits_are_inclusive():
    options = RingOptions(entries=1, cq_entries=1, buffer_size=1)
    assert (options.entries, options.cq_entries, options.buffer_size) == (1, 1, 1)
    RingOptions(entries=32768, cq_entries=65536, buffer_size=1 << 20, spin_us=1_000_000)


def test_options_are_frozen_and_by_keyword():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RingOptions().entries = 5
    with pytest.raises(TypeError):
        RingOptions(8)
