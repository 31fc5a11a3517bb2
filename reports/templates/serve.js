"use strict";
(() => {
  const rows = [...document.querySelectorAll("tr[data-slot]")];
  if (location.pathname !== "/") return;
  const source = new EventSource("/events");
  source.onmessage = (event) => {
    const state = JSON.parse(event.data);
    const known = rows.map((row) => row.dataset.slot);
    const runs = state.runs.length;
    // Another experiment or run: the page is drawn again.
    if (state.experiments.some((of) => !known.includes(of.slot)) || (window.runs ?? runs) !== runs) {
      location.reload();
      return;
    }
    window.runs = runs;
    for (const of of state.experiments) {
      const row = rows.find((row) => row.dataset.slot === of.slot);
      row.querySelector('[data-what="state"]').textContent = of.state;
      row.querySelector('[data-what="steps"]').textContent = `${of.done} of ${of.steps}`;
      const bar = row.querySelector("progress");
      bar.max = Math.max(of.steps, 1);
      bar.value = of.done;
    }
  };
})();
