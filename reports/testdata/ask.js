// Looks at the page as drawn and answers with what is wrong, as JSON.
(() => {
  const problems = [];
  const wide = document.documentElement;
  if (wide.scrollWidth > wide.clientWidth) {
    const out = [...document.querySelectorAll("body *")].filter((e) => (matchMedia("print").matches || !e.closest(".scroll, pre")) && e.getBoundingClientRect().right > wide.clientWidth + 1);
    const names = out.filter((e) => !e.namespaceURI.endsWith("svg")).slice(0, 4).map((e) => `${e.tagName} ${e.getAttribute("class")} ${e.textContent.slice(0, 30)}`);
    problems.push(`scrolls sideways: ${wide.scrollWidth} of ${wide.clientWidth}: ${names.join("; ")}`);
  }

  const visible = (e) => e.checkVisibility() && e.getBoundingClientRect().width > 0;

  // Contrast of all text, WCAG 2.2 AA.
  const parse = (c) => (c.match(/[\d.]+/g) || []).map(Number);
  const lum = ([r, g, b]) => {
    const part = (v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      if (c.length === 3 || c[3] === 1) return c;
    }
    return [255, 255, 255];
  };
  const bad = new Set();
  for (const e of document.querySelectorAll("body *")) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || e.tagName === "SCRIPT" || !visible(e)) continue;
    const style = getComputedStyle(e);
    const inSVG = e.namespaceURI.endsWith("svg");
    const a = lum(parse(inSVG ? style.fill : style.color)), b = lum(ground(e));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad.add(`contrast ${ratio.toFixed(2)}: ${e.tagName} ${e.getAttribute("class")}`);
    if (parseFloat(style.fontSize) < (matchMedia("print").matches ? 9 : 10.5)) bad.add(`letters of ${style.fontSize}: ${e.tagName} ${e.getAttribute("class")}`);
  }
  problems.push(...bad);

  // A table whose rows are stacked to fit has nothing to the right of the screen.
  for (const e of document.querySelectorAll(".scroll")) {
    const table = e.querySelector("table");
    if (table && (getComputedStyle(table).display !== "table" || table.classList.contains("files")) && e.scrollWidth > e.clientWidth + 1) {
      const out = [...table.querySelectorAll("th, td")].filter((c) => c.getBoundingClientRect().right > innerWidth || c.scrollWidth > c.clientWidth + 1);
      problems.push(`cut at the right: ${out.slice(0, 3).map((c) => c.textContent.slice(0, 40)).join("; ")}`);
    }
  }

  // A command is typed as it is read: "--seed" is not "- -seed".
  for (const e of document.querySelectorAll("pre.command span")) {
    if (e.getClientRects().length > 1 && !matchMedia("print").matches && !e.textContent.includes("\n")) problems.push(`a word of a command on two lines: ${e.textContent.slice(0, 40)}`);
  }

  // Labels of charts lie on the screen, and on no other label of their drawing.
  for (const svg of document.querySelectorAll(".plot > svg")) {
    const boxes = [...svg.querySelectorAll("text")].filter(visible).map((e) => [e.textContent, e.getBoundingClientRect()]);
    boxes.forEach(([text, a], i) => {
      if (a.left < -1 || a.right > innerWidth + 1) problems.push(`label off the screen: ${text}`);
      for (const [other, b] of boxes.slice(i + 1)) {
        const x = Math.min(a.right, b.right) - Math.max(a.left, b.left), y = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (x > 2 && y > 4) problems.push(`labels on each other: ${text} | ${other}`);
      }
    });
  }

  // Charts of a figure stand close below each other.
  for (const figure of document.querySelectorAll(".figure")) {
    const panels = [...figure.querySelectorAll(".panel")].filter(visible).map((e) => e.getBoundingClientRect());
    panels.slice(1).forEach((b, i) => {
      const gap = b.top - panels[i].bottom;
      if (gap < -1) problems.push(`charts on each other by ${-gap} px`);
      if (gap > 40 && !matchMedia("print").matches) problems.push(`a gap of ${gap} px between charts`);
    });
  }

  // What a screen reader needs.
  for (const e of document.querySelectorAll("svg.chart")) if (!e.getAttribute("aria-label")) problems.push("a chart without words");
  for (const e of document.querySelectorAll("[tabindex]")) if (!e.getAttribute("aria-label")) problems.push("a region without a name");
  for (const e of document.querySelectorAll("th")) if (!e.textContent.trim()) problems.push("a heading of a table without words");
  if (document.querySelectorAll("h1").length !== 1) problems.push("not one first heading");
  if (document.scripts.length !== 1 || document.images.length !== 0 || document.querySelector("iframe, object, embed, form, link")) problems.push("something foreign is on the page");

  // The text, without what scripts add.
  const copy = document.body.cloneNode(true);
  for (const e of copy.querySelectorAll(".copy, .find, .clock, script")) e.remove();
  // Every text by itself, as read or as heard; the numbers of an axis are a scale, no reading.
  const walk = document.createTreeWalker(copy, NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walk.nextNode()) if (!walk.currentNode.parentElement.closest(".gutter, .tick, style")) texts.push(walk.currentNode.data.trim());
  for (const e of copy.querySelectorAll("[aria-label]")) texts.push(e.getAttribute("aria-label"));
  return JSON.stringify({
    Problems: problems,
    Texts: texts.filter((t) => /\d/.test(t)),
    Text: copy.textContent.replace(/\s+/g, " "),
    Charts: [...document.querySelectorAll("svg.chart")].filter(visible).length,
    Controls: document.querySelectorAll("button, input").length,
  });
})()
