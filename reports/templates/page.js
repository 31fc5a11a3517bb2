"use strict";
(() => {
  const all = (what, of = document) => [...of.querySelectorAll(what)];
  const one = (id) => document.getElementById(id);
  const add = (to, name, text, attributes = {}) => {
    const element = document.createElement(name);
    if (text !== undefined) element.textContent = text;
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    to.append(element);
    return element;
  };

  // Theme: that of the system, light, dark.
  const theme = one("theme");
  if (theme) {
    const names = ["system", "light", "dark"];
    const show = (name) => {
      theme.textContent = "Theme: " + name;
      theme.dataset.now = name;
      if (name === "system") delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = name;
    };
    let kept = "system";
    try { kept = localStorage.getItem("assay-theme") || kept; } catch { /* not allowed to keep anything */ }
    show(names.includes(kept) ? kept : "system");
    theme.hidden = false;
    theme.addEventListener("click", () => {
      const next = names[(names.indexOf(theme.dataset.now) + 1) % names.length];
      show(next);
      try { localStorage.setItem("assay-theme", next); } catch { /* the same */ }
    });
  }

  // Contents are closed on a phone.
  const contents = one("contents");
  if (contents && matchMedia("(max-width: 1099px)").matches) contents.open = false;

  // Sorting: first highest, then lowest, then as it was.
  const value = (row, at) => {
    const cell = row.cells[at];
    if (cell === undefined) return null;
    const text = cell.dataset.v ?? cell.textContent.trim();
    const number = Number(text.replaceAll(",", "").replace("−", "-"));
    return text !== "" && Number.isFinite(number) ? number : text;
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), undefined, { numeric: true });
  };
  const isEmpty = (of) => of === null || of === "" || of === "–";
  for (const table of all("table.sortable")) {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    all("thead th", table).forEach((head, at) => {
      // Chromium repeats the head of a table on the next printed page only if it has no button element.
      const button = document.createElement("span");
      button.setAttribute("role", "button");
      button.tabIndex = 0;
      button.className = "sort";
      button.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        button.click();
      });
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const isText = rows.every((row) => isEmpty(value(row, at)) || typeof value(row, at) === "string");
        const steps = isText ? ["ascending", "descending", null] : ["descending", "ascending", null];
        const next = steps[(steps.indexOf(head.getAttribute("aria-sort")) + 1) % 3];
        all("th[aria-sort]", table).forEach((other) => other.removeAttribute("aria-sort"));
        if (next) head.setAttribute("aria-sort", next);
        const sign = next === "descending" ? -1 : 1;
        const sorted = next === null ? rows : [...rows].sort((a, b) => {
          const [x, y] = [value(a, at), value(b, at)];
          if (isEmpty(x) || isEmpty(y)) return isEmpty(x) - isEmpty(y);
          return sign * compare(x, y);
        });
        body.append(...sorted);
      });
    });
  }

  // Filter and columns of the tables of results.
  const tools = one("tools");
  if (tools) {
    tools.hidden = false;
    tools.addEventListener("submit", (event) => event.preventDefault());
    const tables = all("#results table.values");
    one("filter").addEventListener("input", (event) => {
      const wanted = event.target.value.trim().toLowerCase();
      const names = new Set();
      for (const row of all("#results table tbody tr, #comparisons tbody tr, #slices table.sortable tbody tr")) {
        const name = row.querySelector("th").textContent;
        row.hidden = !name.toLowerCase().includes(wanted);
        if (!row.hidden) names.add(name);
      }
      one("filtered").textContent = wanted === "" ? "" : names.size === 1 ? "1 system" : names.size + " systems";
    });
    for (const box of all("[data-column]", tools)) {
      box.addEventListener("change", () => {
        for (const table of tables) {
          const head = all("thead th", table).find((of) => of.dataset.metric === box.dataset.column);
          if (!head) continue;
          const at = head.cellIndex;
          for (const row of table.rows) row.cells[at].hidden = !box.checked;
        }
      });
    }
    for (const box of all("[data-part]", tools)) {
      box.addEventListener("change", () => one("results").classList.toggle("no-" + box.dataset.part, !box.checked));
    }
  }

  // The reference of the comparisons.
  const reference = one("reference");
  if (reference && reference.options.length > 1) {
    one("reference-tool").hidden = false;
    reference.addEventListener("change", () => {
      all("details.reference").forEach((of, at) => { of.open = at === Number(reference.value); });
    });
  }

  // How a number was computed.
  const how = one("how");
  if (how && one("data")) {
    const data = JSON.parse(one("data").textContent);
    one("results").classList.add("live");
    const percent = (part, of) => (100 * part / of).toFixed(1) + " %";
    const histogram = (to, [n, , , low, high, counts]) => {
      const space = "http://www.w3.org/2000/svg";
      const most = Math.max(...counts, 1);
      const svg = document.createElementNS(space, "svg");
      const put = (name, attributes, text) => {
        const element = document.createElementNS(space, name);
        for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
        if (text !== undefined) element.textContent = text;
        svg.append(element);
      };
      svg.setAttribute("viewBox", "0 0 400 130");
      svg.setAttribute("role", "img");
      svg.setAttribute("aria-label", "Users by value: " + counts.map((count, at) =>
        (low + (high - low) * at / counts.length).toFixed(2) + " and more: " + count).join("; "));
      counts.forEach((count, at) => {
        const height = 95 * count / most;
        put("rect", { x: 20 + at * 36, y: 110 - height, width: 34, height });
        if (count > 0) put("text", { x: 37 + at * 36, y: 106 - height, "text-anchor": "middle" }, count);
      });
      put("line", { x1: 20, x2: 380, y1: 110.5, y2: 110.5 });
      for (let at = 0; at <= counts.length; at += 2) {
        put("text", { x: 19 + at * 36, y: 124, "text-anchor": "middle" }, (low + (high - low) * at / counts.length).toFixed(1));
      }
      to.append(svg);
    };
    const show = (cell) => {
      const row = cell.closest("tr");
      const table = data.tables[Number(cell.closest("[data-table]").dataset.table)];
      const heads = all("thead th", cell.closest("table"));
      const at = heads.slice(0, cell.cellIndex).filter((of) => of.dataset.metric).length;
      const known = table.rows[Number(row.dataset.row)][at];
      if (!known) return;
      const [key, title] = table.metrics[at];
      const [value, sdFolds, sdSeeds, low, high, users, pairs, folds, over] = known;
      one("how-title").textContent = row.querySelector("th").textContent + ": " + title + " = " + value.toFixed(6);
      const body = one("how-body");
      body.replaceChildren();
      const list = add(body, "dl", undefined, { class: "terms" });
      const line = (name, text) => { add(list, "dt", name); add(list, "dd", text); };
      line("setting", table.setting);
      const formula = all("[data-formula]").find((of) => of.dataset.formula === table.convention + " " + key);
      if (formula) {
        line("one user's value", formula.cells[1].textContent);
        line("mean over", formula.cells[2].textContent);
      }
      line("n", users.toLocaleString("en") + " users" + (pairs === users ? "" : ", " + pairs.toLocaleString("en") + " user-fold pairs"));
      const given = folds.map((of, fold) => of === null ? null : data.folds[fold] + " " + of.toFixed(4)).filter((of) => of !== null);
      if (given.length > 0) line(given.length === 1 ? "fold" : "mean of the folds", given.join(", "));
      if (sdFolds !== null) line("standard deviation over folds", sdFolds.toFixed(4));
      if (sdSeeds !== null) line("standard deviation over seeds", sdSeeds.toFixed(4));
      if (low !== null) line("95 % interval over users", "[" + low.toFixed(4) + ", " + high.toFixed(4) + "]");
      line("fingerprint", table.fingerprint);
      if (over) {
        add(body, "h3", "Distribution over users");
        add(body, "p", "Each user's mean over folds and seeds: " + percent(over[1], over[0]) + " of " + over[0].toLocaleString("en") +
          " users have 0; the median is " + over[2].toFixed(4) + ".", { class: "notes" });
        histogram(body, over);
      }
      add(add(body, "p", undefined, { class: "notes" }), "a", "Formulas, intervals and tests", { href: "#computed" })
        .addEventListener("click", () => how.close());
      how.showModal();
    };
    // Arrow keys move between the numbers of a table; one of them can be reached with the tab key.
    for (const table of all("#results table.values")) {
      const first = table.querySelector("td[data-v]");
      if (first) first.tabIndex = 0;
      table.addEventListener("click", (event) => {
        const cell = event.target.closest("td[data-v]");
        if (cell) show(cell);
      });
      table.addEventListener("keydown", (event) => {
        const cell = event.target.closest("td[data-v]");
        if (!cell) return;
        if (event.key === "Enter" || event.key === " ") {
          event.preventDefault();
          show(cell);
          return;
        }
        const row = cell.parentElement;
        const rows = all("tbody tr", table).filter((of) => !of.hidden);
        const next = {
          ArrowRight: () => cell.nextElementSibling,
          ArrowLeft: () => cell.previousElementSibling,
          ArrowDown: () => rows[rows.indexOf(row) + 1]?.cells[cell.cellIndex],
          ArrowUp: () => rows[rows.indexOf(row) - 1]?.cells[cell.cellIndex],
        }[event.key]?.();
        if (next?.matches?.("td[data-v]")) {
          event.preventDefault();
          cell.tabIndex = -1;
          next.tabIndex = 0;
          next.focus();
        }
      });
    }
  }

  // What a link points to is shown, and everything is printed.
  const reveal = () => {
    let at = location.hash.length > 1 && one(decodeURIComponent(location.hash.slice(1)));
    for (; at; at = at.parentElement) if (at.localName === "details") at.open = true;
  };
  addEventListener("hashchange", reveal);
  reveal();
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = all("details:not([open])");
    for (const of of opened) of.open = true;
  });
  addEventListener("afterprint", () => {
    for (const of of opened) of.open = false;
    opened = [];
  });
})();
