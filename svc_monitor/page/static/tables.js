// Recommendations with their outcome, orders, positions.

import { byId, el, keyed, put } from "/static/dom.js";
import { barTime, count, decider, gain, kind, money, price, reasonTip, share, tone, units, utc, words } from "/static/format.js";

const chips = (reasons, of = "") =>
  reasons.map((reason) => el("span.chip", { tip: reasonTip(reason) }, of ? `${of}: ${reason.code}` : reason.code));
const sized = (side, text) => (side === "BUY" ? money(text) : units(text));
const pill = (state, tip) => el(`span.pill.${kind(state)}`, { tip }, words(state));

// The reasons of a recommendation are those of the stage that ended it; why its size is another, the risk engine has said.
export function recommendations(value, orders, reductions, tell) {
  if (!value) return;
  const orderOf = new Map((orders ?? []).map((order) => [order.order_id, order]));
  const reductionOf = new Map((reductions ?? []).map((one) => [one.recommendation_id, one.reasons]));
  const rows = value.map((recommendation) => ({
    recommendation,
    order: orderOf.get(recommendation.order_id) ?? null,
    resized: reductionOf.get(recommendation.recommendation_id) ?? [],
  }));
  keyed(byId("recommendations"), rows, (row) => row.recommendation.recommendation_id, (row) => recommendationRow(row, tell));
  byId("recommendations-empty").hidden = rows.length > 0;
  put(byId("recommendations-note"), rows.length ? `latest ${count(rows.length)}; open one for its story` : "");
}

function recommendationRow({ recommendation, order, resized }, tell) {
  const open = (event) => {
    event.stopPropagation();
    tell(recommendation);
  };
  const whole = recommendation.allowed_size !== null && Number(recommendation.allowed_size) === Number(recommendation.size);
  const allowed = recommendation.allowed_size === null || whole ? "" : ` → ${sized(recommendation.side, recommendation.allowed_size)}`;
  const unit = recommendation.side === "BUY" ? "quote currency, fee inside" : "base units";
  const verdict = recommendation.allowed_size === null ? "no size allowed yet" : `allowed ${sized(recommendation.side, recommendation.allowed_size)}${whole ? ", all of it" : ""}`;
  const evidence = recommendation.confidence === null ? "an operator's recommendation" : `confidence ${share(recommendation.confidence)}`;
  const tip = [`bar closed ${utc(recommendation.as_of)} UTC`, evidence, `price ${price(recommendation.reference_price)}`, recommendation.profile, recommendation.note].filter(Boolean).join("\n");
  return el("tr.opens", { on: { click: open } },
    el("td", {}, el("button.link", { type: "button", tip, on: { click: open } }, barTime(recommendation.as_of))),
    el("td", {}, recommendation.product_id, recommendation.origin === "OPERATOR" ? el("span.sub", {}, " operator") : null),
    el(`td.side-${recommendation.side === "BUY" ? "BUY" : "SELL"}`, {}, recommendation.side),
    el("td.end.size", { tip: `asked ${sized(recommendation.side, recommendation.size)} (${unit})\n${verdict}` }, `${sized(recommendation.side, recommendation.size)}${allowed}`),
    el("td.state", {}, pill(recommendation.state, `changed ${utc(recommendation.updated_at, { seconds: true })} UTC`)),
    el("td.by", {}, decider(recommendation.decided_by)),
    el("td.reasons", {}, ...chips(recommendation.reasons), ...chips(resized, "size")),
    el("td.order", {}, order ? orderWords(order) : recommendation.order_id ? recommendation.order_id.slice(0, 8) : ""));
}

function orderWords(order) {
  if (order.state === "FILLED") return `at ${price(order.average_price)}`;
  return words(order.state);
}

export function orders(value, tell) {
  if (!value) return;
  keyed(byId("orders"), value, (order) => order.order_id, (order) => orderRow(order, tell));
  byId("orders-empty").hidden = value.length > 0;
  put(byId("orders-note"), value.length ? `latest ${count(value.length)}` : "");
}

// Where it waits: what protects a position at its stop and target, an entry at its limit.
function ownPrices(order) {
  const named = [["stop", order.stop_price], ["target", order.target_price], ["limit", order.limit_price]].filter(([, own]) => own !== null);
  return named.length ? [el("div.sub", {}, named.map(([name, own]) => `${name} ${price(own)}`).join(" · "))] : [];
}

function orderRow(order, tell) {
  const open = (event) => {
    event.stopPropagation();
    tell(order);
  };
  const tip = [`order ${order.order_id}`, order.exchange_order_id && `exchange ${order.exchange_order_id}`, `sent ${order.send_count} time(s)`].filter(Boolean).join("\n");
  const state = el("td.state", {}, pill(order.state, order.reasons.map(reasonTip).join("\n\n")));
  return el("tr.opens", { on: { click: open } },
    el("td", {}, el("button.link", { type: "button", tip, on: { click: open } }, barTime(order.as_of))),
    el("td", {}, order.product_id),
    el(`td.side-${order.side === "BUY" ? "BUY" : "SELL"}`, {}, order.side, ...ownPrices(order)),
    el("td.end", { label: "sent" }, sized(order.side, order.size)),
    el("td.end", { label: "filled" }, units(order.filled_size)),
    el("td.end", { label: "at" }, price(order.average_price)),
    el("td.end", { label: "fees" }, money(order.fees)),
    state,
    el("td.by", {}, words(order.venue)));
}

export function positions(value) {
  if (!value) return;
  const held = value.holdings.filter((one) => Number(one.base_size) !== 0);
  const closed = value.holdings.length - held.length;
  keyed(byId("positions"), value.holdings, (one) => one.product_id, positionRow);
  byId("positions-empty").hidden = value.holdings.length > 0;
  put(byId("positions-note"), value.holdings.length ? `${held.length} held${closed ? `, ${closed} closed` : ""}` : "");
}

// The nearest of each, and where every one is kept.
function stopAndTarget(orders) {
  if (!orders.length) return el("span.bad", { tip: "No order sells it when the price falls." }, "none");
  const stops = orders.map((one) => Number(one.stop_price)), targets = orders.map((one) => Number(one.target_price));
  const tip = orders.map((one) =>
    `${units(one.left_size)}: stop ${price(one.stop_price)}, target ${price(one.target_price)}, ${one.rests ? "rests at the exchange" : "kept by the executor"}`);
  return el("span", { tip: tip.join("\n") }, price(Math.max(...stops)), el("div.dim", {}, price(Math.min(...targets))));
}

function positionRow(one) {
  const flat = Number(one.base_size) === 0;
  const profit = flat ? one.realized_pnl : one.unrealized_pnl;
  const tip = `value ${money(one.market_value)}\nunrealized ${gain(one.unrealized_pnl)}\nrealized ${gain(one.realized_pnl)}`;
  return el(flat ? "tr.dim" : "tr", { tip },
    el("td", {}, one.product_id, el("div.dim", {}, flat ? "closed" : units(one.base_size))),
    el("td.end", {}, flat ? "" : price(one.mark_price), el("div.dim", {}, flat ? "" : price(one.average_cost))),
    el("td.end", {}, flat ? "" : stopAndTarget(one.protection)),
    el(`td.end${tone(profit) ? `.${tone(profit)}` : ""}`, {}, gain(profit)));
}
