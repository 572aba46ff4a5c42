"use strict";

// Shows /api/v1/status, and asks for it again every few seconds while somebody looks.

const PERIOD = 3000;
const MAIN = new Set(["success_rate", "latency", "speed"]);
const TREND = { transferred: "traffic" };
const PHASES = {
  proxy_connect: "connect", socks: "SOCKS", tls: "TLS", first_byte: "first byte", transfer: "body",
};
const CHECKS = { vpn: "VPN confirmed", country: "expected country", not_direct: "no leak" };
const FAILED = { vpn: "not the VPN", country: "unexpected country", not_direct: "leaks" };

const byId = (id) => document.getElementById(id);
let answered = null;
let said = null;

// Words.

function number(value, digits = 3) {
  if (value >= 1000) return Math.round(value).toLocaleString("en");
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

// Begun with a capital, unless the first word is a name such as wg0.
const sentence = (text) => (/^[a-z]+(?= |$)/.test(text) ? text[0].toUpperCase() + text.slice(1) : text);

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

// The flag of a country that is known by name: two letters of its code, as the letters that flags are made of.
const regions = new Map();
function flag(country) {
  if (!regions.size) {
    const names = new Intl.DisplayNames(["en"], { type: "region" });
    for (let index = 0; index < 676; index += 1) {
      const code = String.fromCharCode(65 + Math.floor(index / 26), 65 + (index % 26));
      const name = names.of(code);
      if (name !== code && !regions.has(name)) regions.set(name, code);
    }
    regions.set("USA", "US").set("UK", "GB").set("Czech Republic", "CZ").set("Turkey", "TR");
  }
  const code = /^[A-Z]{2}$/.test(country) ? country : regions.get(country);
  if (!code) return "";
  return String.fromCodePoint(...[...code].map((letter) => 0x1f1e6 + letter.charCodeAt(0) - 65)) + " ";
}

// Elements.

function element(name, kind, text) {
  const made = document.createElement(name);
  if (kind) made.className = kind;
  if (text !== undefined) made.textContent = text;
  return made;
}

function svg(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function lines(words) {
  return words.filter(Boolean).map((word) => element("i", "", sentence(word)));
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

// The value and the time under the pointer, in place of the note.
function point(card, figure, points, event) {
  const canvas = card.querySelector(".trend");
  const box = canvas.getBoundingClientRect();
  const share = Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1);
  const index = Math.round(share * (points.values.length - 1));
  const value = points.values[index];
  const seconds = (points.values.length - 1 - index) * points.step_seconds;
  const kind = TREND[figure.key] ? "traffic" : figure.key;
  let words = "not measured";
  if (value !== null) words = kind === "traffic" ? `${bytes(value).join(" ")}/s` : shown({ ...figure, value }).join(" ");
  card.querySelector(".note").textContent = `${words}, ${ago(seconds)}`;
  canvas.querySelector(".mark")?.remove();
  const x = share * 180;
  canvas.append(svg("line", { class: "mark", x1: x, x2: x, y1: 0, y2: 40 }));
}

// Sections.

function showVerdict(status) {
  document.body.dataset.level = status.verdict.level;
  byId("words").textContent = status.verdict.words;
  byId("detail").textContent = sentence(status.verdict.detail);
  document.title = `${status.verdict.words} · ${status.name}`;
  const { vpn, exit } = status;
  const box = byId("vpn");
  box.dataset.level = vpn.up === null ? "unknown" : vpn.up ? "good" : "bad";
  box.querySelector("b").textContent = vpn.up === null ? "Not watched" : vpn.up ? "Up" : "Down";
  const handshake = vpn.last_handshake ? `last handshake ${ago(status.time - vpn.last_handshake)}` : "";
  box.querySelector("span").replaceChildren(...lines([vpn.words, handshake]));
  showExit(exit);
}

function showExit(exit) {
  const box = byId("exit");
  const checks = exit ? Object.entries(exit.checks) : [];
  box.querySelector("b").textContent = exit
    ? flag(exit.country) + ([exit.city, exit.country].filter(Boolean).join(", ") || exit.ip)
    : "Not known";
  const words = exit ? [[exit.ip, exit.server].filter(Boolean).join(" · ")] : ["not measured"];
  const marks = element("i", "marks");
  for (const [name, ok] of checks) {
    marks.append(element("i", ok ? "yes" : "no", (ok ? CHECKS[name] : FAILED[name]) ?? name));
  }
  box.querySelector("span").replaceChildren(...lines(words), marks);
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
    card.querySelector(".value b").textContent = value;
    card.querySelector(".unit").textContent = unit;
    if (card.matches(":hover")) continue;
    card.querySelector(".note").textContent = figure.reason || note(figure, points);
    draw(card.querySelector(".trend"), points, `${figure.title} over time`);
  }
  showPhases(status.phases);
}

// What the trend says: the range that it moved in, or how fast a total grows.
function note(figure, points) {
  const known = points ? points.values.filter((value) => value !== null) : [];
  if (known.length < 2) return "";
  if (figure.key === "transferred") return `${bytes(known.at(-1)).join(" ")}/s now`;
  const words = (value) => shown({ ...figure, value }).join(" ").trim();
  const span = duration((points.values.length - 1) * points.step_seconds);
  const [low, high] = [words(Math.min(...known)), words(Math.max(...known))];
  if (low === high) return `${low} for ${span}`;
  const unit = high.includes(" ") ? high.slice(high.indexOf(" ")) : "";
  return `${unit && low.endsWith(unit) ? low.slice(0, -unit.length) : low} to ${high} in ${span}`;
}

function addFigure(section, figure) {
  const card = byId("figure").content.firstElementChild.cloneNode(true);
  card.id = `figure-${figure.key}`;
  card.classList.toggle("main", MAIN.has(figure.key));
  card.title = figure.metric;
  card.querySelector("h2").textContent = figure.title;
  card.addEventListener("pointermove", (event) => {
    if (card.points?.values.length > 1) point(card, card.figure, card.points, event);
  });
  card.addEventListener("pointerleave", () => {
    card.querySelector(".mark")?.remove();
    card.querySelector(".note").textContent = card.figure.reason || note(card.figure, card.points);
  });
  section.append(card);
  return card;
}

function showPhases(phases) {
  const box = document.querySelector("#figure-latency .phases");
  if (!box) return;
  box.hidden = !phases.length;
  const bar = element("div", "bar");
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

function showFailures(status) {
  const items = status.failures.map((failure) => {
    const item = element("li");
    const where = failure.target.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
    const blame = failure.blame ? `${failure.blame}: ` : "";
    item.append(
      element("time", "", ago(status.time - failure.at)),
      element("span", "what", `${failure.stage.replace("_", " ")} ${failure.reason.replaceAll("_", " ")}`.trim()),
      element("span", "text", [blame + failure.words, where && `(${failure.kind} of ${where})`].filter(Boolean).join(" ")),
    );
    return item;
  });
  byId("failures").replaceChildren(...(items.length ? items : none("None in memory.")));
}

function showCollectors(status) {
  const troubled = status.collectors.filter((collector) => collector.state !== "ok");
  const well = status.collectors.filter((collector) => collector.state === "ok");
  const items = [...troubled, ...well].map((collector) => {
    const item = element("li");
    item.dataset.state = collector.state;
    const seen = collector.last_success === null ? "never" : `${ago(status.time - collector.last_success)}`;
    item.append(element("i", "dot"), element("b", "", collector.name), element("span", "aside", seen));
    if (collector.message) item.append(element("span", "text", collector.message));
    return item;
  });
  byId("collectors").replaceChildren(...(items.length ? items : none("Nothing: every collector is switched off.")));
}

function show(status) {
  said = status;
  byId("name").textContent = status.name;
  byId("version").textContent = `proxywatch ${status.version}`;
  byId("uptime").textContent = `watching for ${duration(Math.max(Math.round(status.time - status.started), 1))}`;
  showVerdict(status);
  showFigures(status);
  showFailures(status);
  showCollectors(status);
}

// Life.

async function poll() {
  try {
    const response = await fetch("api/v1/status", { cache: "no-store", signal: AbortSignal.timeout(PERIOD * 3) });
    if (!response.ok) throw new Error(String(response.status));
    show(await response.json());
    answered = Date.now();
  } catch (error) {
    if (!(error instanceof DOMException || error instanceof TypeError || error.message.match(/^\d+$/))) throw error;
  } finally {
    tell();
    setTimeout(poll, PERIOD);
  }
}

function tell() {
  const seconds = answered === null ? null : (Date.now() - answered) / 1000;
  const stale = seconds === null || seconds > (3 * PERIOD) / 1000;
  document.documentElement.classList.toggle("stale", stale && said !== null);
  byId("age").textContent = stale
    ? said === null ? "no answer yet" : `no answer for ${duration(Math.round(seconds))}`
    : "live";
}

poll();
setInterval(tell, 1000);
