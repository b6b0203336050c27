"""Records what orders that rest have done, each for itself: one that cannot be worked on keeps nobody from the others."""

import asyncio
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from exchange_client import Exchange
from meshkit.errors import MeshError
from meshkit.kit import Kit
from svc_executor.driver import OrderDriver
from svc_executor.resting import Resting, with_news

# How long the exchange has to list them, and each to be recorded. What takes longer goes on by itself.
_SECONDS = 5.0


async def hear_of(kit: Kit[Any], exchange: Exchange, driver: OrderDriver, resting: Iterable[Resting]) -> bool:
    """Asks the exchange about orders that rest. True if there was anything; False as well where it did not say in time."""
    try:
        async with asyncio.timeout(_SECONDS):
            news = await with_news(exchange, resting)
    except (MeshError, TimeoutError) as error:
        kit.log.warning("protection_not_asked_for", why=str(error) or type(error).__name__)
        return False
    except Exception as error:
        kit.log.error("protection_not_asked_for", exc_info=error)
        return False
    await record_all(kit, driver, news)
    return bool(news)


async def record_all(kit: Kit[Any], driver: OrderDriver, order_ids: Iterable[UUID]) -> None:
    """As far as each can be recorded now."""

    async def one(order_id: UUID) -> None:
        try:
            async with asyncio.timeout(_SECONDS):
                await kit.critical(driver.drive(order_id))
        except (MeshError, TimeoutError) as error:
            kit.log.warning("order_not_settled", order_id=str(order_id), why=str(error) or type(error).__name__)
        except Exception as error:
            kit.log.error("order_not_settled", order_id=str(order_id), exc_info=error)

    async with asyncio.TaskGroup() as group:
        for order_id in order_ids:
            group.create_task(one(order_id))
