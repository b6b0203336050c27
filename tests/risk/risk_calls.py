"""What the tests of the risk service have in common: the codes of an answer, and a call that must be refused."""

import pytest

from meshkit.errors import MeshError


def codes(assessment):
    return [reason.code for reason in assessment.reasons]


async def refused(call) -> MeshError:
    with pytest.raises(MeshError) as found:
        await call
    return found.value
