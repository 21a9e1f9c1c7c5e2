"""Prints the software bill of materials of this environment: CycloneDX 1.6, with the hashes of the lock."""

import json
import re
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any


def bill_of_materials(lock: str) -> dict[str, Any]:
    """Return the bill.

    Args:
        lock: The hashed requirements that the environment was built from.
    """
    hashes = {
        name: re.findall(r"--hash=sha256:([0-9a-f]+)", block)
        for name, block in re.findall(r"(?ms)^([a-z0-9.-]+)==(.*?)(?=^\S|\Z)", lock)
    }
    found = sorted(distributions(), key=lambda each: each.name.lower())
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "components": [_component(each, hashes) for each in found],
    }


def _component(distribution: Distribution, hashes: dict[str, list[str]]) -> dict[str, Any]:
    name = re.sub(r"[-_.]+", "-", distribution.name).lower()
    expression = distribution.metadata.get("License-Expression")
    return {
        "type": "library",
        "bom-ref": f"{name}@{distribution.version}",
        "name": name,
        "version": distribution.version,
        "purl": f"pkg:pypi/{name}@{distribution.version}",
        **({"licenses": [{"expression": expression}]} if expression else {}),
        # One for each file of this version: the installed one is among them.
        "properties": [{"name": "sha256", "value": value} for value in hashes.get(name, [])],
    }


if __name__ == "__main__":
    json.dump(bill_of_materials(Path(sys.argv[1]).read_text()), sys.stdout, indent=1)
