/** Problems in words, where they happen, with what to do about them. */

const ADVICE = {
  unreachable: () => "The service does not answer. Look at your connection, or whether it still runs.",
  overloaded: (problem) => `The service has its hands full. Try again in ${seconds(problem.retryAfter)}.`,
  "not-ready": (problem) => `The service can not predict right now: ${problem.message}. Try again in a moment.`,
  "database-unavailable": () => "The service does not reach its database right now. Try again in a moment.",
  "storage-full": (problem) => `There is no room to keep it: ${problem.message}. Its operator can make some.`,
  "no-key-configured": () => "The service has no key, so nobody may change it. Its operator sets INKLING_API_KEY.",
  "nothing-drawn": () => "There is nothing to read yet: no ink stands out. Draw a digit, larger.",
  "unknown-format": () => "This is no picture that Inkling reads. PNG, JPEG, BMP, GIF, WebP and TIFF are.",
  "corrupt-picture": (problem) => `The picture is damaged (${problem.message}). Save or send it again.`,
};

export function inWords(problem) {
  if (problem.status === undefined) return `Something went wrong on this page: ${problem.message}`;
  if (problem.name in ADVICE) return ADVICE[problem.name](problem);
  if (problem.status === 503) return `The service is not there right now. Try again in ${seconds(problem.retryAfter)}.`;
  return sentence(problem.message);
}

/** Shows it in the element, with a button where trying again may help; null takes it away. */
export function show(element, problem, again = null) {
  if (!problem) return element.replaceChildren();
  const words = document.createElement("p");
  words.textContent = inWords(problem);
  element.replaceChildren(words);
  if (again && (problem.status === 0 || problem.status >= 500)) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Try again";
    button.addEventListener("click", again);
    element.append(button);
  }
}

const seconds = (count) => (count > 1 ? `${count} seconds` : "a second");

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");
