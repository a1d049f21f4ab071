"""HTTP building blocks: operations, requests, problem details, middleware, caching, OpenAPI."""
