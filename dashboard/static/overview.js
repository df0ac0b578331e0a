// The dashboard in the browser: from and to are there when they are asked for, SQL can be copied, the figures of the
// moment rest while nobody looks, and the first page of a browser whose zone was not known yet is asked for again.
"use strict";
{
  const live = document.getElementById("live");
  const stale = document.getElementById("stale");

  function showStretch() {
    const range = document.getElementById("filter-range");
    const stretch = document.getElementById("stretch");
    if (range && stretch) stretch.hidden = range.value !== "custom";
  }

  /** Browsers offer the clipboard to https and this machine alone: elsewhere what is selected is copied. */
  async function copy(button) {
    const code = button.parentElement.querySelector("code");
    if (navigator.clipboard) {
      await navigator.clipboard.writeText(code.textContent);
    } else {
      getSelection().selectAllChildren(code);
      document.execCommand("copy");
    }
    document.dispatchEvent(new CustomEvent("fenliu:say", { detail: { text: button.dataset.copied } }));
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (button) copy(button).catch(() => getSelection().selectAllChildren(button.parentElement.querySelector("code")));
  });
  document.addEventListener("change", showStretch);
  document.addEventListener("htmx:load", showStretch);
  showStretch();

  // Fields that are empty do not belong into the address.
  document.addEventListener("htmx:configRequest", ({ target, detail }) => {
    if (target.id !== "filters") return;
    for (const [name, value] of [...detail.formData.entries()]) if (!value) detail.formData.delete(name);
  });
  document.addEventListener("htmx:pushedIntoHistory", () => {
    const link = document.querySelector("a[data-language]");
    const query = new URLSearchParams(location.search);
    query.set("language", new URLSearchParams(link.search).get("language"));
    link.search = query;
  });

  // The figures of the moment say themselves that they are old; the foot of the page does not say it every 5 s.
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.target.id === "live" && document.hidden) event.preventDefault();
  });
  for (const name of ["htmx:sendError", "htmx:timeout", "htmx:responseError"]) {
    live.addEventListener(name, (event) => {
      if (event.detail.xhr.status === 401) return; // app.js leads to the login
      event.stopPropagation();
      stale.hidden = false;
    });
  }
  live.addEventListener("htmx:afterSwap", () => {
    stale.hidden = true;
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) htmx.trigger("#live", "look");
  });

  // After htmx has seen the form. The cookie that names the zone is there by now: app.js has set it.
  document.addEventListener("DOMContentLoaded", () => {
    const form = document.getElementById("filters");
    const own = form.querySelector("#filter-zone option[value='']");
    const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
    if (form.elements.zone.value || own.textContent === timeZone || own.textContent !== "UTC") return;
    own.textContent = timeZone;
    htmx.trigger(form, "submit");
  });
}
