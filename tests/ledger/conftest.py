"""Two homes, an operator with a meter and the grid: a village on one ledger, a site with logs of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ledger import Books, Draft, KeyRing, Ledger, batch_root, drafts, nonce, reading_leaf, settle_slot

T0 = 1_473_058_800_000_000  # 2016-09-05 07:00 UTC, on a quarter of an hour
SLOT_US = 900_000_000
HOMES = ("home-1", "home-2")
DIGEST = "ab" * 32
PARTIES = {"grid": ("grid", []), "home-1": ("prosumer", ["pv-1"]), "home-2": ("prosumer", []), "vpp": ("operator", [])}


class Village:
    """Fills a ledger slot by slot with deterministic energies; its clock stands where it is put."""

    def __init__(self, folder: Path, seed: int = 1, **genesis: object) -> None:
        self.now = T0 - SLOT_US
        self.keys = KeyRing.derived(seed)
        self.folder = folder
        facts = {"currency": "USD", "operator": "vpp", "grid": "grid", **genesis}
        self.ledger = Ledger.create(folder, log="homes/main", keys=self.keys, now_us=lambda: self.now, genesis=facts)
        self.ledger.append_many(
            [
                drafts.registration(w, role, meter=f"meter-{w}", devices=devices, keys=self.keys)
                for w, (role, devices) in PARTIES.items()
            ]
        )

    def reopen(self) -> Ledger:
        """The ledger opened again for writing."""
        self.ledger = Ledger.open(self.folder, keys=self.keys, now_us=lambda: self.now)
        return self.ledger

    def price(self, n: int) -> str:
        """Write the prices of slot n at its start."""
        start = T0 + n * SLOT_US
        self.now = start
        digest = hashlib.sha256(str(n).encode()).hexdigest()
        homes = {"home-1": 190_000 + n, "home-2": 201_003}
        draft = drafts.price(
            "vpp", slot_us=start, slot_s=900, buy=homes, sell={"home-1": 81_000, "home-2": 79_999}, grid="grid",
            import_price=210_000, export_price=80_000, plan=f"plan:{n}", inputs=digest, certificate=digest,
        )  # fmt: skip
        self.ledger.append_many([draft])
        return draft.id

    def meter(self, n: int, energies: dict[str, int] | None = None, rev: int = 0) -> None:
        """Write the metering of slot n at its end; by default energies balance up to 1 Wh."""
        start = T0 + n * SLOT_US
        self.now = max(self.now, start + SLOT_US)
        base = energies or {"home-1": 300 + 7 * n, "home-2": -900 + n, "vpp": 250, "grid": 350 - 8 * n + 1}
        batch = []
        for wallet, wh in base.items():
            device = f"meter-{wallet}"
            leaves = [
                reading_leaf(
                    start + k * 60_000_000, 0, {"p_w": 4 * wh + k}, nonce(self.keys.nonce_key(), device, start, k)
                )
                for k in range(3)
            ]
            quality = "actual" if rev or n % 5 else "estimated"
            batch.append(
                drafts.metering(
                    wallet,
                    device,
                    start_us=start,
                    period_s=900,
                    root=batch_root(leaves),
                    count=3,
                    wh=wh,
                    quality=quality,
                    rev=rev,
                    reg=(0, max(-wh, 0), 0, max(wh, 0)),
                )
            )
        self.ledger.append_many(batch)

    def settle(self, n: int) -> int:
        """Settle slot n; returns how many entries that made."""
        made = settle_slot(self.ledger.state, T0 + n * SLOT_US)
        self.ledger.append_many(made)
        return len(made)

    def slots(self, count: int, start: int = 0) -> Village:
        """Price, meter and settle `count` slots."""
        for n in range(start, start + count):
            self.price(n)
            self.meter(n)
            self.settle(n)
        return self


class Site:
    """Books of two homes, an operator and the grid, filled slot by slot."""

    def __init__(self, folder: Path, **facts: object) -> None:
        self.folder, self.now, self.keys = folder, T0 - SLOT_US, KeyRing.derived(1)
        genesis = {"currency": "USD", "operator": "vpp", "grid": "grid", **facts}
        self.books = Books.create(
            folder, site="s", keys=self.keys, now_us=lambda: self.now, genesis=genesis, apart=HOMES
        )
        for party in ("vpp", "grid", *HOMES):
            self.books.register(party, "role", meter=f"m-{party}", devices=[], keys=self.keys)

    def price(self, n: int, buy: int = 190_003, sell: int = 81_001) -> bool:
        self.now = T0 + n * SLOT_US
        return self.books.price(
            "vpp", slot_us=self.now, slot_s=900, buy=dict.fromkeys(HOMES, buy), sell=dict.fromkeys(HOMES, sell),
            grid="grid", import_price=210_000, export_price=80_000, plan="p", inputs=DIGEST, certificate=DIGEST,
        )  # fmt: skip

    def settle(self, n: int, energies: dict[str, int], rev: int = 0, *, anchored: bool = False) -> None:
        start = T0 + n * SLOT_US
        self.now = max(self.now, start + SLOT_US)
        self.books.settle(
            [start], [self.metering(n, party, wh, rev) for party, wh in energies.items()], anchored=anchored
        )

    def metering(self, n: int, party: str, wh: int, rev: int = 0) -> Draft:
        return drafts.metering(
            party, f"m-{party}", start_us=T0 + n * SLOT_US, period_s=900, root=batch_root([]), count=0, wh=wh,
            quality="actual", rev=rev, reg=(0, max(-wh, 0), 0, max(wh, 0)),
        )  # fmt: skip

    def day(self, slots: int = 3) -> Site:
        for n in range(slots):
            assert self.price(n)
            self.settle(n, {"home-1": 301 + n, "home-2": -907, "vpp": 250, "grid": 356 - n})
        self.books.anchor()
        return self


@pytest.fixture(scope="session")
def site_class() -> type[Site]:
    """Books of two homes, an operator and the grid; for tests that make several."""
    return Site


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Makes such books in folders of their own and closes them."""
    made: list[Site] = []

    def make(name: str = "ledger", **facts: object) -> Site:
        made.append(Site(tmp_path / name, **facts))
        return made[-1]

    yield make
    for site in made:
        site.books.close()


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    """Books of two homes, nothing in them yet but who they are."""
    return make_site()


@pytest.fixture
def make_village(tmp_path: Path) -> Iterator[Callable[..., Village]]:
    """Makes villages in folders of their own and closes them."""
    made: list[Village] = []

    def make(name: str = "run", **options: object) -> Village:
        village = Village(tmp_path / name / "ledger", **options)
        made.append(village)
        return village

    yield make
    for village in made:
        village.ledger.close()


@pytest.fixture
def village(make_village: Callable[..., Village]) -> Village:
    """A village of four settled slots."""
    return make_village().slots(4)
