/** The key: asked for once, and kept until the tab closes. */

import { requireKey } from "./api.js";

const NAME = "inkling-key";

export class Declined extends Error {}

/**
 * Resolves to what `call(key)` does; asks for the key as long as it is missing or wrong. Rejects with Declined where
 * nobody gives one, and with a Problem where the service has none.
 */
export async function withKey(call) {
  let key = sessionStorage.getItem(NAME);
  let complaint = "";
  for (;;) {
    if (key === null) {
      await requireKey();
      key = await ask(complaint);
    }
    try {
      const answer = await call(key);
      keep(key);
      return answer;
    } catch (error) {
      if (error.name !== "wrong-key") throw error;
      keep(null);
      [key, complaint] = [null, "This key is wrong. The operator of the service knows the right one."];
    }
  }
}

export function offerToForget(button) {
  button.addEventListener("click", () => keep(null));
  keep(sessionStorage.getItem(NAME));
}

function keep(key) {
  if (key === null) sessionStorage.removeItem(NAME);
  else sessionStorage.setItem(NAME, key);
  document.getElementById("forget").hidden = key === null;
}

function ask(complaint) {
  const dialog = document.getElementById("key");
  if (dialog.open) return Promise.reject(new Declined()); // two clicks in quick succession
  const [form, input] = [dialog.querySelector("form"), dialog.querySelector("input")];
  dialog.querySelector(".problem").textContent = complaint;
  input.value = "";
  dialog.showModal();
  input.focus();
  return new Promise((resolve, reject) => {
    form.onsubmit = (event) => {
      event.preventDefault();
      resolve(input.value.trim());
      dialog.close();
    };
    dialog.querySelector(".cancel").onclick = () => dialog.close();
    dialog.onclose = () => {
      input.value = "";
      reject(new Declined()); // without effect after a key was given
    };
  });
}
