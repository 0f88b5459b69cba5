"use strict";
// Comfort only: the page is complete without this script. It adds copy buttons, a
// crosshair that all charts of a figure share, and filter and sort of tables.
(() => {
  const make = (name, props) => Object.assign(document.createElement(name), props);

  for (const pre of document.querySelectorAll("pre.command")) {
    const text = pre.textContent;
    const button = make("button", { type: "button", className: "copy", textContent: "copy" });
    button.setAttribute("aria-label", "copy the command");
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text);
      } catch (_) { // no clipboard for a page from a file: select instead
        getSelection().selectAllChildren(pre);
        button.textContent = document.execCommand("copy") ? "copied" : "press Ctrl-C";
        return;
      }
      button.textContent = "copied";
      setTimeout(() => { button.textContent = "copy"; }, 1500);
    });
    const box = make("div", { className: "copybox" });
    pre.replaceWith(box);
    box.append(pre, button);
  }

  // The steps of a path, as [x, y] in the units of its drawing.
  const steps = (d) => {
    const found = [];
    let x = 0, y = 0;
    for (const [, op, args] of d.matchAll(/([MHVLhv])([^MHVLhv]*)/g)) {
      const n = args.trim().split(/[ ,]+/).map(Number);
      switch (op) {
        case "M": case "L": [x, y] = n; break;
        case "H": x = n[0]; break;
        case "h": x += n[0]; break;
        case "V": y = n[0]; break;
        case "v": y += n[0]; break;
      }
      found.push([x, y]);
    }
    return found;
  };
  const valueAt = (path, at) => {
    path.steps = path.steps || steps(path.getAttribute("d"));
    let y = null;
    for (const s of path.steps) {
      if (s[0] > at) break;
      y = s[1];
    }
    return y;
  };
  const short = (v) => Math.abs(v) >= 100 || Math.abs(v - Math.round(v)) < 0.051 ? String(Math.round(v)) : v.toFixed(1);

  for (const figure of document.querySelectorAll(".figure")) {
    const charts = [...figure.querySelectorAll("svg.chart")];
    const lines = charts.map((chart) => {
      const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
      line.setAttribute("class", "cross");
      line.setAttribute("y1", chart.dataset.top);
      line.setAttribute("y2", Number(chart.dataset.top) + Number(chart.dataset.height));
      line.setAttribute("visibility", "hidden");
      chart.append(line);
      return line;
    });
    const labels = [...figure.querySelectorAll("text.end, .keys li")].map((e) => [e, e.textContent]);
    const clock = make("output", { className: "clock" });
    figure.prepend(clock);
    const leave = () => {
      for (const line of lines) line.setAttribute("visibility", "hidden");
      for (const [e, text] of labels) e.textContent = text;
      clock.textContent = "";
    };
    figure.addEventListener("pointerleave", leave);
    figure.addEventListener("pointermove", (event) => {
      const chart = event.target.closest("svg.chart");
      if (!chart) { leave(); return; }
      const box = chart.getBoundingClientRect();
      const part = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
      const from = Number(figure.dataset.from), to = Number(figure.dataset.to);
      const at = from + part * (to - from);
      clock.textContent = figure.dataset.unit === "cycle" ? "cycle " + Math.round(at) : at.toFixed(1) + " s";
      charts.forEach((c, i) => {
        lines[i].setAttribute("x1", part * 100 + "%");
        lines[i].setAttribute("x2", part * 100 + "%");
        lines[i].setAttribute("visibility", "visible");
        const panel = c.closest(".panel");
        for (const path of c.querySelectorAll("path.line")) {
          const y = valueAt(path, part * 1000);
          const scale = Number(c.dataset.scale), height = Number(c.dataset.height);
          const value = y === null ? "–" : short((height - y) / height * scale);
          for (const e of panel.querySelectorAll(`.end[data-line="${path.dataset.line}"], .keys [data-line="${path.dataset.line}"]`)) {
            const was = labels.find((l) => l[0] === e)[1];
            e.textContent = was.replace(/[-−\d.,\u202f]+( MiB| s)?$/, value + "$1");
          }
        }
      });
    });
  }

  const key = (cell) => {
    const text = cell ? cell.textContent.trim() : "";
    const n = parseFloat(text.replace(/[\u202f\u00a0 ]/g, "").replace("−", "-"));
    return { text, n };
  };
  const compare = (a, b) => {
    if (!Number.isNaN(a.n) && !Number.isNaN(b.n) && a.n !== b.n) return a.n - b.n;
    return a.text.localeCompare(b.text);
  };
  for (const table of document.querySelectorAll("table.sort")) {
    const body = table.tBodies[0];
    if (!body || body.rows.length === 1) continue;
    [...table.tHead.rows[0].cells].forEach((th, column) => {
      const button = make("button", { type: "button", className: "sorter", textContent: th.textContent });
      button.addEventListener("click", () => {
        const down = th.getAttribute("aria-sort") === "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        th.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...body.rows].sort((a, b) => (down ? -1 : 1) * compare(key(a.cells[column]), key(b.cells[column])));
        body.append(...rows);
      });
      th.replaceChildren(button);
    });
  }
  for (const table of document.querySelectorAll("table.matrix, table.filter")) {
    const rows = [...table.tBodies[0].rows];
    if (rows.length === 1) continue;
    const input = make("input", { type: "search", className: "find", placeholder: "filter, e.g. LEAK or NAT" });
    input.setAttribute("aria-label", "filter the rows");
    input.addEventListener("input", () => {
      const wanted = input.value.toLowerCase().split(/\s+/);
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !wanted.every((w) => text.includes(w));
      }
    });
    table.closest(".scroll").before(input);
  }

  // A link into something folded opens it.
  const reveal = () => {
    const to = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let e = to; e; e = e.parentElement) if (e.tagName === "DETAILS") e.open = true;
    if (to) to.scrollIntoView();
  };
  addEventListener("hashchange", reveal);
  if (location.hash) reveal();
})();
