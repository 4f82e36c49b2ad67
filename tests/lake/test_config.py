from __future__ import annotations

import subprocess
import sys

import pytest

from corkboard.config import fields, load
from corkboard.errors import ConfigError
from corkboard.lake.config import LakeConfig


def test_settings_load_without_polars() -> None:
    code = "import corkboard.lake.config, sys; print(sorted({'polars', 'pyarrow', 'numpy', 'torch'} & set(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_every_setting_is_explained_and_closed() -> None:
    assert all(explanation for _, _, explanation in fields(LakeConfig))
    assert load(LakeConfig, overrides=["calendar.test_days=7"]).calendar.test_days == 7
    with pytest.raises(ConfigError, match=r"calendar\.test_days"):
        load(LakeConfig, overrides=["calendar.test_day=7"])
