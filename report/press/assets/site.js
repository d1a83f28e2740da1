// The reader's choice of light or dark, the menu on narrow screens, and search.
// Loaded before the page is drawn, so that a dark page never flashes white.
"use strict";

const root = document.documentElement;
const home = document.currentScript.dataset.root;
root.classList.add("script");
// Search loads its index with requests, which browsers refuse to pages opened as files.
if (location.protocol !== "file:") root.classList.add("server");

function remembered() {
  try { return localStorage.getItem("theme"); } catch { return null; }
}

function dark() {
  const choice = root.dataset.theme;
  return choice ? choice === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

if (remembered()) root.dataset.theme = remembered();

document.addEventListener("DOMContentLoaded", () => {
  const theme = document.querySelector("[data-do=theme]");
  const showTheme = () => {
    theme.textContent = dark() ? "Light" : "Dark";
    theme.setAttribute("aria-label", dark() ? "Switch to light" : "Switch to dark");
    theme.setAttribute("aria-pressed", String(dark()));
  };
  theme.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("theme", root.dataset.theme); } catch { /* the choice lasts for this page */ }
    showTheme();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);
  showTheme();

  const menu = document.querySelector("[data-do=menu]");
  menu.addEventListener("click", () => {
    menu.setAttribute("aria-expanded", String(root.classList.toggle("menu-open")));
  });

  search(document.getElementById("search"), document.getElementById("results"));
  follow(document.querySelectorAll(".toc a"));
});

function search(input, list) {
  let pagefind = null;
  const load = () => {
    pagefind ??= import(new URL(home + "pagefind/pagefind.js", location.href)).then(async (module) => {
      await module.options({ baseUrl: new URL(home, location.href).pathname, excerptLength: 18 });
      await module.init();
      return module;
    });
    return pagefind;
  };
  const say = (words) => {
    const item = document.createElement("li");
    item.textContent = words;
    list.replaceChildren(item);
  };
  input.addEventListener("focus", load, { once: true });
  input.addEventListener("input", async () => {
    const words = input.value.trim();
    if (!words) return list.replaceChildren();
    const found = await (await load()).debouncedSearch(words, {}, 150);
    if (found === null || input.value.trim() !== words) return;
    if (!found.results.length) return say("Nothing found");
    const pages = await Promise.all(found.results.slice(0, 6).map((result) => result.data()));
    list.replaceChildren(...pages.flatMap((page) => {
      const best = page.sub_results?.length ? page.sub_results.slice(0, 2) : [{ ...page, title: page.meta.title }];
      return best.map((part) => {
        const item = document.createElement("li");
        const link = document.createElement("a");
        link.href = part.url;
        link.textContent = part.title;
        const excerpt = document.createElement("span");
        excerpt.innerHTML = part.excerpt;
        item.append(link, excerpt);
        return item;
      });
    }));
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { input.value = ""; list.replaceChildren(); }
  });
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
