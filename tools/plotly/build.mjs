// Writes the part of Plotly that the dashboard draws with, and the licences of what is in it; and
// what Dash needs of its polyfill.
//
//     make plotly          (or, in this folder: npm ci && npm run build)
//
// As plotly.js's own `custom-bundle --strict` does: the same entry, plugins and settings, from the
// package that npm has. "Strict" traces bring their WebGL commands along instead of compiling them
// in the browser, so that the pages' Content-Security-Policy needs no `unsafe-eval`. A trace that a
// drawing needs goes into TRACES; a newer Plotly into package.json, followed by `npm install`.
import {readdirSync, readFileSync, writeFileSync} from "node:fs";
import {dirname, join} from "node:path";
import {fileURLToPath} from "node:url";
import {build} from "esbuild";
import {environmentPlugin} from "esbuild-plugin-environment";
import {glsl} from "esbuild-plugin-glsl";

const TRACES = {
    bar: "lib/bar",
    contour: "lib/contour",
    parcoords: "src/traces/parcoords/strict",
    splom: "src/traces/splom/strict",
}; // scatter is in the core

const here = dirname(fileURLToPath(import.meta.url));
const target = join(here, "../../tune_bridge/server/assets");
const modules = Object.values(TRACES).map((path) => `require("plotly.js/${path}")`);

/** The styles of maps, which are drawn by no trace of ours. */
const noMaps = {
    name: "no-maps",
    setup(made) {
        made.onResolve({filter: /^maplibre-gl\//}, () => ({path: "none", namespace: "no-maps"}));
        made.onLoad({filter: /.*/, namespace: "no-maps"}, () => ({contents: "", loader: "js"}));
    },
};

/** A program for browsers, of what `contents` requires. */
function bundled(contents, options) {
    return build({
        stdin: {contents, resolveDir: here, loader: "js"},
        absWorkingDir: here,
        bundle: true,
        minify: true,
        format: "iife",
        target: "es2016",
        legalComments: "none", // they are in the file of licences, or at the head
        write: false,
        ...options,
    });
}

const register = `const Plotly = require("plotly.js/lib/core");
    Plotly.register([${modules.join(", ")}]);
    module.exports = Plotly;`;
const result = await bundled(register, {
    globalName: "Plotly",
    plugins: [noMaps, glsl({minify: true}), environmentPlugin({NODE_DEBUG: false})],
    alias: {regl: "@plotly/regl", stream: "stream-browserify"},
    define: {global: "window", "define.amd": "false"},
    metafile: true,
    outfile: "plotly.js",
});

/** The packages whose code is in the file, Plotly first. */
function packages() {
    const [output] = Object.values(result.metafile.outputs);
    const folders = new Set();
    for (const [path, {bytesInOutput}] of Object.entries(output.inputs)) {
        const found = path.match(/^.*node_modules\/(@[^/]+\/)?[^/]+/);
        if (found && bytesInOutput > 0) {
            folders.add(found[0]);
        }
    }
    return Array.from(folders, (folder) => {
        const about = JSON.parse(readFileSync(join(here, folder, "package.json"), "utf8"));
        const file = readdirSync(join(here, folder)).find((name) => /^licen[cs]e/i.test(name));
        const licence = about.license ?? about.licenses?.map((one) => one.type).join(" or ");
        const words = file ? readFileSync(join(here, folder, file), "utf8").trim() : "";
        return {name: about.name, version: about.version, licence, words, author: about.author};
    }).sort((a, b) =>
        (b.name === "plotly.js") - (a.name === "plotly.js") || (a.name < b.name ? -1 : 1));
}

const parts = packages();
const [plotly] = parts;
const others = parts.slice(1).map((part) => `${part.name} ${part.version} (${part.licence})`);
const head = `/*!
plotly.js v${plotly.version} (strict: ${["scatter", ...Object.keys(TRACES)].sort().join(", ")})
A part of Plotly, made by tools/plotly/build.mjs.

${plotly.words}

It contains: ${others.join(", ")}.
*/
`;
const licences = parts.map((part) => {
    const by = typeof part.author === "string" ? part.author : part.author?.name;
    const words = part.words || `${part.licence} licence${by ? `, by ${by}` : ""}`;
    return `${part.name} ${part.version} (${part.licence})\n\n${words}\n`;
});
const code = head + result.outputFiles[0].text;
writeFileSync(join(target, "plotly.js"), code);
writeFileSync(join(target, "plotly.licenses.txt"),
    licences.join(`\n${"-".repeat(80)}\n\n`).replace(/\r\n?/g, "\n"));

// Dash's components are compiled for browsers without generators. All that they use of the polyfill
// that Dash loads for them is this.
const folder = join(here, "node_modules/regenerator-runtime");
const {version} = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
const words = readFileSync(join(folder, "LICENSE"), "utf8").trim();
const regenerator = `window.regeneratorRuntime = require("regenerator-runtime");`;
const runtime = await bundled(regenerator, {
    banner: {js: `/*!\nregenerator-runtime v${version}\nMade by tools/plotly/build.mjs.\n\n${words}\n*/`},
});
writeFileSync(join(target, "regenerator.js"), runtime.outputFiles[0].text);
console.log(`plotly.js ${plotly.version}: ${Buffer.byteLength(code)} bytes of ${parts.length} packages`);
