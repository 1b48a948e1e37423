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
// Clips are played: all rows of a film show one frame at a time. Without this script they are strips.
const FRAME_SECONDS = 0.25;
function addPlayer(film) {
  const rows = Array.from(film.querySelectorAll("ol"), (list) => Array.from(list.children));
  const numbers = rows[0].map((item) => item.dataset.frame);
  if (numbers.length < 2) return;
  const player = document.createElement("div");
  const play = document.createElement("button"), strip = document.createElement("button");
  const slider = document.createElement("input"), said = document.createElement("output");
  let timer = null;
  player.className = "player";
  player.setAttribute("role", "group");
  player.setAttribute("aria-label", "Player");
  play.type = strip.type = "button";
  play.textContent = "Play";
  strip.textContent = "Strip";
  strip.hidden = true;
  slider.type = "range";
  slider.min = slider.value = 0;
  slider.max = numbers.length - 1;
  slider.setAttribute("aria-label", "Frame");
  function show(place) {
    film.classList.add("single");
    strip.hidden = false;
    slider.value = place;
    said.value = `frame ${numbers[place]}`;
    slider.setAttribute("aria-valuetext", said.value);
    for (const items of rows) items.forEach((item, index) => item.classList.toggle("now", index === place));
  }
  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  }
  play.addEventListener("click", () => {
    if (timer) return stop();
    play.textContent = "Pause";
    show(Number(slider.value));
    timer = setInterval(() => show((Number(slider.value) + 1) % numbers.length), 1000 * FRAME_SECONDS);
  });
  slider.addEventListener("input", () => {
    stop();
    show(Number(slider.value));
  });
  strip.addEventListener("click", () => {
    stop();
    film.classList.remove("single");
    strip.hidden = true;
    said.value = "";
    play.focus();
  });
  player.append(play, slider, said, strip);
  film.prepend(player);
}
for (const film of document.querySelectorAll(".film")) addPlayer(film);
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
