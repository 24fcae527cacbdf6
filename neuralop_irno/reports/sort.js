// Sorts a table by the column whose head is clicked; cells without a number come last among numbers.
document.addEventListener("click", (event) => {
  const button = event.target.closest("table.sortable th button");
  if (!button) return;
  const head = button.parentElement, body = head.closest("table").tBodies[0];
  const down = head.getAttribute("aria-sort") === "ascending", column = head.cellIndex;
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = (row) => row.cells[column].dataset.value;
  const order = (one, other) => {
    const a = key(one), b = key(other);
    if (a !== undefined && b !== undefined) return (Number(a) - Number(b)) * (down ? -1 : 1);
    if (a !== undefined || b !== undefined) return a === undefined ? 1 : -1;
    const text = one.cells[column].textContent.localeCompare(other.cells[column].textContent, "en", { numeric: true });
    return text * (down ? -1 : 1);
  };
  body.append(...[...body.rows].sort(order));
});
