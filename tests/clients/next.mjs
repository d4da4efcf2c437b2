// What next/image asks for, as JSON: node next.mjs LOADER SRC. The widths are those of a site that sets up nothing.
import { pathToFileURL } from "node:url";

const [file, src] = process.argv.slice(2);
const { default: loader } = await import(pathToFileURL(file));
const deviceSizes = [640, 750, 828, 1080, 1200, 1920, 2048, 3840];
const imageSizes = [16, 32, 48, 64, 96, 128, 256, 384];

console.log(
  JSON.stringify([...imageSizes, ...deviceSizes].map((width) => [loader({ src, width, quality: undefined }), width])),
);
