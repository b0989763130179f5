"use strict";

// Colours: what was chosen is kept in this browser, and set before anything is drawn.
const SCHEMES = ["as the system", "light", "dark"];
const root = document.documentElement;

function chosenScheme() {
  try {
    return SCHEMES.find((scheme) => scheme === localStorage.scheme) ?? schemeAround();
  } catch {
    return SCHEMES[0]; // this browser keeps nothing
  }
}

function choose(scheme) {
  root.dataset.scheme = scheme;
  try {
    localStorage.scheme = scheme;
  } catch {}
}

function offerSchemes(button) {
  const label = () => (button.textContent = `Colours: ${root.dataset.scheme}`);
  label();
  button.addEventListener("click", () => {
    choose(SCHEMES[(SCHEMES.indexOf(root.dataset.scheme) + 1) % SCHEMES.length]);
    label();
  });
}

// In a frame, as Airflow shows these pages: they have its colours, and what leads out of them opens around the frame.
const ours = new URL("..", document.currentScript.src).href;

function around() {
  try {
    return parent === window ? null : parent.document;
  } catch {
    return null; // another site's
  }
}

function schemeAround() {
  const outer = around();
  const scheme = outer && getComputedStyle(outer.documentElement).colorScheme;
  return SCHEMES.find((each) => each === scheme) ?? SCHEMES[0];
}

function leaveFrame(event) {
  const link = event.target.closest("a[href]");
  const outer = around();
  if (!outer || !(link instanceof HTMLAnchorElement) || link.href.startsWith(ours)) return;
  event.preventDefault();
  const elsewhere = link.origin !== location.origin;
  Object.assign(outer.createElement("a"), { href: link.href, target: elsewhere ? "_blank" : "", rel: "noreferrer" }).click();
}

document.addEventListener("click", leaveFrame);
root.dataset.scheme = chosenScheme();

// Times: in the zone of who looks, UTC on hover. The Swedish way to write them is ISO's.
function inOwnZone(time) {
  const at = new Date(time.dateTime);
  if (Number.isNaN(at.getTime())) return;
  const seconds = /:\d\d:\d\d/.test(time.textContent);
  time.title = time.textContent;
  time.textContent = at.toLocaleString("sv-SE", { dateStyle: "short", timeStyle: seconds ? "medium" : "short" });
}

// Keys: each does something and returns whether it could.
function toSearch() {
  const field = document.getElementById("quick");
  field?.focus();
  return field !== null;
}

function showKeys() {
  document.getElementById("keys").showModal();
  return true;
}

function isInView(row) {
  const { top, bottom } = row.getBoundingClientRect();
  return top >= 0 && bottom > 0 && bottom <= innerHeight;
}

function toRow(by) {
  const all = [...document.querySelectorAll("main tbody tr, main li")];
  const rows = all.filter((row) => row.querySelector("a") && row.checkVisibility());
  const here = rows.indexOf(document.activeElement.closest("tr, li"));
  const next = here < 0 ? by > 0 && rows.find(isInView) : rows[here + by];
  if (next) next.querySelector("a").focus();
  return Boolean(next);
}

const KEYS = { "/": toSearch, "?": showKeys, ArrowDown: () => toRow(1), ArrowUp: () => toRow(-1) };

function isTheirs(key, target) {
  if (target.id === "quick") return key !== "ArrowDown";
  return target.closest("input:not([type=checkbox]), textarea, select, dialog") || target.matches('[tabindex="0"]');
}

function onKey(event) {
  const { key, target } = event;
  if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented || isTheirs(key, target)) return;
  if (Object.hasOwn(KEYS, key) && KEYS[key]()) event.preventDefault();
}

// A page that is being made: how far it is, until it is there.
async function made(tell) {
  const answer = await fetch(location.href, { headers: { Accept: "text/html", Prefer: "wait" } });
  if (answer.status !== 202) return;
  tell(new DOMParser().parseFromString(await answer.text(), "text/html"));
  return made(tell);
}

function wait(told) {
  const reload = () => location.reload();
  made((page) => (told.textContent = page.querySelector(".waiting [role=status]").textContent)).then(reload, reload);
}

// An earlier answer stays, since it may be read by now, and says when a newer one is there.
function replaceLater(told) {
  made(() => {}).then(() => (told.textContent = "A newer one is there."), () => {});
}

document.addEventListener("keydown", onKey);
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("time").forEach(inOwnZone);
  document.getElementById("zone").textContent = `in the zone ${new Intl.DateTimeFormat().resolvedOptions().timeZone}, in UTC on hover`;
  document.querySelectorAll("[data-script]").forEach((each) => (each.hidden = false));
  offerSchemes(document.getElementById("scheme"));
  document.getElementById("help").addEventListener("click", showKeys);
  document.querySelectorAll(".waiting [role=status]").forEach(wait);
  document.querySelectorAll(".earlier span").forEach(replaceLater);
});
