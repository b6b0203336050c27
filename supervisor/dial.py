"""How a channel to a service of this machine is opened: as it is, or with a certificate of the instance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import grpc

from meshkit.certificates import read_pair
from supervisor.certificate_files import CertificateFiles

Options = Sequence[tuple[str, int]]
Dial = Callable[..., grpc.aio.Channel]
"""`dial(target, options=…, interceptors=…)`."""


def plainly(target: str, options: Options = (), interceptors: Any = None) -> grpc.aio.Channel:
    """A channel in clear text."""
    return grpc.aio.insecure_channel(target, options=options, interceptors=interceptors)


def with_certificate(files: CertificateFiles, identity: str) -> Dial:
    """Channels that prove themselves by an identity's certificate as it lies there when they are opened, to a server that proves
    itself by one of the same authority. Misconfigured, when one is opened, for files that cannot be used."""

    def dial(target: str, options: Options = (), interceptors: Any = None) -> grpc.aio.Channel:
        pair = read_pair(files.certificate(identity), files.authority)
        credentials = grpc.ssl_channel_credentials(pair.authorities, pair.key, pair.chain)
        return grpc.aio.secure_channel(target, credentials, options=options, interceptors=interceptors)

    return dial
