// What a site does with @imgix/js-core, as JSON: node imgix.mjs DOMAIN [TOKEN]. A token signs.
import ImgixClient from "@imgix/js-core";

const [domain, secureURLToken] = process.argv.slice(2);
const client = new ImgixClient({ domain, secureURLToken });
const path = "/images/strip";

console.log(
  JSON.stringify({
    urls: {
      original: client.buildURL(path),
      resized: client.buildURL(path, { w: 512, auto: "format" }),
      cropped: client.buildURL(path, { w: 300, ar: "16:9", fit: "crop", crop: "entropy", fm: "jpg", q: 60 }),
      filled: client.buildURL(path, { w: 300, h: 200, fit: "fill", bg: "#ff0", auto: "format,compress" }),
      encoded: client.buildURL(path, { w: 200, fm: "png", txt64: "Grüße", note: "a b+c&d", empty: "" }),
    },
    sets: {
      fluid: client.buildSrcSet(path, { auto: "format" }),
      fixed: client.buildSrcSet(path, { w: 256 }),
      portrait: client.buildSrcSet(path, { h: 64, ar: "4:3", fit: "crop" }, { disableVariableQuality: true }),
      // These need no signature.
      listed: client.buildSrcSet(path, { auto: "format" }, { widths: [128, 640, 1080, 3840] }),
      dense: client.buildSrcSet(path, { w: 256 }, { devicePixelRatios: [1, 2, 3] }),
    },
  }),
);
