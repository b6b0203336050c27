"""What a watch of candles has told, and until when."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from trading.market.v1 import market_service_pb2 as pb


def stamp(moment: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(moment)
    return message


async def until_watermark(call: Any, as_of: datetime) -> list[pb.WatchCandlesResponse]:
    """Frames of a watch up to the watermark at `as_of`."""
    frames = []
    async with asyncio.timeout(120):
        while True:
            frame = await call.read()
            frames.append(frame)
            if frame.WhichOneof("frame") == "watermark" and frame.watermark.as_of.ToDatetime(UTC) >= as_of:
                return frames


def candles_of(frames: list[pb.WatchCandlesResponse]) -> list[pb.Candle]:
    return [candle for frame in frames for candle in frame.batch.candles]
