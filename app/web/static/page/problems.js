/** Messages for problems, with what to do about them. */

const ADVICE = {
  unreachable: () => "The service does not answer. Check your connection and whether the service runs.",
  overloaded: (problem) => `The service is overloaded. Try again in ${seconds(problem.retryAfter)}.`,
  "not-ready": (problem) => `The service cannot predict right now: ${problem.message}. Try again in a moment.`,
  "database-unavailable": () => "The service cannot reach its database right now. Try again in a moment.",
  "storage-full": (problem) => `The feedback cannot be stored: ${problem.message}. The operator of the service can make room.`,
  "no-key-configured": () => "The service has no key, so it accepts no changes. Start it with INKLING_API_KEY set to one.",
  "empty-body": () => "The file is empty. Choose another one.",
  "nothing-drawn": () => "There is nothing to read yet: no ink stands out. Draw a larger digit.",
  "unknown-format": () => "Inkling cannot read this format. It reads PNG, JPEG, BMP, GIF, WebP and TIFF.",
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
