"""Products of prices and powers: what ties a relaxation's payments to what is bought and sold at those prices.

The relaxation takes payments from the duals' value, which without complementarity knows nothing of prices times powers:
it may claim what followers pay at market prices while they behave as one hand wants. Here every product nu * power is a
column of its own between its four McCormick planes (nu: dual of a follower's balance, between the two prices; the
products of buying and selling equal price times power as well), and three families of equations hold:

- of an asset: nu times what it gives = its own cost + its limits' duals times their levels, strong duality of the
  asset alone, since given nu a follower separates into its assets,
- of a balance times nu: the products of all assets and of trade = nu * load,
- squares lie below the chord over their range.

Where prices or powers are at an end of their range the planes are exact, so at market prices nothing is left to claim.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp

from controller.case import Asset, FloatArray, Storage, Turbine
from controller.qp import IntArray
from controller.stackelberg.kkt import KktProgram

Entry = tuple[IntArray, float | FloatArray]


@dataclass(slots=True)
class Rows:
    """Rows of a linear program under construction."""

    count: int = 0
    _rows: list[IntArray] = field(default_factory=list)
    _cols: list[IntArray] = field(default_factory=list)
    _values: list[FloatArray] = field(default_factory=list)
    _low: list[FloatArray] = field(default_factory=list)
    _high: list[FloatArray] = field(default_factory=list)

    def add(self, entries: list[Entry], low: float | FloatArray, high: float | FloatArray) -> IntArray:
        """Add one row per element: sum of coefficient * column within [low, high]; returns their places."""
        n = entries[0][0].shape[0]
        places = np.arange(self.count, self.count + n)
        for columns, values in entries:
            self.extend(places, columns, values)
        self._low.append(_row(low, n))
        self._high.append(_row(high, n))
        self.count += n
        return places

    def extend(self, rows: IntArray, columns: IntArray, values: float | FloatArray) -> None:
        """Add coefficients to rows there are."""
        self._rows.append(rows)
        self._cols.append(columns)
        self._values.append(_row(values, rows.shape[0]))

    def matrix(self, width: int) -> sp.csr_matrix:
        """All rows, `width` columns."""
        if not self.count:
            return sp.csr_matrix((0, width))
        entries = np.concatenate(self._values), (np.concatenate(self._rows), np.concatenate(self._cols))
        return sp.csr_matrix(entries, shape=(self.count, width))

    @property
    def low(self) -> FloatArray:
        """Lower ends."""
        return np.concatenate([*self._low, np.zeros(0)])

    @property
    def high(self) -> FloatArray:
        """Upper ends."""
        return np.concatenate([*self._high, np.zeros(0)])


class Products:
    """Rows and product columns for one window; products take the places from `first` on, squares from `squares` on."""

    def __init__(self, kkt: KktProgram, squares: int, first: int) -> None:
        self.kkt, self.rows, self.first = kkt, Rows(), first
        self.count = 0
        self.low, self.high = list[FloatArray](), list[FloatArray]()
        """Ranges of the product columns."""
        self._squares = squares
        self._chords()
        self._duality = self._cost_by_source()
        for number in range(len(kkt.game.followers)):
            self._follower(number)

    def _follower(self, number: int) -> None:
        kkt, prepared = self.kkt, self.kkt.game.followers[number]
        model, answer = prepared.solver.model, kkt.answer(number)
        nu = kkt.balance(number)
        balance = self.rows.add([(nu, -prepared.vectors.row_lo[model.rows["balance"]])], 0.0, 0.0)
        for name, sign, price in (("buy", 1.0, kkt.to), ("sell", -1.0, kkt.back)):
            power = answer[model.cols[name]]
            product = self._product(nu, power)
            self._planes(product, price, power, kkt.hours)
            self.rows.extend(balance, product, sign)
        for asset in prepared.player.assets:
            parts = (("charge", -1.0), ("discharge", 1.0)) if isinstance(asset, Storage) else (("p", 1.0),)
            given = [(self._product(nu, answer[model.cols[f"{asset.id}.{part}"]]), sign) for part, sign in parts]
            for product, sign in given:
                self.rows.extend(balance, product, sign)
            self._asset(number, asset, given)

    def _asset(self, number: int, asset: Asset, given: list[tuple[IntArray, float]]) -> None:
        """Strong duality of one asset; of each step alone where no row ties its steps."""
        model, places = self.kkt.game.followers[number].solver.model, self.kkt.program.places
        x, y, z = places[3 * number : 3 * number + 3]
        if isinstance(asset, Storage | Turbine):
            columns = np.concatenate([c for name, c in model.cols.items() if name.startswith(f"{asset.id}.")])
            rows = np.concatenate([r for name, r in model.rows.items() if name.startswith(f"{asset.id}.")])
            groups = [np.concatenate([x[columns], z[columns], y[rows]])]
            steps = [np.zeros(product.shape[0], dtype=np.int64) for product, _ in given]
        else:
            groups = [np.array([x[column], z[column]]) for column in model.cols[f"{asset.id}.p"]]
            steps = [np.arange(len(groups))]
        member = np.repeat(np.arange(len(groups)), [group.shape[0] for group in groups])
        sums = sp.csr_matrix(
            (np.ones(member.shape[0]), (member, np.concatenate(groups))), shape=(len(groups), self._duality.shape[0])
        )
        costs = sp.coo_matrix(sums @ self._duality)
        first = self.rows.add([(np.zeros(len(groups), dtype=np.int64), 0.0)], 0.0, 0.0)[0]
        self.rows.extend(first + costs.row, costs.col, -costs.data)
        for (product, sign), step in zip(given, steps, strict=True):
            self.rows.extend(first + step, product, sign)

    def _product(self, nu: IntArray, power: IntArray) -> IntArray:
        """Columns nu * power with their planes."""
        product = np.arange(self.first + self.count, self.first + self.count + nu.shape[0])
        self.count += nu.shape[0]
        lo, hi = self.kkt.lo, self.kkt.hi
        corners = [price * at for price in (lo[nu], hi[nu]) for at in (lo[power], hi[power])]
        self.low.append(np.min(corners, axis=0))
        self.high.append(np.max(corners, axis=0))
        self._planes(product, nu, power, np.ones(nu.shape[0]))
        return product

    def _planes(self, product: IntArray, price: IntArray, power: IntArray, hours: FloatArray) -> None:
        """McCormick's planes of product = hours * price * power over the columns' ranges."""
        lo, hi = self.kkt.lo, self.kkt.hi
        for p, q, low, high in (
            (lo[price], lo[power], 0.0, np.inf),
            (hi[price], hi[power], 0.0, np.inf),
            (lo[price], hi[power], -np.inf, 0.0),
            (hi[price], lo[power], -np.inf, 0.0),
        ):
            entries: list[Entry] = [(product, 1.0), (price, -hours * q), (power, -hours * p)]
            self.rows.add(entries, low - hours * p * q, high - hours * p * q)

    def _chords(self) -> None:
        for k, square in enumerate(self.kkt.squares):
            size, ends = square.columns.shape[0], square.low + square.high
            row = self.rows.add(
                [(np.array([self._squares + k]), 1.0)], -np.inf, -square.weight * square.low * square.high
            )
            self.rows.extend(np.repeat(row, size), square.columns, -square.weight * ends * square.vector)

    def _cost_by_source(self) -> sp.csr_matrix:
        """Own cost, squares and duals times levels, by column of the piece program."""
        kkt, size = self.kkt, self.kkt.program.qp.model.column_count
        plain = np.arange(kkt.cost.shape[0])
        owner = np.array([kkt.source[square.columns[0]] for square in kkt.squares], dtype=np.int64)
        rows, cols = np.concatenate([kkt.source, owner]), np.concatenate([plain, self._squares + np.arange(owner.size)])
        values = np.concatenate([kkt.cost, np.ones(owner.size)])
        return sp.csr_matrix((values, (rows, cols)), shape=(size, self._squares + owner.size))


def _row(value: float | FloatArray, n: int) -> FloatArray:
    return np.array(np.broadcast_to(np.asarray(value, dtype=np.float64), (n,)))
