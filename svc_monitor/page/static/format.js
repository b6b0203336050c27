// Figures and times as people read them. Amounts come as exact text and are rounded for the eye only.

const quote = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const signed = new Intl.NumberFormat("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2, signDisplay: "exceptZero" });
const base = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 6 });
const whole = new Intl.NumberFormat("en-US");
const percent = new Intl.NumberFormat("en-US", { style: "percent", minimumFractionDigits: 2, maximumFractionDigits: 2 });

const change = new Intl.NumberFormat("en-US", { style: "percent", minimumFractionDigits: 2, maximumFractionDigits: 2, signDisplay: "exceptZero" });

const known = (value) => value !== null && value !== undefined && value !== "";
export const money = (text) => (known(text) ? quote.format(text) : "–");
export const gain = (text) => (known(text) ? signed.format(text) : "–");
export const units = (text) => (known(text) ? base.format(text) : "–");
export const count = (number) => whole.format(number);
export const many = (number, noun) => `${whole.format(number)} ${noun}${number === 1 ? "" : "s"}`;
export const share = (number) => (known(number) ? percent.format(number) : "–");
export const loss = (nats) => nats.toFixed(4);
export const changed = (number) => change.format(number);
// Cents say nothing about a coin that costs a fraction of one.
export const price = (text) => (known(text) ? (Math.abs(Number(text)) < 10 ? base.format(text) : quote.format(text)) : "–");
export const tone = (text) => (!known(text) || Number(text) === 0 ? "" : Number(text) > 0 ? "good" : "bad");

// Market and machine times are shown in UTC: bars are.
export function utc(text, { seconds = false } = {}) {
  if (!text) return "–";
  return `${text.slice(0, 10)} ${text.slice(11, seconds ? 19 : 16)}`;
}
export const barTime = (text) => (text ? `${text.slice(5, 10)} ${text.slice(11, 16)}` : "–");

export function span(seconds) {
  if (seconds < 1.5) return "now";
  if (seconds < 100) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

const KINDS = {
  good: ["APPROVE", "RECOMMENDED", "EXECUTED", "FILLED", "BUY", "SERVING", "ACTIVE"],
  bad: ["REJECT", "REJECTED", "FAILED", "NOT_SERVING", "UNREACHABLE", "HALTED", "CRITICAL", "INVALID_OUTPUT", "TIMEOUT", "UNAVAILABLE", "ALARM"],
  warn: ["REDUCE", "REDUCING", "WARNING", "OVERLOADED", "CANCELLED", "EXPIRED"],
  cool: ["SELL", "PROPOSED", "IN_REVIEW", "EXECUTING", "WAITING", "PENDING", "OPEN", "NOTICE"],
  odd: ["UNKNOWN"],
};
const KIND_OF = new Map(Object.entries(KINDS).flatMap(([kind, words]) => words.map((word) => [word, kind])));

// The class of an outcome such as "BUY EXECUTED" or "rules APPROVE": its last word decides.
export const kind = (outcome) => `k-${KIND_OF.get(outcome.split(" ").at(-1)) ?? "none"}`;
export const words = (code) => code.toLowerCase().replaceAll("_", " ");

export function reasonTip(reason) {
  const unit = reason.unit ? ` ${reason.unit}` : "";
  return [
    reason.code,
    reason.observed && `observed ${reason.observed}${unit}`,
    reason.limit && `limit ${reason.limit}${unit}`,
    reason.scope,
  ].filter(Boolean).join("\n");
}

const DECIDERS = {
  "validator:rules": "rules reviewer",
  "validator:ollama": "LLM reviewer (ollama)",
  risk: "risk engine",
  "": "not decided",
};
export const decider = (by) => DECIDERS[by] ?? by;
