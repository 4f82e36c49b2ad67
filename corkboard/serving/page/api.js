// Everything the page asks the server, and how trouble is told to a person.

const KEY = "corkboard.key";

/** What the server refused, or that it could not be reached (status 0). */
export class ApiError extends Error {
  constructor(status, error) {
    super(error.message);
    this.status = status;
    this.code = error.code;
    this.hint = error.hint;
  }

  /** One kind sentence for a person. */
  get kindly() {
    if (this.status === 0) return "The server can't be reached just now. Your feed stays as it is.";
    if (this.status === 401) return "This server wants an API key.";
    if (this.code === "busy") return "Many pictures are looked at just now. Please try again in a moment.";
    if (this.status === 503) return "The server can't remember new actions at the moment. Please try again in a little while.";
    return this.hint ? `${this.message}. ${this.hint}` : this.message;
  }
}

export const setKey = (key) => sessionStorage.setItem(KEY, key);

/** The headers of a tab that has a key, or null. */
export const authorised = () => (sessionStorage.getItem(KEY) ? { "x-api-key": sessionStorage.getItem(KEY) } : null);

async function call(method, path, body, options = {}) {
  const headers = { accept: "application/json", ...authorised() };
  const form = body instanceof FormData; // which says itself what it is
  if (body !== undefined && !form) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, body: body === undefined || form ? body : JSON.stringify(body), ...options });
  } catch (error) {
    throw new ApiError(0, { code: "unreachable", message: String(error) });
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new ApiError(response.status, answer.error || { code: "unknown", message: `The server answered ${response.status}` });
  return answer;
}

const part = encodeURIComponent;

export const recommend = (body, options) => call("POST", "/v1/recommend", body, options);
/** A page of what looks like a picture that comes with it. */
export function recommendLike(body, file) {
  const form = new FormData();
  for (const [name, value] of Object.entries(body)) form.append(name, name === "crop" ? value.join(",") : typeof value === "object" ? JSON.stringify(value) : String(value));
  form.append("image", file, "picture");
  return call("POST", "/v1/recommend", form);
}

/** What completes a search as it is typed, for this person; `options` can call it off. */
export const suggest = (typed, fields, options) => call("GET", `/v1/suggest?${new URLSearchParams({ q: typed, ...fields })}`, undefined, options);
export const explain = (requestId, itemId) => call("GET", `/v1/explain/${part(requestId)}/${part(itemId)}`);
export const item = (id) => call("GET", `/v1/items/${part(id)}`);
export const userState = (key) => call("GET", `/v1/users/${part(key)}/state`);
export const forget = (key) => call("DELETE", `/v1/users/${part(key)}`);
export const sampleUsers = () => call("GET", "/v1/users");
export const health = () => call("GET", "/healthz");

/** Send events; resolves once they are kept, rejects if any was refused. */
export async function send(events, options) {
  const answer = await call("POST", "/v1/events", events, options);
  if (answer.rejected.length) {
    const first = answer.rejected[0];
    throw new ApiError(400, { code: "rejected", message: `The server refused ${first.field}: it found ${first.found} and expected ${first.expected}` });
  }
  return answer;
}

/** A random id; also where the page is not served from a secure origin. */
export function newId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
