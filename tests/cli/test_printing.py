from __future__ import annotations

import pytest

from corkboard.cli.printing import table


def test_brackets_in_a_cell_are_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Titles of items come from anywhere; read as markup they would vanish, or end the command."""
    table("[b]all[/i]", ["title", "n"], [["[/b] lamp [red]", 1_234], ["[link=x]", 0.5]])
    printed = capsys.readouterr().out
    for text in ("[b]all[/i]", "[/b] lamp [red]", "[link=x]", "1,234", "0.50"):
        assert text in printed
