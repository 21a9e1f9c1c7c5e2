// Shows the document of this service. No request is sent to another host.

// Changes what screen readers would report: paths are no links inside of buttons, and headings leave out no level.
const accessible = ({ React }) => ({
  wrapComponents: {
    DeepLink: () => ({ text }) => React.createElement("span", null, text),
    operations: (Operations) => (props) => React.createElement(
      React.Fragment, null, React.createElement("h2", null, "Operations"), React.createElement(Operations, props),
    ),
    ServersContainer: () => () => null, // there is one
  },
});

// Lists the groups of operations in the table of contents, and names the part before them.
function complete() {
  const information = document.querySelector(".information-container");
  information.setAttribute("role", "region");
  information.setAttribute("aria-label", "About");
  const contents = document.getElementById("contents");
  for (const heading of document.querySelectorAll(".opblock-tag, section.models")) {
    const link = document.createElement("a");
    heading.id ||= "schemas";
    link.href = `#${heading.id}`;
    link.textContent = heading.dataset.tag ?? "schemas";
    contents.append(link);
  }
}

// Names the controls that Swagger UI leaves without a name.
function nameControls() {
  for (const select of document.querySelectorAll("#api select:not([aria-label], [id])")) select.setAttribute("aria-label", "Example");
  for (const button of document.querySelectorAll(".close-modal:not([aria-label])")) button.setAttribute("aria-label", "Close");
}

window.addEventListener("DOMContentLoaded", () => {
  SwaggerUIBundle({
    url: "api/0/openapi.json",
    dom_id: "#api",
    deepLinking: true,
    operationsSorter: "alpha",
    validatorUrl: null,
    queryConfigEnabled: false,
    syntaxHighlight: { activated: false }, // its colours have too little contrast
    plugins: [accessible],
    onComplete: complete,
  });
  new MutationObserver(nameControls).observe(document.getElementById("api"), { childList: true, subtree: true });
});
