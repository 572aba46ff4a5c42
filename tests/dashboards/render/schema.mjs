// Write dashboards/schema.json: Grafana's published types of dashboards and panels as a JSON schema, without the prose.
//   node schema.mjs FILE
import fs from 'fs';
import { createGenerator } from 'ts-json-schema-generator';

const bare = (value) => {
  if (Array.isArray(value)) return value.map(bare);
  if (value === null || typeof value !== 'object') return value;
  // A property may itself be called description: only prose is a string.
  return Object.fromEntries(Object.entries(value).filter(([key, v]) => key !== 'description' || typeof v !== 'string').map(([key, v]) => [key, bare(v)]));
};
const schema = createGenerator({ path: 'schema.ts', skipTypeCheck: true, topRef: false, type: 'Published', sortProps: true }).createSchema();
schema.$comment = `Generated from @grafana/schema ${JSON.parse(fs.readFileSync('node_modules/@grafana/schema/package.json')).version} (Apache-2.0) by tests/dashboards/render/schema.mjs`;
fs.writeFileSync(process.argv[2], JSON.stringify(bare(schema), null, 1) + '\n');
