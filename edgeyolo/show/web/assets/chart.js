// A small chart of the last five minutes: one strong line with its area, and a faint one where there is a second.

import { makeSvg, make, setText, clock } from "./dom.js";

const SAMPLES = 300;
const FEWEST = 60;
const HEIGHT = 100;

export class Chart {
  #rows = []; // [unix_s, strong, faint]
  #area = makeSvg("path", { class: "area" });
  #strong = makeSvg("path");
  #faint = makeSvg("path", { class: "faint" });
  #mark = makeSvg("line", { class: "mark", y1: 0, y2: HEIGHT, visibility: "hidden" });
  #svg = makeSvg("svg", { preserveAspectRatio: "none", role: "img" });
  #top = make("span", "top");
  #what;
  #text;
  #least;
  #pointed = null;

  // what: for a screen reader; text: makes a number readable; least: the top of the scale is never lower.
  constructor(parent, { what, text, least }) {
    this.#what = what;
    this.#text = text;
    this.#least = least;
    this.#svg.append(makeSvg("line", { x1: 0, x2: SAMPLES, y1: HEIGHT, y2: HEIGHT }), this.#area, this.#faint, this.#strong, this.#mark);
    this.#top.setAttribute("aria-hidden", "true");
    parent.append(this.#svg, this.#top);
    parent.addEventListener("pointermove", (event) => this.#point(event));
    parent.addEventListener("pointerleave", () => this.#point(null));
  }

  add(unixSeconds, strong, faint) {
    this.#rows.push([unixSeconds, strong, faint]);
    if (this.#rows.length > SAMPLES) this.#rows.shift();
  }

  // A minute wide at first, growing to all five.
  get #span() {
    return Math.max(FEWEST, this.#rows.length);
  }

  draw() {
    this.#svg.setAttribute("viewBox", `0 0 ${this.#span - 1} ${HEIGHT}`);
    const shown = this.#rows.flatMap((row) => row.slice(1)).filter(Number.isFinite);
    const top = niceTop(Math.max(this.#least, ...shown));
    const line = this.#line(1, top);
    this.#strong.setAttribute("d", line);
    this.#faint.setAttribute("d", this.#line(2, top));
    const first = this.#span - this.#rows.length;
    this.#area.setAttribute("d", line ? `M${first} ${HEIGHT}L${line.slice(1)}L${this.#span - 1} ${HEIGHT}Z` : "");
    this.#label(top);
    const strong = this.#rows.map((row) => row[1]).filter(Number.isFinite);
    const said = strong.length ? `now ${this.#text(strong.at(-1))}, lowest ${this.#text(Math.min(...strong))}, highest ${this.#text(Math.max(...strong))}` : "nothing yet";
    this.#svg.setAttribute("aria-label", `${this.#what}, last five minutes: ${said}`);
  }

  #line(column, top) {
    const first = this.#span - this.#rows.length;
    const points = this.#rows.map((row, i) => `${first + i} ${(HEIGHT * (1 - (Number.isFinite(row[column]) ? row[column] : 0) / top)).toFixed(1)}`);
    return this.#rows.some((row) => Number.isFinite(row[column])) ? `M${points.join("L")}` : "";
  }

  #label(top) {
    const row = this.#pointed === null ? null : this.#rows[this.#pointed];
    setText(this.#top, row ? `${clock(row[0])}  ${this.#text(row[1])}` : this.#text(top));
  }

  #point(event) {
    this.#pointed = null;
    if (event) {
      const box = this.#svg.getBoundingClientRect();
      const sample = Math.round(((event.clientX - box.left) / box.width) * (this.#span - 1)) - (this.#span - this.#rows.length);
      if (sample >= 0 && sample < this.#rows.length) {
        this.#pointed = sample;
        const x = this.#span - this.#rows.length + sample;
        this.#mark.setAttribute("x1", x);
        this.#mark.setAttribute("x2", x);
      }
    }
    this.#mark.setAttribute("visibility", this.#pointed === null ? "hidden" : "visible");
    this.draw();
  }
}

// 1, 2 or 5 times a power of ten, so that the scale rests while the values move.
function niceTop(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((step) => step * power >= value) * power;
}
