"use strict";
// Tables are sorted by a click on a heading: numbers largest first, names from A to Z; a second click turns it round.
function sortKey(row, column) {
  let place = 0;
  for (const cell of row.cells) {
    if (place === column) {
      const given = cell.dataset.sort;
      if (given === undefined) return cell.textContent.trim().toLowerCase();
      return given === "-inf" ? -Infinity : Number(given);
    }
    place += cell.colSpan;
    if (place > column) return -Infinity;
  }
  return -Infinity;
}
function sortTable(table, heading, column) {
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const numeric = rows.some((row) => typeof sortKey(row, column) === "number");
  const now = heading.getAttribute("aria-sort");
  const descending = now ? now === "ascending" : numeric;
  rows.sort((a, b) => {
    const x = sortKey(a, column), y = sortKey(b, column);
    const order = typeof x === "number" && typeof y === "number" ? (x > y) - (x < y) : String(x).localeCompare(String(y));
    return descending ? -order : order;
  });
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
  body.append(...rows);
}
for (const table of document.querySelectorAll("table.sortable")) {
  Array.from(table.tHead.rows[0].cells).forEach((heading, column) => {
    if (heading.classList.contains("fixed")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => sortTable(table, heading, column));
  });
}
// Pictures are enlarged in a dialog.
const dialog = document.getElementById("enlarged");
for (const button of document.querySelectorAll("button.enlarge")) {
  button.addEventListener("click", () => {
    const picture = button.querySelector("img");
    dialog.querySelector("img").src = picture.src;
    dialog.querySelector("img").alt = picture.alt;
    dialog.querySelector("p").textContent = picture.alt;
    dialog.showModal();
  });
}
dialog.addEventListener("click", () => dialog.close());
// The contents follow the reader.
const links = new Map(Array.from(document.querySelectorAll("nav a"), (link) => [link.hash.slice(1), link]));
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    for (const link of links.values()) link.removeAttribute("aria-current");
    links.get(entry.target.id).setAttribute("aria-current", "true");
  }
}, { rootMargin: "-10% 0px -80% 0px" });
for (const id of links.keys()) {
  const target = document.getElementById(id);
  if (target) seen.observe(target);
}
// Folded tables are printed too.
window.addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details")) part.open = true;
});
