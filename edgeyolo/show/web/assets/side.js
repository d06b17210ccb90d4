// The tables beside the cameras: last detections, events, stages.

import { byId, make, setText, number, ms, clock, duration } from "./dom.js";

const MOST_EVENTS = 200;
const OLD_S = 10;

// now: of the run's clock, which need not be ours.
export function showSeen(sightings, now, several) {
  const seen = sightings.sort((a, b) => natural(a.camera, b.camera) || natural(a.label, b.label));
  const body = byId("seen");
  byId("seen-none").hidden = seen.length > 0;
  while (body.children.length > seen.length) body.lastChild.remove();
  seen.forEach((sighting, i) => {
    const row = body.children[i] ?? body.appendChild(newRow(["", "many", "n", "n", "n"]));
    const ago = Math.max(0, now - sighting.unix_s);
    row.classList.toggle("old", ago > OLD_S);
    const texts = [sighting.label, sighting.camera, number(sighting.count), number(sighting.score, 2), ago < 2 ? "now" : `${duration(ago)} ago`];
    texts.forEach((text, column) => setText(row.children[column], text));
  });
  document.body.classList.toggle("only-one", !several);
}

export function showStages(stages) {
  const body = byId("stages");
  const rows = Object.entries(stages);
  while (body.children.length > rows.length) body.lastChild.remove();
  rows.forEach(([stage, times], i) => {
    const row = body.children[i] ?? body.appendChild(newRow(["", "n", "n", "n"]));
    [stage, ms(times.p50), ms(times.p90), ms(times.p99)].forEach((text, column) => setText(row.children[column], text));
  });
}

export function showRun({ uptime_s: uptime, engine_restarts: restarts, version }) {
  const restarted = restarts ? ` · engine loaded again ${restarts} ${restarts === 1 ? "time" : "times"}` : "";
  setText(byId("run"), `Up ${duration(uptime)}${restarted} · edgeyolo ${version}`);
}

export function addEvent(event, several) {
  const item = make("li");
  const time = make("time", "", clock(event.unix_s));
  time.dateTime = new Date(event.unix_s * 1000).toISOString();
  item.append(time, make("span", "", sentence(event, several)));
  const counts = Object.entries(event.counts ?? {}).map(([what, count]) => `${what} ${count}`).join(" · ");
  if (counts) item.append(make("span", "counts", counts));
  const list = byId("events");
  list.prepend(item);
  while (list.children.length > MOST_EVENTS) list.lastChild.remove();
  byId("events-none").hidden = true;
}

const natural = new Intl.Collator("en", { numeric: true }).compare;

function sentence({ kind, where, label, track_id: id, camera, direction, seconds, lost }, several) {
  const after = seconds === undefined ? "" : ` after ${number(seconds, 1)} s`;
  const did = {
    enter: `enters ${where}`,
    leave: lost ? `is lost from sight in ${where}${after}` : `leaves ${where}${after}`,
    dwell: `stays in ${where}${seconds === undefined ? "" : `, ${number(seconds, 1)} s`}`,
    cross: `crosses ${where}, ${direction}`,
  }[kind];
  return `${label} ${id} ${did}${several ? ` (camera ${camera})` : ""}`;
}

function newRow(classes) {
  const row = make("tr");
  row.append(...classes.map((name) => make("td", name)));
  return row;
}
