"use strict";
// Builds the browser of problems from the JSON in #data. Everything models wrote is set as text, never parsed as HTML.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const PAGE = 50;
  const list = document.getElementById("list");
  const detail = document.getElementById("detail");
  const search = document.getElementById("search");
  const show = document.getElementById("show");
  const count = document.getElementById("count");
  let pressed = null;

  const add = (parent, tag, text, cls) => {
    const node = document.createElement(tag);
    if (text !== undefined && text !== null) node.textContent = text;
    if (cls) node.className = cls;
    if (parent) parent.append(node);
    return node;
  };
  const MARKS = { error: "!", ungraded: "?", right: "✓", wrong: "✗" };
  const verdict = (row) => (row.c === null ? "error" : row.c === "ungraded" ? row.c : row.c ? "right" : "wrong");
  const mark = (row) => MARKS[verdict(row)];
  const number = (name, value, unit) =>
    value === null || value === undefined ? null : `${name} ${value.toFixed(3)}${unit || ""}`;

  const byProblem = data.problems.map(() => []);
  for (const row of data.rows) byProblem[row.p].push(row);
  for (const rows of byProblem) rows.sort((a, b) => a.s - b.s || a.seed - b.seed);

  const kinds = {
    all: () => true,
    differ: (rows) => rows.some((r) => r.c === true) && rows.some((r) => r.c === false),
    wrong: (rows) => rows.every((r) => !r.c),
    errors: (rows) => rows.some((r) => r.c === null),
  };

  function numbers(parent, record) {
    const parts = [
      number("r", record.r),
      number("ℓ", record.l, " nats"),
      number("r̃", record.rt),
      record.e === null || record.e === undefined ? null : `ess ${record.e.toFixed(2)} of ${record.n}`,
      number("log w̄", record.w, " nats"),
    ];
    add(parent, "div", parts.filter(Boolean).join(" · "), "numbers");
  }

  function candidates(parent, record) {
    if (!record.k) return;
    const box = add(parent, "details");
    add(box, "summary", `${record.k.length} candidates`);
    const table = add(box, "table");
    const head = add(table, "tr");
    for (const name of ["", "r", "ℓ", "r̃", "text"]) add(head, "th", name);
    record.k.forEach((one, i) => {
      const line = add(table, "tr", null, i === record.i ? "chosen" : "");
      add(line, "td", i === record.i ? "→" : "");
      for (const key of ["r", "l", "rt"]) add(line, "td", one[key] === null || one[key] === undefined ? "–" : one[key].toFixed(3));
      add(line, "td", (one.t || "").trimEnd());
    });
  }

  function step(parent, record, index) {
    const fell = record.src === "base" && record.x;
    const own = record.src === "initial" || record.src === "given" || record.src === "human"; // no method decided these
    const kind = record.by === "human" ? "human" : own ? record.src : fell ? "fallback" : "kept";
    const box = add(parent, "div", null, `step ${kind}`);
    const label = {
      initial: "given",
      given: "closes thinking",
      human: record.by ? "✎ draft, accepted by a person" : "✎ written by a person",
      fallback: "↻ fallback to base",
      kept: `✓ ${record.src || "?"}`,
    }[kind];
    add(box, "div", `${index + 1}  ${label}`, "badge");
    if (record.x) {
      const refused = add(box, "div", null, "refused");
      add(refused, "div", "✗ draft refused", "badge");
      add(refused, "div", record.x.t === null ? "(no draft that the base could have made)" : record.x.t.trimEnd(), "text");
      numbers(refused, record.x);
      candidates(refused, record.x);
    }
    add(box, "div", (record.t || "").trimEnd(), "text");
    numbers(box, record);
    candidates(box, record);
  }

  function open(row, button) {
    if (pressed) pressed.setAttribute("aria-pressed", "false");
    pressed = button;
    if (button) button.setAttribute("aria-pressed", "true");
    const problem = data.problems[row.p];
    detail.replaceChildren();
    add(detail, "h3", `${problem.id} · ${data.settings[row.s]} · seed ${row.seed}`);
    add(detail, "div", problem.problem, "text");
    const facts = add(detail, "table");
    const fact = (name, value, cls) => {
      if (value === null || value === undefined) return;
      const line = add(facts, "tr");
      add(line, "th", name);
      add(line, "td", value, cls);
    };
    fact("graded", `${mark(row)} ${verdict(row)}`, row.c === true ? "right" : "wrong");
    fact("gold", problem.gold);
    const d = row.d;
    if (!d) {
      add(detail, "p", "Details of this row were left out to bound the size of this page; results.jsonl has them.", "note");
      return;
    }
    fact("answer", d.predicted === null ? "none found" : d.predicted);
    fact("why wrong", d.reason);
    fact("why ungraded", d.ungraded);
    fact("error", d.error);
    fact("stopped by", d.stop);
    fact("accepted", d.acceptance === null ? null : `${(100 * d.acceptance).toFixed(0)} % of steps`);
    fact("seconds", d.seconds === null ? null : `${d.seconds.toFixed(3)}${d.quiet ? "" : " † under load"}`);
    if (d.steps) d.steps.forEach((record, i) => step(detail, record, i));
    else if (d.response) add(detail, "div", d.response, "text step");
    if (d.cut) add(detail, "p", d.cut, "note");
    detail.scrollTop = 0;
  }

  let shown = [];
  function more() {
    document.getElementById("more")?.remove();
    for (const p of shown.splice(0, PAGE)) {
      const box = add(list, "div", null, "problem");
      const text = data.problems[p].problem;
      add(box, "p", `${data.problems[p].id}: ${text.length > 160 ? text.slice(0, 160) + "…" : text}`);
      const cells = add(box, "div", null, "cells");
      for (const row of byProblem[p]) {
        const button = add(cells, "button");
        button.type = "button";
        button.setAttribute("aria-pressed", "false");
        add(button, "span", mark(row), row.c ? "right" : "wrong");
        const several = data.seeds > 1 ? `, seed ${row.seed}` : "";
        add(button, "span", ` ${data.settings[row.s]}${several}`);
        button.addEventListener("click", () => open(row, button));
      }
    }
    if (shown.length) {
      const button = add(list, "button", `${shown.length} more`);
      button.id = "more";
      button.addEventListener("click", more);
    }
  }

  function filter() {
    const words = search.value.trim().toLowerCase();
    shown = data.problems
      .map((_, p) => p)
      .filter((p) => byProblem[p].length && kinds[show.value](byProblem[p]))
      .filter((p) => !words || `${data.problems[p].id} ${data.problems[p].problem} ${data.problems[p].gold}`.toLowerCase().includes(words));
    count.textContent = `${shown.length} of ${data.problems.length} problems`;
    list.replaceChildren();
    more();
  }

  search.addEventListener("input", filter);
  show.addEventListener("change", filter);
  filter();
  const first = byProblem.find((rows) => rows.length);
  if (first) open(first[0], list.querySelector("button"));
})();
