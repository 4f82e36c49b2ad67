// Who the page is looked at as: a user by id, or a visitor who is only a session.

import { newId } from "./api.js";

const STORE = "corkboard.person";

export class Person {
  constructor(userId, sessionId) {
    this.userId = userId;
    this.sessionId = sessionId;
  }

  static visitor() { return new Person(null, `visit-${newId().slice(0, 12)}`); }
  static user(id) { return new Person(id, `visit-${newId().slice(0, 12)}`); }

  /** The person of this tab, also after a reload. */
  static restore() {
    const asked = new URLSearchParams(location.search).get("user");
    if (asked) return Person.user(asked);
    try {
      const saved = JSON.parse(sessionStorage.getItem(STORE));
      if (saved && saved.sessionId) return new Person(saved.userId, saved.sessionId);
    } catch (error) {
      console.warn("The person of this tab could not be read", error);
    }
    return Person.visitor();
  }

  keep() {
    sessionStorage.setItem(STORE, JSON.stringify({ userId: this.userId, sessionId: this.sessionId }));
    const url = new URL(location.href);
    if (this.userId) url.searchParams.set("user", this.userId); else url.searchParams.delete("user");
    history.replaceState(history.state, "", url);
  }

  /** The key the server knows this person by. */
  get key() { return this.userId || `session:${this.sessionId}`; }
  get name() { return this.userId || "New visitor"; }

  /** The fields that name this person in requests and events. */
  get fields() { return this.userId ? { user_id: this.userId, session_id: this.sessionId } : { session_id: this.sessionId }; }
}
