// The reader's choice of light or dark, the menu on narrow screens, search, previews, and buttons that copy code.
// Loaded before the page is drawn, so that a dark page never flashes white.
"use strict";

const root = document.documentElement;
const home = new URL(document.currentScript.dataset.root, location.href);
root.classList.add("script");

function remembered() {
  try { return localStorage.getItem("theme"); } catch { return null; }
}

function dark() {
  const choice = root.dataset.theme;
  return choice ? choice === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

if (remembered()) root.dataset.theme = remembered();

document.addEventListener("DOMContentLoaded", () => {
  chooseTheme(document.querySelector("[data-do=theme]"));
  openMenu(document.querySelector("[data-do=menu]"));
  search(document.getElementById("search"), document.getElementById("results"), document.getElementById("search-status"));
  showContents(document.querySelector(".toc details"));
  follow(document.querySelectorAll(".toc a"));
  addAnchors(document.querySelectorAll("main :is(h2, h3, h4)[id]"));
  addCopyButtons(document.querySelectorAll("main pre:not(.output)"));
  preview(document.querySelectorAll("main :is(.quarto-xref, [role=doc-biblioref], [role=doc-noteref])"));
});

function chooseTheme(button) {
  const show = () => {
    button.textContent = dark() ? "Light" : "Dark";
    button.setAttribute("aria-label", dark() ? "Switch to light" : "Switch to dark");
    button.setAttribute("aria-pressed", String(dark()));
  };
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* the choice lasts for this page */ }
    show();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
  show();
}

function openMenu(button) {
  const set = (open) => {
    root.classList.toggle("menu-open", open);
    button.setAttribute("aria-expanded", String(open));
  };
  button.addEventListener("click", () => set(!root.classList.contains("menu-open")));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !root.classList.contains("menu-open")) return;
    set(false);
    button.focus();
  });
}

// Search -----------------------------------------------------------------------------------------------------------

function load(name) {
  return new Promise((done, failed) => {
    const script = document.createElement("script");
    Object.assign(script, { src: new URL(name, home), onload: done, onerror: () => failed(new Error(name)) });
    document.head.append(script);
  });
}

function search(input, list, status) {
  let index = null;
  let asked = "";
  const prepare = () => {
    index ??= Promise.all([load("minisearch.min.js"), load("search-index.js")]).then(() => {
      const made = new MiniSearch({ fields: ["title", "text"], storeFields: ["address", "title", "page", "text"] });
      made.addAll(searchIndex);
      return made;
    });
    return index;
  };
  const show = (items, said) => {
    list.replaceChildren(...items);
    list.hidden = !asked;
    input.setAttribute("aria-expanded", String(items.length > 0));
    input.removeAttribute("aria-activedescendant");
    status.textContent = said;
  };
  const say = (words) => {
    const item = document.createElement("li");
    item.className = "message";
    item.textContent = words;
    show([item], words);
  };
  const options = () => [...list.querySelectorAll("[role=option]")];
  const mark = (option) => {
    for (const other of options()) other.setAttribute("aria-selected", String(other === option));
    input.setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  };

  input.addEventListener("focus", prepare, { once: true });
  input.addEventListener("input", async () => {
    asked = input.value.trim();
    if (!asked) return show([], "");
    const words = asked;
    let found;
    try {
      const settings = { boost: { title: 4 }, prefix: true, fuzzy: (term) => term.length > 5 && 0.15 };
      const all = (await prepare()).search(words, { ...settings, combineWith: "AND" });
      found = all.length ? all : (await prepare()).search(words, settings);
    } catch {
      return say("Search cannot load its index: the browser refuses it, or the site is incomplete.");
    }
    if (asked !== words) return;
    if (!found.length) return say("Nothing found");
    const shown = found.slice(0, 10);
    show(shown.map(result), `${found.length} results`);
  });
  input.addEventListener("keydown", (event) => {
    const all = options();
    const at = all.findIndex((option) => option.getAttribute("aria-selected") === "true");
    if (event.key === "Escape") { input.value = asked = ""; show([], ""); }
    else if (event.key === "Enter" && all.length) { event.preventDefault(); (all[at] ?? all[0]).querySelector("a").click(); }
    else if (event.key === "ArrowDown" && all.length) { event.preventDefault(); mark(all[(at + 1) % all.length]); }
    else if (event.key === "ArrowUp" && all.length) { event.preventDefault(); mark(all[(at < 1 ? all.length : at) - 1]); }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, textarea, select, [contenteditable]")) return;
    event.preventDefault();
    if (!input.checkVisibility()) document.querySelector("[data-do=menu]").click();
    input.focus();
  });
}

function result(found, position) {
  const item = document.createElement("li");
  Object.assign(item, { id: `result-${position}`, role: "option", ariaSelected: "false" });
  const link = document.createElement("a");
  link.href = new URL(found.address, home);
  link.tabIndex = -1;
  link.textContent = found.title;
  item.append(link);
  if (found.page !== found.title) item.append(small("page", [found.page]));
  item.append(small("excerpt", excerpt(found.text, found.terms)));
  return item;
}

