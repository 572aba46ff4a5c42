"use strict";

// Shows /api/v1/status, fetched every few seconds; the history and the settings when they are opened.

const PERIOD = 3000;
const RANKS = 5;
const MAIN = new Set(["success_rate", "latency", "speed"]);
const TREND = { transferred: "traffic" };
const PHASES = {
  proxy_connect: "connect", socks: "SOCKS", tls: "TLS", first_byte: "first byte", transfer: "body",
};
const CHECKS = {
  vpn: "VPN confirmed", country: "expected country", not_direct: "hides this machine",
  no_leak: "no leak", no_leak_ipv6: "no leak by IPv6", dns: "names resolve",
};
const FAILED = {
  vpn: "not the VPN", country: "unexpected country", not_direct: "this machine's address",
  no_leak: "leaks", no_leak_ipv6: "leaks by IPv6", dns: "no names",
};
const STATES = { ok: "works", nothing: "finds nothing", failing: "fails", waiting: "has not run yet" };
const SCALES = {
  success_rate: "good from 99 %, fair from 95 %, poor from 90 %",
  latency: "good below 200 ms, fair below 500 ms, poor below 1,000 ms",
  speed: "good from 20 Mbps, fair from 10 Mbps, poor from 5 Mbps",
};

const byId = (id) => document.getElementById(id);
const FAULTS = 5;
let answered = null;
let current = null;

// Texts.

function number(value, digits = 3) {
  if (value >= 1000) return counted(Math.round(value));
  return String(Number(value.toPrecision(digits)));
}

