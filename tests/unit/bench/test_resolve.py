"""The count of versions that pip looked at, from logs as pip 23 writes them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "bench"))

from resolve import versions_looked_at

LOG = """\
Collecting boto3>=1.43.115 (from datapin==0.1.0)
  Downloading boto3-1.44.8-py3-none-any.whl (140 kB)
INFO: pip is looking at multiple versions of boto3 to determine which version is compatible with other requirements.
  Downloading boto3-1.44.7-py3-none-any.whl (140 kB)
  Obtaining dependency information for boto3 from https://host/boto3-1.43.117-py3-none-any.whl.metadata
  Downloading boto3-1.43.117-py3-none-any.whl.metadata (6.6 kB)
  Downloading boto3-1.43.117-py3-none-any.whl (140 kB)
  Using cached ruamel.yaml-0.19.1-py3-none-any.whl (117 kB)
  Downloading docopt-0.6.2.tar.gz (25 kB)
Processing /somewhere/files/python_dotenv-1.2.4-py3-none-any.whl (from gto)
     ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━ 140/140 kB 93.5 MB/s eta 0:00:00
"""


def test_each_version_counts_once_however_pip_came_to_know_it() -> None:
    assert versions_looked_at(LOG) == {"boto3": 3, "ruamel.yaml": 1, "docopt": 1, "python_dotenv": 1}
