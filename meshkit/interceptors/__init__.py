"""What surrounds every call: on the server telemetry, errors, identity, deadline, admission; on the client the mirror image."""
