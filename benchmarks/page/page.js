"use strict";
// Tables: a click on a heading sorts by it, a second click the other way round.
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => {
    if (body.rows.length && body.rows[0].cells[column].classList.contains("number")) head.classList.add("right");
    head.querySelector("button").addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = row => row.cells[column].dataset.key;
      const compare = (a, b) => {
        const x = Number(key(a)), y = Number(key(b));
        if (Number.isNaN(x) && Number.isNaN(y)) return key(a).localeCompare(key(b));
        return (Number.isNaN(x) ? -Infinity : x) - (Number.isNaN(y) ? -Infinity : y);
      };
      body.append(...[...body.rows].sort((a, b) => (up ? 1 : -1) * compare(a, b)));
    });
  });
}
// Pictures: one zoom for all tiles of a comparison; pressing a tile shows the original in its place.
for (const figure of document.querySelectorAll(".comparison")) {
  const zoomed = figure.querySelector(".zoomed"), original = figure.querySelector(".picture").src;
  const zoom = on => { figure.classList.toggle("zooming", on); figure.style.setProperty("--zoom", on ? 3 : 1); };
  const place = (frame, event) => {
    const box = frame.getBoundingClientRect();
    figure.style.setProperty("--x", (event.clientX - box.left) / box.width * 100 + "%");
    figure.style.setProperty("--y", (event.clientY - box.top) / box.height * 100 + "%");
  };
  zoomed.addEventListener("change", () => zoom(zoomed.checked));
  figure.querySelector(".differences").addEventListener("change", event =>
    figure.classList.toggle("show-differences", event.target.checked));
  for (const tile of figure.querySelectorAll(".tile")) {
    const frame = tile.querySelector(".frame"), picture = tile.querySelector(".picture"), own = picture.src;
    const flip = on => { picture.src = on ? original : own; tile.classList.toggle("flipped", on); };
    frame.addEventListener("pointermove", event => { place(frame, event); zoom(true); });
    frame.addEventListener("pointerdown", event => { place(frame, event); flip(true); });
    for (const end of ["pointerup", "pointercancel"]) frame.addEventListener(end, () => flip(false));
    frame.addEventListener("pointerleave", () => { flip(false); zoom(zoomed.checked); });
  }
}
