"""From the contracts' method policies to what a service mesh enforces: istio/generated/, and the page docs/contract.md.

`table` reads and refuses, `authorization`, `traffic`, `ingress` and `page` turn the table into documents, `rendered` into files.
Nothing here writes but `__main__`.
"""
