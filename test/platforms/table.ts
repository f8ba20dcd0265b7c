/** The table of what was run, between two marks in a page of Markdown. */

const BEGIN = "<!-- platforms -->";
const END = "<!-- /platforms -->";

/** One line of it. */
export interface Row {
  readonly platform: string;
  readonly version: string;
  readonly way: string;
  readonly engine: string;
  readonly outcome: string;
}

const HEAD = ["platform", "version", "used as", "engine", "result"] as const;

/** The rows that a page has; undefined where it has no marks. */
export function rowsOf(page: string): Row[] | undefined {
  const [from, to] = [page.indexOf(BEGIN), page.indexOf(END)];
  if (from < 0 || to < from) return undefined;
  const lines = page.slice(from + BEGIN.length, to).split("\n");
  return lines
    .filter(
      (line) => line.startsWith("| ") && !line.startsWith("| --- ") && !line.startsWith(`| ${HEAD[0]} `),
    )
    .map((line) => {
      const [, platform = "", version = "", way = "", engine = "", outcome = ""] = line
        .split("|")
        .map((cell) => cell.trim());
      return { platform, version, way, engine, outcome };
    });
}

/** The page with new rows in the place of the old ones of the same platforms; others stay. */
export function update(page: string, rows: readonly Row[], order: readonly string[]): string {
  const before = rowsOf(page) ?? [];
  const all = order.flatMap((name) => {
    const fresh = rows.filter(({ platform }) => platform === name);
    return fresh.length > 0 ? fresh : before.filter(({ platform }) => platform === name);
  });
  // one line for all ways of one platform with which the same came out
  const merged: Row[] = [];
  for (const row of all) {
    const isSame = (other: Row) =>
      (["platform", "version", "engine", "outcome"] as const).every((key) => other[key] === row[key]);
    const at = merged.findIndex(isSame);
    if (at < 0) merged.push(row);
    else merged[at] = { ...row, way: `${(merged[at] as Row).way}; ${row.way}` };
  }
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const table = [
    line(HEAD),
    line(HEAD.map(() => "---")),
    ...merged.map(({ platform, version, way, engine, outcome }) =>
      line([platform, version, way, engine, outcome]),
    ),
  ].join("\n");
  const note =
    "Written by `npm run test:platforms`: bits of gradients compared with those of Node, of the same engine.";
  const [from, to] = [page.indexOf(BEGIN) + BEGIN.length, page.indexOf(END)];
  return `${page.slice(0, from)}\n${table}\n\n${note}\n${page.slice(to)}`;
}
