/** The calls of the service. Paths are relative, so that a proxy may serve Inkling below any path. */

/** An answer that is an error: problem+json (RFC 9457), or no answer at all, which has the status 0. */
export class Problem extends Error {
  constructor(status, body = {}, retryAfter = null) {
    super(body.detail ?? `the service answered with status ${status}`);
    this.name = body.type?.replace("/problems/", "") ?? (status ? "unknown" : "unreachable");
    this.title = body.title;
    this.status = status;
    this.job = body.job;
    this.retryAfter = retryAfter;
  }
}

export const predict = (picture, signal) => json(send("predict", { method: "POST", body: picture, signal }));

/** Answers in the order of the pictures; each is a prediction or a Problem. */
export async function predictBatch(pictures) {
  const body = new FormData();
  pictures.forEach((picture) => body.append("files", picture));
  const { results } = await json(send("predict/batch", { method: "POST", body }));
  return results.map((result) => (result.error ? new Problem(result.error.status, result.error) : result));
}

/** The picture as the network sees it, a bitmap of 28 x 28. */
export async function tile(picture, signal) {
  const answer = await send("page/tile", { method: "POST", body: picture, signal });
  return createImageBitmap(await answer.blob());
}

/** Rejects with the problem `no-key-configured` where the service has no key. */
export async function requireKey() {
  const { configured } = await json(send("page/key"));
  if (!configured) throw new Problem(403, { type: "/problems/no-key-configured", detail: "the service has no key" });
}

/** Resolves to what was stored; `known` is true where it was there before. */
export async function correct(picture, label, key) {
  const body = new FormData();
  body.append("file", picture);
  body.append("label", label);
  const answer = await send("feedback", { method: "POST", body, headers: withKey(key) });
  return { ...(await answer.json()), known: answer.status === 200 };
}

export const takeBack = (id, key) => send(`feedback/${id}`, { method: "DELETE", headers: withKey(key) });

export const versions = () => json(send("models"));

export const activate = (version, key) =>
  json(send(`models/${version}/activate`, { method: "POST", headers: withKey(key) }));

export const jobs = async () => (await json(send("retrain"))).jobs;

export const retrain = (parameters, key) =>
  json(send("retrain", { method: "POST", body: JSON.stringify(parameters), headers: withKey(key) }));

export const cancel = (job, key) => json(send(`retrain/${job}`, { method: "DELETE", headers: withKey(key) }));

/** Calls `told` with the job, at once and whenever it changes, and `lost` while the connection is away. */
export function follow(job, told, lost) {
  const source = new EventSource(`retrain/${job}/events`);
  let ended = false;
  source.addEventListener("job", (event) => {
    const news = JSON.parse(event.data);
    ended = news.finished_at !== null;
    told(news);
  });
  source.addEventListener("error", () => {
    // the stream of a job that has ended is closed by the service; any other comes back by itself
    if (ended) source.close();
    else lost();
  });
}

async function send(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    throw error.name === "AbortError" ? error : new Problem(0, { detail: "the service does not answer" });
  }
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({})); // a proxy in between may answer with something else
  throw new Problem(answer.status, body, Number(answer.headers.get("Retry-After")) || null);
}

const json = async (answer) => (await answer).json();

/** A header holds bytes, and a key may be any text: it goes as UTF-8. */
const withKey = (key) => ({ "X-API-Key": String.fromCharCode(...new TextEncoder().encode(key)) });
