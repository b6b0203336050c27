"""What depends on the interpreter, on the oldest and the newest other one of this machine; `make test-pythons` runs it all."""

import platform

import pytest

from tools import pythons


def others() -> list[pythons.Interpreter]:
    """The two ends of what is here beside the interpreter that runs this."""
    found = [one for one in pythons.interpreters() if one.version != platform.python_version()]
    return found if len(found) < 2 else [found[0], found[-1]]


@pytest.mark.parametrize("end", ["oldest", "newest"])
def test_timeouts_wakeups_and_outages_are_the_same_on_another_python(end: str) -> None:
    found = others()
    if not found or (end == "newest" and len(found) == 1):
        pytest.skip("there is no further Python of 3.11 to 3.14 on this machine")
    python = found[0] if end == "oldest" else found[-1]
    try:
        pythons.environment(python, short=True)
    except pythons.NoEnvironment as error:
        pytest.skip(f"no environment could be made for Python {python.version}: {error}")
    ran = pythons.run_short(python)
    assert ran.returncode == 0, f"Python {python.version}\n{ran.stdout[-4000:]}{ran.stderr[-2000:]}"
