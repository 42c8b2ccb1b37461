// The shell: which view is shown, light or dark, and the key.

import * as api from "./api.js";
import { fill, note } from "./dom.js";

const VIEWS = {
  compare: ["Side by side", () => import("./views/compare.js")],
  conversations: ["Conversations", () => import("./views/conversations.js")],
  conversation: ["Conversation", () => import("./views/conversation.js")],
  experiment: ["Experiment", () => import("./views/experiment.js")],
  attention: ["Attention", () => import("./views/attention.js")],
  live: ["Live", () => import("./views/live.js")],
};
const PARENTS = { conversation: "conversations" };

const main = document.querySelector("#main");
const login = document.querySelector("#login");
const themeButton = document.querySelector("#theme");
const prefersDark = matchMedia("(prefers-color-scheme: dark)");

let leave = null;
let shown = 0;

async function show() {
  if (location.hash && !location.hash.startsWith("#/")) return;
  const [name, query] = location.hash.slice(2).split("?");
  const key = name in VIEWS ? name : "compare";
  const [title, load] = VIEWS[key];
  const turn = ++shown;
  leave?.();
  leave = null;
  document.title = `${title} · gattway`;
  for (const link of document.querySelectorAll("nav a")) {
    const current = link.hash === `#/${PARENTS[key] ?? key}`;
    if (current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    if (current) link.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  try {
    const { view } = await load();
    if (turn !== shown) return;
    fill(main);
    main.dataset.view = key;
    leave = await view(main, new URLSearchParams(query ?? ""));
    if (turn !== shown) leave?.();
  } catch (error) {
    if (turn === shown && error.status !== 401) fill(main, note(error.message, "error"));
    if (error.status === undefined) throw error;
  }
}

function paintTheme() {
  const chosen = document.documentElement.dataset.theme;
  themeButton.setAttribute("aria-pressed", String(chosen ? chosen === "dark" : prefersDark.matches));
}

themeButton.addEventListener("click", () => {
  const next = themeButton.getAttribute("aria-pressed") === "true" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  localStorage.setItem("gattway-theme", next);
  paintTheme();
});
prefersDark.addEventListener("change", paintTheme);
paintTheme();

const loginError = document.querySelector("#login-error");
const loginKey = document.querySelector("#login-key");

function askForKey() {
  if (login.open) return;
  loginError.textContent = "";
  login.showModal();
}

login.addEventListener("cancel", (event) => event.preventDefault());
login.querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    await api.page("session", "POST", { key: loginKey.value });
  } catch (error) {
    loginError.textContent = error.message;
    loginKey.select();
    return;
  }
  loginKey.value = "";
  login.close();
  document.querySelector("#log-out").hidden = false;
  await show();
});
document.addEventListener("locked", askForKey);

document.querySelector("#log-out").addEventListener("click", async () => {
  await api.page("session", "DELETE");
  location.reload();
});

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

addEventListener("hashchange", async () => {
  await show();
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
});

try {
  const session = await api.page("session");
  document.querySelector("#log-out").hidden = !(session.needs_key && session.open);
  if (session.open) await show();
  else askForKey();
} catch (error) {
  fill(main, note(error.message, "error"));
}
