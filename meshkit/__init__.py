"""The service kit: what every service of the mesh shares, and nothing about trading.

A service's `__main__` hands its settings class and a `build` function to `meshkit.serve.serve`; it gets back a
server with health, reflection, drain, permissions, deadlines, one error model, traces, metrics and logs.
"""
