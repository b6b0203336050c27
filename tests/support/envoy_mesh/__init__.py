"""A service mesh of real Envoys without a cluster: the manifests in istio/ translated to what Istio's control plane would tell
each sidecar, as far as ours go.

`manifests` reads and refuses, `inbound` and `outbound` translate, `sidecar` puts an Envoy's configuration together, `process`
runs it. Nothing here knows what a service does.
"""
