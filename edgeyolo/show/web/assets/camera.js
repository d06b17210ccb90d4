// One camera: its picture, state, figures and charts.

import { byId, setText, setAttribute, number, ms, duration, clock, sortedCounts } from "./dom.js";
import { Chart } from "./chart.js";
import { Screen } from "./stream.js";

const WIDTH_STEP = 160;
const MOST_WIDTH = 1920;
const GOOD = new Set(["live", "ended"]);

export class CameraCard {
  #camera;
  #stream;
  #status = null;
  #shownAt = 0; // unix seconds of the picture that is shown
  #visible = false;
  #fpsChart;
  #ageChart;
  element = byId("card").content.firstElementChild.cloneNode(true);
  screen;

  constructor(camera, stream, { onPen, onLarge }) {
    this.#camera = camera;
    this.#stream = stream;
    const title = `Camera ${camera}`;
    setText(this.#find(".name"), title);
    this.element.setAttribute("aria-label", title);
    this.element.dataset.camera = camera;
    this.screen = new Screen(this.#find("canvas"));
    this.screen.onShow = () => (this.element.dataset.pictured = "");
    this.#fpsChart = new Chart(this.#find(".fps-chart"), { what: "Frames a second", text: (v) => number(v, 1), least: 1 });
    this.#ageChart = new Chart(this.#find(".age-chart"), { what: "Median age of results", text: (v) => `${ms(v)} ms`, least: 10 });
    this.#tool(".pen", `Draw zones and lines on camera ${camera}`).addEventListener("click", () => onPen(camera));
    this.#tool(".large", `Enlarge camera ${camera}`).addEventListener("click", () => onLarge(camera));
    const still = this.#tool(".still", `Download a picture of camera ${camera}`);
    still.href = `/snapshot/${encodeURIComponent(camera)}.jpg`;
    still.download = "";
    new IntersectionObserver(([entry]) => this.#see(entry.isIntersecting), { rootMargin: "120px" }).observe(this.element);
    new ResizeObserver(() => this.#see(this.#visible)).observe(this.#find(".view"));
  }

  #find(selector) {
    return this.element.querySelector(selector);
  }

  #tool(selector, label) {
    const tool = this.#find(selector);
    tool.title = label;
    tool.setAttribute("aria-label", label);
    return tool;
  }

  // Only what is on the screen is asked for, in the size that it has there.
  #see(visible) {
    this.#visible = visible;
    const width = this.#find(".view").clientWidth * Math.min(devicePixelRatio, 2);
    if (visible && width) this.#stream.wish(this.#camera, Math.min(Math.ceil(width / WIDTH_STEP) * WIDTH_STEP, MOST_WIDTH));
    else this.#stream.forget(this.#camera);
  }

  frame(head, blob) {
    this.#shownAt = head.unix_s;
    this.screen.show(blob);
  }

  result(values) {
    const found = (values.detections ?? values.classification).map((d) => d.label);
    const text = sortedCounts(found).map(([label, count]) => (count > 1 ? `${label} ${count}` : label)).join(" · ");
    setText(this.#find(".now"), text);
    setAttribute(this.#find("canvas"), "aria-label", `Picture of camera ${this.#camera}: ${text || "nothing found"}`);
  }

  sample(unixSeconds, { fps, age_ms: age }) {
    this.#fpsChart.add(unixSeconds, fps);
    this.#ageChart.add(unixSeconds, age.p50, age.p90);
  }

  drawCharts() {
    this.#fpsChart.draw();
    this.#ageChart.draw();
  }

  // Returns what a screen reader should say, or "".
  status(status) {
    const before = this.#status?.state;
    this.#status = status;
    const pill = this.#find(".pill");
    pill.dataset.state = status.state;
    setText(pill, status.state);
    setText(this.#find(".source"), [status.name, status.size_wh?.join(" × "), ...status.notes].filter(Boolean).join(" · "));
    this.#find(".source").title = this.#find(".source").textContent;
    setText(this.#find(".fps"), number(status.fps, 1));
    setText(this.#find(".age"), ms(status.age_ms.p50));
    setText(this.#find(".tail"), `${ms(status.age_ms.p90)}, ${ms(status.age_ms.p99)} ms`);
    setText(this.#find(".dropped"), number(status.dropped));
    setText(this.#find(".reconnects"), number(status.reconnects));
    this.#shape(status.size_wh ?? [16, 9]);
    this.#veil();
    return before && before !== status.state ? `Camera ${this.#camera} is ${status.state}. ${status.reason ?? ""}` : "";
  }

  // Until there is a picture, its place has its shape.
  #shape([width, height]) {
    const canvas = this.#find("canvas");
    if ("pictured" in this.element.dataset || canvas.width * height === canvas.height * width) return;
    canvas.width = width;
    canvas.height = height;
  }

  #veil() {
    const { state, reason, retry_in_s: retry, state_s: since } = this.#status;
    const veil = this.#find(".veil");
    veil.hidden = GOOD.has(state) && "pictured" in this.element.dataset;
    this.element.toggleAttribute("data-stale", !GOOD.has(state));
    const said = {
      connecting: "Connecting …",
      live: "Waiting for a picture …",
      stalled: reason ? "" : `No frame for ${duration(since)}`,
      retrying: retry === null ? "Connecting again …" : `Connecting again in ${Math.ceil(retry)} s`,
      ended: "Ended",
      failed: "Given up",
    }[state];
    const picture = this.#shownAt && !GOOD.has(state) ? `Picture of ${clock(this.#shownAt)}` : "";
    setText(veil, [said, reason, picture].filter(Boolean).join(" · "));
  }

  set large(on) {
    this.element.classList.toggle("is-large", on);
    this.#find(".large").setAttribute("aria-pressed", String(on));
  }
}
