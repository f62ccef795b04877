/* The page's frame: the places, and the router between them. A place is a module with

     mount(host, { api, selection, info, go }) → { update(selection), close(), key?(event), named?() }

   go(change, { replace, fresh }): another selection, and so another address; what is not named
   stays, unless it is fresh. key: a key that was pressed outside any field, true if it meant
   something. named: the server's model is known. info: { model, window, parameters, content, machine(), places }. */

import { Machine } from "../machine/machine.js";
import { make } from "../picture/elements.js";
import { counted, onOneLine, useGlyphs } from "../picture/notation.js";
import { followSystem, setTheme } from "../picture/theme.js";
import { Api } from "./api.js";
import { ask, dialog } from "./dialogs.js";
import { readSelection, writeSelection } from "./selection.js";

/* A module that may not be there. */
const optional = (path) => import(path);
const PLACES = {
  chat: { name: "Chat", load: () => import("./chat/chat.js") },
  walk: { name: "Walk", load: () => import("./walk/place.js") },
  change: { name: "Change it", file: "change/change.js", load: () => optional("../change/change.js") },
  talk: { name: "Talk", file: "talk/talk.js", load: () => optional("../talk/talk.js") },
  learn: { name: "How it learned", file: "learn/learn.js", load: () => optional("../learn/learn.js") },
};
const KEYS = [
  ["← →", "the token before, the token after"],
  ["w", "why this word"],
  ["x", "switch parts off"],
  ["z", "undo: the selection before"],
  ["Esc", "close the glass"],
  ["/", "write something"],
  ["?", "this list"],
];
const THEMES = ["auto", "light", "dark"];
const SERVED = new Set(["chat", "change"]); /* places whose numbers are always those of the server's model */
const root = document.documentElement;
const main = document.getElementById("main");
const state = document.getElementById("state");

const api = new Api({ askKey, onstate });
const info = {
  model: null,
  window: null,
  parameters: null,
  content: null,
  places: [],
  machine: once(() => new Machine(info.content.machine)),
};
let selection = readSelection(location.hash);
let mounted = null;
let mounting = 0;

start();

async function start() {
  followSystem();
  choose(localStorage.getItem("pellucid-theme") ?? "auto");
  drawTop();
  addEventListener("popstate", () => route(readSelection(location.hash)));
  addEventListener("keydown", onkey);
  await untilRead();
  useGlyphs(info.content.glyphs);
  info.places = info.content.places;
  drawTop();
  await route(selection);
  await named();
}

/* The page's own data, as soon as the server gives it. */
async function untilRead() {
  for (;;) {
    try {
      info.content = await api.get("page/start.json");
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

async function named() {
  if (info.model) return;
  try {
    const { data } = await api.get("v1/models");
    info.model = data[0].id;
    info.window = data[0].max_model_len;
    info.parameters = data[0].n_params;
    mounted?.named?.();
    drawTop();
    const other = selection.model && selection.model !== info.model && selection.model !== info.content.machine.name;
    if (other) tell(`This address was made with the model “${onOneLine(selection.model)}”; here is “${onOneLine(info.model)}”.`);
  } catch (error) {
    if (error.status) tell(error.message);
  }
}

function offered(place) {
  const known = PLACES[place];
  return known && (!known.file || info.places.includes(known.file));
}

async function route(next) {
  const before = selection.place;
  selection = offered(next.place) ? next : { ...next, place: "chat" };
  drawTop();
  if (mounted && selection.place === before) {
    mounted.update(selection);
    return;
  }
  const turn = ++mounting;
  mounted?.close();
  mounted = null;
  const { name, load } = PLACES[selection.place];
  document.title = name === "Chat" ? "Pellucid" : `${name} · Pellucid`;
  const host = make("div", { className: `place ${selection.place}` });
  const { mount } = await load();
  if (turn !== mounting) return;
  main.replaceChildren(host);
  scrollTo(0, 0);
  mounted = await mount(host, { api, selection, info, go });
}

function go(change, { replace = false, fresh = false } = {}) {
  const next = fresh ? { place: selection.place, ...change } : { ...selection, ...change };
  if (info.model && (SERVED.has(next.place) || next.conversation)) next.model = info.model;
  const address = writeSelection(next);
  if (address !== location.hash) history[replace ? "replaceState" : "pushState"](null, "", address);
  return route(readSelection(address));
}

function onkey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const target = /** @type {HTMLElement} */ (event.target);
  if (target.closest("input, textarea, select, dialog, [contenteditable]")) return;
  if (event.key === "?") showKeys();
  else if (event.key === "z") history.back();
  else if (!mounted?.key?.(event)) return;
  event.preventDefault();
}

function showKeys() {
  const rows = KEYS.map(([key, what]) => [make("dt", {}, make("kbd", { textContent: key })), make("dd", { textContent: what })]).flat();
  dialog("Keys", make("dl", { className: "keys" }, ...rows));
}

function drawTop() {
  const focus = document.activeElement?.getAttribute("data-key");
  const links = Object.entries(PLACES)
    .filter(([place]) => offered(place))
    .map(([place, { name }]) =>
      make("a", {
        href: `#/${place}`,
        textContent: name,
        "data-key": place,
        "aria-current": place === selection.place ? "page" : null,
      }),
    );
  const theme = root.dataset.choice ?? "auto";
  const top = document.getElementById("top");
  top.replaceChildren(
    make("a", { href: "#/chat", className: "wordmark", textContent: "Pellucid", "data-key": "home" }),
    make("div", { className: "places", role: "navigation", "aria-label": "Places" }, ...links),
    make(
      "span",
      { className: "top-model", title: "the model that is served; each view names its own" },
      info.model ? make("span", { className: "served", textContent: "served: " }) : null,
      info.model ? `${onOneLine(info.model)}, ${counted(info.parameters)} parameters` : null,
    ),
    make("button", {
      type: "button",
      className: "plain",
      textContent: { auto: "◐", light: "○", dark: "●" }[theme],
      "aria-label": `Theme: ${theme}`,
      title: `Theme: ${theme}`,
      "data-key": "theme",
      onclick: () => (choose(THEMES[(THEMES.indexOf(theme) + 1) % 3]), drawTop()),
    }),
    make("button", {
      type: "button",
      className: "plain",
      textContent: "?",
      "aria-label": "Keys",
      "data-key": "keys",
      onclick: showKeys,
    }),
  );
  if (focus) /** @type {HTMLElement} */ (top.querySelector(`[data-key="${focus}"]`))?.focus();
}

function choose(theme) {
  root.dataset.choice = theme;
  localStorage.setItem("pellucid-theme", theme);
  setTheme(theme === "auto" ? "" : theme);
}

function tell(text) {
  state.textContent = text;
  state.hidden = !text;
}

function onstate(now) {
  root.dataset.server = now;
  tell(
    now === "gone" ? "The server does not answer; this page looks for it. What is drawn stays, and the talk's sentence lives on here." : "",
  );
  if (now === "here") {
    named();
    mounted?.update(selection);
  }
}

async function askKey() {
  const answer = await ask("This server asks for an API key", [{ name: "key", label: "API key", type: "password" }], "Use it", {
    note: "It stays in this tab until you close it.",
  });
  return answer?.key.trim() || null;
}

function once(make) {
  let made;
  return () => (made ??= make());
}

/* For tests, and for whoever opens the browser's console. */
Object.assign(globalThis, {
  pellucid: {
    api,
    info,
    go,
    get selection() {
      return selection;
    },
    get mounted() {
      return mounted;
    },
  },
});
