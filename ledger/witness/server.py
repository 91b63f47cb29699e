"""A witness behind HTTP: `POST <prefix>/add-checkpoint` (C2SP tlog-witness), connections kept alive."""

from __future__ import annotations

import logging
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any

from ledger.witness.node import Answer, Witness

MAX_BODY = 64 * 1024
"""A head with 63 hashes and 100 cosignatures has 20 KiB."""
IDLE_S = 60
log = logging.getLogger(__name__)


class WitnessServer:
    """Serves one witness from a thread; use as a context manager, or `serve` in the foreground."""

    def __init__(self, witness: Witness, host: str = "127.0.0.1", port: int = 0) -> None:
        """port 0 : one that is free; see `url`."""
        self._server = _Server((host, port), _Handler)
        self._server.witness = witness
        self._thread: Thread | None = None

    @property
    def url(self) -> str:
        """Submission prefix."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def serve(self) -> None:
        """Answer until `close` is called from another thread."""
        self._server.serve_forever(poll_interval=0.05)

    def __enter__(self) -> WitnessServer:
        self._thread = Thread(target=self.serve, name=f"witness {self._server.witness.signer.name}", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop answering and free the port."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    witness: Witness


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "vpptwin-witness"
    sys_version = ""
    timeout = IDLE_S
    wbufsize = 16 * 1024
    """Head and body of an answer leave in one packet; two would wait for each other's acknowledgement."""
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        """The one call of the protocol."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY:
            self.close_connection = True
            self.rfile.read(min(int(length), 16 * MAX_BODY) if length.isdecimal() else 0)
            self._say(Answer(400, "a body of known and moderate length is needed\n"))
            return
        body = self.rfile.read(int(length))
        if not self.path.endswith("/add-checkpoint"):
            self._say(Answer(404, "POST add-checkpoint\n"))
            return
        self._say(self.server.witness.add_checkpoint(body))

    def do_GET(self) -> None:
        """The witness' key, for whoever writes a policy."""
        if self.path == "/vkey":
            self._say(Answer(200, self.server.witness.signer.cosigner.vkey + "\n"))
        else:
            self._say(Answer(404, "POST add-checkpoint\n"))

    def _say(self, answer: Answer) -> None:
        body = answer.body.encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.type)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """To the module's logger, not to the terminal."""
        log.debug(format, *args)
