// The gateway's documented HTTP API, through the page's own server, which adds the session's key.

const DOOR = "gateway";

/** A refusal in OpenAI's shape: `status`, `code` and a message for people. */
export class ApiError extends Error {
  constructor(status, body) {
    super(body?.error?.message ?? `The gateway answered with HTTP ${status}.`);
    this.status = status;
    this.code = body?.error?.code ?? null;
  }
}

/** GET from the gateway; `params` with empty values are left out. */
export async function get(path, params = {}, signal = undefined) {
  const query = new URLSearchParams(Object.entries(params).filter(([, value]) => value !== "" && value !== null && value !== undefined));
  return (await answered(`${DOOR}${path}${query.size ? `?${query}` : ""}`, { signal })).json();
}

/** GET text, such as the metrics. */
export async function getText(path, signal = undefined) {
  return (await answered(DOOR + path, { signal })).text();
}

/** POST JSON to the gateway. */
export async function post(path, body) {
  return (await answered(DOOR + path, json(body))).json();
}

/** The page's own server: scripts, verdicts, sessions. */
export async function page(path, method = "GET", body = undefined) {
  const answer = await answered(path, body === undefined ? { method } : { ...json(body), method });
  return answer.status === 204 ? null : answer.json();
}

/**
 * A streamed chat completion. `onText` gets pieces of the answer as they come.
 * Resolves to `{requestId, completionId, arm, experiment, text, usage}`.
 */
export async function chat(body, headers, onText, signal) {
  const request = json({ ...body, stream: true, stream_options: { include_usage: true } });
  const answer = await answered(`${DOOR}/v1/chat/completions`, { ...request, headers: { ...request.headers, ...headers }, signal });
  const result = {
    requestId: answer.headers.get("x-request-id"),
    arm: answer.headers.get("x-gattway-arm"),
    experiment: answer.headers.get("x-gattway-experiment"),
    completionId: null,
    text: "",
    usage: null,
  };
  for await (const event of events(answer.body)) {
    if (event.error) throw new ApiError(200, event);
    result.completionId = event.id ?? result.completionId;
    result.usage = event.usage ?? result.usage;
    const piece = event.choices?.[0]?.delta?.content;
    if (piece) {
      result.text += piece;
      onText(piece);
    }
  }
  return result;
}

/** The JSON of every `data:` line of a stream of server-sent events. */
async function* events(stream) {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const bytes of read(stream)) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith("data:") && line.slice(5).trim() !== "[DONE]") yield JSON.parse(line.slice(5));
    }
  }
}

// Streams are async iterable in Chromium and Firefox; Safari needs a reader.
async function* read(stream) {
  const reader = stream.getReader();
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) yield part.value;
  } finally {
    reader.releaseLock();
  }
}

const json = (body) => ({ method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

async function answered(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { error: { message: "The gateway cannot be reached. Is it still running?" } });
  }
  if (answer.ok) return answer;
  const error = new ApiError(answer.status, await answer.json().catch(() => null));
  if (answer.status === 401 && path !== "session") document.dispatchEvent(new Event("locked"));
  throw error;
}

let known;

/** Names of the query parameters that this gateway's route takes, from its own OpenAPI schema. */
export async function parametersOf(path) {
  known ??= get("/openapi.json").catch(() => ({}));
  return new Set(((await known).paths?.[path]?.get?.parameters ?? []).map((one) => one.name));
}
