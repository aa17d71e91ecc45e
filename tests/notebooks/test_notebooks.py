"""Every notebook runs from start to end, on the data it makes."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
NEEDED = ("nbclient", "ipykernel", "matplotlib", "pandas")

pytestmark = pytest.mark.skipif(
    not all(find_spec(name) for name in NEEDED), reason="the notebooks extra is not installed: pip install -e '.[notebooks]'"
)


def test_the_four_are_there():
    assert [path.stem[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("POINTSMAN_")}
    # a kernel's own module search starts where it runs: the tree is named, so that a checkout need not be installed
    environment = kept | {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "PYTHONPATH": str(FOLDER.parent)}
    result = tmp_path / "result.ipynb"
    command = [sys.executable, str(Path(__file__).with_name("execute.py")), str(path), str(result), str(tmp_path)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=1_200)
    assert run.returncode == 0, run.stderr[-3_000:]
    code = [cell for cell in json.loads(result.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in code)
    outputs = [output for cell in code for output in cell["outputs"]]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 1
    assert not [o for o in outputs if o.get("name") == "stderr"], "a notebook complains"
