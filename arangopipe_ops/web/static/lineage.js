"use strict";

// The picture is drawn by the server. This makes it larger and smaller, moves it, tells of a box, and marks the way to it.
const NS = "http://www.w3.org/1999/xlink";
const STEP = 1.25;
const READABLE = 0.9;
const NEARER = { "+": "in", "=": "in", "-": "out", 0: "fit" };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const picture = document.getElementById("picture");
const svg = picture.querySelector("svg");
const details = document.getElementById("details");
const buttons = Object.fromEntries([...details.querySelectorAll("[data-to]")].map((each) => [each.dataset.to, each]));
const size = { width: svg.viewBox.baseVal.width, height: svg.viewBox.baseVal.height };
const natural = svg.getBoundingClientRect().width / size.width;
let scale = natural;

const title = (group) => group.querySelector("title").textContent;
const boxes = new Map([...svg.querySelectorAll("g.node")].map((group) => [title(group), group]));
const edges = [...svg.querySelectorAll("g.edge")].map((group) => [...title(group).split("->"), group]);

// Larger and smaller: the picture's own size, so that the region around it scrolls as ever.
function zoomTo(wanted, at = { x: picture.clientWidth / 2, y: picture.clientHeight / 2 }) {
  const next = Math.min(4, Math.max(0.05, wanted));
  const [x, y] = [(picture.scrollLeft + at.x) / scale, (picture.scrollTop + at.y) / scale];
  scale = next;
  svg.setAttribute("width", size.width * scale);
  svg.setAttribute("height", size.height * scale);
  picture.scrollTo(x * scale - at.x, y * scale - at.y);
}

const fitting = () => Math.min((picture.clientWidth - 20) / size.width, (picture.clientHeight - 20) / size.height);
const ZOOMS = {
  in: () => zoomTo(scale * STEP),
  out: () => zoomTo(scale / STEP),
  fit: () => zoomTo(fitting()),
  one: () => zoomTo(natural),
};

function onWheel(event) {
  if (!event.ctrlKey) return;
  event.preventDefault();
  const { left, top } = picture.getBoundingClientRect();
  zoomTo(scale * (event.deltaY < 0 ? STEP : 1 / STEP), { x: event.clientX - left, y: event.clientY - top });
}

// Moving: by scrolling, or by dragging the ground.
function onDrag(event) {
  if (event.button !== 0 || event.pointerType === "touch" || event.target.closest("a")) return;
  const from = { x: event.clientX + picture.scrollLeft, y: event.clientY + picture.scrollTop };
  const move = (now) => picture.scrollTo(from.x - now.clientX, from.y - now.clientY);
  picture.addEventListener("pointermove", move);
  addEventListener("pointerup", () => picture.removeEventListener("pointermove", move), { once: true });
}

// A box: what is known of it, and what can be done with it.
function boxOf(element) {
  const group = element.closest?.("g.node");
  return group && !group.classList.contains("cut") ? group : null;
}

function tell(group) {
  const link = group.querySelector("a");
  const address = new URL(link.getAttributeNS(NS, "href"), location);
  const expanded = new URL(location);
  expanded.searchParams.append("open", title(group));
  details.dataset.id = title(group);
  document.getElementById("about").textContent = link.getAttributeNS(NS, "title").split("\n").join(" · ");
  buttons.centre.href = address;
  buttons.node.href = address.pathname.replace(/\/lineage$/, "");
  buttons.expand.href = expanded;
  buttons.path.setAttribute("aria-pressed", marked === title(group));
}

// The way from where the lineage begins to a box, whatever the direction of its edges.
let marked = null;

function wayTo(id) {
  const cameBy = new Map([[picture.dataset.start, null]]);
  for (const here of cameBy.keys()) {
    for (const [from, to, group] of edges) {
      const next = from === here ? to : to === here ? from : null;
      if (next !== null && !cameBy.has(next)) cameBy.set(next, { here, group });
    }
  }
  const way = [boxes.get(id)];
  for (let step = cameBy.get(id); step; step = cameBy.get(step.here)) way.push(step.group, boxes.get(step.here));
  return way;
}

function mark() {
  const id = details.dataset.id;
  svg.querySelectorAll(".way").forEach((group) => group.classList.remove("way"));
  marked = marked === id ? null : id;
  svg.classList.toggle("marked", marked !== null);
  if (marked !== null) wayTo(id).forEach((group) => group.classList.add("way"));
  buttons.path.setAttribute("aria-pressed", marked !== null);
}

// Keys: the nearest box in a direction is the one that is least far, and least beside the way.
function nearest(group, [x, y]) {
  const middle = (each) => {
    const { left, top, width, height } = each.getBoundingClientRect();
    return [left + width / 2, top + height / 2];
  };
  const [left, top] = middle(group);
  const ahead = [...boxes.values()].map((each) => {
    const [dx, dy] = [middle(each)[0] - left, middle(each)[1] - top];
    return { each, along: dx * x + dy * y, beside: Math.abs(dx * y) + Math.abs(dy * x) };
  });
  const cost = ({ along, beside }) => along + 3 * beside;
  return ahead.filter(({ along }) => along > 5).sort((a, b) => cost(a) - cost(b))[0]?.each;
}

function onKey(event) {
  const { key, target } = event;
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const group = target.closest("g.node");
  if (Object.hasOwn(NEARER, key)) ZOOMS[NEARER[key]]();
  else if (group && Object.hasOwn(ARROWS, key)) nearest(group, ARROWS[key])?.querySelector("a").focus();
  else if (boxOf(target) && key === "p") mark();
  else if (boxOf(target) && key === "o") buttons.node.click();
  else if (boxOf(target) && key === "e") buttons.expand.click();
  else return;
  event.preventDefault();
}

// A box that gets the focus is scrolled to, and others pass beneath a pointer that rests.
const REST = 300;
let focused = -REST;

function onFocus(event) {
  const group = boxOf(event.target);
  focused = event.timeStamp;
  if (group) tell(group);
}

function onPointed(event) {
  const group = boxOf(event.target);
  if (group && event.timeStamp - focused > REST) tell(group);
}

function toMiddle(group) {
  const { left, top, width, height } = group.getBoundingClientRect();
  const around = picture.getBoundingClientRect();
  picture.scrollBy(left + width / 2 - around.left - around.width / 2, top + height / 2 - around.top - around.height / 2);
}

document.getElementById("tools").hidden = false;
document.querySelectorAll("[data-zoom]").forEach((each) => each.addEventListener("click", ZOOMS[each.dataset.zoom]));
buttons.path.addEventListener("click", mark);
picture.addEventListener("wheel", onWheel, { passive: false });
picture.addEventListener("pointerdown", onDrag);
picture.addEventListener("pointerover", onPointed);
picture.addEventListener("focusin", onFocus);
picture.addEventListener("keydown", onKey);
details.hidden = false;
const opened = new URL(location).searchParams.getAll("open").findLast((id) => boxes.has(id));
const first = boxes.get(opened ?? picture.dataset.start);
tell(first);
zoomTo(Math.max(READABLE, Math.min(fitting(), natural)));
toMiddle(first);
if (opened) first.querySelector("a").focus({ preventScroll: true });
