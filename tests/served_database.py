"""A database behind a socket for tests, `arangopipe serve-db`: one that can be stopped and started again."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airflow_service import free_port

from arangopipe_ops.connection import connect
from arangopipe_ops.store import Store

PASSWORD = "a horse's battery"


class ServedDatabase:
    """The server of one file, as root with `PASSWORD`."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "arangopipe_ops",
            "serve-db",
            "--file",
            str(self.file),
            "--port",
            str(self.port),
        ]
        environment = os.environ | {"ARANGO_ROOT_PASSWORD": PASSWORD}
        with self.file.with_suffix(".log").open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        for _ in range(300):
            if self._answers():
                return
            time.sleep(0.1)
        raise TimeoutError(self.file.with_suffix(".log").read_text())

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)
            self.process = None

    def store(self) -> Store:
        return Store(connect(f"http://root:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{self.port}/_system"))

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/_api/version", timeout=5)
        except urllib.error.HTTPError:  # it asks for a password
            return True
        except OSError:
            return False
        return True


@contextmanager
def served(file: Path) -> Iterator[ServedDatabase]:
    database = ServedDatabase(file)
    try:
        database.start()
        yield database
    finally:
        database.stop()
