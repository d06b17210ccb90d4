// The page: cameras as the run has them, what is said of them, and whether anyone still says it.

import { byId, setText, duration } from "./dom.js";
import { ask, Events } from "./api.js";
import { FrameStream } from "./stream.js";
import { CameraCard } from "./camera.js";
import { Controls } from "./controls.js";
import { addEvent, showRun, showSeen, showStages } from "./side.js";
import { Editor } from "./zones.js";
import { startTheme } from "./theme.js";

const cards = new Map();
const controls = new Controls();
const stream = new FrameStream((head, blob) => {
  cards.get(head.camera)?.frame(head, blob);
  editor.frame(head.camera, blob);
});
const editor = new Editor();
let lostSince = 0;

function cardOf(camera) {
  if (!cards.has(camera)) {
    const card = new CameraCard(camera, stream, { onPen: (c) => editor.open(c, [...cards.keys()]), onLarge: enlarge });
    cards.set(camera, card);
    byId("cameras").append(card.element);
    byId("cameras").dataset.count = cards.size === 1 ? "one" : cards.size <= 4 ? "few" : "many";
  }
  return cards.get(camera);
}

function enlarge(camera) {
  const now = byId("cameras").dataset.large === camera ? "" : camera;
  if (now) byId("cameras").dataset.large = now;
  else delete byId("cameras").dataset.large;
  for (const [name, card] of cards) card.large = name === now;
}

function onStatus(status) {
  const said = status.cameras.map((camera) => cardOf(camera.camera).status(camera)).filter(Boolean);
  if (said.length) setText(byId("spoken"), said.join(" "));
  for (const camera of status.cameras) {
    const card = cards.get(camera.camera);
    card.sample(status.unix_s, camera);
    card.drawCharts();
  }
  setText(byId("engine"), status.engine);
  byId("engine").title = status.engine;
  setText(byId("summary"), summary(status.cameras));
  controls.status(status);
  showSeen(status.seen, status.unix_s, status.cameras.length > 1);
  showStages(status.stage_ms);
  showRun(status);
  document.title = title(status.cameras);
}

function summary(cameras) {
  if (cameras.length === 1) return "";
  const live = cameras.filter((camera) => camera.state === "live").length;
  return live === cameras.length ? `${live} cameras live` : `${live} of ${cameras.length} cameras live`;
}

function title(cameras) {
  const ill = cameras.filter((camera) => !["live", "ended"].includes(camera.state));
  return ill.length ? `(${ill.length} down) EdgeYOLO` : "EdgeYOLO";
}

function onLink(linked) {
  if (linked) stream.restart(); // it may hang on a connection that nobody has
  lostSince = linked ? 0 : performance.now();
  const pill = byId("link");
  pill.dataset.state = linked ? "live" : "lost";
  setText(pill, linked ? "connected" : "connection lost");
  showLost();
}

function showLost() {
  byId("lost").hidden = !lostSince;
  document.body.classList.toggle("is-lost", Boolean(lostSince));
  if (lostSince) setText(byId("lost-for"), duration((performance.now() - lostSince) / 1000));
}

async function start() {
  startTheme();
  try {
    const history = await ask("/api/history");
    for (const { unix_s: unixSeconds, cameras } of history) {
      for (const [camera, sample] of Object.entries(cameras)) cardOf(camera).sample(unixSeconds, sample);
    }
  } catch {
    // The charts begin empty then.
  }
  new Events(
    {
      status: onStatus,
      result: (values) => cards.get(values.camera)?.result(values),
      event: (event) => addEvent(event, cards.size > 1),
    },
    onLink,
  );
  setInterval(showLost, 1000);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !byId("editor").open && byId("cameras").dataset.large) enlarge(byId("cameras").dataset.large);
  });
}

start();
