// Header, pipeline, services, risk, and who decides.

import { byId, el, keyed, put, svg } from "/static/dom.js";
import { changed, count, gain, kind, many, money, reasonTip, share, span, tone, utc, words } from "/static/format.js";

const VENUES = {
  SIMULATED: "Simulated money on a simulated market: no order here reaches a real exchange.",
  REPLAY: "Simulated money on recorded candles: no order here reaches a real exchange.",
  PAPER: "Simulated money at real public prices: no order here reaches a real exchange.",
  SANDBOX: "The exchange's sandbox: canned orders, fills and balances, to try the plumbing only. No real money.",
  LIVE: "Real money on a real exchange.",
};
const PROFILES = {
  EXERCISE: "EXERCISE: fixed low thresholds, so that every part of the pipeline works. It is not a strategy.",
  EVIDENCE: "Thresholds that paid for the account's costs out of sample, or none: then every signal is HOLD.",
};
const SHOWN_OUTCOMES = 4;

export function mesh(value) {
  const venue = byId("venue");
  venue.textContent = value.venue === "LIVE" ? "LIVE · REAL MONEY" : value.venue;
  venue.className = `badge ${value.venue.toLowerCase()}`;
  venue.dataset.tip = VENUES[value.venue];
  const profile = byId("profile");
  profile.hidden = false;
  profile.textContent = value.profile;
  profile.className = `badge ${value.profile.toLowerCase()}`;
  profile.dataset.tip = PROFILES[value.profile];
  const exercise = value.profile === "EXERCISE" ? ` ${PROFILES.EXERCISE}` : "";
  put(byId("honest"), `${VENUES[value.venue]}${exercise} Run “${value.run_id}”, ${value.products.length} products.`);
  document.title = `${value.venue} · Trading mesh`;
}

export function account(value, mesh) {
  if (!value) return;
  // What was brought in or taken out since is no profit.
  const brought = value.opening_balance === null ? null : Number(value.opening_balance) + Number(value.transfers ?? 0);
  const profit = value.equity !== null && brought !== null ? Number(value.equity) - brought : null;
  put(byId("equity"), money(value.equity), { tick: true });
  const pnl = byId("pnl");
  const part = brought ? ` (${changed(profit / brought)})` : "";
  put(byId("opening"), value.opening_balance === null ? "" : `from ${money(value.opening_balance)}`);
  put(pnl, profit === null ? "–" : `${gain(profit)}${part}`, { tick: true });
  pnl.className = `num ${tone(profit)}`;
  const simulated = mesh && !mesh.real_money ? "All of it is simulated money.\n" : "";
  byId("equity").closest("div").dataset.tip =
    `${simulated}Opening balance ${money(value.opening_balance)}\nRealized ${gain(value.realized_pnl)}\nUnrealized ${gain(value.unrealized_pnl)}\nFees ${money(value.total_fees)}` +
    (Number(value.transfers ?? 0) ? `\nBrought in or out ${gain(value.transfers)}` : "") +
    value.cash.map((balance) => `\nCash ${money(balance.amount)} ${balance.currency}`).join("") +
    (value.unadopted ?? []).map((balance) => `\nNot adopted, never sold: ${balance.amount} ${balance.currency}`).join("");
}

