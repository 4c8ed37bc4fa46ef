// Parses each of the given AsyncAPI documents and prints what is wrong with it; nothing if all are right.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [folder, ...paths] = process.argv.slice(2);
const { Parser } = createRequire(`${folder}/package.json`)("@asyncapi/parser");
const parser = new Parser();
let wrong = false;
for (const path of paths) {
  const { document, diagnostics } = await parser.parse(readFileSync(path, "utf8"));
  // 0 is an error, 1 a warning; the rest is advice.
  const errors = diagnostics.filter((each) => each.severity === 0);
  if (document === undefined || errors.length > 0) {
    wrong = true;
    for (const each of errors) console.log(`${path}: ${each.path.join(".")}: ${each.message}`);
  }
}
process.exit(wrong ? 1 : 0);
