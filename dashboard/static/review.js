// The review page: keys press the buttons that show them, and the item is given up when the page is left.
// Everything works by its buttons without this script.
"use strict";
{
  const TYPED_IN = "input:not([type=checkbox]), textarea, select, [contenteditable]";
  const keys = document.getElementById("keys");
  const desk = () => document.getElementById("desk");

  document.getElementById("show-keys").addEventListener("click", () => keys.showModal());

  document.addEventListener("keydown", (event) => {
    const { key, target } = event;
    if (key === "Escape" && target.matches(TYPED_IN)) target.blur();
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat || event.isComposing) return;
    if (keys.open || target.closest(TYPED_IN) || desk().hasAttribute("aria-busy")) return;
    const name = CSS.escape(key.toLowerCase());
    const field = desk().querySelector(`[data-focus-key="${name}"]`);
    const button = document.querySelector(`main [data-key="${name}"]`);
    if (!field && !button) return;
    event.preventDefault();
    if (field) field.focus();
    else button.click();
  });

  // Whoever works by keys stands on the page itself: the new item is read out from its heading.
  document.addEventListener("htmx:afterSettle", () => {
    if (document.activeElement === document.body) desk().querySelector("[autofocus], [data-focus]")?.focus();
  });

  /** Tell the server that the page is left, or that it is back. */
  function tell(path) {
    const { review } = desk().dataset;
    if (!review) return;
    const form = new FormData();
    form.set("review", review);
    form.set("csrf", desk().querySelector("input[name=csrf]").value);
    navigator.sendBeacon(path, form);
  }
  window.addEventListener("pagehide", () => tell(desk().dataset.leave));
  window.addEventListener("pageshow", () => tell(desk().dataset.keep));
}
