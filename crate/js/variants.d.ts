// Each variant's wasm-bindgen module; the bundler script resolves these names.
declare module "homefire-glue/simd" {
  const glue: import("./glue.js").Glue["default"];
  export default glue;
  export const Loader: import("./glue.js").Glue["Loader"];
  export const tryRate: import("./glue.js").Glue["tryRate"];
}
declare module "homefire-glue/relaxed" {
  const glue: import("./glue.js").Glue["default"];
  export default glue;
  export const Loader: import("./glue.js").Glue["Loader"];
  export const tryRate: import("./glue.js").Glue["tryRate"];
}
declare module "homefire-glue/simd-threads" {
  const glue: import("./glue.js").Glue["default"];
  export default glue;
  export const Loader: import("./glue.js").Glue["Loader"];
  export const tryRate: import("./glue.js").Glue["tryRate"];
  export const enterThread: import("./glue.js").ThreadGlue["enterThread"];
  export const serve: import("./glue.js").ThreadGlue["serve"];
  export const threadEnded: import("./glue.js").ThreadGlue["threadEnded"];
}
declare module "homefire-glue/relaxed-threads" {
  const glue: import("./glue.js").Glue["default"];
  export default glue;
  export const Loader: import("./glue.js").Glue["Loader"];
  export const tryRate: import("./glue.js").Glue["tryRate"];
  export const enterThread: import("./glue.js").ThreadGlue["enterThread"];
  export const serve: import("./glue.js").ThreadGlue["serve"];
  export const threadEnded: import("./glue.js").ThreadGlue["threadEnded"];
}