function duration(seconds) {
  if (seconds < 1) return `${number(seconds * 1000)} ms`;
  if (seconds < 120) return `${number(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return [number(value), units[unit]];
}

const sized = (value) => bytes(value).join(" ");
const counted = (value) => value.toLocaleString("en");

// Begun with a capital, unless the first word is a name such as wg0; a phase before a colon loses its underscores.
const sentence = (text) => {
  const plain = text.replace(/^[a-z]+(_[a-z]+)+(?=: )/, (phase) => phase.replaceAll("_", " "));
  return /^[a-z]+(?= |$)/.test(plain) ? plain[0].toUpperCase() + plain.slice(1) : plain;
};

const clock = (at) => new Date(at * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
const ago = (seconds) => (seconds < 1 ? "now" : `${duration(Math.round(seconds))} ago`);

function shown(figure) {
  if (figure.value === null) return ["–", ""];
  if (figure.unit === "bytes") return bytes(figure.value);
  if (figure.unit === "s") {
    const [value, unit] = duration(figure.value).split(" ");
    return [value, unit];
  }
  return [number(figure.value, figure.unit === "%" ? 4 : 3), figure.unit.replace("/", "per ")];
}

// A country by name, behind its flag: the two letters of its code, as the letters that flags are made of.
const regions = new Map();
const names = new Intl.DisplayNames(["en"], { type: "region" });
function nation(country) {
  if (!regions.size) {
    for (let index = 0; index < 676; index += 1) {
      const code = String.fromCharCode(65 + Math.floor(index / 26), 65 + (index % 26));
      const name = names.of(code);
      if (name !== code && !regions.has(name)) regions.set(name, code);
    }
    regions.set("USA", "US").set("UK", "GB").set("Czech Republic", "CZ").set("Turkey", "TR");
  }
  const code = /^[a-z]{2}$/i.test(country) ? country.toUpperCase() : regions.get(country);
  if (!code) return ["", country];
  return [String.fromCodePoint(...[...code].map((letter) => 0x1f1e6 + letter.charCodeAt(0) - 65)) + " ", names.of(code)];
}

// Elements.

function element(name, kind, text) {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  if (text !== undefined) made.textContent = text;
  return made;
}

// Text that may be broken behind the punctuation of addresses and names, and nowhere within a word.
function soft(made, text) {
  made.replaceChildren();
  text.split(/(?<=[:./_,@-])(?=\w)/).forEach((part, index) => {
    if (index) made.append(document.createElement("wbr"));
    if (part) made.append(part);
  });
  return made;
}

function svg(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// Text, set only when it is another: a screen reader announces changes alone.
function say(where, text) {
  if (where.textContent !== text) soft(where, text);
}

function moment(at, now) {
  const made = element("time", "", ago(now - at));
  made.dateTime = new Date(at * 1000).toISOString();
  made.title = clock(at);
  return made;
}

function lines(texts) {
  return texts.filter(Boolean).map((text) => soft(element("i"), sentence(text)));
}

function none(text) {
  return [element("li", "none", text)];
}

// A trend as a line over an area; where nothing was measured, there is a gap.
function draw(canvas, points, label) {
  canvas.replaceChildren();
  const values = points ? points.values : [];
  const known = values.filter((value) => value !== null);
  canvas.setAttribute("aria-label", label);
  if (known.length < 2) return;
  const low = Math.min(...known);
  const high = Math.max(...known);
  const floor = low > high * 0.7 ? low - (high - low || 1) * 0.5 : 0;
  const span = high - floor || 1;
  const place = (value, index) => [
    (index / (values.length - 1)) * 180,
    37 - ((value - floor) / span) * 33,
  ];
  for (const run of runs(values)) {
    const path = run.map(([value, index]) => place(value, index).map((n) => n.toFixed(2)).join(" "));
    if (path.length === 1) path.push(path[0]);
    const first = path[0].split(" ")[0];
    const last = path[path.length - 1].split(" ")[0];
    canvas.append(svg("path", { class: "area", d: `M${first} 40L${path.join("L")}L${last} 40Z` }));
    canvas.append(svg("path", { class: "line", d: `M${path.join("L")}` }));
  }
}

function runs(values) {
  const found = [];
  let run = null;
  values.forEach((value, index) => {
    if (value === null) {
      run = null;
    } else {
      if (!run) found.push((run = []));
      run.push([value, index]);
    }
  });
  return found;
}

// The value and the time at a place of the trend, in place of the note.
function point(card, share) {
  const { figure, points } = card;
  const canvas = card.querySelector(".trend");
  const index = Math.round(share * (points.values.length - 1));
  const value = points.values[index];
  const seconds = (points.values.length - 1 - index) * points.step_seconds;
  const kind = TREND[figure.key] ? "traffic" : figure.key;
  let text = "not measured";
  if (value !== null) text = kind === "traffic" ? `${sized(value)}/s` : shown({ ...figure, value }).join(" ");
  say(card.querySelector(".note"), `${text}, ${ago(seconds)} (${clock(current.time - seconds)})`);
  canvas.querySelector(".mark")?.remove();
  const x = share * 180;
  canvas.append(svg("line", { class: "mark", x1: x, x2: x, y1: 0, y2: 40 }));
}

// Sections.

function showVerdict(status) {
  document.body.dataset.level = status.verdict.level;
  say(byId("message"), status.verdict.message);
  say(byId("detail"), sentence(status.verdict.detail));
  say(byId("advice"), status.verdict.advice);
  document.title = `${status.verdict.message} · ${status.name}`;
  const { vpn, exit } = status;
  const box = byId("vpn");
  box.dataset.level = vpn.up === null ? "unknown" : vpn.up ? "good" : "bad";
  box.querySelector("b").textContent = vpn.up === null ? "Not watched" : vpn.up ? "Up" : "Down";
  const handshake = vpn.last_handshake && !vpn.message.includes("handshake") ? `last handshake ${ago(status.time - vpn.last_handshake)}` : "";
  box.querySelector("span").replaceChildren(...lines([vpn.message, handshake]));
  if (vpn.last_handshake) box.title = `last handshake ${clock(vpn.last_handshake)}`;
  showExit(exit, status);
}

function showExit(exit, status) {
  const box = byId("exit");
  const checks = exit ? Object.entries(exit.checks) : [];
  const [flag, country] = exit ? nation(exit.country) : ["", ""];
  box.querySelector("b").textContent = exit
    ? flag + ([exit.city, country].filter(Boolean).join(", ") || exit.ip)
    : "Not known";
  const collector = status.collectors.find(({ name }) => name === "exit");
  const texts = exit ? [[exit.ip, exit.server].filter(Boolean).join(" · ")] : [collector?.message || "not measured"];
  const marks = element("i", "marks");
  for (const [name, ok] of checks) {
    marks.append(element("i", ok ? "yes" : "no", (ok ? CHECKS[name] : FAILED[name]) ?? name));
  }
  const when = element("i");
  if (exit && collector?.last_success) when.append("seen ", moment(collector.last_success, status.time));
  box.querySelector("span").replaceChildren(...lines(texts), marks, when);
}

function showFigures(status) {
  const section = byId("figures");
  for (const figure of status.figures) {
    const points = status.trends[TREND[figure.key] ?? figure.key];
    const card = document.getElementById(`figure-${figure.key}`) ?? addFigure(section, figure);
    card.dataset.grade = figure.grade;
    card.figure = figure;
    card.points = points;
    const [value, unit] = shown(figure);
    say(card.querySelector(".value b"), value);
    say(card.querySelector(".unit"), unit);
    say(card.querySelector(".grade"), MAIN.has(figure.key) && figure.value !== null ? figure.grade : "");
    if (card.matches(":hover, :focus")) continue;
    rest(card);
    draw(card.querySelector(".trend"), points, `${figure.title}, trend: ${note(figure, points) || "not known yet"}`);
  }
  showPhases(status.phases);
}

// What the trend says: the range that it moved in, or how fast a total grows.
function note(figure, points) {
  const known = points ? points.values.filter((value) => value !== null) : [];
  if (known.length < 2) return "";
  if (figure.key !== "transferred" && figure.value !== null) known.push(figure.value);
  if (figure.key === "transferred") return `${sized(known.at(-1))}/s now`;
  const format = (value) => shown({ ...figure, value }).join(" ").trim();
  const span = duration((points.values.length - 1) * points.step_seconds);
  const [low, high] = [format(Math.min(...known)), format(Math.max(...known))];
  if (low === high) return `${low} for ${span}`;
  const unit = high.includes(" ") ? high.slice(high.indexOf(" ")) : "";
  return `${unit && low.endsWith(unit) ? low.slice(0, -unit.length) : low} to ${high} in ${span}`;
}

function addFigure(section, figure) {
  const card = byId("figure").content.firstElementChild.cloneNode(true);
  card.id = `figure-${figure.key}`;
  card.classList.toggle("main", MAIN.has(figure.key));
  card.querySelector("h2").textContent = figure.title;
  card.querySelector("h2").title = figure.metric;
  card.querySelector(".grade").title = SCALES[figure.key] ?? "";
  card.tabIndex = 0;
  card.addEventListener("pointermove", (event) => {
    const box = card.querySelector(".trend").getBoundingClientRect();
    look(card, (event.clientX - box.left) / box.width);
  });
  card.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    look(card, (card.share ?? 1) + step / Math.max((card.points?.values.length ?? 0) - 1, 1));
  });
  card.addEventListener("pointerleave", () => rest(card));
  card.addEventListener("blur", () => rest(card));
  section.append(card);
  return card;
}

// Look at a place of the trend, from 0 for its oldest to 1 for its newest point; or no longer.
function look(card, share) {
  if (!(card.points?.values.length > 1)) return;
  card.share = Math.min(Math.max(share, 0), 1);
  point(card, card.share);
}

function rest(card) {
  card.share = undefined;
  card.querySelector(".mark")?.remove();
  say(card.querySelector(".note"), sentence(card.figure.reason) || note(card.figure, card.points));
}

function showPhases(phases) {
  const box = document.querySelector("#figure-latency .phases");
  if (!box) return;
  box.hidden = !phases.length;
  const bar = element("div", "bar");
  bar.setAttribute("aria-hidden", "true");
  const legend = element("div", "legend");
  for (const { name, seconds } of phases) {
    const part = element("i", `phase-${name}`);
    part.style.flex = `${Math.max(seconds, 0.0001) * 1e6} 0 0`;
    bar.append(part);
    const entry = element("span");
    entry.append(element("i", `phase-${name}`), `${PHASES[name] ?? name} ${duration(seconds)}`);
    legend.append(entry);
  }
  box.replaceChildren(bar, legend);
}

// How far it is to clients and to destinations, and what is lost on the way.
function showWays(ways) {
  const box = byId("ways");
  box.hidden = !ways.length;
  const items = ways.map(({ title, seconds, lost }) => {
    const item = element("li");
    const again = lost ? `${(lost * 100).toPrecision(2)} % sent again` : "";
    item.append(element("b", "", title), element("span", "", duration(seconds)), element("span", "aside", again));
    return item;
  });
  box.querySelector("ul").replaceChildren(...items);
}

function showFailures(status) {
  const items = status.failures.map((failure) => {
    const item = element("li");
    const where = failure.target.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
    const blame = [failure.blame, failure.message].filter(Boolean).join(": ");
    item.append(
      moment(failure.at, status.time),
      element("span", "what", `${failure.stage.replace("_", " ")} ${failure.reason.replaceAll("_", " ")}`.trim()),
      soft(element("span", "text"), [blame, where && `(${failure.kind} of ${where})`].filter(Boolean).join(" ")),
    );
    return item;
  });
  byId("failures").replaceChildren(...(items.length ? items : none("None in memory.")));
}

// What all requests came to: why they failed, and where they went.
function showRequests(status) {
  const { requests } = status;
  byId("requests").hidden = requests === null;
  if (requests === null) return;
  const named = (destinations, format) => destinations.map(({ target, weight, error }) =>
    [target, weight, error ? `or up to ${format(error)} more` : ""]);
  rank(byId("causes"), requests.causes.map(({ reason, blame, count }) => [reason.replaceAll("_", " "), count, blame]), counted);
  rank(byId("most-bytes"), named(requests.most_bytes, sized), sized);
  rank(byId("most-failures"), named(requests.most_failures, counted), counted);
  const hidden = requests.cannot_tell.join(", ");
  say(byId("hidden"), hidden && `The log does not show ${hidden}: proxywatch check says how to have it.`);
  const { unparsed, unparsed_example: example } = requests;
  say(byId("unparsed"), unparsed ? `Lines in the log that are not Dante's: ${counted(unparsed)}. The last: ${example.slice(0, 200)}` : "");
}

