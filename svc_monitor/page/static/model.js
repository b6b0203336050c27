// The model that decides: what it is, how far its features have moved, and whether it still knows anything.

import { byId, el } from "/static/dom.js";
import { barTime, count, kind, loss, share, utc, words } from "/static/format.js";

const SHOWN_FEATURES = 5;
// A bar this long is twice what asks for a retrain.
const FULL_PSI = 1.0;
const ENGINES = {
  FLAT_ARRAYS: "The trees as flat arrays: the same answers, without the library's overhead for a single row.",
  ESTIMATOR: "The library's own prediction: the flat arrays did not agree with it when the model was loaded.",
};
const PSI_TIP = "Population stability index against the training: below 0.1 nothing, from 0.25 worth a look, from 0.5 time for a new model.";

export function model(value) {
  if (!value) return;
  byId("model").replaceChildren(...(value.loaded ? serving(value) : absent(value)).filter(Boolean));
}

const absent = (value) => [
  el("span.label.bad", {}, "No model"),
  el("span.sub", {}, `No signals are made. ${value.refusal_code} ${value.refusal_detail}`),
];

function serving(value) {
  const trained = `Trained on ${utc(value.train_start).slice(0, 10)} to ${utc(value.train_end).slice(0, 10)}; BUY from edge ${value.theta_buy.toFixed(3)}, SELL from −${value.theta_sell.toFixed(3)} (${value.profile}).`;
  const hold = "No threshold paid for this account's costs out of sample: under EVIDENCE it always says HOLD.";
  return [
    el("span.label", {}, value.version),
    value.suspended ? el("span.pill.k-bad", { tip: suspension(value) }, "SUSPENDED") : null,
    value.suspended ? el("span.sub.bad", {}, suspension(value)) : null,
    el("span.sub", {}, trained),
    value.engine ? el("span.sub", { tip: ENGINES[value.engine] }, `Single rows by ${words(value.engine)}.`) : null,
    role("Challenger", value.challenger, "Predicts the same rows in shadow; never traded."),
    role("Before it", value.previous, "What a rollback would bring back."),
    value.always_hold ? el("span.sub.warn", {}, hold) : null,
    value.refusal_code ? el("span.sub.warn", {}, `A newer one was refused: ${value.refusal_code} ${value.refusal_detail}`) : null,
    figures(value.drift),
    value.drift ? drift(value.drift) : null,
  ];
}

const role = (name, version, tip) =>
  version ? el("span.sub", { tip }, `${name} `, el("b", {}, version)) : null;

const suspension = (value) =>
  `Worse than the class shares of its training over the last 30 days: ${value.profile === "EXERCISE" ? "EXERCISE goes on all the same." : "every signal is HOLD."}`;

function figures(look) {
  const judged = look && look.matured_labels > 0;
  const rows = [
    ["Log loss", judged ? loss(look.log_loss) : "–", "Mean over labels of the last 30 days, nats; smaller is better", judged && look.log_loss > look.prior_log_loss ? "bad" : ""],
    ["Class shares", judged ? loss(look.prior_log_loss) : "–", "The loss of always saying the class shares of the training: what the model has to beat"],
    ["Labels", look ? count(look.matured_labels) : "–", "Signals of the last 30 days whose outcome is known"],
    look ? ["BUY", share(look.buy_share), "Of its signals in the last 30 days"] : null,
    look ? ["SELL", share(look.sell_share), "Of its signals in the last 30 days"] : null,
    look ? ["Confidence", share(look.mean_confidence), "Mean over its signals of the last 30 days, HOLD too: the probability of what each says, up for BUY, down for SELL, neither for HOLD"] : null,
    look && look.edge_psi > 0 ? ["Edge PSI", look.edge_psi.toFixed(2), "How far its edges have moved from those of its first 30 days"] : null,
  ].filter(Boolean);
  return el("dl.figures", {}, ...rows.map(([name, text, tip, tone]) =>
    el("div", { tip }, el("dt", {}, name), el(tone ? `dd.${tone}` : "dd", {}, text))));
}

function drift(look) {
  if (!look.features.length) return el("span.sub.dim", {}, "Too few bars yet to compare the features with the training.");
  const rows = look.features.slice(0, SHOWN_FEATURES).map((feature) => {
    const bar = el("i");
    bar.style.width = `${Math.min(100, (feature.psi / FULL_PSI) * 100).toFixed(1)}%`;
    return el(`li.${kind(feature.level)}`, { tip: PSI_TIP }, el("span", {}, feature.name), el("span.track", {}, bar), el("b", {}, feature.psi.toFixed(2)));
  });
  const tip = `${PSI_TIP}\n${count(look.rows)} rows of all products, up to ${utc(look.as_of)} UTC market time`;
  return el("div.drift", {}, el("span.sub", { tip }, `Moved most since the training, as of ${barTime(look.as_of)}`), el("ul", {}, ...rows));
}
