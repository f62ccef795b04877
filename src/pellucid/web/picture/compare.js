/* Two texts token by token beside each other, what differs marked. */

import { caption, make } from "./elements.js";
import { visible, written } from "./notation.js";
import { numbers } from "./numbers.js";

/* The rows of two columns, as places in each or null: draw/compare.py says how. */
export function aligned(before, after) {
  let start = 0;
  while (start < before.length && start < after.length && before[start] === after[start]) start += 1;
  const [left, right] = [before.slice(start), after.slice(start)];
  let end = 0;
  while (left.length && right.length && left.at(-1) === right.at(-1)) {
    left.pop();
    right.pop();
    end += 1;
  }
  const wide = right.length + 1;
  const longest = new Int32Array((left.length + 1) * wide);
  for (let i = left.length - 1; i >= 0; i--) {
    for (let j = right.length - 1; j >= 0; j--) {
      const at = i * wide + j;
      longest[at] = left[i] === right[j] ? longest[at + wide + 1] + 1 : Math.max(longest[at + wide], longest[at + 1]);
    }
  }
  const rows = [...Array(start).keys()].map((i) => [i, i]);
  let [i, j] = [0, 0];
  while (i < left.length || j < right.length) {
    const [fromI, fromJ] = [i, j];
    while (i < left.length && j < right.length && left[i] !== right[j]) {
      if (longest[(i + 1) * wide + j] >= longest[i * wide + j + 1]) i += 1;
      else j += 1;
    }
    if (i === left.length || j === right.length) [i, j] = [left.length, right.length];
    for (let k = 0; k < Math.max(i - fromI, j - fromJ); k++) {
      rows.push([fromI + k < i ? start + fromI + k : null, fromJ + k < j ? start + fromJ + k : null]);
    }
    if (i < left.length && j < right.length) rows.push([start + i++, start + j++]);
  }
  for (let k = end; k > 0; k--) rows.push([before.length - k, after.length - k]);
  return rows;
}

export function compare(spec) {
  const tokens = [spec.before, spec.after];
  const shares = [spec.shares_before, spec.shares_after].map((each) => numbers(each).flat);
  const body = make("tbody");
  for (const row of aligned(...tokens)) {
    const differs = row.includes(null) || tokens[0][row[0]] !== tokens[1][row[1]];
    /* Past a token that one of them lacks, the other's positions are others. */
    const place = row[0] === null ? "" : spec.first + row[0];
    const line = make("tr", { className: differs ? "differs" : "", "data-before": row[0], "data-after": row[1] });
    line.append(make("th", { scope: "row", textContent: String(place) }));
    row.forEach((at, side) => {
      if (side)
        line.append(make("td", { className: "mark-cell", textContent: differs ? "≠" : "", title: differs ? "They differ here." : "" }));
      line.append(
        at === null
          ? make("td", { className: "nothing", textContent: "" })
          : make("td", {}, make("span", { className: "token", textContent: visible(tokens[side][at]) })),
        make("td", {
          className: "number",
          "data-value": at === null ? null : shares[side][at],
          textContent: at === null ? "" : written(shares[side][at], "percent"),
        }),
      );
    });
    body.append(line);
  }
  const heading = (text) => make("th", { scope: "col", colSpan: 2, textContent: text });
  const head = make("thead", {}, make("tr", {}, make("td"), heading(spec.names[0]), make("td"), heading(spec.names[1])));
  const ends = spec.ends.map((end, i) => end && `${spec.names[i]}: ${end}`).filter(Boolean);
  return [
    make("div", { className: "scroll" }, make("table", { className: "compare" }, head, body)),
    ends.length ? caption(ends.join(" · ")) : null,
  ];
}
