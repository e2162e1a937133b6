"""Which lines of the package were reached: what makes an input worth keeping.

By sys.monitoring (Python 3.12 and later), where a line costs something the first time only.  On
older Pythons nothing is measured, and kinds of answers alone guide a campaign.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from types import CodeType

Line = tuple[str, int]
ROOT: Final = Path(__file__).resolve().parent.parent.parent
PACKAGE: Final = str(ROOT / "vmcoretool") + "/"
_TOOL: Final = 4
"""None of the numbers that debuggers, coverage.py and profilers take."""
MEASURES: Final = sys.version_info >= (3, 12)


class Guide:
    """The lines that were reached since :meth:`start`."""

    def __init__(self) -> None:
        self.reached: set[Line] = set()
        self._new: list[Line] = []
        self._disable: Any = None

    def start(self) -> None:
        """Begin, before the package is imported: its definitions are lines too."""
        if not MEASURES:
            return
        monitoring: Any = sys.monitoring  # type: ignore[attr-defined, unused-ignore]
        self._disable = monitoring.DISABLE
        monitoring.use_tool_id(_TOOL, "fuzz")
        monitoring.register_callback(_TOOL, monitoring.events.LINE, self._see)
        monitoring.set_events(_TOOL, monitoring.events.LINE)

    def _see(self, code: CodeType, line: int) -> Any:
        if code.co_filename.startswith(PACKAGE):
            place = code.co_filename[len(PACKAGE) :], line
            if place not in self.reached:
                self.reached.add(place)
                self._new.append(place)
        return self._disable

    def take(self) -> list[Line]:
        """The lines that were reached for the first time since this was asked last."""
        new, self._new = self._new, []
        return new


def measured(reached: set[Line]) -> tuple[dict[str, tuple[int, int]], list[str]]:
    """Per file the lines reached and the lines there are, and the lines missing, as text.

    Lines are coverage.py's statements; what pyproject.toml excludes there is excluded here.
    """
    from coverage import Coverage

    lines: dict[str, list[int]] = {}
    for name, line in reached:
        lines.setdefault(PACKAGE + name, []).append(line)
    cover = Coverage(data_file=None, config_file=str(ROOT / "pyproject.toml"), branch=False)
    data = cover.get_data()
    data.add_lines(lines)
    table: dict[str, tuple[int, int]] = {}
    missing: list[str] = []
    for path in sorted((ROOT / "vmcoretool").rglob("*.py")):
        _, statements, _, lost, said = cover.analysis2(str(path))
        name = str(path)[len(PACKAGE) :]
        table[name] = len(statements) - len(lost), len(statements)
        if lost:
            missing.append(f"{name}: {said}")
    return table, missing
