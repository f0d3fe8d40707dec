// The page for analysts: a claim in, its score, its reasons, and what would change the decision.

const $ = (id) => document.getElementById(id);
const KEY = "fraud-key";
const MOST_CHANGES = 6;
let columns = [];
let numeric = new Set(); // names of numbers
let signs = { decimal: ".", thousands: null }; // of numbers that are text, to the server
let derived = [];
let common = new Map(); // of each feature the values that are tried, beside the usual one
let brought = []; // those of `derived` that the claim has values of its own for
let turn = 0; // of the latest result that was asked for
let scoredClaim = null; // whose result is shown
const hint = [...$("result").childNodes];

function element(name, given = {}, ...children) {
  const made = Object.assign(document.createElement(name), given);
  made.append(...children);
  return made;
}

class Refused extends Error {}

async function call(path, given = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = { ...(given.headers || {}), ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  const response = await fetch(path, { ...given, headers });
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({ detail: response.statusText }));
  if (response.status === 401) $("sign-in").hidden = false;
  const errors = (problem.errors || []).map((e) => `${e.pointer.slice(2)}: ${e.detail}`);
  throw new Refused([problem.detail, ...errors].join("\n"));
}

function tell(error) {
  $("problem").hidden = !error;
  $("problem").textContent = error ? error.message : "";
  if (error && !(error instanceof Refused)) console.error(error);
}

async function attempt(action) {
  try {
    tell(null);
    await action();
  } catch (error) {
    tell(error);
  }
}

// A number, not a text that may be one, as its field has it: by the signs of texts.
const written = (number) =>
  String(number).replace(/^(-?\d+)\.0+$/, "$1").replace(".", signs.decimal);
const inField = (value) => (typeof value === "number" ? written(value) : value);
const words = (name) => name.replaceAll("_", " ");
const percent = (p) => (p < 0.1 ? (100 * p).toFixed(2) : (100 * p).toFixed(1)) + " %";

function shown(value) {
  if (value === null || value === undefined || value === "") return "missing";
  if (typeof value !== "number") return String(value);
  const digits = { maximumSignificantDigits: Math.abs(value) >= 1000 ? 6 : 3 };
  const english = value.toLocaleString("en", digits);
  if (signs.decimal === ".") return english;
  return english.replace(/[.,]/g, (sign) => (sign === "." ? signs.decimal : signs.thousands ?? ""));
}

async function load() {
  let answer;
  try {
    answer = await call("/v1/model/schema");
  } catch (error) {
    if ($("main").hidden) $("model").textContent = ""; // what is wrong stands below
    throw error;
  }
  const told = await answer.json();
  ({ columns, derived, signs } = told);
  numeric = new Set([...columns.filter((c) => c.kind === "number").map((c) => c.name), ...derived]);
  common = new Map(Object.entries(told.common));
  $("sign-in").hidden = true;
  $("main").hidden = false;
  $("model").textContent = `${words(told.dataset)}, model ${told.model_version}`;
  $("fields").replaceChildren(...columns.map((column) => field(column, idOf(column.name))));
  $("examples").replaceChildren(...told.examples.map(exampleButton));
  bring({});
  forget();
}

const idOf = (name) => `field-${name}`;
const historyId = (name) => `history-${name}`;

function exampleButton({ name, claim }) {
  const text = `${name[0].toUpperCase()}${name.slice(1)} claim`;
  const button = element("button", { type: "button" }, text);
  button.addEventListener("click", () => attempt(() => fill(claim)));
  return button;
}

function field(column, id) {
  const number = column.kind === "number";
  const input = element("input", { id, name: column.name, type: "text", autocomplete: "off" });
  if (number) input.inputMode = "decimal";
  if (column.kind === "time") input.placeholder = "now";
  else if (column.typical !== null) input.placeholder = `usually ${shown(column.typical)}`;
  const label = element("label", { htmlFor: id }, words(column.name));
  const parts = [label, input];
  if (column.values.length) {
    const options = column.values.map((value) => element("option", { value }));
    parts.push(element("datalist", { id: `${id}-values` }, ...options));
    input.setAttribute("list", `${id}-values`);
  }
  return element("div", {}, ...parts);
}

