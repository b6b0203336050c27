"""The page in a real browser: the badges, a count that moves, hostile text that stays text, an alert acknowledged."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from typing import Any

import pytest

from svc_monitor.feeds.feed import Pace
from tests.monitor.monitor_mesh import (
    MARKET_TIME,
    funnel,
    id_of,
    orchestrator_pb,
    order,
    record,
    running_mesh,
    running_monitor,
    trade_pb2,
)
from tests.support.stored import store_order

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
HOSTILE = "<img src=x onerror=document.title='hacked'><script>document.title='hacked'</script>"


@pytest.fixture
async def browser() -> AsyncIterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium here; install one or name it in CHROMIUM to look at the page in a browser")
    playwright = pytest.importorskip("playwright.async_api", reason="playwright is not installed")
    async with playwright.async_playwright() as started:
        opened = await started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        await opened.close()


async def test_the_page_lives(browser: Any, database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("svc_monitor.feeds.model.PACE", Pace(0.5))
    async with running_mesh() as mesh:
        await store_order(database.engine, "BTC-USD", "BUY", "UNKNOWN", MARKET_TIME)
        reason = trade_pb2.Reason(code="PORTFOLIO_HEAT", limit="0.06", observed=HOSTILE, unit="ratio", scope="account")
        mesh.bridge.put(record("a", 1, state="REJECTED", decided_by="risk", reasons=[reason], note=HOSTILE))
        mesh.executor.put(order("b", 1))
        cut = orchestrator_pb.ExplainRecommendationResponse()
        cut.steps.add(stage="risk", outcome="REDUCE", reasons=[trade_pb2.Reason(code="VOL_TARGET", scope="account")])
        mesh.orchestrator.stories[id_of("c")] = cut
        mesh.bridge.put(record("c", 2, adjusted="91.92"))
        for code, scope in (("DRAWDOWN", "account"), ("COOLDOWN_ENTRY", "product:BTC-USD")):
            mesh.risk.portfolio.locks.add(code=code, scope=scope)
        async with running_monitor(mesh, **database.settings_of("monitor")) as monitor:
            page = await browser.new_page(viewport={"width": 1280, "height": 800})
            faults: list[str] = []
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.on("console", lambda line: faults.append(line.text) if line.type in ("error", "warning") else None)
            page.set_default_timeout(15_000)
            await page.goto(monitor.page)

            await page.get_by_text("SIMULATED", exact=True).wait_for()
            await page.get_by_text("EXERCISE", exact=True).wait_for()
            await page.locator("#honest", has_text="no order here reaches a real exchange").wait_for()
            total = page.locator("[data-stage=signals] .total")
            await total.get_by_text("6", exact=True).wait_for()
            mesh.orchestrator.funnel = funnel(signals=1234)
            await total.get_by_text("1,234", exact=True).wait_for()

            await page.locator("#recommendations .chip", has_text="PORTFOLIO_HEAT").hover()
            await page.locator("#tip", has_text="onerror=").wait_for()
            assert await page.locator("#tip img, #tip script").count() == 0
            assert await page.title() == "SIMULATED · Trading mesh"

            # An order that was filled in part of the size says why, and a cooldown is not among the locks.
            await page.locator("#recommendations .reasons .chip", has_text="size: VOL_TARGET").wait_for()
            assert "COOLDOWN" not in await page.locator("#risk .locks", has_text="DRAWDOWN").inner_text()
            await page.locator("#risk .cooldowns", has_text="COOLDOWN_ENTRY").wait_for()

            alert = page.locator(".alert", has_text="ORDER_UNKNOWN")
            await alert.get_by_role("button", name="Acknowledge").click()
            await alert.get_by_text("seen by operator").wait_for()

            # A service that could take new positions is not said to take any while the switch is off.
            await page.locator("#services-note", has_text="entries open").wait_for()
            mesh.executor.switch = "TRADING_STATE_HALTED"
            await page.locator("#services-note", has_text="all serve; trading is HALTED").wait_for()
            await page.locator("#services .entries").first.wait_for(state="detached")
            mesh.executor.switch = "TRADING_STATE_ACTIVE"
            await page.locator("#services-note", has_text="entries open").wait_for()

            model = page.locator("#model")
            await model.get_by_text("balanced-2025-03-28-01ab").wait_for()
            await model.locator("li.k-cool", has_text="beta_168").get_by_text("0.21").wait_for()
            await model.get_by_text("1.0312").wait_for()
            assert await model.get_by_text("SUSPENDED").count() == 0
            mesh.signal.model.suspended = True
            mesh.signal.look(1.1012, beta_168=0.95, rsi_14=0.03)
            await model.get_by_text("SUSPENDED").wait_for()
            await model.locator("li.k-bad", has_text="beta_168").get_by_text("0.95").wait_for()
            await model.locator("dd.bad", has_text="1.1012").wait_for()
            await page.locator(".alert", has_text="MODEL_SUSPENDED").wait_for()
            age = page.locator("[data-feed=model] .age")
            assert await age.inner_text() == "live"
            await mesh.of["signal"].stop()
            await page.locator("[data-feed=model].stale .age", has_text="unreachable").wait_for()
            assert await page.locator("[data-feed=model] .age.fresh").count() == 0

            await mesh.of["risk"].stop()
            await page.locator("[data-service=risk]", has_text="unreachable").wait_for()
            # The switch is the executor's: it is known as long as that one answers, and old when it does not.
            assert await page.locator(".facts .stale", has_text="Trading").count() == 0
            await mesh.of["executor"].stop()
            await page.locator("[data-service=executor]", has_text="unreachable").wait_for()
            await page.locator(".facts .stale", has_text="Trading").get_by_text("ACTIVE").wait_for()
            assert await page.evaluate("document.documentElement.scrollWidth") <= 1280
            assert faults == []


async def test_a_story_has_market_time_and_what_waits_shows_its_prices(browser: Any, database: Any) -> None:
    async with running_mesh() as mesh:
        mesh.bridge.put(record("a", 1))
        mesh.executor.put(order("b", 1, "SELL", "OPEN", stop_price="81000.50", target_price="90000"))
        mesh.executor.put(order("c", 2, "BUY", "OPEN", limit_price="83000"))
        mesh.orchestrator.funnel.stages[0].outcomes[0].outcome = "exchange:SIMULATED"
        told = orchestrator_pb.ExplainRecommendationResponse()
        for stage, has_bar in (("order", True), ("validator", False), ("fill", True)):
            step = told.steps.add(stage=stage, outcome="FILLED")
            if has_bar:
                step.as_of.FromDatetime(MARKET_TIME)
            if stage != "fill":
                step.event_time.FromDatetime(MARKET_TIME.replace(year=2031))
        mesh.orchestrator.stories[id_of("a")] = told
        async with running_monitor(mesh, **database.settings_of("monitor")) as monitor:
            page = await browser.new_page(viewport={"width": 1280, "height": 800})
            page.set_default_timeout(15_000)
            await page.goto(monitor.page)
            await page.locator("#orders", has_text="stop 81,000.50 · target 90,000.00").wait_for()
            await page.locator("#orders", has_text="limit 83,000.00").wait_for()
            source = page.locator("[data-stage=candles] .counts span").first
            assert await source.inner_text() == "exchange"
            assert await source.evaluate("node => node.scrollWidth <= node.clientWidth")

            await page.locator("#recommendations .link").first.click()
            await page.get_by_text("market time, UTC").wait_for()
            market = f"{MARKET_TIME:%Y-%m-%d %H:%M}"
            times = page.locator("#story-steps time")
            assert await times.all_inner_texts() == [market, "–", market]
            assert "2031" in await times.nth(1).get_attribute("data-tip")
