// Zones and lines, drawn on a camera's picture with mouse, finger or keyboard, and given as TOML.
// Rules are held as the server gives them, so that what this page does not know of a rule stays in it.

import { byId, make, makeSvg, setText } from "./dom.js";
import { ask } from "./api.js";
import { Screen } from "./stream.js";

const STEP = 0.01;
const FAR_STEP = 0.05;
const NEAR_PX = 12;
const CHECK_MS = 200;
const round = (value) => Math.min(1, Math.max(0, Math.round(value * 10000) / 10000));

export class Editor {
  #dialog = byId("editor");
  #stage = byId("stage");
  #svg = makeSvg("svg", { "aria-label": "Zones and lines" });
  #screen = new Screen(this.#stage.querySelector("canvas"));
  #rules = { zone: [], line: [], track: {} };
  #file = null;
  #camera = "";
  #several = false;
  #draft = []; // points of the shape that is being drawn
  #cross = [0.5, 0.5];
  #drag = null; // a corner that is being moved
  #timer = 0;
  #toml = "";
  #url = "";

  constructor() {
    this.#stage.append(this.#svg);
    this.#screen.onShow = () => this.#fit();
    this.#stage.addEventListener("pointerdown", (event) => this.#down(event));
    this.#stage.addEventListener("pointermove", (event) => this.#move(event));
    this.#stage.addEventListener("pointerup", () => this.#up());
    this.#stage.addEventListener("pointercancel", () => this.#up());
    this.#stage.addEventListener("keydown", (event) => this.#key(event));
    for (const tool of this.#dialog.querySelectorAll("[name=tool]")) tool.addEventListener("change", () => this.#restart());
    byId("draw-undo").addEventListener("click", () => this.#undo());
    byId("draw-finish").addEventListener("click", () => this.#finish());
    byId("toml-copy").addEventListener("click", () => this.#copy());
    byId("toml-save").addEventListener("click", () => this.#save());
    new ResizeObserver(() => this.#draw()).observe(this.#stage);
  }

  async open(camera, cameras) {
    this.#camera = camera;
    this.#several = cameras.length > 1;
    setText(byId("editor-title"), `Zones and lines of camera ${camera}`);
    this.#stage.setAttribute("aria-label", `Picture of camera ${camera}`);
    this.#dialog.showModal();
    this.#restart();
    try {
      this.#take(await ask("/api/zones"));
    } catch (fault) {
      this.#error(fault.message);
    }
    this.#stage.focus();
  }

  frame(camera, blob) {
    if (this.#dialog.open && camera === this.#camera) this.#screen.show(blob);
  }

  #take({ zone, line, track, toml, file }) {
    this.#rules = { zone, line, track };
    this.#file = file;
    byId("toml-save").hidden = !file;
    setText(byId("toml-note"), file ? `Saving writes ${file} and puts it in force at once.` : "Download it, and start the run with --events events.toml; with --events-editable this page saves it itself.");
    this.#show(toml);
    this.#changed(false);
  }

  // --- shapes ---------------------------------------------------------------------------------------------

  get #tool() {
    return this.#dialog.querySelector("[name=tool]:checked").value;
  }

  #mine() {
    const here = (rule) => rule.camera === undefined || [rule.camera].flat().includes(this.#camera);
    return [...this.#rules.zone, ...this.#rules.line].filter(here);
  }

  #corners(rule) {
    return rule.points ?? [rule.a, rule.b];
  }

  #restart() {
    this.#draft = [];
    byId("draw-finish").hidden = this.#tool === "line";
    setText(byId("draw-help"), this.#tool === "zone" ? "Click the corners; the first again ends it." : "Click both ends; in and out are as you look along it.");
    this.#draw();
  }

  #put(point) {
    const [first] = this.#draft;
    if (this.#tool === "zone" && this.#draft.length >= 3 && this.#near(point, first)) return this.#finish();
    this.#draft.push(point.map(round));
    this.#say(`Point ${this.#draft.length} at ${spoken(point)}`);
    if (this.#tool === "line" && this.#draft.length === 2) return this.#finish();
    this.#draw();
  }

  #finish() {
    const kind = this.#tool;
    if (this.#draft.length < (kind === "zone" ? 3 : 2)) return this.#say(kind === "zone" ? "A zone has three corners or more." : "A line has two ends.");
    const rule = { name: this.#freeName(kind) };
    if (this.#several) rule.camera = this.#camera;
    if (kind === "zone") rule.points = this.#draft;
    else [rule.a, rule.b] = this.#draft;
    this.#rules[kind].push(rule);
    this.#draft = [];
    this.#say(`${rule.name} is drawn.`);
    this.#changed();
  }

  #freeName(kind) {
    const names = new Set([...this.#rules.zone, ...this.#rules.line].map((rule) => rule.name));
    for (let n = 1; ; n++) if (!names.has(`${kind} ${n}`)) return `${kind} ${n}`;
  }

  #undo() {
    if (this.#draft.pop()) this.#say(`${this.#draft.length} points`);
    this.#draw();
  }

  #remove(rule) {
    for (const kind of ["zone", "line"]) this.#rules[kind] = this.#rules[kind].filter((other) => other !== rule);
    this.#say(`${rule.name} is deleted.`);
    this.#changed();
  }

  #removeCorner(rule, index) {
    if (rule.points?.length > 3) rule.points.splice(index, 1);
    else return this.#remove(rule);
    this.#changed();
  }

  // --- mouse, finger, keyboard ------------------------------------------------------------------------------

  #at(event) {
    const box = this.#svg.getBoundingClientRect();
    return [round((event.clientX - box.left) / box.width), round((event.clientY - box.top) / box.height)];
  }

  #near([x, y], [u, v]) {
    const box = this.#svg.getBoundingClientRect();
    return Math.hypot((x - u) * box.width, (y - v) * box.height) < NEAR_PX;
  }

  #down(event) {
    if (event.button) return;
    this.#stage.setPointerCapture(event.pointerId);
    const point = this.#at(event);
    const grabbed = this.#mine().flatMap((rule) => this.#corners(rule).map((corner) => ({ rule, corner })));
    this.#drag = this.#draft.length ? null : (grabbed.find(({ corner }) => this.#near(point, corner))?.corner ?? null);
    if (!this.#drag) this.#put(point);
    event.preventDefault();
    this.#stage.focus({ focusVisible: false });
  }

  #move(event) {
    if (!this.#drag) return;
    [this.#drag[0], this.#drag[1]] = this.#at(event);
    this.#draw();
  }

  #up() {
    if (this.#drag) this.#changed();
    this.#drag = null;
  }

  #key(event) {
    const arrow = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const corner = event.target.dataset?.corner;
    const [rule, index] = corner ? this.#cornerOf(corner) : [];
    const acts = {
      Enter: () => this.#put([...this.#cross]),
      " ": () => this.#put([...this.#cross]),
      Backspace: () => this.#undo(),
      f: () => this.#finish(),
      F: () => this.#finish(),
      Delete: () => rule && this.#removeCorner(rule, index),
    };
    if (event.key === "Escape" && this.#draft.length) this.#restart();
    else if (arrow) this.#push(rule ? this.#corners(rule)[index] : this.#cross, arrow, event.shiftKey ? FAR_STEP : STEP, Boolean(rule));
    else if (acts[event.key]) acts[event.key]();
    else return;
    event.preventDefault();
    if (corner) this.#svg.querySelector(`[data-corner="${corner}"]`)?.focus();
  }

  #push(point, [dx, dy], step, saved) {
    point[0] = round(point[0] + dx * step);
    point[1] = round(point[1] + dy * step);
    this.#say(spoken(point));
    if (saved) this.#changed();
    else this.#draw();
  }

  #cornerOf(text) {
    const [shape, index] = text.split(":").map(Number);
    return [this.#mine()[shape], index];
  }

  // --- what is seen -----------------------------------------------------------------------------------------

  #fit() {
    const { width, height } = this.#stage.querySelector("canvas");
    if (this.#svg.dataset.of === `${width}x${height}`) return;
    this.#svg.dataset.of = `${width}x${height}`;
    this.#stage.style.setProperty("--aspect", width / height);
    this.#draw();
  }

  #draw() {
    const { width, height } = this.#stage.getBoundingClientRect();
    if (!width) return;
    this.#svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const place = ([x, y]) => [x * width, y * height];
    const parts = this.#mine().flatMap((rule, shape) => this.#shape(rule, shape, place));
    if (this.#draft.length) {
      parts.push(makeSvg("polyline", { class: "shape draft", points: this.#draft.map(place).join(" ") }));
      parts.push(...this.#draft.map((point) => dot(place(point))));
    }
    const [x, y] = place(this.#cross);
    parts.push(makeSvg("line", { class: "cross", x1: 0, x2: width, y1: y, y2: y }), makeSvg("line", { class: "cross", x1: x, x2: x, y1: 0, y2: height }));
    this.#svg.replaceChildren(...parts);
  }

  #shape(rule, shape, place) {
    const corners = this.#corners(rule).map(place);
    const outline = makeSvg(rule.points ? "polygon" : "polyline", { class: "shape", points: corners.join(" ") });
    const name = makeSvg("text", { x: corners[0][0] + 10, y: corners[0][1] + (corners[0][1] < 24 ? 22 : -9) });
    name.textContent = rule.name;
    const handles = corners.map((corner, index) => {
      const handle = dot(corner);
      handle.dataset.corner = `${shape}:${index}`;
      for (const [key, value] of [["tabindex", 0], ["role", "button"], ["aria-label", `${rule.name}, ${rule.points ? `corner ${index + 1}` : `end ${"ab"[index]}`}`]]) handle.setAttribute(key, value);
      return handle;
    });
    return [outline, ...(rule.points ? [] : [way(corners, rule)]), name, ...handles];
  }

  #list() {
    const items = this.#mine().map((rule) => {
      const item = make("li");
      const name = make("input");
      name.type = "text";
      name.value = rule.name;
      name.maxLength = 64;
      name.setAttribute("aria-label", `Name of ${rule.name}`);
      name.addEventListener("change", () => {
        rule.name = name.value;
        this.#changed();
      });
      const remove = make("button", "", "Delete");
      remove.type = "button";
      remove.setAttribute("aria-label", `Delete ${rule.name}`);
      remove.addEventListener("click", () => this.#remove(rule));
      item.append(make("span", "soft small", rule.points ? "zone" : "line"), name, remove);
      return item;
    });
    byId("shapes").replaceChildren(...items);
  }

  // --- what it is as text -----------------------------------------------------------------------------------

  #changed(check = true) {
    this.#draw();
    this.#list();
    if (!check) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(async () => {
      try {
        this.#show((await ask("/api/zones/check", this.#rules)).toml);
        this.#error("");
      } catch (fault) {
        this.#error(fault.message);
      }
    }, CHECK_MS);
  }

  #show(toml) {
    this.#toml = toml;
    byId("toml").value = toml;
    URL.revokeObjectURL(this.#url);
    this.#url = URL.createObjectURL(new Blob([toml], { type: "application/toml" }));
    byId("toml-download").href = this.#url;
  }

  async #copy() {
    byId("toml").select();
    try {
      await navigator.clipboard.writeText(this.#toml);
    } catch {
      document.execCommand("copy"); // without HTTPS browsers have no clipboard for pages
    }
    this.#say("Copied.");
    setText(byId("toml-note"), "Copied.");
  }

  async #save() {
    try {
      this.#take(await ask("/api/zones", this.#rules));
      this.#error("");
      setText(byId("toml-note"), `Saved in ${this.#file}, and in force.`);
    } catch (fault) {
      this.#error(fault.message);
    }
  }

  #error(text) {
    byId("draw-error").hidden = !text;
    setText(byId("draw-error"), text);
  }

  #say(text) {
    setText(byId("draw-said"), text);
  }
}

function dot([x, y]) {
  return makeSvg("circle", { class: "corner", cx: x, cy: y, r: 5.5 });
}

// An arrow from left to right of one who looks from a to b, with the word for that way.
function way([a, b], { left_to_right: word = "in" }) {
  const length = Math.hypot(b[0] - a[0], b[1] - a[1]) || 1;
  const across = [-(b[1] - a[1]) / length, (b[0] - a[0]) / length];
  const middle = [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
  const at = (forward, side) => [0, 1].map((k) => middle[k] + across[k] * forward + across[1 - k] * (k ? -side : side)).map((v) => v.toFixed(1));
  const group = makeSvg("g");
  group.append(makeSvg("path", { class: "way", d: `M${at(-16, 0)}L${at(18, 0)}M${at(11, 6)}L${at(18, 0)}L${at(11, -6)}` }));
  const text = makeSvg("text", { x: at(30, 0)[0], y: at(30, 0)[1], "text-anchor": "middle", "dominant-baseline": "middle" });
  text.textContent = word;
  group.append(text);
  return group;
}

const spoken = ([x, y]) => `${Math.round(x * 100)} % across, ${Math.round(y * 100)} % down`;
