// The story of one recommendation, step by step, in a panel over the page.

import { byId, el } from "/static/dom.js";
import { kind, many, reasonTip, utc, words } from "/static/format.js";

let asked = 0;

export function startStory() {
  const panel = byId("story");
  byId("story-close").addEventListener("click", () => panel.close());
  panel.addEventListener("click", (event) => {
    if (event.target === panel) panel.close();
  });
}

export async function tell(item) {
  const mine = ++asked;
  byId("story-title").textContent = `${item.side} ${item.product_id}`;
  byId("story-verdict").textContent = "Asking the orchestrator…";
  byId("story-steps").replaceChildren();
  byId("story-clock").hidden = true;
  if (!byId("story").open) byId("story").showModal();
  try {
    const answer = await fetch(`/api/explain/${encodeURIComponent(item.recommendation_id)}`);
    const found = await answer.json();
    if (mine !== asked) return;
    if (!answer.ok) throw new Error(found.message);
    byId("story-verdict").textContent = found.verdict;
    byId("story-steps").replaceChildren(...found.steps.map(step));
    byId("story-clock").hidden = false;
  } catch (error) {
    if (mine === asked) byId("story-verdict").textContent = `The story cannot be told now: ${error.message}`;
  }
}

function step(found) {
  const facts = Object.entries(found.facts);
  const node = el(`li.step.${kind(found.outcome)}`, {},
    el("div.line", {}, el("b", {}, found.stage), el(`span.pill.${kind(found.outcome)}`, {}, words(found.outcome)),
      el("time", { tip: found.event_time ? `written ${utc(found.event_time, { seconds: true })} UTC by the machine's clock` : "" }, utc(found.as_of))),
    el("p", {}, found.summary));
  if (found.reasons.length) node.append(el("p", {}, ...found.reasons.map((reason) => el("span.chip", { tip: reasonTip(reason) }, reason.code))));
  if (facts.length) {
    node.append(el("details", {}, el("summary", {}, many(facts.length, "figure")),
      el("table", {}, el("tbody", {}, ...facts.map(([name, value]) => el("tr", {}, el("td", {}, name), el("td", {}, value)))))));
  }
  return node;
}
