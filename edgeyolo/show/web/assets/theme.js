// Light, dark, or what the system says; remembered in this browser.

import { byId } from "./dom.js";

const CHOICES = ["auto", "light", "dark"];
const KEY = "edgeyolo-theme";

export function startTheme() {
  const button = byId("theme");
  let choice = CHOICES.includes(localStorage.getItem(KEY)) ? localStorage.getItem(KEY) : "auto";
  const show = () => {
    document.documentElement.dataset.theme = choice;
    button.title = `Theme: ${choice}`;
    button.setAttribute("aria-label", button.title);
  };
  button.addEventListener("click", () => {
    choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length];
    localStorage.setItem(KEY, choice);
    show();
  });
  show();
}
