"""What the figures were taken on. Names no host and no path."""

import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from benchmarks.build import ws_version
from benchmarks.process import GENERATOR_CORE, SERVER_CORE


def describe() -> Mapping[str, str]:
    """Name the machine's parts and the versions of what ran on it."""
    return {
        "Processor": _processor(),
        "Cores": f"{os.cpu_count()}; {_use_of_cores()}",
        "Kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "voicestatus": version("voicestatus"),
        "Twisted": version("twisted"),
        "Autobahn": version("autobahn"),
        "Node.js": _node_version(),
        "ws": ws_version() or "not installed",
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _use_of_cores() -> str:
    if SERVER_CORE == GENERATOR_CORE:
        return "server and generator share one, so all times are too long"
    return "the server alone on one, the generator on another"


def _node_version() -> str:
    try:
        told = subprocess.run(
            ["node", "--version"], capture_output=True, text=True, check=True
        )
    except OSError:
        return "not installed"
    return told.stdout.strip().removeprefix("v")
