"use strict";

const holder = document.getElementById("api");
SwaggerUIBundle({
  domNode: holder,
  url: holder.dataset.document,
  deepLinking: true,
  // It would send the document to a service on the internet.
  validatorUrl: null,
  // A token must not outlive the page.
  persistAuthorization: false,
});