// Numbers as the server reads them where it wants words: 3.0 is the code 3. As they were written:
// whole ones, which may have more digits than a number here can hold, and 1e999, for it to judge.
// Browsers that do not tell how one was written give the number.
function parsed(text) {
  const asRead = (name, value, context) => {
    if (typeof value !== "number") return value;
    const word = asWord(value, context?.source ?? String(value));
    return numeric.has(name) ? written(word) : word;
  };
  try {
    return JSON.parse(text, asRead);
  } catch (error) {
    throw new Refused(`This is not JSON: ${error.message}`);
  }
}

function asWord(number, source) {
  if (/^-?\d+$/.test(source) || !Number.isFinite(number)) return source === "-0" ? "0" : source;
  return Math.abs(number) < 2 ** 53 ? String(number) : number.toExponential();
}

function check(values, known, what) {
  if (typeof values !== "object" || values === null || Array.isArray(values)) {
    throw new Refused(`${what} should be an object: {"name": value}`);
  }
  const unknown = Object.keys(values).filter((name) => !known.includes(name));
  if (unknown.length) throw new Refused(`${what} has no field ${unknown.join(", ")} here.`);
}

function checkSingle(values) {
  const wrong = Object.keys(values).filter((name) =>
    values[name] !== null && ["object", "boolean"].includes(typeof values[name]));
  if (wrong.length) throw new Refused(`${wrong.join(", ")}: should be a number, a word or null`);
}

// All of a claim, or nothing: what the form does not show would not be scored.
function fill(claim) {
  check(claim, [...columns.map((column) => column.name), "features"], "A claim");
  const { features, ...own } = claim;
  const histories = features ?? {};
  check(histories, derived, "features");
  checkSingle({ ...own, ...histories });
  for (const { name } of columns) $(idOf(name)).value = inField(own[name] ?? "");
  bring(histories);
  forget();
}

// Another claim is in the form, or none could be scored: no result stands beside it.
function forget() {
  turn += 1;
  scoredClaim = null;
  $("result").replaceChildren(...hint);
  compare();
}

// Of a claim that was changed since, a result is for comparison only.
function compare() {
  const other = scoredClaim !== null && scoredClaim !== JSON.stringify(read());
  $("outdated").hidden = !other;
  $("result").classList.toggle("outdated", other);
}

function bring(histories) {
  brought = derived.filter((name) => (histories[name] ?? null) !== null);
  const fields = brought.map((name) =>
    field({ name, kind: "number", typical: null, values: [] }, historyId(name)));
  $("brought").replaceChildren(...fields);
  for (const name of brought) $(historyId(name)).value = inField(histories[name]);
  $("histories").hidden = !brought.length;
}

function read() {
  const claim = valuesOf(columns, idOf);
  const features = valuesOf(brought.map((name) => ({ name, kind: "number" })), historyId);
  return Object.keys(features).length ? { ...claim, features } : claim;
}

// What is no number that JSON has goes as it is written, for the server to read by its signs, or
// to refuse with its field's name; so do all where a point is not what it is in JSON.
function valuesOf(fields, idOf) {
  const found = {};
  for (const { name, kind } of fields) {
    const text = $(idOf(name)).value.trim();
    if (!text) continue;
    const number = Number(text);
    const same = kind === "number" && signs.decimal === "." && Number.isFinite(number);
    found[name] = same ? number : text;
  }
  return found;
}

