/** Ten bars, one for the probability of each digit. */

export class Bars {
  #items;

  constructor(list) {
    this.#items = Array.from({ length: 10 }, (_, digit) => {
      const item = document.createElement("li");
      item.innerHTML = '<span class="unseen"></span><span class="value"></span><span class="bar"></span>';
      item.firstChild.textContent = `${digit}: `;
      return item;
    });
    list.append(...this.#items);
  }

  /** null: none. */
  show(prediction) {
    this.#items.forEach((item, digit) => {
      const share = prediction?.probabilities[digit] ?? 0;
      item.style.setProperty("--share", share);
      item.classList.toggle("best", prediction?.digit === digit);
      item.classList.toggle("unsure", prediction?.verdict === "unsure");
      item.classList.toggle("slight", share < 0.005);
      item.querySelector(".value").textContent = `${Math.round(100 * share)}%`;
    });
  }
}
