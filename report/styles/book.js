// What the book's pages do, whatever program rendered them: fonts asked for early, boxes that scroll within reach of
// the keyboard, the numbers of figures and tables as their addresses, and names for those who hear the page.
"use strict";

(() => {
  const here = document.currentScript.src;
  document.documentElement.classList.add("script");

  // Fonts are asked for with the page, not when its style sheet has come. Pages opened as files may not ask for them so.
  if (location.protocol !== "file:") {
    for (const name of ["serif", "serif-semibold", "sans", "sans-semibold"]) {
      const link = document.createElement("link");
      Object.assign(link, { rel: "preload", as: "font", type: "font/woff2", crossOrigin: "anonymous" });
      link.href = new URL(`fonts/${name}.woff2`, here);
      document.head.append(link);
    }
  }

  // What a scrolling box holds, for those who do not see it.
  function nameOf(box) {
    const caption = box.closest("figure")?.querySelector("figcaption");
    if (caption) return caption.textContent.trim().split(/\s+/).slice(0, 12).join(" ");
    return box.querySelector("math") ? "Formula" : box.matches("pre, .sourceCode") ? "Code" : "Table";
  }

  function watchScrolling(box) {
    const update = () => {
      const room = box.scrollWidth - box.clientWidth;
      const scrolls = room > 0;
      box.classList.toggle("more-left", scrolls && box.scrollLeft > 1);
      box.classList.toggle("more-right", scrolls && box.scrollLeft < room - 1);
      if (scrolls === box.hasAttribute("tabindex")) return;
      if (scrolls) {
        box.tabIndex = 0;
        box.setAttribute("role", "group");
        box.setAttribute("aria-label", nameOf(box));
      } else {
        for (const name of ["tabindex", "role", "aria-label"]) box.removeAttribute(name);
      }
    };
    box.classList.add("scrolls");
    box.addEventListener("scroll", update, { passive: true });
    new ResizeObserver(update).observe(box);
    update();
    return update;
  }

  // The boxes of a page: around tables and figures the innermost block, formulas and listings themselves.
  function scrollingBoxes(main) {
    const boxes = new Set(main.querySelectorAll("pre, .equation-body"));
    for (const math of main.querySelectorAll('p math[display="block"]')) boxes.add(math.closest("p"));
    for (const table of main.querySelectorAll("table")) {
      if (table.parentElement.closest("table")) continue;
      let box = table.parentElement;
      if (!box.matches(".table-scroll, .scroll")) {
        box = document.createElement("div");
        table.replaceWith(box);
        box.append(table);
      }
      boxes.add(box);
    }
    for (const image of main.querySelectorAll("figure img[width]")) {
      const box = document.createElement("div");
      const link = image.closest("a.figure") ?? image;
      link.replaceWith(box);
      box.append(link);
      boxes.add(box);
    }
    for (const text of main.querySelectorAll(":is(p, li):has(> math)")) {
      if (text.scrollWidth > text.clientWidth + 1) boxes.add(text);
    }
    return boxes;
  }

  function addPermalinks(main) {
    for (const caption of main.querySelectorAll("figcaption")) {
      const id = caption.closest("[id^=fig-], [id^=tbl-]")?.id.replace(/-caption-.*/, "");
      const text = document.createTreeWalker(caption, NodeFilter.SHOW_TEXT);
      let node = text.nextNode();
      while (node && !node.data.trim()) node = text.nextNode();
      const number = node?.data.match(/^\s*((?:Figure|Table)\s[\w.]+)/);
      if (!id || !number || node.parentElement.closest("a")) continue;
      const link = document.createElement("a");
      link.className = "permalink";
      link.href = `#${document.getElementById(id)?.closest("[id^=fig-], [id^=tbl-]").id ?? id}`;
      link.textContent = number[1];
      node.data = node.data.slice(number[0].length);
      node.before(link);
    }
  }

  // A heading that is a formula alone is no text to screen readers.
  function nameHeadings(main) {
    for (const math of main.querySelectorAll("th math:only-child")) {
      const spoken = document.createElement("span");
      spoken.className = "spoken";
      spoken.textContent = [...math.querySelectorAll("mi, mn, mo, mtext")].map((each) => each.textContent).join("");
      math.setAttribute("aria-hidden", "true");
      math.before(spoken);
    }
  }

  // Quarto's navigation has parts of one name, and names that differ from the words one sees.
  function nameNavigation() {
    document.getElementById("quarto-sidebar")?.setAttribute("aria-label", "Chapters");
    document.querySelector(".quarto-secondary-nav")?.setAttribute("aria-label", "Page");
    document.getElementById("TOC")?.setAttribute("aria-label", "On this page");
    for (const link of document.querySelectorAll(".pagination-link")) link.removeAttribute("aria-label");
    for (const toggle of document.querySelectorAll(".sidebar-item-toggle")) toggle.setAttribute("role", "button");
    for (const toggle of document.querySelectorAll('a[role="navigation"]')) toggle.setAttribute("role", "button");
  }

  document.addEventListener("DOMContentLoaded", () => {
    const main = document.querySelector("main");
    const updates = [...scrollingBoxes(main)].map(watchScrolling);
    const updateAll = () => updates.forEach((update) => update());
    addEventListener("load", updateAll);  // fonts make what a box holds wider or narrower
    document.fonts.addEventListener("loadingdone", updateAll);
    addPermalinks(main);
    nameHeadings(main);
    nameNavigation();
  });
})();
