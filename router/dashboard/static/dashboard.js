// Live updates, the theme switch and small conveniences. Every page works without it, charts aside.
(() => {
  "use strict";
  const EVERY_MS = 2500, LONGEST_MS = 30000, AGAIN_MS = 60000;

  const theme = document.getElementById("theme");
  if (theme) {
    const order = ["auto", "light", "dark"];
    const show = () => { theme.textContent = `Theme: ${document.documentElement.dataset.theme ?? "auto"}`; };
    theme.hidden = false;
    show();
    theme.addEventListener("click", () => {
      const next = order[(order.indexOf(document.documentElement.dataset.theme ?? "auto") + 1) % order.length];
      if (next === "auto") delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = next;
      try { localStorage.setItem("pointsman-theme", next); } catch { /* storage may be forbidden */ }
      show();
      window.pointsmanCharts?.draw(document);
    });
  }

  for (const select of document.querySelectorAll("select[data-go]")) {
    select.addEventListener("change", () => select.form.requestSubmit());
  }

  for (const form of document.querySelectorAll("form[data-busy]")) {
    form.addEventListener("submit", () => {
      form.setAttribute("aria-busy", "true");
      const button = form.querySelector("button");
      if (button) button.textContent = form.dataset.busy;
    });
  }

  // What takes long comes when it is there: the part of the same name of another of our pages. Until then a link leads to it.
  const loaded = new Map();
  async function load(root) {
    for (const part of root.querySelectorAll("[data-load]")) {
      const address = part.dataset.load;
      const known = loaded.get(address);
      if (known) put(part, known.content);
      if (known && Date.now() - known.at < AGAIN_MS) continue;
      part.setAttribute("aria-busy", "true");
      try {
        const answer = await fetch(address, { headers: { accept: "text/html" }, credentials: "same-origin" });
        if (!answer.ok || answer.redirected) throw new Error("not shown");
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(part.id);
        if (fresh) { loaded.set(address, { content: fresh, at: Date.now() }); put(part, fresh); }
      } catch { /* the link stays */ }
      part.removeAttribute("aria-busy");
      part.dataset.loaded = "true";
    }
  }
  function put(part, fresh) {
    part.replaceChildren(...[...fresh.childNodes].map((node) => node.cloneNode(true)));
    window.pointsmanCharts?.draw(part);
  }
  load(document);

  const status = document.querySelector("[data-live-status]");
  const region = document.querySelector("[data-live]");
  if (!status || !region) return;
  const text = document.getElementById("live-text"), pause = document.getElementById("live-pause");
  let seen = region.dataset.live, paused = false, looking = false, wait = EVERY_MS, timer = null;

  function say(words, kind) {
    status.className = `live ${kind}`;
    if (text.textContent !== words) text.textContent = words;
  }

  // The new page's region takes the old one's place; what the reader has opened, scrolled and focused stays. Not where he paused meanwhile.
  async function reload() {
    const answer = await fetch(location.href, { headers: { accept: "text/html" }, credentials: "same-origin" });
    if (!answer.ok || answer.redirected) throw new Error("not shown");
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(region.id);
    if (paused) return false;
    if (!fresh) return location.reload();
    const opened = [...region.querySelectorAll("details")].map((item) => item.open);
    const scrolled = [...region.querySelectorAll(".scroll")].map((item) => item.scrollLeft);
    const places = [...region.querySelectorAll("a, button, summary, input, select, [tabindex]")];
    const place = places.indexOf(document.activeElement);
    region.replaceChildren(...fresh.childNodes);
    region.querySelectorAll("details").forEach((item, i) => { if (opened[i] !== undefined) item.open = opened[i]; });
    region.querySelectorAll(".scroll").forEach((item, i) => { item.scrollLeft = scrolled[i] ?? 0; });
    if (place >= 0) region.querySelectorAll("a, button, summary, input, select, [tabindex]")[place]?.focus({ preventScroll: true });
    window.pointsmanCharts?.draw(region);
    load(region);
    return true;
  }

  async function look() {
    timer = null;
    if (paused || looking || document.hidden) return;
    looking = true;
    try {
      const answer = await fetch("/dashboard/pulse", { credentials: "same-origin" });
      if (answer.status === 401 || answer.status === 403) return say("Signed out", "lost");
      if (!answer.ok) throw new Error(String(answer.status));
      const { beat } = await answer.json();
      if (seen === beat || await reload()) seen = beat;
      if (paused) return;
      wait = EVERY_MS;
      say("Live", "");
    } catch {
      wait = Math.min(wait * 2, LONGEST_MS);
      if (!paused) say("No connection; trying again", "lost");
    } finally {
      looking = false;
    }
    timer = setTimeout(look, wait);
  }

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Resume" : "Pause";
    say(paused ? "Paused" : "Live", paused ? "paused" : "");
    if (!paused && timer === null) look();
  });
  document.addEventListener("visibilitychange", () => { if (!document.hidden && timer === null) look(); });
  timer = setTimeout(look, EVERY_MS);
})();
