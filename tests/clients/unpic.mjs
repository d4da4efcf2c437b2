// What unpic's components ask for, as JSON: node unpic.mjs URL, the URL that the answer to a write had.
import { transformUrl } from "unpic";
import { extract } from "unpic/providers/imgix";

const [url] = process.argv.slice(2);
const transform = (operations) => transformUrl({ url, provider: "imgix", ...operations });

console.log(
  JSON.stringify({
    original: url,
    wide: transform({ width: 640 }),
    square: transform({ width: 64, height: 64 }),
    webp: transform({ width: 1080, format: "webp", quality: 75 }),
    odd: transform({ width: 641 }),
    again: transformUrl({ url: transform({ width: 640 }), provider: "imgix", width: 750 }),
    extracted: extract(transform({ width: 640, quality: 75 })).operations,
  }),
);
