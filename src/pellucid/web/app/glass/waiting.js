import { make } from "../../picture/elements.js";

/* A view that waits: its words while it does, and why it failed. work(tell): other words, or "" for
   its own again. */
export async function waiting(host, text, work) {
  const note = make("p", { className: "quiet", role: "status", textContent: text });
  host.replaceChildren(note);
  try {
    const drawn = await work((shown) => (note.textContent = shown || text));
    host.replaceChildren(...[drawn].flat().filter(Boolean));
  } catch (error) {
    if (error.name === "AbortError") return;
    note.className = "note";
    note.textContent = error.message;
  }
}
