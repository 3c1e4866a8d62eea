"""A client that sends at a steady rate, whatever the server does, and knows what became of it.

Open loop: a request is due at its time, also when earlier ones are slow. A request whose connection
broke without an answer is sent once more on a new connection, as a client with one retry does; that
it was, is counted.
"""

import http.client
import json
import threading
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 30.0
_BROKEN = (ConnectionError, http.client.HTTPException, TimeoutError)


@dataclass
class Outcomes:
    """What became of the requests so far."""

    answered: int = 0
    retried: int = 0
    failed: int = 0
    last_failure: str = ""


@dataclass(frozen=True)
class Answer:
    """One answered request: wall-clock seconds, and who answered."""

    sent: float
    received: float
    revision: str


class SteadyLoad:
    """Sends one body at a rate over a few kept-alive connections until it is stopped.

    Args:
        url: Where to.
        body: What.
        rate: Requests a second, over all connections.
        connections: Connections, each a thread.
    """

    def __init__(self, url: str, body: dict[str, object], *, rate: float, connections: int) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "", parts.port or 80)
        self._path = parts.path
        self._body = json.dumps(body).encode()
        self._interval = connections / rate
        self._outcomes = Outcomes()
        self._answers: list[Answer] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number / rate,), daemon=True)
            for number in range(connections)
        ]

    def start(self) -> None:
        """Begin sending."""
        for thread in self._threads:
            thread.start()

    def outcomes(self) -> Outcomes:
        """A copy of what became of the requests so far."""
        with self._lock:
            now = self._outcomes
            return Outcomes(now.answered, now.retried, now.failed, now.last_failure)

    def answers(self) -> list[Answer]:
        """Every answer so far, in no order."""
        with self._lock:
            return list(self._answers)

    def stop(self) -> Outcomes:
        """Finish what is under way."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(2 * TIMEOUT_SECONDS)
        return self.outcomes()

    def _run(self, offset: float) -> None:
        connection = self._connect()
        due = time.monotonic() + offset
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            due += self._interval
            try:
                status, said = self._send(connection)
            except _BROKEN:
                with self._lock:
                    self._outcomes.retried += 1
                connection.close()
                connection = self._connect()
                try:
                    status, said = self._send(connection)
                except _BROKEN as error:
                    status, said = 0, f"{type(error).__name__}: {error}"
                    connection.close()
                    connection = self._connect()
            self._count(status, said)
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(*self._address, timeout=TIMEOUT_SECONDS)

    def _send(self, connection: http.client.HTTPConnection) -> tuple[int, str]:
        headers = {"content-type": "application/json"}
        sent = time.time()
        connection.request("POST", self._path, self._body, headers)
        answer = connection.getresponse()
        said = answer.read()
        if answer.status == 200:
            revision = answer.getheader("mooring-revision") or ""
            with self._lock:
                self._answers.append(Answer(sent, time.time(), revision))
        return answer.status, said[:300].decode("utf-8", "replace")

    def _count(self, status: int, said: str) -> None:
        with self._lock:
            if status == 200:
                self._outcomes.answered += 1
            else:
                self._outcomes.failed += 1
                self._outcomes.last_failure = f"{status} {said}"
