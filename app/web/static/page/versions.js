/** The saved versions: which one is active, how good each is, what the gate measured, and a button to activate it. */

import * as api from "./api.js";
import { gateInWords } from "./gate.js";
import { Declined, withKey } from "./key.js";
import { show } from "./problems.js";

const STATES = {
  released: "came with Inkling",
  trained: "trained from the command line",
  accepted: "retrained",
  rejected: "retrained, rejected by the gate",
};

const DATE = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

export class Versions {
  #element;
  #active = null;

  constructor(element) {
    this.#element = element;
  }

  async load() {
    try {
      const { active, versions } = await api.versions();
      this.#show(active, versions);
      show(this.#problem, null);
    } catch (error) {
      show(this.#problem, error, () => this.load());
    }
  }

  /** A prediction came from that version: if it is news, somebody activated it elsewhere. */
  saw(version) {
    if (this.#active === version) return;
    this.#active = version;
    this.load();
  }

  get #problem() {
    return this.#element.querySelector(".problem");
  }

  #show(active, versions) {
    this.#active = active;
    const current = versions.find(({ version }) => version === active);
    const words = current ? `${active} answers. ${measured(current)}` : "No version is active.";
    this.#element.querySelector(".active").textContent = words;
    const items = versions.map((version) => this.#item(version, version.version === active));
    this.#element.querySelector("ul").replaceChildren(...items);
  }

  #item(version, active) {
    const item = document.createElement("li");
    const [name, facts] = [document.createElement("strong"), document.createElement("div")];
    name.textContent = version.version;
    facts.append(paragraph(STATES[version.state]));
    const date = DATE.format(new Date(version.created_at)).replaceAll(" ", "\u00a0");
    const made = paragraph([version.network, accuracy(version), date].filter(Boolean).join(" · "));
    made.className = "note";
    facts.append(made);
    if (version.metrics.gate) facts.append(this.#gate(version.metrics.gate));
    item.append(name, facts, active ? mark() : this.#button(version.version));
    return item;
  }

  #gate(gate) {
    const details = document.createElement("details");
    const summary = document.createElement("summary");
    summary.textContent = "What the gate measured";
    details.className = "note";
    details.append(summary, ...gateInWords(gate).map(paragraph));
    return details;
  }

  #button(version) {
    const button = document.createElement("button");
    button.textContent = "Use";
    button.setAttribute("aria-label", `Use ${version}`);
    button.addEventListener("click", () => this.#activate(version, button));
    return button;
  }

  async #activate(version, button) {
    button.disabled = true;
    try {
      await withKey((key) => api.activate(version, key));
      await this.load();
    } catch (error) {
      button.disabled = false;
      if (!(error instanceof Declined)) show(this.#problem, error);
    }
  }
}

function accuracy({ metrics }) {
  const share = metrics.held_out?.accuracy;
  return share === undefined ? "" : `${(100 * share).toFixed(2)}\u00a0%`;
}

function measured(version) {
  const share = accuracy(version);
  return share ? `It reads ${share} of held-out digits correctly.` : "Its accuracy was not measured.";
}

function paragraph(text) {
  const found = document.createElement("p");
  found.textContent = text;
  return found;
}

function mark() {
  const found = document.createElement("span");
  found.className = "mark";
  found.textContent = "active";
  return found;
}
