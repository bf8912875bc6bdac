"""TLS with programs that are not ours: openssl and curl, over TCP."""

import contextlib
import random
import shutil
import subprocess
from functools import partial

import pytest

import uringtrio

NAME = "localhost"
BIG = random.Random(0).randbytes(2**20)
PEER_SECONDS_MAX = 15

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")


@pytest.fixture(scope="module")
def pem(certificates, tmp_path_factory):
    """The certificates as files: `pem["ca"]` and `pem["server"]`."""
    directory = tmp_path_factory.mktemp("pem")
    paths = {"ca": directory / "ca.pem", "server": directory / "server.pem"}
    certificates.authority.cert_pem.write_to_path(paths["ca"])
    certificates.server.private_key_and_cert_chain_pem.write_to_path(paths["server"])
    return paths


def run_program(*command, data=b""):
    return subprocess.run(
        [str(word) for word in command],
        input=data,
        capture_output=True,
        timeout=PEER_SECONDS_MAX,
        check=False,
    )


@contextlib.asynccontextmanager
async def serving(handler, context, **options):
    """Serve TLS; gives the port."""
    async with uringtrio.open_nursery() as nursery:
        serve = partial(uringtrio.serve_ssl_over_tcp, host="127.0.0.1", **options)
        listeners = await nursery.start(serve, handler, 0, context)
        yield listeners[0].transport_listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def receive_big(stream):
    data = bytearray()
    while len(data) < len(BIG):
        chunk = await stream.receive_some()
        assert chunk
        data += chunk
    return data


async def answer_big(stream):
    """Send a mebibyte back when it is complete."""
    data = await receive_big(stream)
    await stream.send_all(data)
    await stream.aclose()


def s_client(port, pem, *options):
    return (
        "openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", NAME, "-CAfile",
        pem["ca"], "-verify_return_error", "-verify_hostname", NAME, "-quiet", *options,
    )  # fmt: skip


@needs_openssl
@pytest.mark.parametrize("option", ["-tls1_2", "-tls1_3"])
def test_openssl_gets_its_mebibyte_back(run, server_context, pem, option):
    async def main():
        async with serving(answer_big, server_context) as port:
            command = s_client(port, pem, option)
            return await uringtrio.to_thread.run_sync(partial(run_program, *command, data=BIG))

    done = run(main)
    assert done.stdout == BIG, done.stderr.decode()


@needs_openssl
def test_openssl_that_does_not_trust_us_is_heard(run, server_context, pem):
    """The handler gets one error that says why, and the server goes on."""
    errors = []

    async def handler(stream):
        try:
            await answer_big(stream)
        except uringtrio.BrokenResourceError as exc:
            errors.append(str(exc))

    async def main():
        async with serving(handler, server_context) as port:
            distrustful = s_client(port, {"ca": pem["server"]})
            first = await uringtrio.to_thread.run_sync(run_program, *distrustful)
            assert first.returncode != 0
            command = partial(run_program, *s_client(port, pem), data=BIG)
            return await uringtrio.to_thread.run_sync(command)

    assert run(main).stdout == BIG
    (error,) = errors
    assert "alert unknown ca" in error.replace("_", " ").lower()


class Server:
    """`openssl s_server`: what is written to it is sent to its client, and the reverse."""

    def __init__(self, pem, *options):
        command = ("openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", pem["server"])
        self.process = subprocess.Popen(
            [*command, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.process.kill()
        self.process.communicate()

    def read_until(self, text):
        """Return the first line with `text` in it."""
        for line in self.process.stdout:
            if text in line:
                return line
        raise AssertionError(f"no {text!r} in what openssl prints")

    def port(self):
        return int(self.read_until(b"ACCEPT").rpartition(b":")[2])

    def write(self, text):
        self.process.stdin.write(text)
        self.process.stdin.flush()


@needs_openssl
@pytest.mark.parametrize(
    ("command", "protocol"), [(b"K", "-tls1_3"), (b"k", "-tls1_3"), (b"R", "-tls1_2")]
)
def test_new_keys_in_the_middle_are_nobodys_business(run, certificates, pem, command, protocol):
    """A key update or a renegotiation that openssl begins, between data in both directions."""

    async def main():
        with Server(pem, protocol) as server:
            in_thread = uringtrio.to_thread.run_sync
            port = await in_thread(server.port)
            stream = await uringtrio.open_ssl_over_tcp_stream(
                "127.0.0.1", port, ssl_context=certificates.client_context()
            )
            async with stream:
                await stream.send_all(b"first from us\n")
                await in_thread(server.read_until, b"first from us")
                server.write(command + b"\n")
                # While openssl waits for its answer it takes no data to send.
                with uringtrio.move_on_after(0.2):
                    raise AssertionError(await stream.receive_some())
                await stream.send_all(b"second from us\n")
                await in_thread(server.read_until, b"second from us")
                server.write(b"from openssl\n")
                assert await stream.receive_some() == b"from openssl\n"
                await stream.send_all(b"third from us\n")
                await in_thread(server.read_until, b"third from us")

    run(main)


@needs_openssl
def test_openssl_that_is_killed_leaves_a_broken_connection(run, certificates, pem):
    async def main():
        with Server(pem) as server:
            port = await uringtrio.to_thread.run_sync(server.port)
            stream = await uringtrio.open_ssl_over_tcp_stream(
                "127.0.0.1", port, ssl_context=certificates.client_context()
            )
            async with stream:
                await stream.do_handshake()
                server.process.kill()
                with pytest.raises(uringtrio.BrokenResourceError):
                    await receive_big(stream)

    run(main)


async def serve_http(stream):
    request = b""
    async with stream:
        while not request.endswith(b"\r\n\r\n"):
            chunk = await stream.receive_some()
            if not chunk:
                return
            request += chunk
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(BIG)}\r\nConnection: close\r\n\r\n"
        await stream.send_all(head.encode())
        await stream.send_all(BIG)


@needs_curl
@pytest.mark.parametrize("https_compatible", [False, True])
def test_curl_fetches_a_page(run, server_context, pem, https_compatible):
    async def main():
        async with serving(serve_http, server_context, https_compatible=https_compatible) as port:
            address = f"{NAME}:{port}:127.0.0.1"
            command = ("curl", "-sS", "--cacert", pem["ca"], "--resolve", address)
            return await uringtrio.to_thread.run_sync(
                run_program, *command, f"https://{NAME}:{port}/"
            )

    done = run(main)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == BIG
