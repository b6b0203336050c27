// Alerts in force, and the button that says somebody has seen one.

import { byId, el, keyed, put } from "/static/dom.js";
import { kind, span, utc } from "/static/format.js";

export function alerts(value, clock) {
  if (!value) return;
  keyed(byId("alerts"), value, (alert) => alert.alert_id, alertItem);
  byId("alerts-empty").hidden = value.length > 0;
  const unseen = value.filter((alert) => !alert.acknowledged_at).length;
  put(byId("alerts-note"), value.length ? `${value.length} in force, ${unseen} not seen` : "");
  ageAlerts(clock);
}

export function ageAlerts(clock) {
  for (const node of byId("alerts").querySelectorAll(".since")) put(node, span(clock.age(node.dataset.at)));
}

function alertItem(alert) {
  const since = el("span.since", { tip: `raised ${utc(alert.raised_at, { seconds: true })} UTC` });
  since.dataset.at = alert.raised_at;
  const told = el("p.told", { role: "status" });
  let button = null;
  if (alert.acknowledged_at) told.append(`seen by ${alert.acknowledged_by}, ${utc(alert.acknowledged_at)} UTC`);
  else button = el("button.button", { type: "button", on: { click: () => acknowledge(alert, button, told) } }, "Acknowledge");
  return el(`li.alert.${kind(alert.severity)}${alert.acknowledged_at ? ".seen" : ""}`, {},
    el("div.line", {}, el("b", {}, alert.code), since, button),
    el("p.text", {}, el("span.scope", {}, `${alert.scope} `), alert.message), told);
}

async function acknowledge(alert, button, told) {
  button.disabled = true;
  told.replaceChildren();
  try {
    const answer = await fetch(`/api/alerts/${encodeURIComponent(alert.alert_id)}/acknowledge`, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...proof() },
      body: JSON.stringify({ note: "seen on the page" }),
    });
    if (answer.status === 401) return askForToken(alert, button, told);
    if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).message ?? `HTTP ${answer.status}`);
  } catch (error) {
    told.className = "told bad";
    told.textContent = `not stored: ${error.message}`;
    button.disabled = false;
  }
}

// The operator's token is kept in this tab alone; a cookie would be sent to other programs of this machine as well.
const TOKEN = "operator-token";

function proof() {
  const token = sessionStorage.getItem(TOKEN);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

function askForToken(alert, button, told) {
  const wrong = sessionStorage.getItem(TOKEN) !== null;
  sessionStorage.removeItem(TOKEN);
  const input = el("input.token", { type: "password", autocomplete: "off", "aria-label": "operator's token" });
  const send = () => {
    const token = input.value.trim();
    if (!/^[\w-]+$/.test(token)) return input.focus();
    sessionStorage.setItem(TOKEN, token);
    acknowledge(alert, button, told);
  };
  input.addEventListener("keydown", (event) => { if (event.key === "Enter") send(); });
  told.className = "told";
  told.replaceChildren(
    `${wrong ? "That is not the operator's token. " : ""}Only the operator may acknowledge. `,
    "The token is in MESH_HOME/identity/operator.token: ",
    input, el("button.button", { type: "button", on: { click: send } }, "Use it"));
  button.disabled = false;
  input.focus();
}
