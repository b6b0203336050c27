// Receives what changed and hands it to the panels; tells the age of everything, once a second.

import { ageAlerts, alerts } from "/static/alerts.js";
import { byId, put, startTips } from "/static/dom.js";
import { span } from "/static/format.js";
import * as panels from "/static/panels.js";
import { startStory, tell } from "/static/story.js";
import { ideas, orders, positions } from "/static/tables.js";

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

const DRAW = {
  mesh: () => panels.mesh(state.mesh),
  pipeline: () => panels.pipeline(state.pipeline, state.mesh.granularity_seconds),
  health: () => panels.services(state.health, clock, state.ages?.services),
  alerts: () => alerts(state.alerts, clock),
  recommendations: () => ideas(state.recommendations, state.orders, tell),
  orders: () => {
    orders(state.orders, tell);
    ideas(state.recommendations, state.orders, tell);
  },
  account: () => {
    panels.account(state.account, state.mesh);
    positions(state.account);
    panels.course(state.course, state.account?.opening_balance);
  },
  course: () => panels.course(state.course, state.account?.opening_balance),
  risk: () => panels.risk(state.risk),
  model: () => panels.model(state.model),
  reviewer: () => panels.reviewer(state.reviewer),
  ages: () => showAges(),
};

function showAges() {
  const feeds = state.ages?.feeds ?? {};
  for (const part of document.querySelectorAll("[data-feed]")) {
    const { received_at: at, stale_seconds: limit, fault } = feeds[part.dataset.feed] ?? {};
    const age = at ? clock.age(at) : null;
    const stale = age === null || age > limit;
    part.classList.toggle("stale", stale);
    const label = part.querySelector(".age");
    label.classList.toggle("fresh", !stale);
    put(label, age === null ? "no answer yet" : stale ? `${span(age)} ago` : "live");
    if (fault) label.dataset.tip = fault;
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

function watchConnection() {
  const silent = clock.heard === null ? null : (Date.now() - clock.heard) / 1000;
  const lost = byId("lost");
  const down = silent !== null && silent > 5;
  lost.hidden = !down && state.database?.up !== false;
  if (down) put(lost, `The monitor does not answer; these values are ${span(silent)} old.`);
  else if (!lost.hidden) put(lost, "The database does not answer. The page shows the last values with their age.");
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
