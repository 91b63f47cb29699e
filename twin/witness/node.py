"""One witness process: its key and memory in a folder, its clock the machine's. Loads no more than it needs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ledger.keys import FILE, KeyRing
from ledger.note import Signer, Verifier
from ledger.tiles import prefix_fetch
from ledger.witness import Validator, Witness, WitnessServer
from ledger.witness.heads import Heads
from twin.clock import WallClock
from twin.errors import TwinError

US = 1_000_000


def make(folder: Path, name: str) -> Signer:
    """The signing key of a witness; made from the system's randomness if the folder has none yet."""
    if (folder / FILE).exists():
        held = (folder / "name").read_text().strip()
        if held != name:
            raise TwinError(f"this folder is that of {held}", where=str(folder), mend="one folder a witness")
        return KeyRing.load(folder).signer(name)
    ring = KeyRing.random()
    ring.save(folder)
    (folder / "name").write_text(f"{name}\n")
    return ring.signer(name)


def serve(folder: Path, name: str, logs: Sequence[str], *, validate: str = "", host: str, port: int) -> None:
    """Answer until interrupted; first prints address and key, flushed.

    logs : verifier keys of the logs that are cosigned; validate : where those logs are published (folder or address),
        `{log}` in it stands for a log's name; empty: the rules are not re-executed
    """
    verifiers = [Verifier.parse(log) for log in logs]
    rules = {v.name: Validator(v.name, prefix_fetch(validate.replace("{log}", v.name))) for v in verifiers if validate}
    signer = make(folder, name)
    heads = Heads(folder / "heads.db")
    clock = WallClock()
    server = WitnessServer(Witness(signer, verifiers, heads, lambda: clock.now_us() // US, rules), host, port)
    sys.stdout.write(f"{server.url} {signer.cosigner.vkey}\n")
    sys.stdout.flush()
    try:
        server.serve()
    except KeyboardInterrupt:
        pass
    finally:
        server.close()
        heads.close()


def main(arguments: Sequence[str]) -> None:
    """`python -m twin.witness.node FOLDER NAME VKEY [--validate PREFIX] [--port N]`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("name")
    parser.add_argument("log", nargs="+")
    parser.add_argument("--validate", default="")
    parser.add_argument("--port", type=int, default=0)
    given = parser.parse_args(arguments)
    serve(given.folder, given.name, given.log, validate=given.validate, host="127.0.0.1", port=given.port)


if __name__ == "__main__":
    main(sys.argv[1:])