// Names with their weights, the heaviest first, each with its share of the heaviest as a bar.
function rank(list, ranks, format) {
  const items = ranks.slice(0, RANKS).map(([name, weight, note]) => {
    const item = element("li");
    const share = element("i", "share");
    share.style.width = `${(100 * weight) / ranks[0][1]}%`;
    item.append(soft(element("b"), name), element("span", "", format(weight)), share, element("span", "aside", note));
    return item;
  });
  list.replaceChildren(...(items.length ? items : none("None yet.")));
}

function showCollectors(status) {
  const troubled = status.collectors.filter((collector) => collector.state !== "ok");
  const well = status.collectors.filter((collector) => collector.state === "ok");
  const items = [...troubled, ...well].map((collector) => {
    const item = element("li");
    item.dataset.state = collector.state;
    const dot = element("i", "dot");
    dot.setAttribute("role", "img");
    dot.setAttribute("aria-label", STATES[collector.state]);
    dot.title = STATES[collector.state];
    const seen = collector.last_success === null ? "never" : moment(collector.last_success, status.time);
    const aside = element("span", "aside");
    aside.append(seen);
    item.append(dot, element("b", "", collector.name), aside);
    if (collector.message) item.append(soft(element("span", "text"), sentence(collector.message)));
    return item;
  });
  byId("collectors").replaceChildren(...(items.length ? items : none("Nothing: every collector is switched off.")));
}

