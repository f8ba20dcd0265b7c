/** HTML for reports: a template tag that escapes, and the page that reports stand on. */

/** Text that is HTML already. */
export class Markup {
  constructor(private readonly text: string) {}

  toString(): string {
    return this.text;
  }
}

/** What may stand in a template: anything but markup is escaped; arrays are joined; nothing is nothing. */
export type Content = Markup | string | number | undefined | false | readonly Content[];

/** `` html`<b>${text}</b>` `` */
export function html(strings: TemplateStringsArray, ...contents: readonly Content[]): Markup {
  return new Markup(strings.reduce((text, part, i) => text + render(contents[i - 1]) + part));
}

function render(content: Content): string {
  if (content instanceof Markup) return content.toString();
  if (content === undefined || content === false) return "";
  if (typeof content === "object") return content.map(render).join("");
  return String(content).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** A figure that matters, large, with a line below it. */
export interface Fact {
  readonly value: string;
  readonly unit?: string;
  readonly caption: string;
}

/** What a report consists of. */
export interface Page {
  readonly title: string;
  /** A sentence or two under the title. */
  readonly lead: Content;
  readonly facts?: readonly Fact[];
  readonly sections: readonly Section[];
  readonly footer?: Content;
}

/** A part of a report. */
export interface Section {
  readonly title: string;
  readonly text?: Content;
  readonly body: Content;
}

/** A whole document in one file: no scripts, nothing fetched, light or dark as the reader has it. */
export function page({ title, lead, facts = [], sections, footer }: Page): string {
  return String(html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<header>
<h1>${title}</h1>
<p class="lead">${lead}</p>
</header>
${
  facts.length > 0 &&
  html`<dl class="facts">${facts.map(
    ({ value, unit, caption }) =>
      html`<div><dt>${caption}</dt><dd>${value}${unit && html`<small>${unit}</small>`}</dd></div>`,
  )}</dl>`
}
${sections.map(
  ({ title, text, body }) => html`<section>
<h2>${title}</h2>
${text !== undefined && html`<p>${text}</p>`}
${body}
</section>
`,
)}
${footer !== undefined && html`<footer>${footer}</footer>`}
</main>
</body>
</html>
`);
}

/** Pictures side by side, as many as there is room for. */
export function grid(items: readonly Content[], width: number): Markup {
  return html`<div class="grid" style="--width: ${width}px">${items}</div>`;
}

/** A picture with a title above it and a line below. */
export function figure(title: Content, picture: Content, caption?: Content): Markup {
  return html`<figure><h3>${title}</h3>${picture}${caption !== undefined && html`<figcaption>${caption}</figcaption>`}</figure>`;
}

/** The names that drawings use for their colours; `--s0` to `--s4` are for series. */
const STYLE = new Markup(`
:root {
  --paper: #fbfaf7; --card: #ffffff; --ink: #1f1d1a; --soft: #6d6860; --line: #e7e3da;
  --s0: #2f6f9f; --s1: #d1662f; --s2: #4c8a57; --s3: #8c5aa6; --s4: #b08a1e; --wrong: #c0392b; --right: #4c8a57;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #16171a; --card: #1e2024; --ink: #ebe8e1; --soft: #9d988e; --line: #32343a;
    --s0: #7db7e0; --s1: #f0935f; --s2: #86c294; --s3: #c39ad8; --s4: #d9b64c; --wrong: #ff7b6b; --right: #86c294;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 56px 28px 40px; }
h1 { font-size: 40px; line-height: 1.15; letter-spacing: -0.02em; margin: 0 0 12px; font-weight: 650; }
h2 { font-size: 22px; letter-spacing: -0.01em; margin: 56px 0 6px; font-weight: 650; }
h3 { font-size: 14px; margin: 0 0 10px; font-weight: 600; }
p { margin: 0 0 16px; max-width: 74ch; color: var(--soft); }
.lead { font-size: 18px; }
a { color: inherit; }
code { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: 0.92em; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 20px 32px; margin: 32px 0 0; padding: 20px 0; border-block: 1px solid var(--line); }
.facts > div { display: flex; flex-direction: column-reverse; justify-content: flex-end; }
.facts dd { margin: 0; font-size: 34px; line-height: 1.2; font-weight: 620; letter-spacing: -0.02em; font-variant-numeric: tabular-nums; }
.facts dd small { font-size: 17px; font-weight: 500; margin-left: 4px; color: var(--soft); letter-spacing: 0; }
.facts dt { color: var(--soft); font-size: 14px; line-height: 1.35; }
.grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, var(--width)), 1fr)); gap: 18px; margin-top: 18px; }
figure { margin: 0; padding: 16px 18px 14px; background: var(--card); border: 1px solid var(--line); border-radius: 10px; min-width: 0; }
figcaption { margin-top: 8px; font-size: 13px; color: var(--soft); }
svg { display: block; width: 100%; height: auto; overflow: visible; }
svg text { font: 11px system-ui, -apple-system, "Segoe UI", sans-serif; fill: var(--soft); font-variant-numeric: tabular-nums; }
svg .label { font-weight: 600; }
svg .gridline { stroke: var(--line); stroke-width: 1; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; margin-top: 10px; font-size: 13px; color: var(--soft); }
.legend span::before { content: ""; display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin-right: 7px; background: var(--color); }
mark { background: none; color: var(--wrong); font-weight: 700; }
table { border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 5px 18px 5px 0; border-bottom: 1px solid var(--line); font-weight: 400; }
th { color: var(--soft); }
.wide { overflow-x: auto; white-space: nowrap; }
footer { margin-top: 56px; padding-top: 16px; border-top: 1px solid var(--line); font-size: 13px; color: var(--soft); }
`);
