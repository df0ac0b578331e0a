// What every page does in the browser: times in the reader's zone, errors of htmx, plots from JSON.
// Pages work without it wherever a form can do the same.

const messages = document.getElementById("messages");

/** Show times in the browser's zone; the server writes them in UTC. */
function localTimes(root) {
  const format = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "short", timeStyle: "short" });
  for (const time of root.querySelectorAll("time[datetime]")) {
    time.textContent = format.format(new Date(time.dateTime));
    time.title = time.dateTime;
  }
}

/** Say something at the foot of the page for a while. */
function say(text, isError) {
  const line = document.createElement("p");
  line.textContent = text;
  line.className = isError ? "error" : "done";
  messages.replaceChildren(line);
  setTimeout(() => line.remove(), 8000);
}

document.addEventListener("htmx:responseError", (event) => {
  const html = new DOMParser().parseFromString(event.detail.xhr.responseText, "text/html");
  say(html.body.textContent.trim(), true);
});
document.addEventListener("htmx:sendError", () => say(document.documentElement.lang.startsWith("zh") ? "服务器没有应答" : "The server does not answer", true));
document.addEventListener("htmx:load", (event) => localTimes(event.detail.elt));
localTimes(document);

// The zone in which days begin, for pages that sum by day.
document.cookie = `fenliu_zone=${encodeURIComponent(Intl.DateTimeFormat().resolvedOptions().timeZone)}; path=/; max-age=31536000; samesite=lax`;
