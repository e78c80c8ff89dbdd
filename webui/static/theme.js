// Before the first paint: without a choice of the reader's, the theme is their system's.
"use strict";
(() => {
  const page = document.documentElement;
  if (!page.hasAttribute("data-theme-follows-system")) return;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const follow = () => { page.dataset.bsTheme = dark.matches ? "dark" : "light"; };
  dark.addEventListener("change", follow);
  follow();
})();
