/**
 * A plugin of typedoc: the page of each loss lists its options. What they are and their defaults stand once, at the properties of the
 * interfaces that its type names: `CrossEntropyOptions` of `Loss<..., CrossEntropyOptions>`, and `CommonOptions`.
 */
import { Comment, Converter, ReflectionKind } from "typedoc";

/** @typedef {import("typedoc").DeclarationReflection} Declaration */
/** @typedef {import("typedoc").CommentDisplayPart} Part */

/** @param {string} text @returns {Part} */
const text = (text) => ({ kind: "text", text });

/** A line for each property of an interface. @param {Declaration | undefined} of @param {string} [but] @returns {Part[]} */
function linesOf(of, but) {
  const children = (of?.children ?? []).filter(({ name }) => name !== but);
  return children.flatMap(({ name, comment }) => [
    text("\n- "),
    { kind: "code", text: `\`${name}\`` },
    text(": "),
    ...Comment.cloneDisplayParts(comment?.summary ?? []),
  ]);
}

/** @param {import("typedoc").Application} app */
export function load(app) {
  const list = (/** @type {import("typedoc").Context} */ { project }) => {
    const common = /** @type {Declaration | undefined} */ (
      project.getReflectionsByKind(ReflectionKind.Interface).find(({ name }) => name === "CommonOptions")
    );
    for (const reflection of project.getReflectionsByKind(ReflectionKind.Variable)) {
      const { type, comment } = /** @type {Declaration} */ (reflection);
      if (type?.type !== "reference" || comment === undefined) continue;
      const mapping = type.name === "Mapping";
      if (!mapping && !type.name.endsWith("Loss")) continue;
      const own = type.typeArguments?.find((of) => of.type === "reference" && of.name.endsWith("Options"));
      const lines = [
        ...linesOf(own?.type === "reference" ? /** @type {Declaration} */ (own.reflection) : undefined),
        ...linesOf(common, mapping ? "reduction" : undefined),
      ];
      if (lines.length > 0) comment.summary.push(text("\n\nOptions:\n"), ...lines);
    }
  };
  // after links have found what they name
  app.converter.on(Converter.EVENT_RESOLVE_END, list, -1000);
}
