"""Cookies: good for one client, one ClientHello and a minute, and for nobody else."""

import pytest
from hypothesis import given, strategies as st

from uringtrio._tls.dtls_codec import (
    HELLO_VERIFY_REQUEST,
    ClientHello,
    decode_fragment,
    decode_records,
)
from uringtrio._tls.dtls_cookies import COOKIE_BYTES, STEP_SECONDS, Cookies

ADDRESS = ("192.0.2.1", 4433)
HELLO = ClientHello(9, b"", b"everything else")
NOW = 1000.0


def cookie_in(challenge):
    (record,) = decode_records(challenge)
    fragment = decode_fragment(record.payload)
    assert fragment.msg_type == HELLO_VERIFY_REQUEST
    assert record.epoch_seqno == HELLO.epoch_seqno
    assert fragment.data[2] == COOKIE_BYTES == len(fragment.data[3:])
    return bytes(fragment.data[3:])


def answered(cookie, rest=HELLO.rest):
    return ClientHello(10, cookie, rest)


@pytest.fixture(scope="module")
def cookies():
    return Cookies()


@pytest.fixture(scope="module")
def cookie(cookies):
    return cookie_in(cookies.challenge(HELLO, ADDRESS, NOW))


def test_cookie_that_comes_back_is_accepted(cookies, cookie):
    assert cookies.accepts(answered(cookie), ADDRESS, NOW)


def test_cookie_lasts_for_at_least_one_step_and_at_most_two(cookies):
    for start in (NOW, NOW + 10, NOW + STEP_SECONDS - 0.5, 0.0):
        cookie = cookie_in(cookies.challenge(HELLO, ADDRESS, start))
        assert cookies.accepts(answered(cookie), ADDRESS, start + STEP_SECONDS)
        assert not cookies.accepts(answered(cookie), ADDRESS, start + 2 * STEP_SECONDS)


@pytest.mark.parametrize("address", [("192.0.2.1", 4434), ("192.0.2.2", 4433), ("::1", 4433, 0, 0)])
def test_cookie_is_of_no_use_to_another_address(cookies, cookie, address):
    assert not cookies.accepts(answered(cookie), address, NOW)


def test_cookie_is_of_no_use_for_another_client_hello(cookies, cookie):
    assert not cookies.accepts(answered(cookie, b"something else"), ADDRESS, NOW)


def test_cookie_is_of_no_use_at_another_server(cookie):
    assert not Cookies().accepts(answered(cookie), ADDRESS, NOW)


@given(at=st.integers(0, COOKIE_BYTES - 1), change=st.integers(1, 255))
def test_changed_cookie_is_refused(cookies, cookie, at, change):
    wrong = bytearray(cookie)
    wrong[at] ^= change
    assert not cookies.accepts(answered(bytes(wrong)), ADDRESS, NOW)


@given(wrong=st.binary(max_size=255))
def test_invented_cookie_is_refused(cookies, wrong):
    assert not cookies.accepts(answered(wrong), ADDRESS, NOW)


def test_every_challenge_has_another_cookie(cookies):
    made = {cookie_in(cookies.challenge(HELLO, ADDRESS, NOW)) for _ in range(50)}
    assert len(made) == 50


def test_answer_is_smaller_than_the_question(cookies):
    """A server must not be a means to send somebody more than its sender sends."""
    smallest_client_hello = 13 + 12 + 2 + 32 + 1 + 1 + 2 + 2 + 2
    assert len(cookies.challenge(HELLO, ADDRESS, NOW)) <= smallest_client_hello
