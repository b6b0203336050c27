// Recommendations with their fate, orders, positions.

import { byId, el, keyed, put } from "/static/dom.js";
import { barTime, count, decider, gain, kind, money, price, reasonTip, share, tone, units, utc, words } from "/static/format.js";

const chips = (reasons) => reasons.map((reason) => el("span.chip", { tip: reasonTip(reason) }, reason.code));
const sized = (side, text) => (side === "BUY" ? money(text) : units(text));
const pill = (state, tip) => el(`span.pill.${kind(state)}`, { tip }, words(state));

export function ideas(value, orders, tell) {
  if (!value) return;
  const fate = new Map((orders ?? []).map((order) => [order.order_id, order]));
  const rows = value.map((idea) => ({ idea, order: fate.get(idea.order_id) ?? null }));
  keyed(byId("ideas"), rows, (row) => row.idea.recommendation_id, (row) => ideaRow(row, tell));
  byId("ideas-empty").hidden = rows.length > 0;
  put(byId("ideas-note"), rows.length ? `latest ${count(rows.length)}; open one for its story` : "");
}

function ideaRow({ idea, order }, tell) {
  const open = (event) => {
    event.stopPropagation();
    tell(idea);
  };
  const whole = idea.allowed_size !== null && Number(idea.allowed_size) === Number(idea.size);
  const allowed = idea.allowed_size === null || whole ? "" : ` → ${sized(idea.side, idea.allowed_size)}`;
  const unit = idea.side === "BUY" ? "quote currency, fee inside" : "base units";
  const verdict = idea.allowed_size === null ? "no size allowed yet" : `allowed ${sized(idea.side, idea.allowed_size)}${whole ? ", all of it" : ""}`;
  const evidence = idea.confidence === null ? "an operator's idea" : `confidence ${share(idea.confidence)}`;
  const tip = [`bar closed ${utc(idea.as_of)} UTC`, evidence, `price ${price(idea.reference_price)}`, idea.profile, idea.note].filter(Boolean).join("\n");
  return el("tr.opens", { on: { click: open } },
    el("td", {}, el("button.link", { type: "button", tip, on: { click: open } }, barTime(idea.as_of))),
    el("td", {}, idea.product_id, idea.origin === "OPERATOR" ? el("span.sub", {}, " operator") : null),
    el(`td.side-${idea.side === "BUY" ? "BUY" : "SELL"}`, {}, idea.side),
    el("td.end.size", { tip: `asked ${sized(idea.side, idea.size)} (${unit})\n${verdict}` }, `${sized(idea.side, idea.size)}${allowed}`),
    el("td.fate", {}, pill(idea.state, `changed ${utc(idea.updated_at, { seconds: true })} UTC`)),
    el("td.by", {}, decider(idea.decided_by)),
    el("td.reasons", {}, ...chips(idea.reasons)),
    el("td.order", {}, order ? orderWords(order) : idea.order_id ? idea.order_id.slice(0, 8) : ""));
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

function orderRow(order, tell) {
  const open = (event) => {
    event.stopPropagation();
    tell(order);
  };
  const tip = [`order ${order.order_id}`, order.exchange_order_id && `exchange ${order.exchange_order_id}`, `sent ${order.send_count} time(s)`].filter(Boolean).join("\n");
  const state = el("td.fate", {}, pill(order.state, order.reasons.map(reasonTip).join("\n\n")));
  return el("tr.opens", { on: { click: open } },
    el("td", {}, el("button.link", { type: "button", tip, on: { click: open } }, barTime(order.as_of))),
    el("td", {}, order.product_id),
    el(`td.side-${order.side === "BUY" ? "BUY" : "SELL"}`, {}, order.side),
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

function positionRow(one) {
  const flat = Number(one.base_size) === 0;
  const profit = flat ? one.realized_pnl : one.unrealized_pnl;
  const tip = `value ${money(one.market_value)}\nunrealized ${gain(one.unrealized_pnl)}\nrealized ${gain(one.realized_pnl)}`;
  return el(flat ? "tr.dim" : "tr", { tip },
    el("td", {}, one.product_id),
    el("td.end", {}, flat ? "closed" : units(one.base_size)),
    el("td.end", {}, flat ? "" : price(one.average_cost)),
    el("td.end", {}, flat ? "" : price(one.mark_price)),
    el(`td.end${tone(profit) ? `.${tone(profit)}` : ""}`, {}, gain(profit)));
}
