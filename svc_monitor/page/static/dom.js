// Builds the page's elements. Data only ever becomes text or a class from a fixed list: nothing here parses markup.

export const byId = (id) => document.getElementById(id);

// el("td.end", {tip: "…"}, "text", child, …)
export function el(spec, given = {}, ...children) {
  const [tag, ...classes] = spec.split(".");
  const node = document.createElement(tag);
  if (classes.length) node.className = classes.join(" ");
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === "") continue;
    if (name === "tip") {
      node.dataset.tip = value;
      if (tag === "span") node.tabIndex = 0;
    } else if (name === "on") {
      for (const [event, run] of Object.entries(value)) node.addEventListener(event, run);
    } else if (name === "label") {
      node.dataset.label = value;
    } else {
      node.setAttribute(name, value);
    }
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function svg(tag, given) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(given)) node.setAttribute(name, value);
  return node;
}

// Sets text, and lets a changed figure light up for a moment.
export function put(node, text, { tick = false } = {}) {
  if (node.textContent === text) return;
  const first = node.textContent === "" || node.textContent === "–";
  node.textContent = text;
  if (tick && !first) {
    node.classList.remove("tick");
    void node.offsetWidth;
    node.classList.add("tick");
  }
}

// Keeps one child per item: an unchanged item keeps its element, so that focus, hover and selection survive an update.
export function keyed(parent, items, keyOf, render) {
  const kept = parent.keptItems ?? new Map();
  const first = parent.keptItems === undefined;
  const next = new Map();
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    const text = JSON.stringify(item);
    const known = kept.get(key);
    const node = known?.text === text ? known.node : render(item);
    if (known && known.node !== node) known.node.replaceWith(node);
    if (known && place === known.node) place = node;
    if (!known && !first) node.classList.add("new");
    next.set(key, { text, node });
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
  }
  for (const [key, { node }] of kept) if (!next.has(key)) node.remove();
  parent.keptItems = next;
}

// One tooltip for the page, filled from data-tip of whatever is pointed at or focused.
export function startTips() {
  const tip = byId("tip");
  const show = (event) => {
    const target = event.target.closest?.("[data-tip]");
    tip.hidden = !target;
    if (!target) return;
    // An open dialog covers everything outside of it.
    (document.querySelector("dialog[open]") ?? document.body).append(tip);
    tip.textContent = target.dataset.tip;
    const box = target.getBoundingClientRect();
    const own = tip.getBoundingClientRect();
    const below = box.bottom + 6 + own.height < innerHeight;
    tip.style.left = `${Math.max(6, Math.min(box.left, innerWidth - own.width - 6))}px`;
    tip.style.top = `${below ? box.bottom + 6 : Math.max(6, box.top - own.height - 6)}px`;
  };
  document.addEventListener("pointerover", show);
  document.addEventListener("focusin", show);
  document.addEventListener("scroll", () => { tip.hidden = true; }, true);
}