// Equity since the page server started; the dashed line is the opening balance where it is in view.
export function course(points, opening) {
  const picture = byId("course");
  if (!points || points.length < 2) return;
  const values = points.map((point) => Number(point.equity));
  const start = opening === null || opening === undefined ? values[0] : Number(opening);
  const low = Math.min(...values, start);
  const high = Math.max(...values, start);
  const y = (value) => 41 - ((value - low) / (high - low || 1)) * 38;
  const x = (index) => (index / (values.length - 1)) * 200;
  const line = values.map((value, index) => `${index ? "L" : "M"}${x(index).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  picture.setAttribute("class", `course ${values.at(-1) >= start ? "up" : "down"}`);
  picture.replaceChildren(
    svg("path", { class: "fill", d: `${line}L200 ${y(start)}L0 ${y(start)}Z` }),
    svg("line", { class: "base", x1: 0, x2: 200, y1: y(start), y2: y(start) }),
    svg("path", { class: "line", d: line }),
  );
  picture.dataset.tip = `Equity since ${utc(points[0].at)} UTC\nlowest ${money(Math.min(...values))}\nhighest ${money(Math.max(...values))}\ndashed: opening balance ${money(start)}`;
}

export function pipeline(value, barSeconds) {
  if (!value) return;
  put(byId("market-time"), `${utc(value.market_time)} UTC`);
  byId("market-time").classList.remove("dim");
  const open = byId("open-work");
  const resting = value.resting_orders ? ` · ${value.resting_orders} resting` : "";
  put(open, `${many(value.open_recommendations, "recommendation")} · ${many(value.open_orders, "order")}${resting}`);
  open.classList.remove("dim");
  open.dataset.tip = `Waiting for market time: ${many(value.waiting_recommendations, "recommendation")}\nOf unknown outcome: ${many(value.unknown_orders, "order")}\nResting at the exchange: ${many(value.resting_orders, "order")}`;
  const stages = byId("stages");
  for (const [index, stage] of value.stages.entries()) {
    let node = stages.children[index];
    if (!node) {
      node = el("li.stage", {}, el("h3"), el("div.total"), el("div.bar"), el("ul.counts"), el("div.mark"));
      stages.append(node);
    }
    fillStage(node, stage, barSeconds);
  }
}

function fillStage(node, stage, barSeconds) {
  const [name, total, bar, counts, mark] = node.children;
  put(name, stage.name);
  node.dataset.stage = stage.name;
  put(total, count(stage.total), { tick: true });
  const outcomes = byOutcome(stage.outcomes);
  bar.replaceChildren(...outcomes.map((found) => {
    const part = el(`i.${kind(found.outcome)}`);
    part.style.flexGrow = found.count;
    return part;
  }));
  const shown = outcomes.length > SHOWN_OUTCOMES ? outcomes.slice(0, SHOWN_OUTCOMES - 1) : outcomes;
  const rest = outcomes.slice(shown.length);
  const rows = shown.map((found) => countRow(shortly(found.outcome), found.count, kind(found.outcome), tipOf(found)));
  if (rest.length) {
    const more = rest.reduce((sum, found) => sum + found.count, 0);
    rows.push(countRow(`${rest.length} more`, more, "k-none", rest.map((found) => `${words(found.outcome)}  ${count(found.count)}`).join("\n")));
  }
  keyed(counts, rows, (row) => row.name, (row) => el(`li.${row.kind}`, { tip: row.tip }, el("span", {}, row.name), el("b", {}, row.count)));
  const bars = stage.lag_seconds === null ? 0 : stage.lag_seconds / barSeconds;
  const lag = bars < 1 ? (stage.lag_seconds === null ? "" : " · up to date") : ` · ${many(Math.round(bars), "bar")} behind`;
  put(mark, stage.watermark ? `${utc(stage.watermark).slice(11)}${lag}` : "");
  mark.dataset.tip = `everything up to ${utc(stage.watermark)} UTC market time is dealt with`;
  mark.hidden = !stage.watermark;
  mark.className = `mark ${bars > 3 ? "bad" : bars >= 1 ? "warn" : ""}`;
}

// Candles come from an exchange or a file. Which exchange it is the page says at its head, and its name has no room here.
const shortly = (outcome) => words(outcome).replace(/^exchange:.*/, "exchange");
const countRow = (name, number, kindOf, tip) => ({ name, count: count(number), kind: kindOf, tip });

function byOutcome(outcomes) {
  const found = new Map();
  for (const { outcome, reason, count: number } of outcomes) {
    const one = found.get(outcome) ?? { outcome, count: 0, reasons: [] };
    one.count += number;
    if (reason) one.reasons.push([reason, number]);
    found.set(outcome, one);
  }
  return [...found.values()].sort((a, b) => b.count - a.count);
}

function tipOf(found) {
  const reasons = found.reasons.sort((a, b) => b[1] - a[1]).slice(0, 12);
  return [`${words(found.outcome)}: ${count(found.count)}`, ...reasons.map(([code, number]) => `${code}  ${count(number)}`)].join("\n");
}

export function services(value, clock, seen, state) {
  if (!value) return;
  // Health says whether a service could take new positions; the operator's switch says whether any is taken.
  const shut = state && state !== "ACTIVE" ? `trading is ${state}` : "";
  const down = value.filter((one) => one.state !== "SERVING").length;
  const closed = value.filter((one) => one.state === "SERVING" && one.entries !== "SERVING").length;
  put(byId("services-note"), down ? `${down} of ${value.length} not serving` : closed ? `all serve; ${closed} refuse new positions` : shut ? `all serve; ${shut}` : "all serve, entries open");
  keyed(byId("services"), value.map((one) => ({ ...one, shut })), (one) => one.service, (one) => tile(one));
  ageTiles(clock, seen);
}

function tile(one) {
  const serving = one.state === "SERVING";
  const open = one.entries === "SERVING";
  const kindOf = serving ? (open ? "k-good" : "k-warn") : kind(one.state);
  const entries = open ? one.shut || "entries open" : one.entries === "NOT_SERVING" ? "entries closed" : `entries ${words(one.entries)}`;
  const tip = [one.address, `${words(one.state)}, ${entries}`, one.detail, one.changed_at && `${words(one.state)} since ${utc(one.changed_at, { seconds: true })} UTC`].filter(Boolean).join("\n");
  const node = el(`li.tile.${kindOf}`, { tip },
    el("div.name", {}, one.service, el("small")),
    el("div.state", {}, serving && !open ? entries : words(one.state), open && serving && !one.shut ? el("span.entries", {}, " · open") : null));
  node.dataset.service = one.service;
  return node;
}

export function ageTiles(clock, seen) {
  if (!seen) return;
  for (const node of byId("services").children) {
    const at = seen[node.dataset.service];
    const age = at ? clock.age(at) : null;
    put(node.querySelector("small"), age === null ? "never" : age < 8 ? "" : `${span(age)} ago`);
  }
}

export function trading(value) {
  if (!value) return;
  const state = byId("trading-state");
  put(state, value.state);
  state.className = { ACTIVE: "good", REDUCING: "warn", HALTED: "bad" }[value.state] ?? "";
  const note = value.note || "The operator's switch at the executor: ACTIVE, REDUCING (exits only) or HALTED.";
  const where = !value.kept
    ? "It is kept nowhere but in the executor's memory, and is gone when that process ends."
    : value.stored ? "" : "The executor holds to it; the database does not have it yet.";
  state.dataset.tip = where ? `${note}\n${where}` : note;
}

export function risk(value) {
  if (!value) return;
  const meters = [
    ["Exposure", money(value.exposure), "Positions, open buys and reservations"],
    ["Cash", money(value.cash), ""],
    ["Heat", share(value.heat), "Share of equity lost if everything hits its stop on the same day"],
    ["Drawdown", share(value.drawdown), `From the high-water mark ${money(value.high_water_mark)}`],
    ["Loss today", share(value.daily_loss), "Since 00:00 UTC, share of the day's opening equity"],
    ["Reserved", count(value.held_reservations), "Reservations of headroom that no order has used yet"],
  ];
  const nodes = meters.map(([name, text, tip]) => el("div.meter", { tip }, el("span", {}, name), el("b", {}, text)));
  // A product's cooldown after a trade ends by itself; a lock of the account is what somebody should look at.
  const chips = (name, title, found) => (found.length ? [el(`div.${name}`, {}, el("span.sub", {}, title), ...found.map(lockChip))] : []);
  const locks = value.locks.filter((lock) => lock.scope === "account");
  const cooldowns = value.locks.filter((lock) => lock.scope !== "account");
  byId("risk").replaceChildren(...nodes, ...chips("locks", "Locks", locks), ...chips("cooldowns", "Cooldowns, which end by themselves", cooldowns));
}

function lockChip(lock) {
  const until = lock.until ? `until ${utc(lock.until)} market time` : "until an operator releases it";
  const tip = reasonTip({ code: lock.code, observed: lock.observed, limit: lock.limit, unit: "", scope: until });
  return el("span.chip", { tip }, `${lock.code} · ${lock.scope}`);
}

export function reviewer(value) {
  if (!value) return;
  const rules = value.reviewer === "rules";
  const label = rules ? "RULES" : `LLM · ${value.reviewer} ${value.model}`;
  const what = rules ? "Fixed rules review every entry; no language model decides." : `A language model reviews every entry (${words(value.mode)}); it can only refuse.`;
  byId("reviewer").replaceChildren(...[
    el("span.label", {}, label), el("span.sub", {}, what), value.detail ? el("span.sub", {}, value.detail) : null,
  ].filter(Boolean));
}
