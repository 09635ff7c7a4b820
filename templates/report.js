"use strict";
// Sorting and filtering of long tables. Without this script the page says the same, in the order it was written.
(() => {
  const LONG = 8;
  const told = (cell) => cell.textContent.trim();
  const amount = (text) => {
    const found = text.replaceAll("\u00a0", "").replaceAll(",", "").replace("\u2212", "-").match(/^[^\d-]{0,2}(-?\d*\.?\d+)/);
    return found ? Number(found[1]) : null;
  };
  const compare = (one, other) => {
    const [a, b] = [amount(one), amount(other)];
    if (a !== null && b !== null) return a - b;
    if (a !== null || b !== null) return a !== null ? -1 : 1;
    return one.localeCompare(other, "en");
  };
  const sort = (table, column, button) => {
    const head = button.parentElement;
    const rising = head.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const rows = [...table.tBodies[0].rows];
    const text = new Map(rows.map((row) => [row, told(row.cells[Math.min(column, row.cells.length - 1)])]));
    rows.sort((a, b) => (rising ? 1 : -1) * compare(text.get(a), text.get(b)));
    table.tBodies[0].append(...rows);
  };
  const sortable = (table) => {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sort(table, column, button));
      head.append(button);
    });
  };
  const filterable = (table) => {
    const field = document.createElement("input");
    field.type = "search";
    field.className = "filter screen";
    field.placeholder = "Filter these rows";
    field.setAttribute("aria-label", `Filter the rows of: ${table.caption ? told(table.caption.querySelector(".told")) : "this table"}`);
    field.addEventListener("input", () => {
      const wanted = field.value.trim().toLowerCase();
      for (const row of table.tBodies[0].rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    });
    table.parentElement.before(field);
  };
  for (const table of document.querySelectorAll(".scroll > table")) {
    if (!table.tHead || !table.tBodies.length || table.tBodies[0].rows.length < LONG) continue;
    sortable(table);
    filterable(table);
  }
})();
