// Bundle the page: node build.mjs OUTFILE
import fs from 'fs';
import * as esbuild from 'esbuild';

// A module of Grafana's lacks an export that another one wants.
const mend = {
  name: 'mend',
  setup(build) {
    build.onLoad({ filter: /composable\/table\/panelcfg\/x\/types\.gen\.mjs$/ }, ({ path }) => ({ contents: `${fs.readFileSync(path, 'utf8')}\nexport const defaultOptions = {};\n`, loader: 'js' }));
  },
};
const loader = Object.fromEntries(['.svg', '.png', '.gif', '.woff', '.woff2', '.ttf'].map((ending) => [ending, 'dataurl']));
await esbuild.build({
  entryPoints: ['main.tsx'], outfile: process.argv[2], bundle: true, format: 'iife', jsx: 'automatic', logLevel: 'error', loader, plugins: [mend],
  define: { 'process.env.NODE_ENV': '"production"', global: 'window' }, alias: { 'react-router-dom-v5-compat': 'react-router-dom' },
});
