"""Variables that are almost one of ours are told; those of other programs, and all of our own, are not."""

from cli.misspelt import known_variables, misspelt
from tradekit.services import SERVICES


def test_what_is_almost_a_variable_is_told_with_the_one_that_was_meant() -> None:
    environment = {
        "RISK_MAX_ORDER_NOTINAL": "5",
        "EXCHANGE_KEY_FIL": "/key",
        "SIM_SPEDD": "3",
        "MESH_HOMES": "/tmp",
        # Of other programs.
        **dict.fromkeys(
            ("PATH", "HOME", "LANG", "SSL_CERT_FILE", "KUBERNETES_SERVICE_HOST", "PGHOST", "DB", "PORT"), "x"
        ),
    }
    assert misspelt(environment, known_variables()) == [
        f"{name} is set and nobody reads it; {meant} is the variable, if that is what was meant"
        for name, meant in (
            ("EXCHANGE_KEY_FIL", "EXCHANGE_KEY_FILE"),
            ("MESH_HOMES", "MESH_HOME"),
            ("RISK_MAX_ORDER_NOTINAL", "RISK_MAX_ORDER_NOTIONAL"),
            ("SIM_SPEDD", "SIM_SPEED"),
        )
    ]


def test_every_variable_of_ours_is_known() -> None:
    known = known_variables()
    ours = {
        "DB_HOST",
        "PRODUCTS",
        "LIVE_CONFIRM",
        "OLLAMA_HOST",
        "SIM_SEED",
        "MESH_AUTH",
        "MARKET_HISTORY_BARS",
        "RUN_ID",
    }
    assert ours | {one.port_variable for one in SERVICES} | {one.address_variable for one in SERVICES} <= known
    assert misspelt(dict.fromkeys(known, "x"), known) == []
