// Before the first paint: the theme that the reader chose, if any; else the system's.
(() => {
  "use strict";
  let chosen = null;
  try { chosen = localStorage.getItem("pointsman-theme"); } catch { /* storage may be forbidden */ }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
