"""What HTTP operations are made of: requests, problem details, caching, the OpenAPI document."""