function small(name, content) {
  const span = document.createElement("span");
  span.className = name;
  span.append(...content);
  return span;
}

// Some words around the first that was found, with all that were found marked.
function excerpt(text, terms) {
  const pattern = new RegExp(`(${terms.map((term) => term.replace(/[^\p{L}\p{N}]/gu, "\\$&")).join("|")})`, "giu");
  const first = Math.max(0, text.search(pattern));
  const start = first < 60 ? 0 : text.lastIndexOf(" ", first - 40) + 1;
  return text.slice(start, start + 140).split(pattern).map((part, position) => {
    if (position % 2 === 0) return part;
    const mark = document.createElement("mark");
    mark.textContent = part;
    return mark;
  });
}

// Contents ---------------------------------------------------------------------------------------------------------

// Beside the text they are open; above it, on narrow screens, a line.
function showContents(details) {
  if (!details) return;
  const beside = matchMedia("(min-width: 74rem)");
  const update = () => { details.open = beside.matches; };
  beside.addEventListener("change", update);
  update();
}

// Marks in the contents which section is being read.
function follow(links) {
  const byId = new Map([...links].map((link) => [decodeURIComponent(link.hash.slice(1)), link]));
  const headings = [...byId.keys()].map((id) => document.getElementById(id)).filter(Boolean);
  const update = () => {
    const read = headings.filter((heading) => heading.getBoundingClientRect().top < innerHeight / 4).pop();
    for (const [id, link] of byId) {
      if (read?.id === id) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  };
  addEventListener("scroll", update, { passive: true });
  update();
}

function addAnchors(headings) {
  for (const heading of headings) {
    const link = document.createElement("a");
    Object.assign(link, { className: "anchor", href: `#${heading.id}`, textContent: "#" });
    link.setAttribute("aria-label", `Link to “${heading.textContent.trim()}”`);
    heading.append(link);
  }
}

function addCopyButtons(listings) {
  for (const listing of listings) {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "copy", textContent: "Copy" });
    button.addEventListener("click", async () => {
      const code = listing.textContent;
      try {
        await navigator.clipboard.writeText(code);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(listing);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    const box = document.createElement("div");
    box.className = "listing";
    listing.replaceWith(box);
    box.append(listing, button);
  }
}

// Previews ---------------------------------------------------------------------------------------------------------

const read = new Map(); // pages, by address

async function target(link) {
  const { hash, origin, pathname } = link;
  if (pathname === location.pathname) return document.getElementById(decodeURIComponent(hash.slice(1)));
  if (location.protocol === "file:") return null; // browsers do not read other pages there
  if (!read.has(pathname)) {
    read.set(pathname, fetch(origin + pathname).then(async (answer) => {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const image of page.querySelectorAll("main img")) image.src = new URL(image.getAttribute("src"), answer.url);
      return page;
    }));
  }
  return (await read.get(pathname)).getElementById(decodeURIComponent(hash.slice(1)));
}

// What a reference or citation leads to, beside it while it is pointed at.
function preview(links) {
  const box = document.createElement("div");
  Object.assign(box, { id: "preview", className: "preview", role: "tooltip", hidden: true });
  let timer = 0;
  let shown = null;
  const hide = () => {
    clearTimeout(timer);
    shown?.removeAttribute("aria-describedby");
    shown = null;
    box.hidden = true;
  };
  const show = async (link) => {
    const found = await target(link).catch(() => null);
    if (!found || found.matches("h1") || shown !== link) return;
    const copy = found.cloneNode(true);
    for (const named of [copy, ...copy.querySelectorAll("[id]")]) named.removeAttribute("id");
    for (const gone of copy.querySelectorAll(".anchor, .copy, [role=doc-backlink]")) gone.remove();
    box.replaceChildren(copy);
    if (found.matches("h2, h3, h4") && found.nextElementSibling) box.append(found.nextElementSibling.cloneNode(true));
    document.body.append(box);
    box.hidden = false;
    link.setAttribute("aria-describedby", "preview");
    const place = link.getBoundingClientRect();
    const below = place.bottom + box.offsetHeight + 8 < innerHeight || place.top < box.offsetHeight + 8;
    box.style.top = `${scrollY + (below ? place.bottom + 8 : place.top - box.offsetHeight - 8)}px`;
    box.style.left = `${Math.max(8, Math.min(place.left, innerWidth - box.offsetWidth - 24))}px`;
  };
  const soon = (link) => { hide(); shown = link; timer = setTimeout(show, 200, link); };
  for (const link of links) {
    if (!link.hash) continue;
    link.addEventListener("pointerenter", (event) => { if (event.pointerType !== "touch") soon(link); });
    link.addEventListener("focus", () => soon(link));
    link.addEventListener("pointerleave", () => { timer = setTimeout(hide, 200); });
    link.addEventListener("blur", hide);
  }
  box.addEventListener("pointerenter", () => clearTimeout(timer));
  box.addEventListener("pointerleave", hide);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
}
