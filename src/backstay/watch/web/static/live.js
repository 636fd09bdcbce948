// Replaces the parts of a page that have changed. Without it the page reloads by itself.
"use strict";
(() => {
  const main = document.querySelector("main[data-live]");
  const state = document.getElementById("live-state");
  if (!main || !window.EventSource) return;

  const place = (name, html) => {
    const part = document.getElementById(name);
    if (!part || part.hasAttribute("data-fixed")) return;
    // Do not replace a form while somebody types in it.
    const inputs = [...part.querySelectorAll("input:not([type=hidden])")];
    if (inputs.some((input) => input === document.activeElement || input.value)) return;
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    const scrolled = [...part.querySelectorAll(".scroll")].map((one) => one.scrollLeft);
    part.innerHTML = html; // rendered by this server, which escapes text from hosts
    [...part.querySelectorAll(".scroll")].forEach((one, i) => { one.scrollLeft = scrolled[i] || 0; });
    if (!focused) return;
    const same = [...part.querySelectorAll("a, [tabindex]")].find(
      (one) => one.getAttribute("href") === focused.getAttribute("href") &&
        one.getAttribute("aria-label") === focused.getAttribute("aria-label"));
    if (same) same.focus({ preventScroll: true });
  };

  let received = Date.now();
  const source = new EventSource(main.dataset.live);
  source.onmessage = (event) => {
    const update = JSON.parse(event.data);
    received = Date.now();
    document.title = update.title;
    for (const [name, html] of Object.entries(update.parts)) place(name, html);
  };
  source.onopen = () => { received = Date.now(); };
  setInterval(() => {
    const lost = source.readyState !== EventSource.OPEN;
    const seconds = Math.round((Date.now() - received) / 1000);
    state.textContent = lost ? `Connection to the watch lost ${seconds} s ago.` : "Live.";
    document.body.classList.toggle("lost", lost && seconds > 5);
    if (source.readyState === EventSource.CLOSED && seconds > 10) location.reload();
  }, 1000);
})();
