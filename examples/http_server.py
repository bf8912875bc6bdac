"""An HTTP/1.1 server: h11 knows the protocol, uringtrio moves the bytes.

    python examples/http_server.py --port 8000
    curl http://127.0.0.1:8000/hello

It answers each request with what was asked, as JSON, keeps connections open as long as the client
wants, and gives up on a client that is silent for too long. Ctrl-C ends it.
"""

from __future__ import annotations

import argparse
import json
import signal
from functools import partial

import h11

import uringtrio

# Between two requests, and within one.
IDLE_SECONDS_MAX = 30.0
BODY_BYTES_MAX = 1 << 20
RECEIVE_BYTES = 65536


class RequestTooLargeError(Exception):
    """The body of a request is larger than this server wants to hold."""


class Connection:
    """One client: events of h11 over a stream of bytes."""

    def __init__(self, stream: uringtrio.SocketStream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.SERVER)

    @property
    def is_reusable(self) -> bool:
        """Whether the client may send another request after this one."""
        return self._http.states == {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}

    def start_next_cycle(self) -> None:
        self._http.start_next_cycle()

    async def next_event(self) -> object:
        """Wait for the next part of a request."""
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self._http.they_are_waiting_for_100_continue:
                await self.send(h11.InformationalResponse(status_code=100, headers=[]))
            self._http.receive_data(await self._stream.receive_some(RECEIVE_BYTES))

    async def receive_request(self) -> tuple[h11.Request, bytes] | None:
        """Return the next request and its body; None if the client has no more."""
        request = await self.next_event()
        if not isinstance(request, h11.Request):
            return None
        body = bytearray()
        while isinstance(event := await self.next_event(), h11.Data):
            body += event.data
            if len(body) > BODY_BYTES_MAX:
                raise RequestTooLargeError
        return request, bytes(body)

    async def send(self, *events: h11.Event) -> None:
        """Send the events in one piece, which is one system call and one packet."""
        await self._stream.send_all(b"".join(self._http.send(event) or b"" for event in events))

    async def respond(self, status: int, content: bytes) -> None:
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
        await self.send(
            h11.Response(status_code=status, headers=headers),
            h11.Data(data=content),
            h11.EndOfMessage(),
        )

    async def refuse(self, status: int, reason: str) -> None:
        """Say what was wrong, if it can still be said; the connection is over."""
        if self._http.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            await self.respond(status, json.dumps({"error": reason}).encode())


async def handle(stream: uringtrio.SocketStream) -> None:
    """Answer the requests of one client, until it leaves or is silent for too long."""
    connection = Connection(stream)
    try:
        while True:
            with uringtrio.move_on_after(IDLE_SECONDS_MAX) as silence:
                received = await connection.receive_request()
            if silence.cancelled_caught or received is None:
                return
            await connection.respond(200, answer(*received))
            if not connection.is_reusable:
                return
            connection.start_next_cycle()
    except h11.RemoteProtocolError as exc:
        await connection.refuse(exc.error_status_hint, str(exc))
    except RequestTooLargeError:
        await connection.refuse(413, f"at most {BODY_BYTES_MAX} bytes of body")
    except uringtrio.BrokenResourceError:
        # The client went away in the middle, which is no concern of the others.
        pass


def answer(request: h11.Request, body: bytes) -> bytes:
    return json.dumps(
        {
            "method": request.method.decode("ascii"),
            "target": request.target.decode("ascii"),
            "body": body.decode("utf-8", "replace"),
        }
    ).encode()


async def serve(host: str, port: int) -> None:
    """Serve until the program is interrupted."""
    async with uringtrio.open_nursery() as nursery:
        listeners = await nursery.start(partial(uringtrio.serve_tcp, handle, port, host=host))
        print(f"listening on {host} port {listeners[0].socket.getsockname()[1]}", flush=True)
        await uringtrio.sleep_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0 picks a free one")
    options = parser.parse_args()
    # A shell that starts a program in the background may have it ignore Ctrl-C; this one must not.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        uringtrio.run(partial(serve, options.host, options.port))
    except* KeyboardInterrupt:
        # It arrives in whichever task runs, so that it may come out of nurseries, as a group.
        pass


if __name__ == "__main__":
    main()
