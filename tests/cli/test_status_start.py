"""What `sweeper status` loads: it is asked again and again while a study runs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ASK = """
import contextlib, io, json, sys
import sweeper.cli
sys.argv = ["sweeper", "status", "theirs", "--store", sys.argv[1], "--json"]
with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
    sweeper.cli.main()
loaded = {"sweeper.study.study", "yaml", "numpy", "pandas", "scipy", "pyarrow"} & set(sys.modules)
print(json.dumps({"answer": json.loads(out.getvalue()), "loaded": sorted(loaded)}))
"""


def test_a_study_is_counted_by_its_name_without_what_reads_files_and_tables(
    tmp_path: Path,
) -> None:
    rows = ["width,learning_rate,loss", *(f"32,{0.001 * 2**i},{3 + i}" for i in range(5))]
    table = tmp_path / "results.csv"
    table.write_text("\n".join(rows), encoding="utf-8")
    store = str(tmp_path / "store")
    columns = ["--scale", "width", "--hp", "learning_rate", "--objective", "loss"]
    place = ["--study", "theirs", "--store", store]
    command = [sys.executable, "-m", "sweeper", "import", str(table), *columns, *place]
    subprocess.run(command, check=True, capture_output=True)
    asked = [sys.executable, "-c", ASK, store]
    done = subprocess.run(asked, check=True, capture_output=True, text=True)
    told = json.loads(done.stdout)
    assert told["answer"]["done"] == 5
    assert told["loaded"] == []
