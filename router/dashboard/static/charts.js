// Draws what a canvas carries in data-chart. Colours come from the style sheet, so that both themes hold.
(() => {
  "use strict";
  const drawn = new Map();
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);

  function colour(name) {
    probe.className = name === null || name === undefined ? "c-other" : typeof name === "number" ? `c${name}` : name;
    return getComputedStyle(probe).color;
  }
  const faded = (value, part) => value.replace(/^rgb\(/, "rgba(").replace(/\)$/, `, ${part})`);

  const percent = (value) => `${(value * 100).toFixed(value > 0 && value < 0.1 ? 1 : 0)} %`;
  function dollars(value) {
    if (value >= 1000) return `$${Math.round(value).toLocaleString("en")}`;
    return `$${value >= 100 ? value.toFixed(0) : value >= 0.1 ? value.toFixed(2) : value.toPrecision(2)}`;
  }
  function clock(seconds, step) {
    const text = new Date(seconds * 1000).toISOString();
    if (step >= 86400) return text.slice(5, 10);
    return step >= 3600 ? `${text.slice(5, 10)} ${text.slice(11, 16)}` : text.slice(11, step >= 60 ? 16 : 19);
  }

  function base() {
    return {
      animation: false,
      responsive: true,
      maintainAspectRatio: false,
      font: { family: getComputedStyle(document.body).fontFamily },
      plugins: {
        legend: { display: false },
        tooltip: {
          backgroundColor: colour("c-card"), titleColor: colour("c-text"), bodyColor: colour("c-text"),
          borderColor: colour("c-line"), borderWidth: 1, padding: 10, boxPadding: 4,
        },
      },
    };
  }
  const axis = (title) => ({
    title: title ? { display: true, text: title, color: colour("c-minor") } : { display: false },
    ticks: { color: colour("c-minor"), maxRotation: 0, autoSkipPadding: 14 },
    grid: { color: faded(colour("c-line"), 0.7) },
    border: { color: colour("c-line") },
  });

  function shares(data) {
    const part = (series, i) => (data.totals[i] ? series.counts[i] / data.totals[i] : null);
    const options = base();
    options.interaction = { mode: "index", intersect: false };
    options.plugins.tooltip.callbacks = {
      title: (items) => `${clock(data.starts[items[0].dataIndex], data.step_s)} UTC, ${data.totals[items[0].dataIndex]} decisions`,
      label: (item) => ` ${percent(item.raw ?? 0)}  ${item.dataset.label}`,
      labelColor: (item) => ({ backgroundColor: item.dataset.backgroundColor, borderColor: "transparent" }),
    };
    options.plugins.tooltip.filter = (item) => (item.raw ?? 0) > 0;
    options.plugins.tooltip.itemSort = (a, b) => b.raw - a.raw;
    options.scales = {
      x: { ...axis(), stacked: true, grid: { display: false } },
      y: { ...axis(), stacked: true, min: 0, max: 1 },
    };
    options.scales.x.ticks = { ...options.scales.x.ticks, callback: (_, i) => clock(data.starts[i], data.step_s) };
    options.scales.y.ticks = { ...options.scales.y.ticks, callback: (value) => percent(value), maxTicksLimit: 6 };
    return {
      type: "bar",
      data: {
        labels: data.starts,
        datasets: data.series.map((series) => ({
          label: series.name, data: data.starts.map((_, i) => part(series, i)), backgroundColor: colour(series.colour),
          barPercentage: 1, categoryPercentage: data.starts.length > 1 ? 0.94 : 0.3,
        })),
      },
      options,
    };
  }

  // Draws the interval of each point, and names those that matter.
  const marks = {
    id: "marks",
    beforeDatasetsDraw(chart) {
      const { ctx, scales: { y } } = chart;
      chart.data.datasets.forEach((set, k) => {
        if (!set.intervals) return;
        chart.getDatasetMeta(k).data.forEach((point, i) => {
          const [low, high] = set.intervals[i];
          ctx.save();
          ctx.strokeStyle = faded(set.colours[i], 0.55);
          ctx.lineWidth = 2;
          ctx.beginPath();
          ctx.moveTo(point.x, y.getPixelForValue(low));
          ctx.lineTo(point.x, y.getPixelForValue(high));
          ctx.stroke();
          ctx.restore();
        });
      });
    },
    afterDatasetsDraw(chart) {
      const { ctx, chartArea } = chart;
      const taken = [];
      chart.data.datasets.forEach((set, k) => {
        if (!set.about) return;
        for (const point of chart.getDatasetMeta(k).data) {
          const r = point.options.radius;
          taken.push([point.x - r, point.y - r, point.x + r, point.y + r]);
        }
      });
      ctx.save();
      ctx.font = `12px ${getComputedStyle(document.body).fontFamily}`;
      ctx.fillStyle = colour("c-text");
      chart.data.datasets.forEach((set, k) => {
        if (!set.names) return;
        chart.getDatasetMeta(k).data.forEach((point, i) => {
          const name = set.names[i];
          if (!name) return;
          const width = ctx.measureText(name).width;
          const r = point.options.radius;
          const places = [[r + 4, 4], [-r - width - 4, 4], [r, -r - 4], [-r - width, -r - 4], [r, r + 13], [-r - width, r + 13]];
          for (const [dx, dy] of [...places, ...places.slice(2).map(([a, b]) => [a, b * 2])]) {
            const x = point.x + dx, y = point.y + dy;
            const box = [x, y - 12, x + width, y + 4];
            const outside = box[0] < chartArea.left || box[2] > chartArea.right + 8 || box[1] < chartArea.top - 6 || box[3] > chartArea.bottom;
            if (outside || taken.some((b) => box[0] < b[2] && b[0] < box[2] && box[1] < b[3] && b[1] < box[3])) continue;
            taken.push(box);
            ctx.fillText(name, x, y);
            break;
          }
        });
      });
      ctx.restore();
    },
  };

  function frontier(data) {
    const points = data.points.filter((point) => point.x > 0);
    const best = points.filter((point) => point.best);
    const options = base();
    const short = (name) => name.slice(name.lastIndexOf("/") + 1).slice(0, 26);
    const sets = [
      {
        label: "Models", type: "scatter", order: 2,
        data: points.map((point) => ({ x: point.x * 1000, y: point.y })),
        intervals: points.map((point) => [point.low, point.high]),
        colours: points.map((point) => colour(point.colour)),
        pointBackgroundColor: points.map((point) => colour(point.colour)),
        pointBorderColor: points.map((point) => colour(point.best ? "c-text" : "c-card")),
        pointRadius: points.map((point) => 5 + 6 * Math.sqrt(point.share)),
        pointHoverRadius: points.map((point) => 7 + 6 * Math.sqrt(point.share)),
        names: points.map((point) => (point.best || point.share > 0.1 ? short(point.name) : "")),
        about: points.map((point) => [
          point.name, `quality ${point.y.toFixed(3)}, 90 % interval ${point.low.toFixed(3)} to ${point.high.toFixed(3)}`,
          `${dollars(point.x * 1000)} per 1,000 calls`, `${percent(point.share)} of the traffic, ${point.n} scores`,
        ]),
      },
      {
        label: "Frontier", type: "line", order: 3, stepped: "before", pointRadius: 0, pointHitRadius: 0, borderWidth: 1.5,
        borderDash: [5, 4], borderColor: colour("c-minor"), data: best.map((point) => ({ x: point.x * 1000, y: point.y })),
      },
    ];
    if (data.routed) {
      sets.push({
        label: "As routed", type: "scatter", order: 1, data: [{ x: data.routed.x * 1000, y: data.routed.y }], pointStyle: "rectRot",
        pointRadius: 9, pointHoverRadius: 11, pointBackgroundColor: colour("c-text"), pointBorderColor: colour("c-card"), names: ["as routed"],
        about: [["as routed", `mean score ${data.routed.y.toFixed(3)}`, `${dollars(data.routed.x * 1000)} per 1,000 calls`]],
      });
    }
    options.plugins.tooltip.callbacks = { title: () => "", label: (item) => item.dataset.about?.[item.dataIndex] ?? "" };
    options.plugins.tooltip.displayColors = false;
    options.plugins.tooltip.filter = (item) => Boolean(item.dataset.about);
    options.layout = { padding: { top: 6, right: 6 } };
    const lows = points.map((point) => point.low), highs = points.map((point) => point.high);
    options.scales = {
      x: { ...axis("$ per 1,000 calls, logarithmic"), type: "logarithmic" },
      y: { ...axis("quality"), suggestedMin: Math.max(0, Math.min(...lows)), suggestedMax: Math.min(1, Math.max(...highs)) },
    };
    options.scales.x.ticks = { ...options.scales.x.ticks, callback: (value, i, all) => {
      const digit = Number(value.toExponential()[0]);
      return digit === 1 || (all.length < 12 && (digit === 2 || digit === 5)) ? dollars(value) : "";
    } };
    return { type: "scatter", data: { datasets: sets }, options, plugins: [marks] };
  }

  function course(data) {
    const options = base();
    options.interaction = { mode: "index", intersect: false };
    options.plugins.tooltip.callbacks = {
      title: (items) => `position ${data.positions[items[0].dataIndex].toLocaleString("en")}`,
      label: (item) => ` ${item.raw?.toFixed(3) ?? ""}  ${item.dataset.label}`,
    };
    options.scales = { x: { ...axis("position in the log"), grid: { display: false } }, y: axis("quality") };
    options.scales.x.ticks = { ...options.scales.x.ticks, callback: (_, i) => data.positions[i].toLocaleString("en") };
    return {
      type: "line",
      data: {
        labels: data.positions,
        datasets: data.series.map((series) => ({
          label: series.name, data: series.values, borderColor: colour(series.colour), backgroundColor: colour(series.colour),
          borderWidth: 2, pointRadius: 0, pointHitRadius: 8, tension: 0.2,
        })),
      },
      options,
    };
  }

  const kinds = { shares, frontier, course };

  function draw(root) {
    for (const [canvas, chart] of drawn) {
      if (!canvas.isConnected) { chart.destroy(); drawn.delete(canvas); }
    }
    for (const canvas of root.querySelectorAll("canvas[data-chart]")) {
      drawn.get(canvas)?.destroy();
      const data = JSON.parse(canvas.dataset.chart);
      drawn.set(canvas, new Chart(canvas, kinds[data.kind](data)));
      canvas.dataset.drawn = "true";
    }
  }

  window.pointsmanCharts = { draw };
  draw(document);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(document));
})();