// To look, and to change by hand: nothing that is asked here is an answer on the claim.
async function scored(claim) {
  const own = ++turn;
  const given = { method: "POST", headers: { "Content-Type": "application/json" } };
  const body = JSON.stringify(claim);
  let told = null;
  try {
    told = await (await call("/v1/score?what_if=true", { ...given, body })).json();
    if (own !== turn) return;
    show(told);
    scoredClaim = body;
    compare();
    await tried({ event_time: told.event_time, ...claim }, told, own);
  } catch (error) {
    if (own !== turn) return; // of a claim that is not in the form any more
    if (told === null) forget();
    throw error;
  }
}

async function tried(claim, told, own) {
  let found = [element("p", { className: "quiet" }, "Could not be tried.")];
  try {
    found = changesShown(await whatIf(claim, told), told);
  } finally {
    if (own === turn) $("changes").replaceChildren(...found);
  }
}

// Each field, also an empty one, and each history that the result or the claim tells, set to what
// is usual and to what is common: one change a line.
async function whatIf({ claim_id: _, ...claim }, told) {
  const fields = new Set(columns.map((c) => c.name));
  const own = columns.flatMap((c) => alternatives(c.name, valueOf(claim, c.name), c.typical));
  const brought = claim.features ?? {};
  const histories = new Map(
    Object.keys(brought).map((name) => [name, { value: valueOf(brought, name) }]));
  for (const r of told.reasons) if (!fields.has(r.feature)) histories.set(r.feature, r);
  const looked = [...histories].flatMap(([name, h]) => alternatives(name, h.value, h.typical));
  const changes = [...own, ...looked];
  const bodies = [
    ...own.map(({ name, to }) => ({ ...claim, [name]: to })),
    ...looked.map(({ name, to }) => ({ ...claim, features: { ...brought, [name]: to } })),
  ];
  if (!bodies.length) return [];
  const headers = { "Content-Type": "application/x-ndjson" };
  const body = bodies.map((b) => JSON.stringify(b)).join("\n");
  const given = { method: "POST", headers, body };
  const lines = (await (await call("/v1/score/batch?reasons=none&what_if=true", given)).text()).trim();
  const answers = lines.split("\n").map((line) => JSON.parse(line));
  return changes
    .map((change, i) => ({ ...change, ...answers[i] }))
    .filter((change) => change.error === undefined);
}

