// What every page does in the browser: times in the reader's zone, messages, focus and "busy" around htmx's swaps,
// and fields that outlive a change of language. Pages work without it wherever a form can do the same.
// Other scripts say something by the event `fenliu:say` on document: { detail: { text, isError } }.
"use strict";
{
  const SAID_MS = 7000;
  const KEPT = "fenliu-kept-fields";
  const messages = document.getElementById("messages");

  /** Show times in the browser's zone; the server writes them in UTC. */
  const { lang } = document.documentElement;
  const own = navigator.languages.find((each) => each.split("-")[0] === lang.split("-")[0]) ?? lang;
  const moment = new Intl.DateTimeFormat(own, { dateStyle: "short", timeStyle: "short" });
  function localTimes(root) {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      if (Number.isNaN(at.valueOf())) continue;
      time.textContent = moment.format(at);
      time.title = time.dateTime;
    }
  }

  /** What scrolls sideways can be scrolled with the keyboard, and says what it is. */
  const sized = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });
  function scrollable(root) {
    for (const box of root.querySelectorAll(".wide, pre")) {
      const name = box.querySelector("caption")?.textContent ?? box.querySelector("table")?.getAttribute("aria-label");
      if (name && !box.hasAttribute("role")) {
        box.setAttribute("role", "group");
        box.setAttribute("aria-label", name.trim());
      }
      sized.observe(box);
    }
  }

  /** Say something at the foot of the page: for a while, or an error until it is closed. */
  function say(text, isError) {
    if (!text) return;
    const line = document.createElement("p");
    const words = document.createElement("span");
    const close = document.createElement("button");
    words.textContent = text;
    close.type = "button";
    close.textContent = "×";
    close.setAttribute("aria-label", messages.dataset.close);
    close.addEventListener("click", () => line.remove());
    line.append(words, close);
    if (isError) line.className = "error";
    else setTimeout(() => line.remove(), SAID_MS);
    messages.querySelector(".error")?.remove();
    messages.append(line);
  }

  /** The message in an answer that is no success: a part of ours, a problem document, or somebody else's page. */
  function messageIn(xhr) {
    const type = xhr.getResponseHeader("content-type") ?? "";
    if (type.includes("json")) {
      try {
        return JSON.parse(xhr.responseText).detail;
      } catch {
        return "";
      }
    }
    const answer = new DOMParser().parseFromString(xhr.responseText, "text/html");
    return answer.querySelector("p.error, .error p")?.textContent.trim();
  }

  document.addEventListener("htmx:beforeSwap", (event) => {
    // A form with mistakes comes back as 422 with HX-Retarget: it is shown, and not reported.
    const { detail } = event;
    if (detail.xhr.status === 422 && detail.xhr.getResponseHeader("HX-Retarget")) {
      detail.shouldSwap = true;
      detail.isError = false;
    }
  });
  document.addEventListener("htmx:responseError", ({ detail }) => {
    if (detail.xhr.status === 401) location.reload(); // the session is over: the server leads to the login
    else say(messageIn(detail.xhr) || messages.dataset.failed, true);
  });
  for (const name of ["htmx:sendError", "htmx:timeout"]) {
    document.addEventListener(name, () => say(messages.dataset.unanswered, true));
  }
  document.addEventListener("fenliu:say", ({ detail }) => say(detail.text, detail.isError));

  // Busy: the target, and a line at the top of the page. What a page asks for by itself every few seconds is not shown.
  let busy = 0;
  document.addEventListener("htmx:beforeSend", ({ detail }) => {
    if (detail.requestConfig.triggeringEvent?.type === "hx:poll:trigger") return;
    busy += 1;
    detail.target.setAttribute("aria-busy", "true");
    document.documentElement.classList.add("loading");
    detail.xhr.addEventListener("loadend", () => {
      busy -= 1;
      detail.target.removeAttribute("aria-busy");
      if (!busy) document.documentElement.classList.remove("loading");
    });
  });

  // A page that is left gives up what it still waits for: that is no failure to tell of.
  const asked = new Set();
  document.addEventListener("htmx:beforeSend", ({ detail: { xhr } }) => {
    asked.add(xhr);
    xhr.addEventListener("loadend", () => asked.delete(xhr));
  });
  addEventListener("beforeunload", () => {
    for (const xhr of asked) {
      xhr.onerror = xhr.onabort = null;
      xhr.abort();
    }
  });

  // Focus: whoever stood in what was swapped goes on in what came, and is not sent back to the top of the page.
  let stoodIn = null;
  document.addEventListener("htmx:beforeSwap", ({ detail }) => {
    stoodIn = detail.shouldSwap && detail.target.contains(document.activeElement) ? detail.target.id : null;
  });
  document.addEventListener("htmx:afterSettle", () => {
    const target = stoodIn && document.getElementById(stoodIn);
    stoodIn = null;
    if (!target || (document.activeElement && document.activeElement !== document.body)) return;
    const next = target.querySelector("[autofocus], [data-focus]") ?? target;
    if (next.tabIndex < 0) next.tabIndex = -1;
    next.focus({ preventScroll: true });
  });

  // Language: the address changes, so what has been typed is kept over it. A form with data-again is sent again.
  function fields() {
    const found = [...document.querySelectorAll("main :is(input, textarea, select)[name]")];
    return found.filter(({ type }) => !["hidden", "password", "file", "submit"].includes(type));
  }
  const language = document.querySelector("a[data-language]");
  for (const name of ["htmx:pushedIntoHistory", "htmx:replacedInHistory"]) {
    document.addEventListener(name, () => {
      const address = new URL(location.href);
      address.searchParams.set("language", new URL(language.href).searchParams.get("language"));
      language.href = address.href;
    });
  }
  language.addEventListener("click", () => {
    const kept = fields().map(({ name, type, value, checked }) => ({ name, type, value, checked }));
    const again = [...document.querySelectorAll("form[data-again]")].some((form) => form.dataset.again === "sent");
    sessionStorage.setItem(KEPT, JSON.stringify({ path: location.pathname, kept, again }));
  });
  document.addEventListener("submit", ({ target, submitter }) => {
    if ("again" in target.dataset) target.dataset.again = submitter?.hasAttribute("formaction") ? "" : "sent";
  });
  function takeBack() {
    const stored = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
    sessionStorage.removeItem(KEPT);
    if (stored?.path !== location.pathname) return;
    const here = fields();
    if (here.length !== stored.kept.length || here.some(({ name }, at) => name !== stored.kept[at].name)) return;
    for (const [at, { type, value, checked }] of stored.kept.entries()) {
      if (type === "checkbox" || type === "radio") here[at].checked = checked;
      else here[at].value = value;
    }
    if (stored.again) document.querySelector("form[data-again]")?.requestSubmit();
  }

  // Fires for the page itself, too, once htmx has seen it.
  document.addEventListener("htmx:load", ({ detail }) => {
    const root = detail.elt.parentElement ?? document;
    localTimes(root);
    scrollable(root);
  });
  localTimes(document);
  scrollable(document);
  document.addEventListener("DOMContentLoaded", takeBack);

  // The zone in which days begin, for pages that sum by day.
  const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
  document.cookie = `fenliu_zone=${encodeURIComponent(timeZone)}; path=/; max-age=31536000; samesite=lax`;
}
