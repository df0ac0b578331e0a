// Draws every <div class="plot" data-plot="ID"> from the JSON in <script type="application/json" id="ID">:
//
//   { "kind": "line" | "stacked" | "bars",   lines; upright stacked bars; stacked bars that lie, one line per x
//     "about": "…",                          what a screen reader says instead of the picture
//     "x": ["2026-01-01T00:00:00Z", …],      times as ISO with "bin", or else names in the order they are shown
//     "bin": "minute" | "hour" | "day" | "week" | "moment",       how times are written
//     "zone": "Asia/Shanghai",               in which zone
//     "series": [{ "name": "…", "values": [1, null, …],           one per x; null is a gap
//                  "unit": "share" | "ms" | "s" | "items" | …,     share: 0 to 1, shown in percent
//                  "tone": "good" | "bad" | "warn" | "soft",       or a colour of its own
//                  "group": 0,                                     series of one group have one colour
//                  "dash": "dashed" | "dotted",
//                  "kind": "line" }],                              a line over stacked bars
//     "bounds": [{ "name": "…", "value": 0.9 }] }                  broken lines on the first unit's scale
//
// Series of up to two units have a scale each, left and right. Plots are drawn anew when their size, the colour
// scheme or the page's part they stand in changes.

"use strict";
{
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const contrast = matchMedia("(prefers-contrast: more)");
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const language = document.documentElement.lang || "en";
  const palette = ["plot-1", "plot-2", "plot-3", "plot-4", "plot-5", "plot-6"];
  const times = {
    minute: { hour: "2-digit", minute: "2-digit" },
    hour: { month: "numeric", day: "numeric", hour: "2-digit", minute: "2-digit" },
    day: { month: "short", day: "numeric" },
    week: { year: "numeric", month: "short", day: "numeric" },
    moment: { dateStyle: "short", timeStyle: "short" },
  };
  const charts = new Map();
  const watch = new ResizeObserver((entries) => {
    for (const { target } of entries) charts.get(target)?.resize();
  });

  /** The colour that a variable of the sheet has now: it may differ between light and dark. */
  function colours() {
    const probe = document.body.appendChild(document.createElement("span"));
    const of = (name) => {
      probe.style.color = `var(--${name})`;
      return getComputedStyle(probe).color;
    };
    const found = Object.fromEntries(["ink", "soft", "line", "card", "good", "bad", "warn", ...palette].map((name) => [name, of(name)]));
    probe.remove();
    return found;
  }

  function writer(unit) {
    if (unit === "share") {
      const percent = new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 1 });
      return (value) => percent.format(value);
    }
    const number = new Intl.NumberFormat(language, { notation: "compact", maximumSignificantDigits: 4 });
    return (value) => number.format(value) + (unit === "ms" || unit === "s" ? ` ${unit}` : "");
  }

  function names(plot) {
    if (!plot.bin) return plot.x;
    const format = new Intl.DateTimeFormat(language, { ...times[plot.bin], timeZone: plot.zone || "UTC", hourCycle: "h23" });
    return plot.x.map((at) => format.format(new Date(at)));
  }

  /** Whether a value stands between two gaps and so has no line to be seen by. */
  function isAlone(values, at) {
    const [before, value, after] = [values[at - 1], values[at], values[at + 1]].map((each) => each ?? null);
    return value !== null && before === null && after === null;
  }

  /** What ECharts is told. */
  function option(plot, width) {
    const ink = colours();
    const lying = plot.kind === "bars";
    const units = [...new Set(plot.series.map((series) => series.unit))].slice(0, 2);
    const line = { lineStyle: { color: ink.line } };
    const text = { color: ink.soft };
    const x = {
      type: "category",
      data: names(plot),
      inverse: lying,
      axisLabel: lying ? { ...text, width: Math.min(180, width * 0.3), overflow: "truncate", interval: 0 } : { ...text, hideOverlap: true },
      axisLine: line,
      axisTick: { show: false },
      boundaryGap: plot.kind !== "line",
    };
    const scales = units.map((unit, at) => ({
      type: "value",
      position: lying ? "bottom" : at ? "right" : "left",
      min: 0,
      max: unit === "share" ? (range) => Math.min(1, Math.max(0.05, Math.ceil(range.max * 22) / 20)) : undefined,
      minInterval: unit === "share" || unit === "ms" || unit === "s" ? undefined : 1,
      axisLabel: { ...text, formatter: writer(unit), hideOverlap: true },
      splitLine: at ? { show: false } : line,
    }));
    const bounds = (plot.bounds || []).map((bound) => ({
      yAxis: bound.value,
      name: bound.name,
      label: { formatter: bound.name, position: "insideEndTop", color: ink.bad },
    }));
    const series = plot.series.map((each, at) => {
      const isLine = plot.kind === "line" || each.kind === "line";
      const isShort = each.values.length < 60;
      const isBroken = each.values.some((_, number) => isAlone(each.values, number));
      const colour = ink[each.tone ?? palette[(each.group ?? at) % palette.length]];
      return {
        name: each.name,
        type: isLine ? "line" : "bar",
        stack: isLine ? undefined : "all",
        data: each.values,
        color: colour,
        [lying ? "xAxisIndex" : "yAxisIndex"]: Math.max(0, units.indexOf(each.unit)),
        barMaxWidth: 36,
        showSymbol: isShort || isBroken,
        showAllSymbol: isBroken || "auto",
        symbolSize: isShort || !isBroken ? 5 : (_, { dataIndex }) => (isAlone(each.values, dataIndex) ? 5 : 0),
        lineStyle: { width: 2, type: each.dash ?? (plot.kind === "line" ? "solid" : "dashed") },
        z: isLine ? 4 : 2,
        tooltip: { valueFormatter: (value) => (value === null || value === undefined ? "–" : writer(each.unit)(value)) },
        markLine: at === 0 && bounds.length ? { silent: true, symbol: "none", data: bounds, lineStyle: { type: "dashed", color: ink.bad } } : undefined,
      };
    });
    return {
      animation: !calm.matches,
      animationDuration: 250,
      textStyle: { fontFamily: getComputedStyle(document.body).fontFamily },
      aria: { enabled: true, label: { description: plot.about }, decal: { show: contrast.matches } },
      grid: { left: 4, right: 12, top: plot.series.length > 1 ? 38 : 14, bottom: 4, outerBoundsMode: "same", outerBoundsContain: "axisLabel" },
      legend: { show: plot.series.length > 1, type: "scroll", top: 0, left: 0, textStyle: { color: ink.ink }, inactiveColor: ink.soft, pageTextStyle: text, pageIconColor: ink.soft, pageIconInactiveColor: ink.line },
      // Drawn, not written as HTML: names come from data.
      tooltip: { trigger: "axis", renderMode: "richText", confine: true, axisPointer: { type: plot.kind === "line" ? "line" : "shadow" }, backgroundColor: ink.card, borderColor: ink.line, textStyle: { color: ink.ink } },
      xAxis: lying ? scales : x,
      yAxis: lying ? x : scales,
      series,
    };
  }

  function draw(place) {
    const source = document.getElementById(place.dataset.plot);
    if (!source) return;
    const plot = JSON.parse(source.textContent);
    if (plot.kind === "bars") place.style.height = `${Math.max(130, 34 * plot.x.length + 76)}px`;
    charts.get(place)?.dispose();
    const chart = echarts.init(place, null, { renderer: "canvas" });
    charts.set(place, chart);
    chart.setOption(option(plot, place.clientWidth));
    place.setAttribute("role", "img");
    place.setAttribute("aria-label", plot.about);
    watch.observe(place);
  }

  function drawAll(root) {
    for (const [place, chart] of charts) {
      if (place.isConnected) continue;
      watch.unobserve(place);
      chart.dispose();
      charts.delete(place);
    }
    for (const place of root.querySelectorAll(".plot[data-plot]")) draw(place);
    if (root.matches?.(".plot[data-plot]")) draw(root);
  }

  for (const query of [scheme, contrast]) query.addEventListener("change", () => drawAll(document));
  document.addEventListener("htmx:load", (event) => {
    if (event.detail.elt !== document.body) drawAll(event.detail.elt);
  });
  drawAll(document);
}
