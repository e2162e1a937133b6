"""Finds the next fault: mutated inputs of every reader, checked by what must hold of any answer.

``python -m tests.fuzz --minutes N`` runs a campaign; docs/fuzzing.md says more.
"""

from __future__ import annotations