// Where the health port is, as seen from here; a unix socket cannot be reached.
function showHealth(status) {
  const port = status.health.map((address) => address.match(/^[^/]*:(\d+)$/)?.[1]).find(Boolean);
  byId("health").hidden = !port;
  if (!port) return;
  const url = new URL("/healthz?verbose", location.href);
  url.protocol = "http";
  url.port = port;
  byId("health").href = url;
}

function showNotice(status) {
  const faults = status.settings_fault.split("\n");
  const more = faults.length > FAULTS ? `\nand ${faults.length - FAULTS} more` : "";
  byId("notice").hidden = !status.settings_fault;
  say(byId("notice"), `The settings that were read last were refused; the ones before are in force.\n${faults.slice(0, FAULTS).join("\n")}${more}`);
}

function show(status) {
  current = status;
  say(byId("name"), status.name);
  byId("version").textContent = `proxywatch ${status.version}`;
  byId("uptime").title = `since ${clock(status.started)}`;
  byId("uptime").textContent = `watching for ${duration(Math.max(Math.round(status.time - status.started), 1))}`;
  showNotice(status);
  showHealth(status);
  showVerdict(status);
  showFigures(status);
  showWays(status.ways);
  showFailures(status);
  showRequests(status);
  showCollectors(status);
}

