(() => {
  "use strict";
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // A click on a head sorts; empty cells stay at the end in both directions.
  function sort(button) {
    const head = button.closest("th"), body = head.closest("table").tBodies[0];
    const column = head.cellIndex, number = button.dataset.sort === "number";
    const was = head.getAttribute("aria-sort");
    const down = was ? was === "ascending" : number;
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
    const order = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const sign = down ? -1 : 1;
      return sign * (number ? Number(x) - Number(y) : x.localeCompare(y, "en", { numeric: true }));
    };
    body.append(...[...body.rows].sort(order));
  }
  for (const button of all("th button")) button.addEventListener("click", () => sort(button));

  // One metric at a time, and only the arms that were asked for.
  const metric = document.getElementById("metric"), arms = document.getElementById("arms");
  const find = document.getElementById("find"), shown = document.getElementById("shown");
  function show() {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const block of all(".block")) {
      block.hidden = block.dataset.metric !== metric.value;
      if (block.hidden) continue;
      const rows = all("tbody tr", block);
      for (const row of rows) {
        const plain = row.dataset.arm === "none";
        const text = `${row.cells[0].textContent} ${row.cells[1].textContent}`.toLowerCase();
        const wanted = arms.value === "all" || (arms.value === "none") === plain;
        row.hidden = !(wanted && words.every((word) => text.includes(word)));
      }
      const left = rows.filter((row) => !row.hidden).length;
      shown.textContent = left === rows.length ? "" : `${left} of ${rows.length} rows`;
    }
  }
  for (const control of [metric, arms]) control.addEventListener("change", show);
  find.addEventListener("input", show);
  document.querySelector(".controls").hidden = false;
  show();

  // A link into something folded unfolds it.
  function unfold() {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const folded = target && target.closest("details:not([open])");
    if (folded) folded.open = true;
  }
  addEventListener("hashchange", unfold);
  unfold();
})();
