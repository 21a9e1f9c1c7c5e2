"""The OpenAPI document, and the pages of the OpenAPI and AsyncAPI documents."""
