// Puts the parts of a page that have changed in the place of the old ones. Without it the page is
// loaded again by itself.
"use strict";
(() => {
  const main = document.querySelector("main[data-live]");
  const state = document.getElementById("live-state");
  if (!main || !window.EventSource) return;

  const place = (name, html) => {
    const part = document.getElementById(name);
    if (!part || part.hasAttribute("data-still")) return;
    // Nobody loses what they are typing.
    const typing = [...part.querySelectorAll("input:not([type=hidden])")];
    if (typing.some((one) => one === document.activeElement || one.value)) return;
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    const scrolled = [...part.querySelectorAll(".scroll")].map((one) => one.scrollLeft);
    part.innerHTML = html; // drawn by this server, which has escaped what hosts have said
    [...part.querySelectorAll(".scroll")].forEach((one, i) => { one.scrollLeft = scrolled[i] || 0; });
    if (!focused) return;
    const same = [...part.querySelectorAll("a, [tabindex]")].find(
      (one) => one.getAttribute("href") === focused.getAttribute("href") &&
        one.getAttribute("aria-label") === focused.getAttribute("aria-label"));
    if (same) same.focus({ preventScroll: true });
  };

  let heard = Date.now();
  const source = new EventSource(main.dataset.live);
  source.onmessage = (event) => {
    const told = JSON.parse(event.data);
    heard = Date.now();
    document.title = told.title;
    for (const [name, html] of Object.entries(told.parts)) place(name, html);
  };
  source.onopen = () => { heard = Date.now(); };
  setInterval(() => {
    const lost = source.readyState !== EventSource.OPEN;
    const seconds = Math.round((Date.now() - heard) / 1000);
    state.textContent = lost ? `The connection to the watch is lost, ${seconds} s ago.` : "Live.";
    document.body.classList.toggle("lost", lost && seconds > 5);
    if (source.readyState === EventSource.CLOSED && seconds > 10) location.reload();
  }, 1000);
})();
