"""Says which variables of the environment a start does not follow, because something else decides what they would.

A folder that is resumed goes on with what was saved in it, and the simulated exchange with what `mesh up` gives it.
"""

from collections.abc import Mapping

from cli.instance_file import Instance
from cli.up.options import Choices, UpRequest, product_list


def not_followed(
    request: UpRequest, stored: Instance | None, environment: Mapping[str, str], choices: Choices
) -> list[str]:
    """A sentence for each: the variable, its value, what holds instead, and how that is changed.

    What the command line says otherwise than the environment was meant so, and a value that is none is refused already.
    """
    refused = " ".join(failed.message for failed in choices.faults)
    found = [
        f"{variable}={value} is not used: this folder goes on with the saved {saved}; {change}"
        for variable, value, saved, change in (_saved(request, stored, environment) if stored else ())
        if value and value != saved and f"{variable}=" not in refused
    ]
    instance = choices.instance
    decided = (
        ("SIM_MARKET", instance.market, "--market"),
        ("SIM_PRODUCTS", ",".join(instance.products), "--products"),
        ("SIM_SEED", str(instance.seed), "--seed"),
        ("SIM_SPEED", f"{instance.speed:g}", "--speed"),
    )
    for variable, holds, option in decided:
        value = environment.get(variable, "")
        if value and value != holds:
            found.append(
                f"{variable}={value} is not used: `mesh up` decides it, {holds} here; {option} chooses another"
            )
    return found


def _saved(request: UpRequest, stored: Instance, environment: Mapping[str, str]) -> list[tuple[str, str, str, str]]:
    """Variable, what the environment says, what is saved, how it is changed."""
    products = "" if request.products else ",".join(product_list(environment.get("PRODUCTS", "")))
    profile = "" if request.profile else environment.get("DECISION_PROFILE", "").upper()
    return [
        ("PRODUCTS", products, ",".join(stored.products), f"`mesh up --products {products}` changes it"),
        ("DECISION_PROFILE", profile, stored.profile.value, f"`mesh up --profile {profile.lower()}` changes it"),
        ("RUN_ID", environment.get("RUN_ID", ""), stored.run_id, "another needs a folder of its own (MESH_HOME)"),
    ]
