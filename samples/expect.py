#!/usr/bin/env python3
"""Write expected.json of every sample from what the tool says now; read the diff before you commit.

python3 samples/expect.py
"""

from __future__ import annotations

import json
from pathlib import Path

from vmcoretool import inspect_vmcore, open_vmcore
from vmcoretool.cli.inspect import exit_code
from vmcoretool.render.json import inspection_object


def main() -> None:
    for vmcore_path in sorted(Path(__file__).parent.glob("*/vmcore")):
        with open_vmcore(vmcore_path) as vmcore:
            inspection = inspect_vmcore(vmcore)
            shown = inspection_object(inspection)
            shown["dump"]["paths"] = ["vmcore"]
            for command in shown["commands"]:
                command["argv"][-1] = "vmcore"
                command["shell"] = " ".join(command["argv"])
            expected = {"exit": exit_code(inspection), "inspect": shown}
        out = vmcore_path.with_name("expected.json")
        out.write_text(json.dumps(expected, indent=1) + "\n")
        print(out)


if __name__ == "__main__":
    main()
