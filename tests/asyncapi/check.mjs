// Checks an AsyncAPI document, which comes on standard input, with AsyncAPI's own parser. The argument is the folder in which
// deploy/install-deps.sh installed the parser. Prints what the parser says, and what it found in the document.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';

const { DiagnosticSeverity, Parser } = createRequire(resolve(process.argv[2], 'package.json'))('@asyncapi/parser');

const { document, diagnostics } = await new Parser().parse(readFileSync(0, 'utf8'));
for (const { severity, code, path, message } of diagnostics) {
    console.log(`${DiagnosticSeverity[severity]} at ${path.join('/') || 'the document'}: ${message} (${code})`);
}
if (document === undefined || diagnostics.some(({ severity }) => severity === DiagnosticSeverity.Error)) {
    process.exit(1);
}
const of = (found) => found.all().length;
console.log(`${of(document.channels())} channels, ${of(document.operations())} operations, ${of(document.messages())} messages`);
