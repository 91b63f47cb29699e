"""Publishing a log: commit, root, sign, keep the note, tiles, cosignatures, and the `checkpoint` file last of all."""

from __future__ import annotations

from ledger import note, places, tiles, tlog
from ledger.core import Ledger
from ledger.store import reading
from ledger.witness.client import Cosigners, Round


def publish(ledger: Ledger, cosigners: Cosigners | None = None) -> Round:
    """Publish the head of an open log below logs/<name>/tiles; returns it with what the witnesses said.

    cosigners : asked once the tiles stand, so that they may read the entries; the head is shown to the world only with
        a quorum. Raises WitnessError without one: the tiles stay, the published head stays the one before.
    """
    signed = ledger.checkpoint()
    folder = places.tiles(ledger.folder, ledger.name)
    found = Round(signed, (), {})
    with reading(ledger.folder, ledger.name) as store:
        if cosigners is not None:
            head = note.Checkpoint.parse(note.Note.parse(signed).text)
            tiles.write_tiles(store, folder, head.size, tiles.published(store, folder, head))
            found = cosigners.round(signed, lambda first, second: tlog.consistency(store.node, first, second))
            ledger.keep(found.signed)
        tiles.publish(store, folder, found.signed)
    return found
