"use strict";

// The page is drawn from the API alone, so that it cannot show what a program would not be told.

const EVERY = 2000;
const STALE_AFTER = 10000;
const $ = (id) => document.getElementById(id);
const GRADES = { excellent: "good", good: "good", acceptable: "fair", poor: "poor", critical: "bad" };
const STATES = {
  ready: ["ready", "good"], unseen: ["ready, exit not seen yet", "fair"], trial: ["on trial", "fair"],
  full: ["full", "fair"], draining: ["draining", "fair"], drained: ["drained", "unknown"],
  ejected: ["ejected", "bad"], down: ["down", "bad"], wrong_exit: ["wrong exit", "bad"],
  unverified: ["exit not verified", "poor"],
};
const OUTCOMES = { ok: "good", open: "good", leased: "good", pending: "unknown", failed: "bad", refused: "bad", abandoned: "unknown" };
const USABLE = new Set(["ready", "unseen", "trial"]);
let heard = 0;

async function ask(path) {
  const response = await fetch(path, { headers: { accept: "application/json" }, cache: "no-store" });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

async function refresh() {
  try {
    const [nodes, countries, decisions] = await Promise.all([
      ask("api/nodes"), ask("api/countries"), ask("api/load-balancer/decisions?limit=20"),
    ]);
    heard = Date.now();
    showVerdict(nodes, countries);
    showCountries(nodes, countries);
    showDecisions(decisions);
  } catch (error) {
    console.info(String(error));
  }
  showAge();
  setTimeout(refresh, EVERY);
}

function showAge() {
  const age = Date.now() - heard;
  const stale = heard === 0 || age > STALE_AFTER;
  document.body.classList.toggle("stale", stale);
  $("age").textContent = heard === 0 ? "no answer yet" : stale ? `no answer for ${Math.round(age / 1000)} s` : "live";
}

function showVerdict(nodes, countries) {
  const usable = nodes.filter((node) => USABLE.has(node.state)).length;
  const without = countries.filter((country) => country.usable === 0).map((country) => country.country);
  const wrong = nodes.filter((node) => node.state === "wrong_exit");
  let level = "good", words = "Every node is in service";
  if (nodes.length === 0) [level, words] = ["unknown", "The pool is empty"];
  else if (usable === 0) [level, words] = ["bad", "No node is usable"];
  else if (without.length) [level, words] = ["bad", `No usable node in ${without.join(", ")}`];
  else if (wrong.length) [level, words] = ["bad", `Wrong exit: ${wrong.map((node) => node.id).join(", ")}`];
  else if (usable < nodes.length) [level, words] = ["warning", `${nodes.length - usable} of ${nodes.length} nodes out of service`];
  document.body.dataset.level = level;
  $("words").textContent = words;
  const flight = nodes.reduce((sum, node) => sum + node.in_flight, 0);
  $("detail").textContent =
    `${usable} of ${nodes.length} nodes in ${countries.length} ${countries.length === 1 ? "country" : "countries"}; ` +
    `${flight} ${flight === 1 ? "connection" : "connections"} in flight`;
  document.title = `${words} · proxywatch balancer`;
}

function showCountries(nodes, countries) {
  const place = $("countries");
  const present = new Map([...place.children].map((card) => [card.dataset.country, card]));
  for (const country of countries) {
    let card = present.get(country.country);
    if (!card) {
      card = $("country").content.firstElementChild.cloneNode(true);
      card.dataset.country = country.country;
      place.append(card);
    }
    present.delete(country.country);
    card.querySelector(".name").textContent = country.country.toUpperCase();
    card.querySelector(".summary").textContent =
      `${country.usable} of ${country.nodes} usable, chosen by ${country.strategy.replaceAll("_", " ")}`;
    showNodes(card.querySelector("tbody"), nodes.filter((node) => node.country === country.country), country.preferred);
  }
  for (const gone of present.values()) gone.remove();
}

function showNodes(body, nodes, preferred) {
  const present = new Map([...body.children].map((row) => [row.dataset.node, row]));
  for (const node of nodes) {
    let row = present.get(node.id);
    if (!row) {
      row = $("node").content.firstElementChild.cloneNode(true);
      row.dataset.node = node.id;
      body.append(row);
    }
    present.delete(node.id);
    showNode(row, node, node.id === preferred);
  }
  for (const gone of present.values()) gone.remove();
}

function showNode(row, node, preferred) {
  const text = (selector, value) => { row.querySelector(selector).textContent = value; };
  const cell = (selector, label, value) => { text(selector, value); row.querySelector(selector).dataset.label = label; };
  const [state, grade] = STATES[node.state] || [node.state, "unknown"];
  row.classList.toggle("preferred", preferred);
  text(".id", node.id);
  text(".server", [node.city, node.server === "unknown" ? "" : node.server, node.via && `via ${node.via}`].filter(Boolean).join(" · "));
  row.querySelector(".state").dataset.grade = grade;
  text(".state .text", state);
  text(".reason", node.reason);
  const details = row.querySelector("details");
  details.dataset.grade = GRADES[node.band] || "unknown";
  text(".score", node.health_score.toFixed(1));
  text(".band", node.band);
  row.querySelector(".bar i").style.setProperty("width", `${node.health_score}%`);
  showFactors(row.querySelector(".factors"), node);
  cell(".latency", "Latency", fact(node, "proxy_latency_ms", (value) => `${Math.round(value)} ms`));
  cell(".speed", "Speed", fact(node, "speed_mbps", (value) => `${value.toFixed(1)} Mbit/s`));
  cell(".flight", "In flight", node.max_connections ? `${node.in_flight} of ${node.max_connections}` : `${node.in_flight}`);
  cell(".exit", "Exit", fact(node, "exit_country", (value) => value));
}

function fact(node, name, show) {
  const known = node.facts[name];
  if (!known) return "not measured";
  return known.stale ? `${show(known.value)}, ${Math.round(known.age_seconds)} s ago` : show(known.value);
}

function showFactors(list, node) {
  const lines = node.factors.map((factor) => [`${factor.name}: ${factor.value}, costs ${factor.cost.toFixed(1)}`, ""]);
  for (const cap of node.caps) lines.push([`at most ${cap.score}: ${cap.reason}`, "cap"]);
  list.replaceChildren(...lines.map(([words, kind]) => {
    const line = document.createElement("li");
    line.textContent = words;
    line.className = kind;
    return line;
  }));
}

function showDecisions(decisions) {
  $("no-decisions").hidden = decisions.length > 0;
  $("decisions").hidden = decisions.length === 0;
  $("decisions").tBodies[0].replaceChildren(...decisions.map((decision) => {
    const row = document.createElement("tr");
    const tried = decision.attempts.length > 1 ? ` after ${decision.attempts.length - 1} that failed` : "";
    const cells = [
      ["When", new Date(decision.at * 1000).toLocaleTimeString()],
      ["Asked for", decision.country || "any country"],
      ["Node", decision.node || "none"],
      ["Why", decision.node ? `${why(decision)}${tried}` : decision.reason],
      ["Outcome", decision.outcome],
    ];
    for (const [label, words] of cells) {
      const cell = document.createElement("td");
      cell.textContent = words;
      cell.dataset.label = label;
      row.append(cell);
    }
    row.lastChild.className = "outcome";
    row.lastChild.dataset.grade = OUTCOMES[decision.outcome] || "unknown";
    return row;
  }));
}

function why(decision) {
  const by = decision.strategy.replaceAll("_", " ");
  const reasons = {
    strategy: `${by} among ${decision.usable}`, lease: "its session is there", moved: "its session had to move",
    node: "asked for", trial: "on trial", first: "first in the file",
  };
  return reasons[decision.how] || decision.how;
}

refresh();
setInterval(showAge, 1000);
