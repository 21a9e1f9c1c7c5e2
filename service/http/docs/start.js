// Shows the document of this service; no address of anybody else's is asked for anything.
window.addEventListener("DOMContentLoaded", () => {
  SwaggerUIBundle({
    url: "/api/0/openapi.json",
    dom_id: "#api",
    deepLinking: true,
    operationsSorter: "alpha",
    validatorUrl: null,
    queryConfigEnabled: false,
  });
});
