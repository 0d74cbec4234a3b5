"use strict";
// Builds the browser of problems from the JSON in #data. Everything models wrote is set as text, never parsed as HTML;
// formulas are built from it by KaTeX as MathML elements. A response's address is #problem/method/n/seed.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const PAGE = 50;
  const [browser, list, detail, search, show, count] = ["browser", "list", "detail", "search", "show", "count"].map(
    (id) => document.getElementById(id),
  );

  const add = (parent, tag, text, cls) => {
    const node = document.createElement(tag);
    if (text !== undefined && text !== null) node.textContent = text;
    if (cls) node.className = cls;
    if (parent) parent.append(node);
    return node;
  };
  const link = (parent, href, text, cls) => {
    const node = add(parent, "a", text, cls);
    if (href) node.href = href;
    return node;
  };

  // Formulas. A dollar opens one where no space follows, and closes it where none stands before and no digit behind.
  const DELIMITED = [
    /\\\[([^]{1,4000}?)\\\]/,
    /\$\$([^]{1,4000}?)\$\$/,
    /(\\begin\{(?:align|aligned|cases|equation|gather|gathered|[bpvBV]?matrix|array)\*?\}[^]{1,4000}?\\end\{\w+\*?\})/,
    /\\\(([^]{1,4000}?)\\\)/,
    /\$(?!\s)((?:\\.|[^$\\\n]){1,2000}?)(?<!\s)\$(?!\d)/,
    /(\\boxed\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\})/,
  ];
  const FORMULA = new RegExp(DELIMITED.map((one) => one.source).join("|"), "g");
  const BLOCKS = 3; // of DELIMITED, those that stand on a line of their own

  function formula(parent, tex, block, source) {
    const node = add(parent, "span", null, block ? "formula block" : "formula");
    node.title = source;
    try {
      katex.render(tex, node, { output: "mathml", displayMode: block, strict: "ignore", maxSize: 20 });
    } catch (error) {
      if (!(error instanceof katex.ParseError || error instanceof RangeError)) throw error;
      node.replaceWith(source); // no formula: what was written
    }
  }

  function prose(parent, text) {
    let end = 0;
    for (const found of text.matchAll(FORMULA)) {
      parent.append(text.slice(end, found.index));
      const which = found.slice(1).findIndex((part) => part !== undefined);
      formula(parent, found[which + 1], which < BLOCKS, found[0]);
      end = found.index + found[0].length;
    }
    parent.append(text.slice(end));
    return parent;
  }
  // An answer without delimiters is a formula where it has a command, a power or an index.
  const answer = (parent, text) =>
    /[\\^_]/.test(text) && text.search(FORMULA) < 0 ? formula(parent, text, false, text) : prose(parent, text);

  // Rows: by problem, and by address.
  const MARKS = { error: "!", ungraded: "?", right: "✓", wrong: "✗" };
  const verdict = (row) => (row.c === null ? "error" : row.c === "ungraded" ? row.c : row.c ? "right" : "wrong");
  const colour = (row) => (row.c === true ? "right" : row.c === false || row.c === null ? "wrong" : "");
  const part = (value) => encodeURIComponent(String(value).replace(/\p{Surrogate}/gu, "\ufffd"));
  const about = (row) => ({ ...data.arms[row.s], id: data.problems[row.p].id });
  const address = (row) => `#${[about(row).id, about(row).method, about(row).n, row.seed].map(part).join("/")}`;
  const byProblem = data.problems.map(() => []);
  for (const row of data.rows) byProblem[row.p].push(row); // they come by arm and seed
  const byAddress = new Map(data.rows.map((row) => [address(row), row]));

  const kinds = {
    all: () => true,
    differ: (rows) => rows.some((r) => r.c === true) && rows.some((r) => r.c === false),
    wrong: (rows) => rows.every((r) => !r.c),
    errors: (rows) => rows.some((r) => r.c === null),
  };

  // A line a method, a column an n, a mark a seed.
  function matrix(parent, rows, current) {
    const table = add(add(parent, "div", null, "scroll"), "table", null, "matrix");
    const ns = [...new Set(rows.map((row) => about(row).n))].sort((a, b) => a - b);
    const head = add(add(table, "thead"), "tr");
    add(head, "th", "n");
    for (const n of ns) add(head, "th", n).scope = "col";
    const body = add(table, "tbody");
    for (const method of new Set(rows.map((row) => about(row).method))) {
      const line = add(body, "tr");
      add(line, "th", method).scope = "row";
      for (const n of ns) {
        const cell = add(line, "td");
        for (const row of rows.filter((one) => about(one).method === method && about(one).n === n)) {
          const mark = link(cell, address(row), MARKS[verdict(row)], `mark ${colour(row)}`);
          mark.title = `${method}, n = ${n}, seed ${row.seed}: ${verdict(row)}`;
          mark.setAttribute("aria-label", mark.title);
          if (row === current) mark.setAttribute("aria-current", "true");
        }
      }
    }
  }

  // A step, its numbers and candidates.
  const known = (value) => value !== null && value !== undefined;
  const number = (name, value, unit) => (known(value) ? `${name} ${value.toFixed(3)}${unit || ""}` : null);

  function numbers(parent, record) {
    const parts = [
      number("r", record.r),
      number("ℓ", record.l, " nats"),
      number("r̃", record.rt),
      known(record.e) ? `ess ${record.e.toFixed(2)} of ${record.n}` : null,
      number("log w̄", record.w, " nats"),
    ];
    add(parent, "div", parts.filter(Boolean).join(" · "), "numbers");
  }

  function candidates(parent, record) {
    if (!record.k) return;
    const box = add(parent, "details");
    add(box, "summary", `${record.k.length} candidates`);
    const table = add(add(box, "div", null, "scroll"), "table");
    const head = add(table, "tr");
    for (const name of ["", "r", "ℓ", "r̃"]) add(head, "th", name, name && "n");
    add(head, "th", "text");
    record.k.forEach((one, i) => {
      const line = add(table, "tr", null, i === record.i ? "chosen" : "");
      add(line, "td", i === record.i ? "→" : "");
      for (const key of ["r", "l", "rt"]) add(line, "td", known(one[key]) ? one[key].toFixed(3) : "–", "n");
      prose(add(line, "td", null, "said"), (one.t || "").trimEnd());
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
      prose(
        add(refused, "div", null, "text"),
        record.x.t === null ? "(no draft that the base could have made)" : record.x.t.trimEnd(),
      );
      numbers(refused, record.x);
      candidates(refused, record.x);
    }
    prose(add(box, "div", null, "text"), (record.t || "").trimEnd());
    numbers(box, record);
    candidates(box, record);
  }

  // The same method, n and seed of the problem before or behind, among those that the list shows.
  let chosen = [];
  let current = null;
  function beside(row, way) {
    const alike = (one) => one.s === row.s && one.seed === row.seed;
    const known = chosen.map((p) => byProblem[p].find((one) => one === row || alike(one))).filter(Boolean);
    return known[known.indexOf(row) + way] || null;
  }

  function open(row) {
    current = row;
    const problem = data.problems[row.p];
    detail.replaceChildren();
    const ways = add(detail, "nav");
    link(ways, "#problems", "☰ all problems", "back");
    for (const [way, text] of [[-1, "← previous"], [1, "next →"]]) {
      const other = chosen.includes(row.p) ? beside(row, way) : null;
      link(ways, other && address(other), text, way < 0 ? "previous" : "next");
    }
    link(add(detail, "h3"), address(row), `${problem.id} · ${about(row).method}, n = ${about(row).n} · seed ${row.seed}`);
    prose(add(detail, "div", null, "text"), problem.problem);
    matrix(detail, byProblem[row.p], row);
    const facts = add(detail, "table", null, "facts");
    const fact = (name, value, cls, put) => {
      if (!known(value)) return;
      const line = add(facts, "tr");
      add(line, "th", name).scope = "row";
      const cell = add(line, "td", put ? null : value, cls);
      if (put) put(cell, value);
    };
    fact("graded", `${MARKS[verdict(row)]} ${verdict(row)}`, colour(row));
    fact("gold", problem.gold, "", answer);
    const d = row.d;
    if (!d) {
      add(detail, "p", "Details of this row were left out to bound the size of this page; results.jsonl has them.", "note");
      return;
    }
    fact("answer", d.predicted === null ? "none found" : d.predicted, "", answer);
    fact("why wrong", d.reason);
    fact("why ungraded", d.ungraded);
    fact("error", d.error);
    fact("stopped by", d.stop);
    fact("accepted", known(d.acceptance) ? `${(100 * d.acceptance).toFixed(0)} % of steps` : null);
    fact("seconds", known(d.seconds) ? `${d.seconds.toFixed(3)}${d.quiet ? "" : " † under load"}` : null);
    if (d.steps) d.steps.forEach((record, i) => step(detail, record, i));
    else if (d.response) prose(add(detail, "div", null, "text step"), d.response);
    if (d.cut) add(detail, "p", d.cut, "note");
    detail.scrollTop = 0;
  }

  let waiting = [];
  function more() {
    document.getElementById("more")?.remove();
    for (const p of waiting.splice(0, PAGE)) {
      const box = add(list, "div", null, "problem");
      const text = data.problems[p].problem;
      const line = add(box, "p", `${data.problems[p].id}: `);
      prose(line, text.length > 160 ? text.slice(0, 160) + "…" : text);
      matrix(box, byProblem[p], null);
    }
    if (waiting.length) {
      const button = add(list, "button", `${waiting.length} more`);
      button.id = "more";
      button.addEventListener("click", more);
    }
  }

  function filter() {
    const words = search.value.trim().toLowerCase();
    chosen = data.problems
      .map((_, p) => p)
      .filter((p) => byProblem[p].length && kinds[show.value](byProblem[p]))
      .filter((p) => !words || `${data.problems[p].id} ${data.problems[p].problem} ${data.problems[p].gold}`.toLowerCase().includes(words));
    waiting = [...chosen];
    count.textContent = `${chosen.length} of ${data.problems.length} problems`;
    list.replaceChildren();
    more();
  }

  // On a narrow screen the response stands in the place of the list, which is found again where it was left.
  const narrow = matchMedia("(max-width: 900px)");
  let left = null;
  function follow() {
    const row = byAddress.get(location.hash);
    if (row) {
      if (!browser.classList.contains("reading")) left = scrollY;
      browser.classList.add("reading");
      open(row);
      (narrow.matches ? browser : detail).scrollIntoView({ block: narrow.matches ? "start" : "nearest" });
    } else if (location.hash.includes("/")) {
      browser.classList.add("reading");
      detail.replaceChildren();
      link(add(detail, "nav"), "#problems", "☰ all problems", "back");
      add(detail, "p", `This page has no response ${location.hash}`, "note");
    } else if (browser.classList.contains("reading")) {
      browser.classList.remove("reading");
      if (narrow.matches && left !== null) scrollTo(0, left);
    }
  }

  search.addEventListener("input", filter);
  show.addEventListener("change", filter);
  addEventListener("hashchange", follow);
  addEventListener("keydown", (event) => {
    const way = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const typing = event.target.closest("input, select, .scroll, pre");
    if (!way || !current || typing || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const other = beside(current, way);
    if (other) location.hash = address(other);
  });
  filter();
  const first = byProblem.find((rows) => rows.length);
  if (first) open(first[0]);
  follow();
})();
