// Shows the OpenAPI document of this service as one page to read.
Redoc.init(
  "openapi.json",
  { disableSearch: false, hideDownloadButton: false, nativeScrollbars: true, pathInMiddlePanel: true },
  document.getElementById("redoc"),
);
