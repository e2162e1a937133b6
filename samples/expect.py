#!/usr/bin/env python3
"""Write expected.json of every sample from what the tool reports now; read the diff first.

python3 samples/expect.py
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def main() -> None:
    for vmcore_path in sorted(Path(__file__).parent.glob("*/vmcore")):
        done = subprocess.run(
            [sys.executable, "-m", "vmcoretool", "inspect", "--json", vmcore_path.name],
            cwd=vmcore_path.parent,  # the text names the file as it was given
            stdout=subprocess.PIPE,
            check=False,
        )
        expected = {"exit": done.returncode, "inspect": json.loads(done.stdout)}
        out = vmcore_path.with_name("expected.json")
        out.write_text(json.dumps(expected, indent=1) + "\n")
        print(out)


if __name__ == "__main__":
    main()
