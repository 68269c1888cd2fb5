"use strict";
// Tables sort by a click on a header and are filtered by the words typed above them.
for (const table of document.querySelectorAll("details.table table")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const order = [...body.rows];
  const number = (text) => parseFloat(text.replace("−", "-"));
  const value = (row, column) => row.cells[column].textContent.trim();
  const isNumber = heads.map((_, i) => order.some((row) => !isNaN(number(value(row, i))) ) &&
    order.every((row) => ["", "–"].includes(value(row, i)) || !isNaN(number(value(row, i)))));
  heads.forEach((head, i) => {
    if (isNumber[i]) {
      head.classList.add("number");
      order.forEach((row) => row.cells[i].classList.add("number"));
    }
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      const next = now === "ascending" ? "descending" : now === "descending" ? null : "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (next) head.setAttribute("aria-sort", next);
      const sign = next === "descending" ? -1 : 1;
      const compare = (a, b) => {
        const x = value(a, i), y = value(b, i);
        if (!isNumber[i]) return sign * x.localeCompare(y, undefined, { numeric: true });
        if (isNaN(number(x)) || isNaN(number(y))) return isNaN(number(x)) - isNaN(number(y));
        return sign * (number(x) - number(y));
      };
      body.append(...(next ? [...order].sort(compare) : order));
    });
  });
  if (order.length < 6) continue;
  const field = document.createElement("input"), count = document.createElement("span");
  field.type = "search";
  field.placeholder = "filter rows";
  field.setAttribute("aria-label", "filter rows");
  count.setAttribute("role", "status");
  const line = document.createElement("p");
  line.className = "filter";
  line.append(field, " ", count);
  table.closest(".scroll").before(line);
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of order) {
      const text = [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    count.textContent = words.length ? `${shown} of ${order.length} rows` : "";
  });
}
// Everything is printed, closed tables too.
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details.table:not([open])")];
  closed.forEach((element) => { element.open = true; });
});
addEventListener("afterprint", () => closed.forEach((element) => { element.open = false; }));
