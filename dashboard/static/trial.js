// Try it: counts characters, runs with Ctrl+Enter, fills in examples, and gives up on an answer that nobody waits for.
// Everything but the counter and the key also works by plain forms.
"use strict";
{
  const form = document.getElementById("trial");
  const text = document.getElementById("text");
  const count = document.getElementById("text-count");
  const result = document.getElementById("result");
  const number = new Intl.NumberFormat(document.documentElement.lang);

  // A request that is given up on purpose is no error, and htmx need not write it into the console.
  htmx.logger = (_, name, detail) => {
    if (name === "htmx:sendAbort" || name === "htmx:afterRequest") delete detail.error;
  };

  function showCount() {
    const given = [...text.value].length;
    const words = { given: number.format(given), most: number.format(count.dataset.most) };
    count.textContent = count.dataset.count.replace(/%\((\w+)\)s/g, (_, name) => words[name]);
    count.classList.toggle("bad", given > Number(count.dataset.most));
  }

  function fill({ text: words, mode, labels, multi_label }) {
    text.value = words;
    form.elements.labels.value = labels || form.elements.labels.value;
    form.elements.mode.value = mode;
    form.elements.multi_label.checked = multi_label;
    showCount();
  }

  form.addEventListener("input", ({ target }) => {
    if (target === text) showCount();
    htmx.trigger(form, "htmx:abort"); // the answer to what stood there before is of no use
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  for (const button of form.querySelectorAll("button[data-example]")) {
    button.addEventListener("click", (event) => {
      event.preventDefault();
      fill(JSON.parse(button.dataset.example));
      form.requestSubmit();
    });
  }

  document.addEventListener("htmx:beforeSwap", ({ detail }) => {
    // What is wrong is said in the place of a result, whatever its status.
    if (detail.xhr.status >= 400 && detail.xhr.getResponseHeader("HX-Retarget") === "#result") {
      detail.shouldSwap = true;
      detail.isError = false;
    }
  });
  document.addEventListener("htmx:afterSettle", () => {
    for (const field of form.querySelectorAll("[aria-describedby]")) {
      const id = field.getAttribute("aria-describedby").split(" ").find((each) => each.endsWith("-problem"));
      const problem = id && document.getElementById(id);
      if (!problem) continue;
      field.setAttribute("aria-invalid", problem.textContent ? "true" : "false");
      if (problem.textContent) problem.closest("details")?.setAttribute("open", "");
    }
    const wrong = form.querySelector("[aria-invalid='true']");
    if (wrong) wrong.focus();
    else if (result.childElementCount) result.scrollIntoView({ block: "nearest" });
  });
  showCount();
}
