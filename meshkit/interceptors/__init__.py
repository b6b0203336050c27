"""What surrounds a call: telemetry, errors, identity, deadline, admission on the server; its mirror on the client."""
