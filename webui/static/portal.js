// What makes pages pleasant; everything works without it.
"use strict";
(() => {
  const SLOW_AFTER_MS = 6000;

  // Copy buttons.
  function showCopyButtons(root) {
    for (const button of root.querySelectorAll("[data-copy]")) button.hidden = !navigator.clipboard;
  }
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(button.dataset.copy);
    const word = button.querySelector("[role=status]");
    button.classList.add("copied");
    word.textContent = "Copied";
    setTimeout(() => { button.classList.remove("copied"); word.textContent = ""; }, 1600);
  });

  // Times of day in the reader's own zone; the exact one with its zone stays in the title.
  const clock = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
  function showLocalTimes(root) {
    for (const time of root.querySelectorAll("time[data-clock]")) time.textContent = clock.format(new Date(time.dateTime));
  }

  // Lists narrow as soon as something is chosen.
  for (const form of document.querySelectorAll("[data-submit-on-change]")) {
    form.classList.add("scripted");
    form.addEventListener("change", () => {
      for (const field of form.elements) if (field.value === "") field.disabled = true;
      form.requestSubmit();
    });
  }

  document.addEventListener("submit", (event) => {
    const question = event.target.dataset.confirm;
    if (question && !confirm(question)) event.preventDefault();
  });

  // A menu closes when something else is touched.
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      const inside = menu.contains(document.activeElement);
      menu.open = false;
      if (inside) menu.querySelector("summary").focus();
    }
  });

  // A page that is watched says when it last heard from the server; the next poll comes by itself.
  let heardAt = Date.now();
  document.body.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.successful) heardAt = Date.now();
  });
  function tellHeard() {
    const word = document.querySelector("[data-heard]");
    if (!word) return;
    const silent = Date.now() - heardAt;
    word.classList.toggle("silent", silent > SLOW_AFTER_MS);
    word.textContent = silent > SLOW_AFTER_MS
      ? `no answer for ${Math.round(silent / 1000)} s, trying again; the work goes on`
      : silent < 2500 ? "live" : `heard from the server ${Math.round(silent / 1000)} s ago`;
  }
  setInterval(tellHeard, 1000);
  tellHeard();

  document.body.addEventListener("htmx:afterSwap", () => { showCopyButtons(document); showLocalTimes(document); tellHeard(); });
  showCopyButtons(document);
  showLocalTimes(document);
})();
