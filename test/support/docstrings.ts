/** The docstrings of the public functions, as they stand in the sources. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";
import { ROOT } from "../../scripts/support.mjs";

/** All sources below ts/, but for what the build makes. */
export const SOURCES: readonly string[] = readdirSync(join(ROOT, "ts"), { recursive: true, encoding: "utf8" })
  .map((file) => `ts/${file.replaceAll("\\", "/")}`)
  .filter((file) => file.endsWith(".ts") && !file.includes("/generated/"))
  .sort();

/** An option, with the comment on it. */
interface Member {
  readonly name: string;
  readonly comment: string;
}

/** An exported function or constant. */
export interface Documented {
  readonly name: string;
  readonly file: string;
  /** All of its comment, without the tags. */
  readonly text: string;
  /** The texts of its tags. */
  readonly tags: Readonly<Record<string, string>>;
  /** The members of the interfaces that its type names. */
  readonly options: readonly Member[];
}

interface Interface {
  readonly members: readonly Member[];
  readonly bases: readonly string[];
}

const commentOf = (node: ts.Node): string =>
  ts
    .getJSDocCommentsAndTags(node)
    .filter(ts.isJSDoc)
    .map((doc) => ts.getTextOfJSDocComment(doc.comment) ?? "")
    .join("\n");

function read(file: string): ts.SourceFile {
  return ts.createSourceFile(file, readFileSync(join(ROOT, file), "utf8"), ts.ScriptTarget.ES2022, true);
}

function interfacesOf(source: ts.SourceFile): [string, Interface][] {
  return source.statements.filter(ts.isInterfaceDeclaration).map((declaration) => [
    declaration.name.text,
    {
      members: declaration.members.flatMap((member) =>
        ts.isPropertySignature(member) && ts.isIdentifier(member.name)
          ? [{ name: member.name.text, comment: commentOf(member) }]
          : [],
      ),
      // what it extends, and what its call signatures and methods take
      bases: [
        ...(declaration.heritageClauses ?? []),
        ...declaration.members.filter(
          (member) => !ts.isPropertySignature(member) || member.type?.kind === ts.SyntaxKind.TypeLiteral,
        ),
      ].flatMap((node) => node.getText().match(/\w+/g) ?? []),
    },
  ]);
}

/** The exported functions and constants of some files, the first declaration of each. */
export function documented(files: readonly string[]): Documented[] {
  const sources = files.map(read);
  const interfaces = new Map(sources.flatMap(interfacesOf));
  /** The members of all interfaces that can be reached from these names. */
  const members = (names: readonly string[], seen = new Set<string>()): Member[] =>
    names.flatMap((name) => {
      const found = interfaces.get(name);
      if (found === undefined || seen.has(name)) return [];
      seen.add(name);
      return [...found.members, ...members(found.bases, seen)];
    });
  const named = (type: string): Member[] => members(type.match(/\w+/g) ?? []);
  const isExported = (node: ts.Node): boolean =>
    ts.canHaveModifiers(node) &&
    (ts.getModifiers(node) ?? []).some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword);
  const all: Documented[] = [];
  const add = (node: ts.Node, name: string, file: string, type: string): void => {
    if (all.some((other) => other.name === name && other.file === file)) return;
    const tags = Object.fromEntries(
      ts
        .getJSDocTags(node)
        .map((tag) => [tag.tagName.text, ts.getTextOfJSDocComment(tag.comment)?.trim() ?? ""]),
    );
    all.push({ name, file, text: commentOf(node), tags, options: named(type) });
  };
  for (const source of sources) {
    for (const statement of source.statements.filter(isExported)) {
      if (ts.isFunctionDeclaration(statement) && statement.name !== undefined) {
        const type = statement.parameters.map((parameter) => parameter.type?.getText() ?? "").join(" ");
        add(statement, statement.name.text, source.fileName, type);
      } else if (ts.isVariableStatement(statement)) {
        for (const declaration of statement.declarationList.declarations)
          add(statement, declaration.name.getText(), source.fileName, declaration.type?.getText() ?? "");
      }
    }
  }
  return all;
}
