"""How long `weft --help` and a configuration error take, whole processes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from harness import in_turns, report


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        wrong = Path(folder) / "wrong.yaml"
        wrong.write_text("name: wrong\nfusion: rectifi\ntrain: {epochs: many}\n")
        weft = str(Path(sys.executable).with_name("weft"))

        def run(*arguments: str) -> None:
            subprocess.run([weft, *arguments], capture_output=True, check=False)

        times = in_turns(
            {
                "python -c pass": lambda: subprocess.run([sys.executable, "-c", "pass"], check=True),
                "weft --help": lambda: run("--help"),
                "configuration error": lambda: run("check", str(wrong)),
            },
            turns=10,
        )
        report("start-up", times, over="python -c pass")


if __name__ == "__main__":
    main()
