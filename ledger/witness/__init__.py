"""Witnesses: independent nodes that cosign a log's head only if it extends the one they cosigned before."""

from ledger.witness.client import Cosigners, Round, submit
from ledger.witness.node import Answer, Witness
from ledger.witness.server import WitnessServer
from ledger.witness.validating import Validator

__all__ = ["Answer", "Cosigners", "Round", "Validator", "Witness", "WitnessServer", "submit"]
