// Receives what changed and hands it to the panels; tells the age of everything, once a second.

import { ageAlerts, alerts } from "/static/alerts.js";
import { byId, put, startTips } from "/static/dom.js";
import { span, words } from "/static/format.js";
import { model } from "/static/model.js";
import * as panels from "/static/panels.js";
import { startStory, tell } from "/static/story.js";
import { recommendations, orders, positions } from "/static/tables.js";

const state = {};

// The server's clock, so that an age is right on a machine whose clock is wrong.
const clock = {
  offset: 0,
  heard: null,
  hear(at) {
    this.offset = Date.parse(at) - Date.now();
    this.heard = Date.now();
  },
  age(at) {
    return Math.max(0, (Date.now() + this.offset - Date.parse(at)) / 1000);
  },
};

function drawRecommendations() {
  recommendations(state.recommendations, state.orders, state.reductions, tell);
}

const drawServices = () => panels.services(state.health, clock, state.ages?.services, state.trading?.state);

const DRAW = {
  mesh: () => panels.mesh(state.mesh),
  pipeline: () => panels.pipeline(state.pipeline, state.mesh.granularity_seconds),
  health: () => {
    drawServices();
    showAges();
  },
  alerts: () => alerts(state.alerts, clock),
  recommendations: drawRecommendations,
  reductions: drawRecommendations,
  orders: () => {
    orders(state.orders, tell);
    drawRecommendations();
  },
  account: () => {
    panels.account(state.account, state.mesh);
    positions(state.account);
    panels.course(state.course, state.account?.opening_balance);
  },
  course: () => panels.course(state.course, state.account?.opening_balance),
  trading: () => {
    panels.trading(state.trading);
    drawServices();
  },
  risk: () => panels.risk(state.risk),
  model: () => model(state.model),
  reviewer: () => panels.reviewer(state.reviewer),
  ages: () => showAges(),
};

// Who answers for a part of the page: what a service said before it stopped to serve is not live, however new.
const SOURCE = {
  pipeline: "orchestrator", recommendations: "bridge", reductions: "orchestrator", orders: "executor", account: "executor", trading: "executor",
  risk: "risk", model: "signal", reviewer: "validator",
};

function silentSource(feed) {
  const source = state.health?.find((one) => one.service === SOURCE[feed]);
  return source && source.state !== "SERVING" ? source : null;
}

function showAges() {
  const feeds = state.ages?.feeds ?? {};
  for (const part of document.querySelectorAll("[data-feed]")) {
    const { received_at: at, stale_seconds: limit, fault } = feeds[part.dataset.feed] ?? {};
    const age = at ? clock.age(at) : null;
    const away = silentSource(part.dataset.feed);
    const stale = age === null || age > limit || away !== null;
    part.classList.toggle("stale", stale);
    const label = part.querySelector(".age");
    if (!label) continue;
    label.classList.toggle("fresh", !stale);
    put(label, age === null ? "no answer yet" : away ? words(away.state) : stale ? `${span(age)} ago` : "live");
    const told = away && age !== null ? `${away.service} is ${words(away.state)}; what it said is ${span(age)} old` : fault;
    if (told) label.dataset.tip = told;
    else delete label.dataset.tip;
  }
  panels.ageTiles(clock, state.ages?.services);
  ageAlerts(clock);
}

function receive(event) {
  const { at, sections } = JSON.parse(event.data);
  clock.hear(at);
  Object.assign(state, sections);
  for (const name of Object.keys(sections)) DRAW[name]?.();
}

function troubles(silent) {
  const [shown, told] = [state.mesh?.venue, state.account?.venue];
  if (silent !== null && silent > 5) return `The monitor does not answer; these values are ${span(silent)} old.`;
  if (shown && told && shown !== told) return `The monitor is set to ${shown}, but the executor trades at ${told}. Believe the executor, and mend VENUE.`;
  if (state.database?.up === false) return "The database does not answer. The page shows the last values with their age.";
  return "";
}

function watchConnection() {
  const silent = clock.heard === null ? null : (Date.now() - clock.heard) / 1000;
  const lost = byId("lost");
  const trouble = troubles(silent);
  lost.hidden = !trouble;
  if (trouble) put(lost, trouble);
  if (clock.heard !== null) showAges();
}

startTips();
startStory();
const events = new EventSource("/api/events");
events.addEventListener("message", receive);
// A browser gives up for good when the server refuses; the page must come back by itself.
events.addEventListener("error", () => {
  if (events.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 5000);
});
setInterval(watchConnection, 1000);
