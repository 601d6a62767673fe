"use strict";
// The page is whole without these lines: they say what is pointed at, sort tables, and copy.
const tip = document.getElementById("tip");

function say(mark, x, y) {
  tip.textContent = mark.dataset.tip || mark.getAttribute("aria-label");
  tip.hidden = false;
  const edge = document.documentElement.clientWidth - tip.offsetWidth - 8;
  tip.style.left = Math.max(8, Math.min(x + 12, edge)) + "px";
  tip.style.top = window.scrollY + y + 16 + "px";
}
const marked = (event) => event.target.closest && event.target.closest("[data-tip]");
document.addEventListener("pointermove", (event) => {
  const mark = marked(event);
  if (mark) say(mark, event.clientX, event.clientY);
  else tip.hidden = true;
});
document.addEventListener("focusin", (event) => {
  const mark = marked(event);
  if (!mark) return;
  const box = mark.getBoundingClientRect();
  say(mark, box.right, box.bottom);
});
document.addEventListener("focusout", () => { tip.hidden = true; });

function compare(one, other) {
  const a = one.dataset.by, b = other.dataset.by;
  if (a !== undefined && b !== undefined) return a - b;
  if (a !== undefined) return -1;  // what has no number comes last
  if (b !== undefined) return 1;
  return one.textContent.localeCompare(other.textContent);
}
for (const button of document.querySelectorAll("table.sortable th button")) {
  button.addEventListener("click", () => {
    const heading = button.parentElement, body = heading.closest("table").tBodies[0];
    const down = heading.getAttribute("aria-sort") === "ascending";
    for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const at = heading.cellIndex;
    const rows = [...body.rows].sort((one, other) => compare(one.cells[at], other.cells[at]));
    body.append(...(down ? rows.reverse() : rows));
  });
}
for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", async () => {
    const text = button.closest("figure").querySelector("code").textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "copied";
    } catch {
      getSelection().selectAllChildren(button.closest("figure").querySelector("code"));
      button.textContent = "selected";
    }
  });
}
window.addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details")) folded.open = true;
});