// What is fetched when it is opened.

async function fetched(path) {
  const response = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(PERIOD * 3) });
  if (!response.ok) throw new Error(String(response.status));
  return response.json();
}

// A failure of the network, of the server or of a deadline; any other error is one of this page.
const expected = (error) => error instanceof DOMException || error instanceof TypeError || /^\d+$/.test(error.message);

async function showHistory() {
  const { probes } = await fetched("api/v1/history");
  const now = current?.time ?? Date.now() / 1000;
  byId("history").querySelector("tbody").replaceChildren(...probes.map((probe) => {
    const row = element("tr");
    const result = probe.reason ? `${probe.stage} ${probe.reason}`.replaceAll("_", " ") : measured(probe);
    const when = element("td");
    when.append(moment(probe.at, now));
    const phases = Object.entries(probe.phases).filter(([, seconds]) => seconds !== null);
    row.append(
      when,
      element("td", "", probe.kind),
      soft(element("td", "target"), probe.target.replace(/^https?:\/\//, "")),
      element("td", probe.reason ? "no" : "yes", result),
      element("td", "number", duration(probe.duration)),
      element("td", "", phases.map(([name, seconds]) => `${PHASES[name] ?? name} ${duration(seconds)}`).join(", ")),
    );
    return row;
  }));
}

function measured(probe) {
  return probe.speed === null ? `ok ${probe.status}` : `${number((probe.speed * 8) / 1e6)} Mbps`;
}

async function showSettings() {
  const { in_force: settings, defaults } = await fetched("api/v1/settings");
  const sections = Object.entries(settings).map(([name, keys]) => {
    const section = element("dl");
    section.append(element("h3", "", name));
    for (const [key, value] of flat(keys)) {
      const changed = JSON.stringify(value) !== JSON.stringify(Object.fromEntries(flat(defaults[name]))[key]);
      section.append(element("dt", "", key), soft(element("dd", changed ? "changed" : ""), written(value)));
    }
    return section;
  });
  byId("settings").querySelector(".sections").replaceChildren(...sections);
}

// The keys of a section with their values; those of a mapping within it behind its name.
function flat(keys, prefix = "") {
  return Object.entries(keys).flatMap(([key, value]) => (
    value !== null && typeof value === "object" && !Array.isArray(value)
      ? flat(value, `${prefix}${key}.`)
      : [[prefix + key, value]]));
}

function written(value) {
  if (Array.isArray(value)) return value.map(written).join("\n") || "none";
  if (value !== null && typeof value === "object") {
    return flat(value).filter(([, item]) => item !== null).map(([key, item]) => `${key}: ${item}`).join(", ");
  }
  return value === null || value === "" ? "not set" : String(value);
}

for (const [id, fill] of [["history", showHistory], ["settings", showSettings]]) {
  const details = byId(id);
  details.addEventListener("toggle", () => {
    if (details.open) fill().catch((error) => { if (!expected(error)) throw error; });
  });
}

// A link to one of them opens it.
function unfold() {
  const details = document.querySelector("details:target");
  if (details) details.open = true;
}

// Life.

async function poll() {
  try {
    show(await fetched("api/v1/status"));
    answered = Date.now();
  } catch (error) {
    if (!expected(error)) throw error;
  } finally {
    showAge();
    setTimeout(poll, PERIOD);
  }
}

function showAge() {
  const seconds = answered === null ? null : (Date.now() - answered) / 1000;
  const stale = seconds === null || seconds > (3 * PERIOD) / 1000;
  document.documentElement.classList.toggle("stale", stale && current !== null);
  say(byId("age"), stale
    ? current === null ? "no answer yet" : `no answer for ${duration(Math.round(seconds))}`
    : "live");
}

addEventListener("hashchange", unfold);
unfold();
poll();
setInterval(showAge, 1000);
