"""The page's script: makes the table sortable and searchable, and switches the colours. The page is usable without it.

It reads and moves elements of the page and never makes HTML from text.
"""

SCRIPT = """
(function () {
  "use strict";
  var root = document.documentElement;
  var table = document.getElementById("mirrors");
  var search = document.getElementById("search");
  var shown = document.getElementById("shown");
  var theme = document.getElementById("theme");
  var NAMES = {auto: "as the system", light: "light", dark: "dark"};
  var NEXT = {auto: "dark", dark: "light", light: "auto"};

  function remembered(value) { // storage may be forbidden; then the choice is not kept
    try {
      if (value === undefined) { return window.localStorage.getItem("xcpng-mirrors-theme"); }
      window.localStorage.setItem("xcpng-mirrors-theme", value);
    } catch (error) { return null; }
    return null;
  }

  function wear(name) {
    if (name === "auto") { root.removeAttribute("data-theme"); } else { root.setAttribute("data-theme", name); }
    theme.textContent = "Colours: " + NAMES[name];
    theme.value = name;
  }

  theme.addEventListener("click", function () {
    wear(NEXT[theme.value]);
    remembered(theme.value);
  });
  wear(NAMES[remembered()] ? remembered() : "auto");
  theme.hidden = false;

  if (!table) { return; }
  var bodies = Array.prototype.slice.call(table.tBodies);
  var headings = Array.prototype.slice.call(table.tHead.rows[0].cells);
  var texts = bodies.map(function (body) { // the visible text of a closed row
    return (body.rows[0].innerText + " " + body.querySelector("summary").innerText).toLowerCase();
  });
  var collator = window.Intl ? new Intl.Collator("en", {numeric: true, sensitivity: "base"}) : null;

  function compare(one, other, numeric) {
    if (numeric) { return Number(one) - Number(other); }
    return collator ? collator.compare(one, other) : (one < other ? -1 : Number(one > other));
  }

  function sort(column) {
    var heading = headings[column];
    var down = heading.getAttribute("aria-sort") === "ascending";
    var numeric = heading.getAttribute("data-sort") === "number";
    headings.forEach(function (each) { each.removeAttribute("aria-sort"); });
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    bodies.slice().sort(function (one, other) {
      var first = one.rows[0].cells[column].getAttribute("data-key");
      var second = other.rows[0].cells[column].getAttribute("data-key");
      if (first === "" || second === "") { return Number(first === "") - Number(second === ""); } // unknown comes last
      return compare(first, second, numeric) * (down ? -1 : 1);
    }).forEach(function (body) { table.appendChild(body); });
  }

  function filter() {
    var words = search.value.toLowerCase().split(/\\s+/).filter(Boolean);
    var count = 0;
    bodies.forEach(function (body, number) {
      var fits = words.every(function (word) { return texts[number].indexOf(word) !== -1; });
      body.hidden = !fits;
      count += Number(fits);
    });
    shown.textContent = words.length ? count + " of " + bodies.length + " mirrors" : "";
  }

  headings.forEach(function (heading, column) {
    var button = heading.querySelector("button");
    if (button) {
      button.disabled = false;
      button.addEventListener("click", function () { sort(column); });
    }
  });
  search.addEventListener("input", filter);
  search.addEventListener("keydown", function (event) {
    if (event.key === "Escape") { search.value = ""; filter(); }
  });
  document.getElementById("tools").hidden = false;
  filter();
}());
"""
