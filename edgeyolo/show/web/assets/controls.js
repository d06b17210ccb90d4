// What may be changed while it runs: the least score and the classes.

import { byId, make, setText, number } from "./dom.js";
import { ask } from "./api.js";

const SEND_MS = 120;

export class Controls {
  #conf = byId("conf");
  #boxes = []; // one checkbox a class, its index is the class id
  #timer = 0;
  #touched = 0;

  constructor() {
    this.#conf.addEventListener("input", () => {
      this.#showConf(this.#conf.value);
      this.#send(() => ask("/api/conf", { conf: Number(this.#conf.value) }));
    });
    byId("class-search").addEventListener("input", () => this.#filter());
    byId("class-all").addEventListener("click", () => this.#tick(true));
    byId("class-none").addEventListener("click", () => this.#tick(false));
    this.#load();
  }

  // What another page has changed is shown here too, but not while someone is at it.
  status({ conf, class_ids: chosen }) {
    byId("conf-row").hidden = conf === null;
    if (performance.now() - this.#touched < 1500) return;
    if (conf !== null) {
      this.#conf.value = conf;
      this.#showConf(conf);
    }
    this.#boxes.forEach((box, id) => (box.checked = chosen === null || chosen.includes(id)));
    this.#count();
  }

  async #load() {
    let names;
    try {
      ({ names } = await ask("/api/classes"));
    } catch {
      setTimeout(() => this.#load(), 2000);
      return;
    }
    const items = names.map((name, id) => {
      const item = make("li");
      const label = make("label");
      const box = make("input");
      box.type = "checkbox";
      box.checked = true;
      box.addEventListener("change", () => this.#sendClasses());
      label.append(box, make("span", "", name));
      label.title = `${name} (${id})`;
      item.append(label);
      this.#boxes[id] = box;
      return item;
    });
    byId("class-list").replaceChildren(...items);
    byId("class-search").hidden = names.length < 9;
    this.#count();
  }

  #filter() {
    const text = byId("class-search").value.trim().toLowerCase();
    for (const item of byId("class-list").children) item.hidden = !item.textContent.toLowerCase().includes(text);
  }

  #tick(on) {
    for (const box of this.#boxes) box.checked = on;
    this.#sendClasses();
  }

  #count() {
    const ticked = this.#boxes.filter((box) => box.checked).length;
    setText(byId("classes-now"), ticked === this.#boxes.length ? "all" : `${ticked} of ${this.#boxes.length}`);
  }

  #sendClasses() {
    const ids = this.#boxes.flatMap((box, id) => (box.checked ? [id] : []));
    this.#count();
    this.#touched = performance.now() + (ids.length ? 0 : 60000);
    if (!ids.length) {
      clearTimeout(this.#timer);
      this.#error("Choose at least one class.");
      return;
    }
    this.#send(() => ask("/api/classes", { classes: ids.length === this.#boxes.length ? null : ids }));
  }

  #send(request) {
    this.#touched = performance.now();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => request().then(() => this.#error(""), (fault) => this.#error(fault.message)), SEND_MS);
  }

  #error(text) {
    byId("control-error").hidden = !text;
    setText(byId("control-error"), text);
  }

  #showConf(value) {
    setText(byId("conf-now"), number(Number(value), 2));
    this.#conf.setAttribute("aria-valuetext", number(Number(value), 2));
  }
}
