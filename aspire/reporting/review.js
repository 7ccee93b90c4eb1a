(() => {
  "use strict";
  const said = () => document.getElementById("said");

  function say(text, bad) {
    said().textContent = text; // a text, never markup
    said().classList.toggle("bad", bad);
  }

  // The server renders; this puts what it rendered in place of what is shown.
  async function refresh() {
    const answer = await fetch(location.href);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!answer.ok) throw new Error(fresh.body.textContent.trim());
    const focused = document.activeElement && document.activeElement.id;
    const open = [...document.querySelectorAll("main details[open]")].map((d) => d.id);
    for (const part of ["main", "header"]) {
      document.querySelector(part).replaceWith(fresh.querySelector(part));
    }
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    rove();
    const again = focused && document.getElementById(focused);
    if (again && !again.disabled) again.focus({ preventScroll: true });
    else if (focused) document.querySelector(".bar-of-steps button:not(:disabled)")?.focus({ preventScroll: true });
  }

  let busy = false;
  async function post(where, body) {
    if (busy) return;
    busy = true;
    try {
      const answer = await fetch(where, {
        method: "POST", headers: { "Content-Type": "application/json" }, body,
      });
      const told = await answer.json();
      if (answer.ok) await refresh();
      say(told.said ?? told.error, !answer.ok);
    } catch (error) {
      say(error instanceof TypeError || error instanceof SyntaxError
        ? "Nothing was kept: aspire review does not answer. If it was started again, open the new address."
        : error.message, true);
    } finally {
      busy = false;
    }
  }

  addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.step) post("step", button.dataset.step);
    if (button?.dataset.move) post(button.dataset.move, "{}");
  });

  addEventListener("submit", (event) => {
    event.preventDefault();
    const chosen = event.target.querySelector("select");
    if (chosen) return post("step", chosen.value);
    const name = event.target.querySelector("input").value.trim();
    post("step", JSON.stringify({ ...JSON.parse(event.target.dataset.step), name }));
  });

  // One image is reached by Tab, the others by arrows.
  const tiles = () => [...document.querySelectorAll(".sorting button")];
  function rove(chosen) {
    const all = tiles();
    const one = chosen ?? all.find((t) => t === document.activeElement) ?? all[0];
    for (const tile of all) tile.tabIndex = tile === one ? 0 : -1;
  }
  function arrow(event, tile) {
    const all = tiles(), at = all.indexOf(tile);
    const wide = all.filter((t) => t.getBoundingClientRect().top === all[0].getBoundingClientRect().top).length;
    const moves = { ArrowRight: at + 1, ArrowLeft: at - 1, ArrowDown: at + wide, ArrowUp: at - wide,
      Home: 0, End: all.length - 1 };
    if (!(event.key in moves)) return;
    event.preventDefault();
    const next = all[moves[event.key]];
    if (next) { rove(next); next.focus(); }
  }

  addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea");
    if ((event.ctrlKey || event.metaKey) && !event.altKey && !typing) {
      const key = event.key.toLowerCase();
      if (key === "z" || key === "y") {
        event.preventDefault();
        post(key === "y" || event.shiftKey ? "redo" : "undo", "{}");
      }
      return;
    }
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const tile = event.target.closest(".sorting button");
    if (tile) return arrow(event, tile);
    const feature = event.target.closest(".feature");
    if (!feature) return;
    const own = feature.querySelector(`[data-key="${CSS.escape(event.key.toLowerCase())}"]`);
    if (own) { own.focus(); return own.click(); }
    const step = { n: 1, p: -1 }[event.key.toLowerCase()];
    if (!step) return;
    const all = [...document.querySelectorAll(".feature")];
    all[all.indexOf(feature) + step]?.querySelector("[data-key]").focus();
  });

  rove();
})();
