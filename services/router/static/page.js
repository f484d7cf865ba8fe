"use strict";

// Hops in the order in which a turn passes them; names not listed here come last.
const HOPS = [
  ["endpoint", "end of turn"],
  ["asr.flush", "recognition"],
  ["llm.clause", "first clause"],
  ["tts.first_audio", "first audio"],
  ["playout.first_frame", "playout"],
  ["bus", "bus and router"],
];
const LIMIT_MS = 600;
const SVG = "http://www.w3.org/2000/svg";

const $ = (id) => document.getElementById(id);
const cards = new Map();

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function draw(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function hopsInOrder(hops) {
  const known = HOPS.map(([name, label], i) => [label, hops[name], `hop-${i}`]);
  const names = new Set(HOPS.map(([name]) => name));
  const others = Object.keys(hops).filter((name) => !names.has(name)).map((name) => [name, hops[name], "hop-other"]);
  return known.concat(others).filter(([, ms]) => ms > 0);
}

// One turn's time as a stacked bar: the whole width is one second, or more when a turn took longer.
function bar(turn, scaleMs) {
  const hops = hopsInOrder(turn.hops_ms);
  const label = `Turn ${turn.turn}: ` + hops.map(([name, ms]) => `${name} ${ms} ms`).join(", ");
  const svg = draw("svg", { class: "bar", viewBox: "0 0 1000 20", preserveAspectRatio: "none", role: "img", "aria-label": label });
  let at = 0;
  for (const [, ms, className] of hops) {
    svg.append(draw("rect", { x: (at / scaleMs) * 1000, y: 2, width: (ms / scaleMs) * 1000, height: 16, class: className }));
    at += ms;
  }
  const x = (LIMIT_MS / scaleMs) * 1000;
  svg.append(draw("line", { x1: x, x2: x, y1: 0, y2: 20, class: "limit" }));
  return svg;
}

function times(turn) {
  const p = make("p", "times");
  const total = make("strong", turn.v2v_ms > LIMIT_MS ? "is-late" : "", turn.v2v_ms === null ? "" : `${turn.v2v_ms} ms`);
  const parts = hopsInOrder(turn.hops_ms).map(([name, ms]) => `${name} ${ms}`);
  p.append(total, turn.v2v_ms === null ? "" : " voice to voice", parts.length ? " = " + parts.join(" + ") : "");
  if (turn.is_interrupted) p.append(" · interrupted");
  return p;
}

function line(who, text, isDraft) {
  const p = make("p", "said");
  p.append(make("span", "who", who), make("span", isDraft ? "is-draft" : "", text));
  return p;
}

function drawTurn(item, turn, scaleMs) {
  const key = JSON.stringify([turn, scaleMs]);
  if (item.dataset.key === key) return;
  item.dataset.key = key;
  item.replaceChildren();
  if (turn.caller) item.append(line("Caller", turn.caller, !turn.is_committed));
  for (const tool of turn.tools) item.append(make("p", "tools", `${tool.name}: ${tool.state}`));
  if (turn.agent) item.append(line("Agent", turn.agent, false));
  if (Object.keys(turn.hops_ms).length) item.append(bar(turn, scaleMs));
  if (turn.v2v_ms !== null || turn.is_interrupted) item.append(times(turn));
}

function card(call) {
  let made = cards.get(call.sid);
  if (made) return made;
  const article = make("article", "call");
  const title = make("h3");
  const state = make("span", "state");
  const meta = make("span", "meta");
  const error = make("p", "error");
  const turns = make("ol", "turns");
  turns.setAttribute("role", "log");
  turns.setAttribute("aria-label", "What was said");
  title.append(state, meta);
  article.append(title, error, turns);
  made = { article, state, meta, error, turns, items: new Map() };
  cards.set(call.sid, made);
  $("calls").prepend(article);
  return made;
}

function drawCall(call) {
  const shown = card(call);
  const since = new Date(call.began_at * 1000).toLocaleTimeString();
  shown.article.classList.toggle("is-over", call.ended_by !== "");
  say(shown.state, call.ended_by ? `ended by ${call.ended_by}` : call.state);
  say(shown.meta, [call.caller_number, call.edge, since, call.sid].filter(Boolean).join(" · "));
  say(shown.error, call.error);
  shown.error.hidden = !call.error;
  const longest = Math.max(0, ...call.turns.map((turn) => Object.values(turn.hops_ms).reduce((a, b) => a + b, 0)));
  const scaleMs = Math.max(1000, Math.ceil(longest / 500) * 500);
  const alive = new Set();
  for (const turn of call.turns) {
    let item = shown.items.get(turn.turn);
    if (!item) {
      item = make("li", "turn");
      shown.items.set(turn.turn, item);
      shown.turns.append(item);
    }
    alive.add(turn.turn);
    drawTurn(item, turn, scaleMs);
  }
  for (const [number, item] of shown.items) {
    if (alive.has(number)) continue;
    item.remove();
    shown.items.delete(number);
  }
  $("no-calls").hidden = true;
}

function forget(sid) {
  cards.get(sid)?.article.remove();
  cards.delete(sid);
  $("no-calls").hidden = cards.size > 0;
}

function drawAbout(about) {
  $("no-words").hidden = about.has_words;
  $("about").replaceChildren(
    ...about.services.map((service) => {
      const row = make("tr");
      const name = make("th", "", service.name);
      name.scope = "row";
      row.append(name, make("td", service.is_ready === false ? "is-bad" : "", service.state), make("td", "", service.details));
      return row;
    }),
  );
  $("ways").replaceChildren(
    ...about.ways.flatMap((way) => {
      const where = make("dd");
      where.append(make("code", "", way.address.replace("{host}", location.hostname).replace("{origin}", location.host)));
      return [make("dt", "", way.name), where];
    }),
  );
}

function drawLegend() {
  const entries = HOPS.map(([, label], i) => {
    const item = make("li");
    const svg = draw("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" });
    svg.append(draw("rect", { width: 10, height: 10, class: `hop-${i}` }));
    item.append(svg, label);
    return item;
  });
  $("legend").append(...entries, make("li", "", `┆ ${LIMIT_MS} ms`));
}

function listen() {
  const events = new EventSource("events");
  const on = (kind, handle) => events.addEventListener(kind, (event) => handle(JSON.parse(event.data)));
  events.onopen = () => {
    $("link").classList.remove("is-lost");
    say($("link"), "live");
  };
  events.onerror = () => {
    $("link").classList.add("is-lost");
    say($("link"), "the router does not answer; trying again");
  };
  on("all", ({ about, calls }) => {
    [...cards.keys()].forEach(forget);
    drawAbout(about);
    calls.forEach(drawCall);
  });
  on("about", drawAbout);
  on("call", drawCall);
  on("gone", ({ sid }) => forget(sid));
}

drawLegend();
listen();
