// Show the OpenAPI document of this service as a reference page.
Redoc.init(
  "openapi.json",
  { disableSearch: false, hideDownloadButton: false, nativeScrollbars: true, pathInMiddlePanel: true },
  document.getElementById("redoc"),
);
