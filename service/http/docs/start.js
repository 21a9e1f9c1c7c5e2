// Shows the document of this service. No request is sent to another host.
window.addEventListener("DOMContentLoaded", () => {
  SwaggerUIBundle({
    url: "api/0/openapi.json",
    dom_id: "#api",
    deepLinking: true,
    operationsSorter: "alpha",
    validatorUrl: null,
    queryConfigEnabled: false,
  });
});
