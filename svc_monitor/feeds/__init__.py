"""What the other services say, by gRPC only: each feed keeps its last value and when it came."""
