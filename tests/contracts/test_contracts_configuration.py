"""docs/configuration.md is what the settings classes say, and names nothing twice."""

import re

from tools.configuration_page import MEANINGS, PAGE, SECTIONS, page, variable


def test_the_page_is_what_the_classes_say() -> None:
    assert PAGE.read_text() == page(), "run tools/configuration_page.py"


def test_every_variable_stands_once() -> None:
    rows = re.findall(r"^\| `([A-Z_0-9]+)` \|", page(), flags=re.M)
    assert len(rows) == len(set(rows)) > 100
    known = {
        variable(name, field, str(cls.model_config.get("env_prefix", "")))
        for _, cls, _ in SECTIONS
        for name, field in cls.model_fields.items()
    }
    assert known - set(rows) == {"SERVICE_NAME", "PORT"}
    assert set(MEANINGS) <= set(rows)