// To be compared and shown: a number that the server has read from text is one here too.
function valueOf(claim, name) {
  const value = Object.hasOwn(claim, name) ? claim[name] : null;
  if (typeof value !== "string" || !numeric.has(name)) return value;
  const groups = { ".": /\./g, ",": /,/g, " ": /\s/g, "'": /['\u2019]/g }[signs.thousands];
  const number = Number((groups ? value.replace(groups, "") : value).replace(signs.decimal, "."));
  return Number.isFinite(number) ? number : value;
}

function alternatives(name, from, typical) {
  const tried = new Set([typical ?? null, ...(common.get(name) ?? [])]);
  const others = [...tried].filter((to) => to !== null && to !== from);
  return others.map((to) => ({ name, from, to, usual: to === typical }));
}

// Of each name one: the usual value where that turns the decision, or else what goes furthest.
function best(changes, told) {
  const turns = (c) => c.alert !== told.alert;
  const gain = (c) => (told.alert ? told.score - c.score : c.score - told.score);
  const rank = (c) => (turns(c) ? 1 + c.usual : 0);
  const ordered = changes
    .filter((c) => turns(c) || gain(c) > 0)
    .sort((a, b) => rank(b) - rank(a) || gain(b) - gain(a));
  const seen = new Set();
  const firsts = ordered.filter((c) => !seen.has(c.name) && seen.add(c.name));
  const turning = firsts.filter(turns);
  return { turning: turning.length > 0, rows: turning.length ? turning : firsts };
}

function show(told) {
  const limit = told.threshold && told.threshold.probability;
  const decision = told.alert ? "Alert: for a person to look at." : "No alert.";
  const rule = limit
    ? ` Claims of ${percent(limit)} or more are alerted, ${percent(told.threshold.budget)} of claims ` +
      `at most: ${told.threshold.detail}.`
    : " This model has no threshold.";
  $("result").replaceChildren(
    element("p", { className: `probability ${told.band}` }, percent(told.probability)),
    element("p", { className: "quiet" }, "probability of fraud, calibrated"),
    scale(told.probability, limit, told.band),
    element("p", {},
      element("span", { className: `band ${told.band}` }, `${told.band} risk. `), decision, rule),
    element("h3", {}, "Why"),
    reasons(told.reasons),
    element("h3", {}, "What would change the decision"),
    element("div", { id: "changes" }, element("p", { className: "quiet" }, "Trying…")),
    ...warnings(told.warnings),
    element("p", { className: "quiet" },
      `Model ${told.model_version}; request ${told.request_id}; ${told.latency_ms} ms.`),
  );
}

// Wide where decisions are made: the square root of the probability.
function scale(probability, limit, band) {
  const place = (p) => `${100 * Math.sqrt(p)}%`;
  const filled = element("div", { className: "filled" });
  filled.style.width = place(probability);
  const made = element("div", { className: `scale ${band}` }, filled);
  made.setAttribute("aria-hidden", "true");
  if (limit) {
    const mark = element("div", { className: "mark" });
    const word = element("div", { className: "word" }, `alert from ${percent(limit)}`);
    mark.style.left = word.style.left = place(limit);
    made.append(mark, word);
  }
  return made;
}

function reasons(found) {
  if (!found.length) return element("p", { className: "quiet" }, "Nothing raises this score.");
  const most = Math.max(...found.map((r) => r.contribution));
  const items = found.map((reason) => {
    const bar = element("div", { className: "bar" });
    bar.style.width = `${(100 * reason.contribution) / most}%`;
    bar.setAttribute("aria-hidden", "true");
    return element("li", {}, `${reason.text} (+${reason.contribution.toFixed(2)})`, bar);
  });
  return element("ol", { className: "reasons" }, ...items);
}

function changesShown(changes, told) {
  if (!changes.length) return [element("p", { className: "quiet" }, "There was nothing to try.")];
  const { turning, rows: found } = best(changes, told);
  const none = "Of the values that were tried, none alone would turn it.";
  const intro = turning
    ? "Each of these alone would turn it:"
    : found.length ? `${none} These would move it most:` : none;
  const what = common.size ? "what is usual or common in training" : "what is usual in training";
  const tried = element("p", { className: "quiet" },
    `Tried, one at a time: ${what} of each number and category, and of those histories that are ` +
      "among the reasons or that the claim brings.");
  if (!found.length) return [element("p", {}, intro), tried];
  const head = element("tr", {}, ...["value", "instead of", "probability", "decision"].map(
    (text, i) => element("th", { scope: "col", className: i === 2 ? "number" : "" }, text)));
  const rows = found.slice(0, MOST_CHANGES).map((change) => element("tr", {},
    element("td", {}, `${words(change.name)} ${shown(change.to)}`),
    element("td", {}, shown(change.from)),
    element("td", { className: "number" }, percent(change.probability)),
    element("td", { className: change.band }, change.alert ? "alert" : "no alert")));
  return [element("p", {}, intro),
    element("div", { className: "wide" },
      element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows))),
    tried];
}

function warnings(found) {
  if (!found.length) return [];
  const items = found.map((w) => element("li", {}, `${words(w.field)}: ${w.detail}`));
  return [element("h3", {}, "Mind"), element("ul", { className: "warnings" }, ...items)];
}

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, $("key").value.trim());
  $("key").value = "";
  attempt(load);
});
$("clear").addEventListener("click", () => attempt(() => fill({})));
$("fill").addEventListener("click", () => attempt(() => {
  fill(parsed($("json").value));
  $("paste").open = false;
}));
$("claim").addEventListener("input", compare);
$("claim").addEventListener("submit", (event) => {
  event.preventDefault();
  attempt(() => scored(read()));
});
attempt(load);
