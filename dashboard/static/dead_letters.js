// Dead letters: tick all rows of the page, say how many are ticked, and offer to act on them only then.

const letters = document.getElementById("letters");

if (letters) {
  const all = document.getElementById("tick-all");
  const said = document.getElementById("ticked");
  const boxes = [...letters.querySelectorAll("input[name='letter']")];
  const show = () => {
    const many = boxes.filter((box) => box.checked).length;
    all.checked = many === boxes.length;
    all.indeterminate = many > 0 && !all.checked;
    said.textContent = many ? said.dataset.text.replace("%(many)s", many) : "";
    for (const button of letters.querySelectorAll("button[name='do']")) button.disabled = many === 0;
    for (const box of boxes) box.closest("tr").classList.toggle("chosen", box.checked);
  };
  all.hidden = false;
  all.addEventListener("change", () => {
    for (const box of boxes) box.checked = all.checked;
    show();
  });
  letters.addEventListener("change", show);
  addEventListener("pageshow", show); // a browser that comes back keeps the ticks
  show();
}
