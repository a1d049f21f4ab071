// Show the OpenAPI document of this service as a reference page.
Redoc.init(
  // Relative to this file, because the path of the page may end with a slash.
  new URL("../openapi.json", document.currentScript.src).href,
  { disableSearch: false, hideDownloadButton: false, nativeScrollbars: true, pathInMiddlePanel: true },
  document.getElementById("redoc"),
);
