"""Names of files that survive a power cut."""

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Bring new names in it to the disk, as `fsync` does with what is in a file."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
