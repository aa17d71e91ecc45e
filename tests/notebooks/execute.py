"""Runs one notebook in a process of its own: ``execute.py NOTEBOOK RESULT FOLDER``. No port is opened."""

import sys
from pathlib import Path

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

source, result, folder = (Path(name) for name in sys.argv[1:])
book = nbformat.read(source, as_version=4)
kernel = AsyncKernelManager(kernel_name="python3", transport="ipc", ip=str(folder / "kernel"))
NotebookClient(book, km=kernel, timeout=900, startup_timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
nbformat.write(book, result)
