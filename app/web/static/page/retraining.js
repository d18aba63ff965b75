/** Starts a retraining and follows it to its end. */

import * as api from "./api.js";
import { Chart } from "./chart.js";
import { gateInWords } from "./gate.js";
import { Declined, withKey } from "./key.js";
import { show } from "./problems.js";

const ENDED = ["succeeded", "rejected", "failed", "cancelled"];

const STATES = {
  queued: "Queued.",
  running: "Training",
  evaluating: "Comparing it with the active version.",
  succeeded: "Done",
  rejected: "Rejected by the gate",
  failed: "Failed",
  cancelled: "Cancelled",
};

/** Also for a loss that diverges. */
const NUMBER = new Intl.NumberFormat("en-GB", { notation: "compact", maximumSignificantDigits: 3 });

export class Retraining {
  #element;
  #ended;
  #job = null;
  #loss = new Chart("Loss", (value) => NUMBER.format(value));
  #accuracy = new Chart("Accuracy", (value) => `${(100 * value).toFixed(1)} %`);

  /** Calls `ended()` after a job that was followed. */
  constructor(element, ended) {
    this.#element = element;
    this.#ended = ended;
    this.#find(".charts").append(this.#loss.element, this.#accuracy.element);
    element.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#start(new FormData(event.target));
    });
    this.#find(".cancel").addEventListener("click", () => this.#cancel());
  }

  /** Shows the newest job, which may be under way. */
  async load() {
    try {
      const [newest] = await api.jobs();
      if (newest && ENDED.includes(newest.state)) this.#show(newest);
      else if (newest) this.#follow(newest.id);
    } catch (error) {
      show(this.#problem, error, () => this.load());
    }
  }

  async #start(form) {
    const parameters = { activate: form.has("manual") ? "manual" : "auto" };
    if (form.get("epochs")) parameters.epochs = Number(form.get("epochs"));
    await this.#try(async () => {
      const { id } = await withKey((key) => api.retrain(parameters, key)).catch((error) => {
        if (error.name === "job-running") return { id: error.job }; // then that one is what there is to see
        throw error;
      });
      this.#follow(id);
    });
  }

  async #cancel() {
    await this.#try(() => withKey((key) => api.cancel(this.#job, key)));
  }

  async #try(call) {
    const buttons = this.#element.querySelectorAll("form button");
    for (const button of buttons) button.disabled = true;
    show(this.#problem, null);
    try {
      await call();
    } catch (error) {
      if (!(error instanceof Declined)) show(this.#problem, error);
    }
    for (const button of buttons) button.disabled = false;
  }

  #follow(id) {
    this.#job = id;
    this.#loss.clear();
    this.#accuracy.clear();
    this.#find(".course").hidden = false;
    api.follow(
      id,
      (job) => {
        show(this.#problem, null);
        this.#show(job);
        if (ENDED.includes(job.state)) this.#ended();
      },
      () => show(this.#problem, new api.Problem(0)),
    );
  }

  #show(job) {
    const ended = ENDED.includes(job.state);
    this.#element.classList.toggle("busy", !ended);
    this.#find("form button").hidden = !ended;
    this.#find(".cancel").hidden = ended;
    this.#find(".said").textContent = said(job);
    this.#find("progress").value = job.progress;
    if (job.state === "running" && "loss" in job.metrics) this.#loss.add(job.progress, job.metrics.loss);
    if (job.state === "running" && "accuracy" in job.metrics) this.#accuracy.add(job.progress, job.metrics.accuracy);
    const gate = job.metrics.gate ? gateInWords(job.metrics.gate) : [];
    this.#find(".gate").textContent = gate.join("\n");
  }

  #find(selector) {
    return this.#element.querySelector(selector);
  }

  get #problem() {
    return this.#find(".problem");
  }
}

function said(job) {
  if (job.state === "running" && job.epoch) return `Training, epoch ${job.epoch} of ${job.epochs}.`;
  if (job.state === "running") return "Training: loading the digits.";
  const reason = job.reason ? `: ${job.reason}` : "";
  return ENDED.includes(job.state) ? `${STATES[job.state]}${reason}.` : STATES[job.state];
}
